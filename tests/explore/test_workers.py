"""An exploration over several processes has the same result as in one, or says why it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, HiddenState, Played, Receiver, decode, eventually
from engagelab_mock.explore.snapshots import sqlite_snapshots
from tests.explore.books import ALL, AtRandom, Books, CountsInSecret
from tests.explore.gallery import CASES, Case, name
from tests.explore.working import NUMBERS, explored, forked, result, stores
from tests.receivers import racing
from tests.receivers.gallery.stacks import STACKS, shop
from tests.receivers.racing import Handle, flask_receiver

pytestmark = pytest.mark.usefixtures("no_worker_is_left")


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
