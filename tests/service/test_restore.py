"""Going on where another process was: nothing is lost, and nothing acknowledged is sent again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock import (
    EngageLab,
    Journal,
    LiveClock,
    Outcome,
    Receiver,
    Refusal,
    RetryPolicy,
    UsageError,
    VirtualClock,
)
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class App:
    """A receiver in process that answers what it is told to, or ends the process."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.bodies: list[bytes] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.status == "dies":
            raise KeyboardInterrupt
        self.bodies.append(environ["wsgi.input"].read())
        start_response(self.status, [("X-Answered-By", "app")])
        return [b"answer"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mock.sqlite"


@contextmanager
def process(path: Path, *apps: App, now: float = 1_700_000_000, **options: Any) -> Iterator[EngageLab]:
    """Be one process that works with the file: nothing but the file goes from one to the next."""
    receivers = [
        Receiver.wsgi(app, f"/{number}", username="acme", secret="s3cret", description=f"app {number}")
        for number, app in enumerate(apps)
    ]
    defaults = {"check": False, **options}
    with SqliteStore(path) as store, EngageLab(receivers, clock=VirtualClock(now), defaults=defaults) as engagelab:
        restore(engagelab, store)
        yield engagelab


def described(engagelab: EngageLab) -> tuple[object, ...]:
    """Describe everything that happened and is to come, by value."""
    entries: list[object] = []
    for entry in engagelab.journal:
        if isinstance(entry, Refusal):
            entries.append((entry.at, type(entry.error), str(entry.error)))
            continue
        attempts = [
            [
                *(a.number, a.at, a.callback.headers.pairs, a.callback.body, a.outcome, a.error, a.elapsed, a.faults),
                a.response and (a.response.status, a.response.reason, a.response.headers.pairs, a.response.body),
            ]
            for a in entry.attempts
        ]
        entries.append(
            [
                *(entry.events, entry.body, entry.message_id, entry.retry, entry.faults, entry.content_type),
                *(entry.signed, entry.receiver.address, entry.closed, attempts),
            ]
        )
    return entries, [(timer.when, timer.label) for timer in engagelab.pending]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(["verified", "delivered", "fallback", "sent_failed"])),
        st.tuples(st.just("accept"), st.sampled_from(["verified", "delivered", "fallback"])),
        st.tuples(st.just("send faulty"), st.sampled_from(["wrong_secret", "bom", "duplicate"])),
        st.tuples(st.just("answer"), st.sampled_from(["200 OK", "500 Oops"])),
        st.tuples(st.just("advance"), st.sampled_from([30, 400, 90_000])),
        st.tuples(st.just("notify"), st.just("insufficient_balance")),
        st.tuples(st.just("ping"), st.just("")),
        st.tuples(st.just("misuse"), st.just("")),
    ),
    max_size=7,
)


def take(engagelab: EngageLab, app: App, step: tuple[str, Any]) -> None:
    what, value = step
    if what == "send":
        engagelab.send(scenario=value)
    elif what == "accept":
        # Nothing is let pass, so that callbacks, or retries of some, are still to come when the process ends.
        engagelab._accept(None, {"scenario": value, "retry": [60, 600]})
    elif what == "send faulty":
        engagelab.send(fault=value, scenario="delivered")
    elif what == "answer":
        app.status = value
    elif what == "advance":
        engagelab.clock.advance(value)
    elif what == "notify":
        engagelab.notify(value)
    elif what == "ping":
        engagelab.validate_address(check=False)
    else:
        with pytest.raises(UsageError):
            engagelab.send("nobody")


