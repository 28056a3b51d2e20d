"""An exploration over several processes has the same result as in one, or says why it cannot be."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Exploration,
    HiddenState,
    Played,
    Receiver,
    ScheduleFailed,
    UsageError,
    converges,
    decode,
    eventually,
    never_regresses,
)
from engagelab_mock.explore import workers as workers_module
from engagelab_mock.explore.crash import can_fork
from engagelab_mock.explore.snapshots import sqlite_snapshots
from tests.explore.books import AtRandom, Books, CountsInSecret, LastWriteWins
from tests.explore.merging import ALL
from tests.explore.test_gallery import CASES, Case, name
from tests.receivers import racing
from tests.receivers.gallery.stacks import STACKS, shop
from tests.receivers.racing import Handle, Store, flask_receiver, folder

forked = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
NUMBERS = (1, 2, 3)


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def result(receiver: Receiver, *chosen: Any, **options: Any) -> object:
    """Return everything that an exploration says, or its error."""
    with EngageLab(receiver) as engagelab:
        try:
            found = engagelab.explore(*(chosen or ("verified",)), **options)
        except (ScheduleFailed, UsageError) as error:
            failure = getattr(error, "failure", None)
            return str(error), failure and (failure.found, failure.number, failure.total, failure.repeatable)
    return repr(found), found.merging and found.graph()


def explored(books: Books, *chosen: Any, **options: Any) -> Exploration:
    with EngageLab(books.receiver) as engagelab:
        return engagelab.explore(*(chosen or ("verified",)), **{"reset": books.reset, "workers": 2, **options})


# The same result.


@pytest.mark.slow
@forked
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_mutant_is_caught_with_the_same_token_by_any_number_of_workers(case: Case, merge: bool) -> None:
    found = []
    for workers in NUMBERS:
        with shop("flask", case.orders) as opened:
            options = {"invariants": [case.invariant], "reset": opened.reset, "merge": merge, **case.options}
            found.append(result(opened.receiver, case.lifecycle, workers=workers, **options))
    assert case.token in str(found[0])
    assert found == found[:1] * len(NUMBERS)


@pytest.mark.slow
@forked
@pytest.mark.parametrize("stack", STACKS)
def test_a_correct_receiver_passes_on_each_stack(stack: str) -> None:
    found = []
    for workers in NUMBERS:
        with shop(stack) as opened:
            options = {"invariants": ALL, "reset": opened.reset, "merge": True, "batchings": True}
            found.append(result(opened.receiver, workers=workers, **options))
    assert "no failure" in str(found[0])
    assert found == found[:1] * len(NUMBERS)


@pytest.mark.slow
@forked
@pytest.mark.parametrize("options", [{"faults": "at-least-once"}, {"batchings": True, "merge": False}, {"limit": 40}])
@pytest.mark.parametrize("seed", range(4))
def test_a_receiver_with_random_bugs_has_the_same_result(seed: int, options: dict[str, Any]) -> None:
    found = []
    for workers in NUMBERS:
        books = AtRandom(seed)
        given = {"reset": books.reset, "merge": True, "invariants": ALL, **options}
        found.append(result(books.receiver, "delivered", workers=workers, check=False, **given))
    assert found == found[:1] * len(NUMBERS)


@contextmanager
def stores() -> Iterator[tuple[Store, Callable[[int], object]]]:
    """Open a store, with a function that gives a worker another one."""
    with TemporaryDirectory(dir=folder()) as name:
        store = Store(Path(name, "shop.sqlite"))

        def in_worker(number: int) -> None:
            store.path = str(Path(name, f"worker-{number}.sqlite"))
            Store(store.path)

        yield store, in_worker


@pytest.mark.slow
@forked
@pytest.mark.parametrize(
    "handle", [racing.correct, racing.lost_update, racing.mark_commit_effect], ids=lambda f: f.__name__
)
def test_races_and_crashes_have_the_same_result(handle: Handle) -> None:
    found = []
    for workers in NUMBERS:
        with stores() as (store, in_worker):
            options = {"concurrent": 2, "crashes": "handler", "preemptions": 1, "in_worker": in_worker}
            found.append(result(flask_receiver(store, handle), "plan-sent", workers=workers, **options))
    assert found == found[:1] * len(NUMBERS)


@pytest.mark.slow
@forked
def test_snapshots_of_a_database_in_a_file_have_the_same_verdict() -> None:
    for workers in NUMBERS:
        with stores() as (store, in_worker), EngageLab(flask_receiver(store, racing.correct)) as engagelab:
            pair: dict[str, Any] = {
                "snapshot": lambda: sqlite_snapshots(store.path)["snapshot"](),
                "restore": lambda copy: sqlite_snapshots(store.path)["restore"](copy),
            }
            found = engagelab.explore("delivered", merge=True, workers=workers, in_worker=in_worker, **pair)
        assert (found.ok, found.schedules, found.states) == (True, 42, 3)


@pytest.mark.slow
@forked
def test_without_reset_each_process_uses_other_messages() -> None:
    """Then it does not matter that they share the database."""
    with stores() as (store, _):
        receiver = flask_receiver(store, racing.locks_at_once)
        receiver.reset = None
        with EngageLab(receiver) as engagelab:
            found = engagelab.explore("plan-sent", workers=3, merge=False, duplicates=1)
        assert found.ok
        with store.opened() as db:
            [(orders,)] = db.execute("SELECT count(*) FROM orders")
        assert orders >= found.schedules


@pytest.mark.slow
@forked
def test_no_two_callbacks_have_the_same_nonce(tmp_path: Path) -> None:
    class Notes(Books):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            with (tmp_path / "nonces").open("a") as file:
                file.write(f"{environ['HTTP_X_CALLBACK_ID'].split(';')[1]}\n")
            return super().__call__(environ, start_response)

    books = Notes()
    receiver = Receiver.wsgi(books, observe=books.kept.get, username="acme", secret="s3cret")
    with EngageLab(receiver) as engagelab:
        engagelab.explore("delivered", merge=False, workers=2)
    nonces = (tmp_path / "nonces").read_text().split()
    assert len({*nonces}) == len(nonces) > 100


@pytest.mark.slow
@forked
def test_hidden_state_is_found_by_any_number_of_workers() -> None:
    found = []
    for workers in NUMBERS:
        with pytest.raises(HiddenState) as caught:
            explored(CountsInSecret(), invariants=[eventually(lambda state: True)], merge=True, workers=workers)
        found.append((str(caught.value), caught.value.schedule, caught.value.expected))
    assert found == found[:1] * len(NUMBERS)


@pytest.mark.slow
@forked
def test_invariants_get_whole_playings() -> None:
    def judges(played: Played) -> str | None:
        for record in played.records:
            assert record.attempt is record.delivery.attempts[-1]
            assert record.delivery.receiver is receiver
            assert decode(record.attempt.callback.body).rows == record.delivery.events
            assert (record.after is record.before) == (record.after == record.before)
        return None

    def number(message_id: str) -> float:
        return len(str(books.kept.get(message_id))) + 1000.5

    books = Books()
    for observe in (books.kept.get, number):
        receiver = Receiver.wsgi(books, observe=observe)
        with EngageLab(receiver) as engagelab:
            assert engagelab.explore("delivered", invariants=[judges], merge=False, workers=2, reset=books.reset).ok


# What may not be green.


@pytest.mark.slow
@forked
@pytest.mark.parametrize("options", [{"concurrent": 2}, {"merge": True}, {"crashes": "handler"}])
def test_processes_that_share_a_database_are_an_error(options: dict[str, Any]) -> None:
    with stores() as (store, _), EngageLab(flask_receiver(store, racing.correct)) as engagelab:
        with pytest.raises(UsageError) as caught:
            engagelab.explore("plan-sent", workers=2, **options)
        assert "worker 2 sees what worker 1 does" in str(caught.value)
        assert "in_worker=use_database" in str(caught.value)
        with pytest.raises(UsageError, match="this process sees what worker 1 does"):
            engagelab.explore(
                "plan-sent", workers=2, in_worker=lambda n: _elsewhere(store, n) if n > 1 else None, **options
            )
        with pytest.raises(UsageError, match="in_worker must give each worker its own data"):
            engagelab.explore("plan-sent", workers=2, in_worker=lambda n: _elsewhere(store, 0), **options)


def _elsewhere(store: Store, number: int) -> None:
    store.path += f"-{number}"
    if not os.path.exists(store.path):
        Store(store.path)


@pytest.mark.slow
@forked
def test_a_worker_whose_app_shows_no_effect_is_an_error() -> None:
    with (
        stores() as (store, _),
        EngageLab(flask_receiver(store, lambda db, id, status: _if_there(db, id))) as engagelab,
    ):

        def in_worker(number: int) -> None:
            _elsewhere(store, number)
            with store.opened() as db:
                db.execute("INSERT INTO marks VALUES ('off')")
                db.commit()

        with pytest.raises(UsageError, match="worker 1 played eg1:plan-sent:plan,sent, and the state did not change"):
            engagelab.explore("plan-sent", workers=2, in_worker=in_worker, reset=lambda: None, merge=False)


def _if_there(db: Any, message_id: str) -> None:
    if not racing.is_marked(db, "off"):
        racing.add_credit(db, message_id)
        db.commit()


class InWorkers(Books):
    """Do something else in a worker, after some requests."""

    def __init__(self, action: Callable[[], object], after: int) -> None:
        super().__init__()
        self.action = action
        self.after = after
        self.left = -1

    def in_worker(self, number: int) -> None:
        self.left = self.after

    def apply(self, rows: Any) -> None:
        self.left -= self.left > 0
        if not self.left:
            self.action()
        super().apply(rows)


@pytest.mark.slow
@forked
@pytest.mark.parametrize(
    ("action", "match"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "worker 1 was killed by signal 9 while it played eg1:"),
        (lambda: os._exit(3), "worker 1 ended with exit code 3 while it played eg1:"),
    ],
    ids=["killed", "ended"],
)
@pytest.mark.parametrize("after", [1, 30])
def test_a_worker_that_ends_is_an_error(action: Callable[[], object], match: str, after: int) -> None:
    books = InWorkers(action, after)
    with pytest.raises(UsageError, match=match.replace("worker 1", "worker [12]")):
        explored(books, merge=False, in_worker=books.in_worker)


@pytest.mark.slow
@forked
def test_a_worker_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_LIMIT", 0.5)
    books = InWorkers(signal.pause, 30)
    with pytest.raises(UsageError, match=r"worker [12] did not answer within 0.5 s, while it played eg1:"):
        explored(books, merge=False, in_worker=books.in_worker)


@pytest.mark.slow
@forked
def test_what_fails_only_in_a_worker_is_told() -> None:
    def look(message_id: str) -> object:
        if books.left == 0:
            raise LookupError("no connection")
        return books.kept.get(message_id)

    books = InWorkers(int, 30)
    with pytest.raises(UsageError) as caught, EngageLab(Receiver.wsgi(books, observe=look)) as engagelab:
        engagelab.explore("verified", merge=False, workers=2, in_worker=books.in_worker, reset=books.reset)
    assert "this process could: ProbeFailed: observe: observe raised LookupError: no connection" in str(caught.value)
    assert "let in_worker start and open them again" in str(caught.value)


@pytest.mark.slow
@forked
def test_an_error_of_a_function_of_the_user_is_the_same() -> None:
    class Doubles(Books):
        def handle(self, book: dict[str, Any], row: Any) -> None:
            super().handle(book, row)
            book["credits"] += row.name == "sent" and book["credits"] == 1

    found = []
    for workers in NUMBERS:
        books = Doubles()

        def look(message_id: str, books: Books = books) -> object:
            book = books.kept.get(message_id)
            return book and 1 / (2 - book["credits"])

        options = {"reset": books.reset, "merge": False, "invariants": [eventually(lambda state: True)]}
        found.append(result(Receiver.wsgi(books, observe=look), workers=workers, **options))
    assert "observe raised ZeroDivisionError: division by zero" in str(found[0])
    assert found == found[:1] * len(NUMBERS)


@pytest.mark.slow
@forked
def test_an_error_of_in_worker_is_told() -> None:
    def in_worker(number: int) -> None:
        raise OSError("no such database")

    with pytest.raises(UsageError, match="in_worker raised OSError: no such database"):
        explored(Books(), in_worker=in_worker)


@pytest.mark.slow
@forked
def test_an_interrupted_exploration_says_how_far_it_got() -> None:
    judged: list[Played] = []

    def interrupts(played: Played) -> None:
        judged.append(played)
        if len(judged) == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        explored(Books(), invariants=[interrupts], merge=False)
    assert "49 of 264 schedules" in caught.value.__notes__[0]
    assert "interrupted" in caught.value.__notes__[0]


# What cannot be split.


def refused(receiver: Receiver, match: str, **options: Any) -> None:
    with EngageLab(receiver) as engagelab, pytest.raises(UsageError, match=match):
        engagelab.explore("verified", **{"workers": 2, **options})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"workers": 0}, "workers is an integer from 1 to 64, not 0"),
        ({"workers": True}, "workers is an integer from 1 to 64, not True"),
        ({"in_worker": "path"}, "in_worker must be callable, 'path' is not"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], match: str) -> None:
    refused(Books().receiver, match, **options)


def test_an_app_that_cannot_be_copied_or_seen_is_refused() -> None:
    refused(Receiver.http("http://127.0.0.1:9", observe=int), "the handlers run in another process")
    refused(Receiver.wsgi(Books()), "without observe, nothing shows whether the workers share")

    async def test() -> None:
        with pytest.raises(UsageError, match="a running event loop cannot be copied"):
            await EngageLab(Books().receiver).aexplore("verified", workers=2)

    asyncio.run(test())


def test_without_fork_one_process_plays_everything_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.fork", raising=False)
    found = explored(Books(), "sent_failed", duplicates=0)
    assert found.ok
    assert found.notes == ["all schedules were played in one process: this system cannot fork"]
    books = LastWriteWins()
    with pytest.raises(ScheduleFailed):
        explored(books, invariants=[converges("status"), never_regresses("status")])


def test_a_lifecycle_that_leaves_no_trace_is_played_in_one_process() -> None:
    class Undoes(Books):
        def handle(self, book: dict[str, Any], row: Any) -> None:
            book["status"] = None if row.name == "verified" else row.name

    books = Undoes()
    initial = {"status": None}
    with EngageLab(
        Receiver.wsgi(books, observe=lambda id: {"status": books.kept.get(id, initial)["status"]})
    ) as engagelab:
        found = engagelab.explore("verified", reset=books.reset, invariants=[eventually(lambda s: True)], workers=2)
    assert "eg1:plan,sent,delivered,verified leaves no trace" in found.notes[0]
