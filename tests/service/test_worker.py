"""The delivery worker sends due callbacks by itself and in order; a slow receiver does not delay another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import (
    EngageLab,
    Journal,
    LiveClock,
    NotAcknowledged,
    Outcome,
    Receiver,
    Recorder,
    RetryPolicy,
    UsageError,
    VirtualClock,
)
from engagelab_mock.service.worker import DeliveryWorker as Worker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
from tests.patience import PATIENCE
from tests.service.endpoints import SPEED, Make, accept, live


def test_due_callbacks_go_out_by_themselves_in_order(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Worker(engagelab):
        accept(engagelab)
        engagelab.journal.wait_for(status="delivered", timeout=PATIENCE)
    assert mine.statuses == ["plan", "sent", "delivered"]


def test_who_sends_waits_until_the_worker_has_seen_it_through(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Worker(engagelab):
        run = engagelab.send("+6591234567")
        assert run.acknowledged
    assert mine.statuses == ["plan", "sent", "delivered", "verified"]


@pytest.mark.asyncio
async def test_so_does_who_awaits(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Worker(engagelab):
        run = await engagelab.asend("+6591234567")
    assert run.acknowledged
    assert mine.statuses == ["plan", "sent", "delivered", "verified"]


def test_a_slow_receiver_does_not_delay_another(endpoint: Make) -> None:
    slow, quick = endpoint("slow"), endpoint("quick")
    slow.go_on.clear()
    with live(slow, quick) as engagelab, Worker(engagelab, concurrency=2):
        for number in range(10):
            accept(engagelab, f"+659123456{number}")
        for number in range(10):
            to = f"+659123456{number}"
            engagelab.journal.wait_for(status="delivered", to=to, receiver=quick.receiver, timeout=PATIENCE)
        assert slow.statuses == []
        slow.go_on.set()
        for number in range(10):
            to = f"+659123456{number}"
            engagelab.journal.wait_for(status="delivered", to=to, receiver=slow.receiver, timeout=PATIENCE)
    for number in range(10):
        mine = slow.recorder.received
        names = [e.name for got in mine for e in got.events if getattr(e, "to", "") == f"+659123456{number}"]
        assert names == ["plan", "sent", "delivered"]


def test_an_unacknowledged_callback_is_tried_again_and_ends_nothing(endpoint: Make) -> None:
    failing = endpoint("failing", status=500)
    with live(failing, retry=RetryPolicy((5.0, 10.0))) as engagelab, Worker(engagelab):
        run = engagelab.send("+6591234567", scenario=["plan", "sent"])
    assert [[attempt.outcome for attempt in delivery.attempts] for delivery in run.deliveries] == [
        [Outcome.NOT_200] * 3,
        [Outcome.NOT_200] * 3,
    ]
    assert all(delivery.given_up for delivery in run.deliveries)


def test_an_error_is_in_the_journal_and_ends_nothing(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Worker(engagelab):
        engagelab.clock.call_at(0, lambda: 1 / 0)
        accept(engagelab)
        engagelab.journal.wait_for(status="delivered", timeout=PATIENCE)
        (refusal,) = engagelab.journal.refusals
    assert "DeliveryWorker: ZeroDivisionError: division by zero" in str(refusal)


def test_stopped_it_sends_nothing_more_and_leaves_the_rest(endpoint: Make) -> None:
    mine = endpoint("mine")
    mine.go_on.clear()
    with live(mine) as engagelab:
        worker = Worker(engagelab).start()
        accept(engagelab)
        accept(engagelab, "+6591234568")
        assert mine.asked.wait(PATIENCE)
        engagelab.clock.freeze()
        assert not worker.stop(grace=0)
        mine.go_on.set()
        assert worker.stop()
        engagelab.clock.resume()
        with pytest.raises(UsageError, match="stopped and cannot start again"):
            worker.start()
    assert len(mine.statuses) < 6


def test_many_messages_each_arrive_once_and_in_order(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Worker(engagelab, concurrency=4):
        runs = [engagelab.begin_send(scenario="delivered") for _ in range(50)]
        for run in runs:
            engagelab.journal.wait_for(
                status="delivered", message_id=run.message_id, outcome="acknowledged", timeout=PATIENCE
            )
    for run in runs:
        assert (run.statuses, run.acknowledged) == (["plan", "sent", "delivered"], True)
    assert len(mine.statuses) == 150


def test_messages_accepted_before_its_start_go_out(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab:
        run = engagelab.begin_send(scenario="delivered")
        with Worker(engagelab):
            engagelab.journal.wait_for(status="delivered", outcome="acknowledged", timeout=PATIENCE)
    assert (run.statuses, run.acknowledged) == (["plan", "sent", "delivered"], True)


def test_a_frozen_clock_holds_everything_back_that_is_not_due(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Worker(engagelab):
        engagelab.clock.freeze()
        accept(engagelab)
        engagelab.journal.wait_for(status="plan", outcome="acknowledged", timeout=PATIENCE)
        assert [timer.label.split()[0] for timer in engagelab.pending] == ["sent", "delivered"]
        engagelab.clock.advance(2)
        engagelab.journal.wait_for(status="sent", outcome="acknowledged", timeout=PATIENCE)
        assert len(engagelab.pending) == 1
        engagelab.clock.resume()
        engagelab.journal.wait_for(status="delivered", outcome="acknowledged", timeout=PATIENCE)


def test_on_a_virtual_clock_it_settles_and_keeps_failures_for_the_next(endpoint: Make) -> None:
    failing = endpoint("failing", status=500)
    journal = Journal()
    with EngageLab(failing.receiver, clock=VirtualClock(0), journal=journal) as engagelab, Worker(engagelab):
        accept(engagelab)
        journal.wait_for(status="plan", outcome="not_200", timeout=PATIENCE)
        with pytest.raises(NotAcknowledged, match="plan was not acknowledged"):
            engagelab.settle()
        engagelab.settle()
    assert failing.statuses == ["plan"]


def test_on_a_virtual_clock_messages_accepted_before_its_start_go_out(endpoint: Make) -> None:
    mine = endpoint("mine")
    journal = Journal()
    with EngageLab(mine.receiver, journal=journal) as engagelab:
        run = engagelab.begin_send(scenario="delivered")
        with Worker(engagelab):
            journal.wait_for(status="delivered", outcome="acknowledged", timeout=PATIENCE)
    assert (run.statuses, run.acknowledged) == (["plan", "sent", "delivered"], True)


@pytest.mark.parametrize("clock", [VirtualClock(0), LiveClock(SPEED)], ids=["virtual", "live"])
def test_a_refused_callback_is_not_an_error_of_the_worker(endpoint: Make, clock: VirtualClock | LiveClock) -> None:
    failing, journal = endpoint("failing", status=500), Journal()
    with EngageLab(failing.receiver, clock=clock, journal=journal) as engagelab:
        worker = Worker(engagelab).start()
        accept(engagelab)
        journal.wait_for(status="plan", outcome="not_200", timeout=PATIENCE)
        assert worker.stop(grace=PATIENCE)
        with pytest.raises(NotAcknowledged):
            engagelab.settle()
        assert journal.refusals == []


@pytest.mark.asyncio
@pytest.mark.parametrize("verb", ["send", "asend"])
async def test_an_unacknowledged_callback_is_raised_at_the_line_that_sends(endpoint: Make, verb: str) -> None:
    failing = endpoint("failing", status=500)
    with live(failing, check=True) as engagelab, Worker(engagelab):
        sending = engagelab.asend() if verb == "asend" else asyncio.to_thread(engagelab.send)
        with pytest.raises(NotAcknowledged, match="plan was not acknowledged"):
            await sending
        engagelab.settle()
    assert failing.statuses == ["plan"]


def test_stopped_twice_or_never_started_it_is_over() -> None:
    with EngageLab() as engagelab:
        assert Worker(engagelab).stop()
        worker = Worker(engagelab).start()
        assert worker.start() is worker
        assert worker.stop(grace=PATIENCE)
        assert worker.stop()


class EventClearedLate(threading.Event):
    """An event that is cleared only after it was set a second time."""

    def __init__(self) -> None:
        super().__init__()
        self._times = 0
        self._twice = threading.Condition()

    def set(self) -> None:
        super().set()
        with self._twice:
            self._times += 1
            self._twice.notify_all()

    def clear(self) -> None:
        with self._twice:
            self._twice.wait_for(lambda: self._times > 1, PATIENCE)
        super().clear()


def test_stopped_while_it_wakes_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with EngageLab() as engagelab:
        with monkeypatch.context() as patched:
            patched.setattr(threading, "Event", EventClearedLate)
            worker = Worker(engagelab)
        worker.start()
        assert worker.stop(grace=PATIENCE)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, KeyboardInterrupt, asyncio.CancelledError, BaseException])
def test_an_app_that_raises_any_exception_ends_nothing(kind: type[BaseException]) -> None:
    left = [kind("why"), kind("why")]
    recorder = Recorder()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if left:
            raise left.pop()
        return recorder(environ, start_response)

    with EngageLab(Receiver.wsgi(app), clock=LiveClock(), code_ttl=None) as engagelab, Worker(engagelab):
        engagelab.begin_send("+6591234567", scenario=["plan"], check=False)
        engagelab.begin_send("+6591234568", scenario=["plan"], check=False)
        found = engagelab.journal.wait_for(to="+6591234567", outcome="app_raised", timeout=PATIENCE)
        assert type(found.attempts[0].exception) is kind
        engagelab.journal.wait_for(to="+6591234568", outcome="app_raised", timeout=PATIENCE)
        engagelab.begin_send("+6591234569", scenario=["plan"])
        engagelab.journal.wait_for(to="+6591234569", outcome="acknowledged", timeout=PATIENCE)


def test_a_listener_that_raises_any_exception_ends_nothing() -> None:
    left = [SystemExit("why")]

    def listen(*_: object) -> None:
        if left:
            raise left.pop()

    with EngageLab(clock=LiveClock(), code_ttl=None) as engagelab, Worker(engagelab):
        engagelab.journal.listeners.append(listen)
        engagelab.begin_send("+6591234567", scenario=["plan"])
        run = engagelab.send("+6591234567", scenario=["plan"])
        assert run.acknowledged
        assert [refusal.error.what for refusal in engagelab.journal.refusals] == ["SystemExit: why"]