@given(STEPS, STEPS)
@settings(derandomize=True, max_examples=30, deadline=None)
def test_what_is_restored_is_what_was(
    tmp_path_factory: pytest.TempPathFactory, first: list[tuple[str, Any]], second: list[tuple[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("restore") / "mock.sqlite"
    app, now = App(), 1_700_000_000.0
    before: object = ([], [])
    for steps in (first, second, []):
        with process(path, app, App(), now=now) as engagelab:
            assert described(engagelab) == before
            for step in steps:
                take(engagelab, app, step)
            before, now = described(engagelab), engagelab.clock.time()


def test_ids_and_nonces_do_not_come_again(path: Path) -> None:
    ids = []
    for _ in range(3):
        with process(path, App()) as engagelab:
            ids.append(engagelab.send("+6591234567").message_id)
            business = engagelab.business_id
            nonces = [attempt.callback.headers["X-CALLBACK-ID"] for attempt in engagelab.journal.attempts]
    assert len({*ids}) == 3
    assert len({*nonces}) == 12
    with process(path, App()) as engagelab:
        assert engagelab.business_id == business


def died(path: Path, app: App, **options: Any) -> None:
    """Be a process that ends in the middle of its first attempt."""
    app.status = "dies"
    with pytest.raises(KeyboardInterrupt):
        begin_and_die(path, app, options)
    app.status = "200 OK"


def begin_and_die(path: Path, app: App, options: dict[str, Any]) -> None:
    with process(path, app, **options) as engagelab:
        engagelab._accept("+6591234567", {"scenario": "delivered"})
        engagelab.clock.advance(minutes=1)


def test_an_attempt_under_way_stays_pending_and_is_made_again(path: Path) -> None:
    app = App()
    died(path, app)
    with process(path, app) as engagelab:
        (delivery,) = engagelab.journal.deliveries
        assert [attempt.outcome for attempt in delivery.attempts] == [Outcome.PENDING]
        engagelab.clock.advance(minutes=1)
        assert [attempt.outcome for attempt in delivery.attempts] == [Outcome.PENDING, Outcome.ACKNOWLEDGED]
        assert [attempt.number for attempt in delivery.attempts] == [1, 2]
        assert engagelab.journal.where(outcome="acknowledged").statuses == ["plan", "sent", "delivered"]


def test_retries_go_on_with_their_numbers_at_their_time(path: Path) -> None:
    app = App()
    app.status = "503 Busy"
    ladder = RetryPolicy((60.0, 600.0))
    with process(path, app, retry=ladder) as engagelab:
        engagelab._accept("+6591234567", {"scenario": ["plan"]})
        engagelab.clock.advance(61)
        assert [len(delivery.attempts) for delivery in engagelab.journal.deliveries] == [2]
    with process(path, app, now=1_700_000_100.0) as engagelab:
        (delivery,) = engagelab.journal.deliveries
        assert [timer.label for timer in engagelab.pending] == [f"attempt 3 of plan of {delivery.message_id}"]
        app.status = "200 OK"
        engagelab.clock.advance_to(1_700_000_000 + 659)
        assert len(delivery.attempts) == 2
        engagelab.clock.advance(2)
        assert [attempt.acknowledged for attempt in delivery.attempts] == [False, False, True]


def test_what_is_overdue_goes_out_at_the_next_chance(path: Path) -> None:
    app = App()
    with process(path, app) as engagelab:
        engagelab._accept("+6591234567", {"scenario": "delivered"})
    assert app.bodies == []
    with process(path, app, now=1_700_100_000.0) as engagelab:
        engagelab.clock.advance(0)
        assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified_timeout"]
    with process(path, app, now=1_700_100_000.0) as engagelab:
        engagelab.clock.advance(hours=1)
        assert len(app.bodies) == 4


def test_what_was_taken_back_stays_taken_back(path: Path) -> None:
    app = App()
    with process(path, app) as engagelab:
        play = engagelab._accept("+6591234567", {"scenario": "delivered"})[1]
        play.take_back_afterwards()
        other = engagelab._accept("+6591234568", {"scenario": "delivered"})[1]
        other.take_back()
    with process(path, app) as engagelab:
        engagelab.clock.advance(days=1)
        assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


def test_a_receiver_that_is_not_set_up_any_more_gets_what_it_was_to_get(path: Path) -> None:
    with SqliteStore(path) as store, EngageLab(Receiver.http("http://127.0.0.1:1/old", limit=1.0)) as engagelab:
        restore(engagelab, store)
        engagelab._accept("+6591234567", {"scenario": ["plan"], "retry": [60], "check": False})
        engagelab.clock.advance(0)
    with process(path, App()) as engagelab:
        (delivery,) = engagelab.journal.deliveries
        assert (delivery.receiver.address, delivery.receiver.limit) == ("http://127.0.0.1:1/old", 1.0)
        assert len(engagelab.pending) == 1


def test_only_so_much_is_kept(path: Path) -> None:
    for _ in range(2):
        with SqliteStore(path) as store, EngageLab(journal=Journal(limit=5)) as engagelab:
            restore(engagelab, store)
            for _ in range(4):
                engagelab.send(scenario=["plan", "sent"])
            assert len(engagelab.journal) == 5
            ((count,),) = store._database.execute("SELECT count(*) FROM entry")
            assert count == 5


def test_the_clock_goes_on_as_if_it_had_run(path: Path) -> None:
    with SqliteStore(path) as store, EngageLab(clock=LiveClock(1.0)) as engagelab:
        restore(engagelab, store)
        engagelab.clock.advance(days=3)
        moved = engagelab.clock.time()
    with SqliteStore(path) as store, EngageLab(clock=LiveClock(5.0)) as engagelab:
        restore(engagelab, store)
        assert moved <= engagelab.clock.time() < moved + 60
        assert engagelab.clock.speed == 5.0
        engagelab.clock.freeze()
    with SqliteStore(path) as store, EngageLab(clock=LiveClock(1.0)) as engagelab:
        restore(engagelab, store)
        assert engagelab.clock.frozen
