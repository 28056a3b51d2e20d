"""A worker that fails, or that cannot be used, is an error that says so."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Played,
    Receiver,
    ScheduleFailed,
    UsageError,
    converges,
    eventually,
    never_regresses,
)
from engagelab_mock.explore import workers as workers_module
from tests.explore.books import Books, LastWriteWins
from tests.explore.working import NUMBERS, explored, forked, result, stores
from tests.receivers import racing
from tests.receivers.racing import Store, flask_receiver

pytestmark = pytest.mark.usefixtures("no_worker_is_left")


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
        Store(f"{store.path}-0")  # made here: SQLite does not let two processes make one file at the same time
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
