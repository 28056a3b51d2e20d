"""Restoring an engine from a store loses nothing and repeats no acknowledged callback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock import (
    EngageLab,
    Journal,
    LiveClock,
    NotAcknowledged,
    Outcome,
    Receiver,
    Refusal,
    RetryPolicy,
    Scenario,
    UnknownName,
    UsageError,
    VirtualClock,
    decode,
)
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.service.rest.client import Client

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class App:
    """A receiver in process that answers as a test sets it, or ends the process."""

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
def process(
    path: Path, *apps: App, now: float = 1_700_000_000, journal: Journal | None = None, **options: Any
) -> Iterator[EngageLab]:
    """Simulate a process that uses the file; only the file is shared between processes."""
    receivers = [
        Receiver.wsgi(app, f"/{number}", username="acme", secret="s3cret", description=f"app {number}")
        for number, app in enumerate(apps)
    ]
    defaults = {"check": False, **options}
    with restored(path, receivers, clock=VirtualClock(now), defaults=defaults, journal=journal) as engagelab:
        yield engagelab


@contextmanager
def restored(path: Path, receivers: Any = None, **options: Any) -> Iterator[EngageLab]:
    """Restore the engine from the file."""
    with SqliteStore(path) as store, EngageLab(receivers, **options) as engagelab:
        restore(engagelab, store)
        yield engagelab


def described(journal: Journal, engagelab: EngageLab) -> tuple[object, ...]:
    """Return the past and pending events as plain values, without settling."""
    entries: list[object] = []
    for entry in journal:
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
    return entries, [(timer.at, timer.label) for timer in engagelab.pending]


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
        # The retries of an expiry may still be pending when the process ends.
        engagelab.send(scenario=value, retry=[60, 600])
    elif what == "accept":
        # The callbacks are still pending when the process ends, unless another step settles.
        engagelab.begin_send(scenario=value, retry=[60, 600])
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
def test_a_restored_engine_has_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, first: list[tuple[str, Any]], second: list[tuple[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("restore") / "mock.sqlite"
    app, now = App(), 1_700_000_000.0
    before: object = ([], [])
    for steps in (first, second, []):
        journal = Journal()
        with process(path, app, App(), now=now, journal=journal) as engagelab:
            assert described(journal, engagelab) == before
            for step in steps:
                take(engagelab, app, step)
            before, now = described(journal, engagelab), engagelab.clock.time()


def test_ids_and_nonces_are_not_used_again(path: Path) -> None:
    ids = []
    for _ in range(3):
        with process(path, App()) as engagelab:
            ids.append(engagelab.send("+6591234567").message_id)
            business = engagelab.account.business_id
            nonces = [attempt.callback.headers["X-CALLBACK-ID"] for attempt in engagelab.journal.attempts]
    assert len({*ids}) == 3
    assert len({*nonces}) == 12
    with process(path, App()) as engagelab:
        assert engagelab.account.business_id == business


def died(path: Path, app: App, **options: Any) -> None:
    """Simulate a process that ends during its first attempt."""
    app.status = "dies"
    with pytest.raises(KeyboardInterrupt):
        begin_and_die(path, app, options)
    app.status = "200 OK"


def begin_and_die(path: Path, app: App, options: dict[str, Any]) -> None:
    with process(path, app, **options) as engagelab:
        engagelab.begin_send("+6591234567", scenario="delivered")
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


def test_callbacks_that_were_under_way_go_out_before_overdue_ones(path: Path) -> None:
    first, second = App(), App()
    first.status = "dies"
    with pytest.raises(KeyboardInterrupt), process(path, first, second) as engagelab:
        settle_after_sending(engagelab, "delivered")
    first.status = "200 OK"
    with process(path, first, second, now=1_700_100_000.0) as engagelab:
        assert [len(delivery.attempts) for delivery in engagelab.journal.deliveries] == [1]
        engagelab.clock.advance(0)
    for app in (first, second):
        assert told(app) == ["plan", "sent", "delivered", "verified_timeout"]


def test_callbacks_of_one_moment_keep_their_order(path: Path) -> None:
    app = App()
    app.status = "dies"
    at_once = Scenario("at once").then("plan").then("sent", channel="sms").then("delivered").then("verified")
    with pytest.raises(KeyboardInterrupt), process(path, app) as engagelab:
        settle_after_sending(engagelab, at_once)
    app.status = "200 OK"
    with process(path, app) as engagelab:
        engagelab.clock.advance(0)
    assert told(app) == ["plan", "sent", "delivered", "verified"]


def test_a_retry_under_way_keeps_the_time_at_which_it_was_due(path: Path) -> None:
    app = App()
    app.status = "503 Busy"
    # The first attempt of `plan` fails, and the process ends during the second, 5 s later.
    slow = Scenario("slow").then("plan").then("sent", after=10, channel="sms")
    with pytest.raises(KeyboardInterrupt), process(path, app, retry=[5]) as engagelab:
        settle_after_sending(engagelab, slow, dies_at=1_700_000_004, app=app)
    app.status = "200 OK"
    app.bodies.clear()
    with process(path, app, now=1_700_000_020.0) as engagelab:
        engagelab.clock.advance(0)
    assert told(app) == ["plan", "sent"]


def settle_after_sending(
    engagelab: EngageLab, scenario: str | Scenario, *, dies_at: float | None = None, app: App | None = None
) -> None:
    if dies_at is not None:
        engagelab.clock.call_at(dies_at, lambda: setattr(app, "status", "dies"))
    engagelab.begin_send("+6591234567", scenario=scenario)
    engagelab.settle()


def told(app: App) -> list[str]:
    """Return the statuses that an app got, in order."""
    return [event.name for body in app.bodies for event in decode(body).rows]


def test_retries_continue_with_their_numbers_at_their_time(path: Path) -> None:
    app = App()
    ladder = RetryPolicy((60.0, 600.0))
    with process(path, app, retry=ladder) as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        app.status = "503 Busy"
        engagelab.clock.advance_to(1_700_000_000 + 361)  # the code expires after 300 s
        assert [len(delivery.attempts) for delivery in engagelab.journal.deliveries] == [1, 1, 1, 2]
    with process(path, app, now=1_700_000_400.0) as engagelab:
        *_, delivery = engagelab.journal.deliveries
        [timer] = engagelab.pending
        assert timer.label == f"attempt 3 of verified_timeout of {delivery.message_id}"
        app.status = "200 OK"
        engagelab.clock.advance_to(1_700_000_000 + 959)
        assert len(delivery.attempts) == 2
        engagelab.clock.advance(2)
        assert [attempt.acknowledged for attempt in delivery.attempts] == [False, False, True]


def test_overdue_callbacks_are_sent_at_once(path: Path) -> None:
    app = App()
    with process(path, app) as engagelab:
        engagelab.begin_send("+6591234567", scenario="delivered")
    assert app.bodies == []
    with process(path, app, now=1_700_100_000.0) as engagelab:
        engagelab.clock.advance(0)
        assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified_timeout"]
    with process(path, app, now=1_700_100_000.0) as engagelab:
        engagelab.clock.advance(hours=1)
        assert len(app.bodies) == 4


def test_the_expiry_of_a_code_that_was_entered_stays_withdrawn(path: Path) -> None:
    with process(path, App()) as engagelab:
        client = Client(engagelab)
        message_id = client.sent("+6591234567")
        client.sent("+6591234568")
        assert client.verify(message_id, engagelab.inbox("+6591234567").code).status == 200
        engagelab.settle()
    with process(path, App()) as engagelab:
        engagelab.clock.advance(days=1)
        sent = ["plan", "sent", "delivered"]
        assert engagelab.journal.where(to="+6591234567").statuses == [*sent, "verified"]
        assert engagelab.journal.where(to="+6591234568").statuses == [*sent, "verified_timeout"]


@pytest.mark.parametrize("begun", [False, True])
def test_callbacks_that_a_failure_withdrew_stay_withdrawn(path: Path, begun: bool) -> None:
    app = App()
    app.status = "500 Oops"
    with process(path, app, check=True) as engagelab:
        if begun:
            engagelab.begin_send("+6591234567", scenario="delivered")
        with pytest.raises(NotAcknowledged):
            engagelab.send("+6591234567", scenario="delivered") if not begun else engagelab.settle()
    app.status = "200 OK"
    with process(path, app) as engagelab:
        engagelab.clock.advance(days=1)
        assert engagelab.journal.statuses == ["plan"]


def test_callbacks_that_a_reset_withdrew_stay_withdrawn(path: Path) -> None:
    with process(path, App()) as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        engagelab.begin_send("+6591234567", scenario="delivered")
        engagelab.reset()
    with process(path, App()) as engagelab:
        engagelab.clock.advance(days=1)
        assert (list(engagelab.journal), list(engagelab.accepted)) == ([], [])


def test_a_receiver_that_was_removed_still_gets_its_pending_callbacks(path: Path) -> None:
    with restored(path, Receiver.http("http://127.0.0.1:1/old", limit=1.0)) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", retry=[60], check=False)
        engagelab.clock.advance_to(run.message.accepted + 300)
        assert len(engagelab.pending) == 1
    with process(path, App()) as engagelab:
        assert len(engagelab.journal.deliveries) == 4
        for delivery in engagelab.journal.deliveries:
            assert (delivery.receiver.address, delivery.receiver.limit) == ("http://127.0.0.1:1/old", 1.0)
        [timer] = engagelab.pending
        assert timer.label.startswith("attempt 2 of verified_timeout")


def test_a_restored_refusal_has_the_attributes_of_its_error(path: Path) -> None:
    with process(path, App()) as engagelab:
        with pytest.raises(UnknownName) as caught:
            engagelab.send("+6591234567", scenario="verfied")
        assert (caught.value.noun, caught.value.name) == ("scenario", "verfied")
    with process(path, App()) as engagelab:
        [refusal] = engagelab.journal.refusals
        assert isinstance(refusal.error, UnknownName)
        assert (refusal.error.noun, refusal.error.name) == ("scenario", "verfied")
        assert (str(refusal.error), refusal.error.hint) == (str(caught.value), caught.value.hint)


def test_the_store_holds_at_most_keep_records(path: Path) -> None:
    for _ in range(2):
        with restored(path, journal=Journal(limit=5)) as engagelab:
            for _ in range(4):
                engagelab.send(scenario=["plan", "sent"])
            assert len(engagelab.journal) == 5
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT count(*) FROM entry").fetchone() == (5,)


def test_the_clock_shows_the_time_as_if_it_had_run(path: Path) -> None:
    with restored(path, clock=LiveClock(1.0)) as engagelab:
        engagelab.clock.freeze()
        moved = engagelab.clock.advance(days=3)
        engagelab.clock.resume()
    with restored(path, clock=LiveClock(5.0)) as engagelab:
        assert engagelab.clock.time() >= moved
        assert engagelab.clock.speed == 5.0
        engagelab.clock.freeze()
        stands = engagelab.clock.time()
    with restored(path, clock=LiveClock(1.0)) as engagelab:
        assert engagelab.clock.frozen
        assert engagelab.clock.time() == stands
