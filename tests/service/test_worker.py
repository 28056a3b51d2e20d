"""The delivery worker sends due callbacks by itself and in order; a slow receiver does not delay another."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import (
    Delivery,
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
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.worker import DeliveryWorker as Worker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATIENCE = 10.0
#: So fast that no scenario takes a second, and so slow that one message's callbacks are not all due at once.
SPEED = 1000.0
#: How many messages may wait.
LIMIT = 10


class Endpoint:
    """A receiver on a socket that can be made to hold its answers back."""

    def __init__(self, name: str, *, status: int = 200) -> None:
        self.recorder = Recorder(answer=status)
        self.go_on = threading.Event()
        self.go_on.set()
        #: Set by the first request.
        self.asked = threading.Event()
        self.handle: Callable[[], object] = str
        self.server = LoopbackServer(self._app)
        self.receiver = Receiver.http(f"{self.server.url}/{name}", description=name, limit=PATIENCE)

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.set()
        self.go_on.wait(PATIENCE)
        self.handle()
        return self.recorder(environ, start_response)

    @property
    def statuses(self) -> list[str]:
        return [event.name for received in self.recorder.received for event in received.events]


Make = Callable[..., Endpoint]


@pytest.fixture
def endpoint() -> Iterator[Make]:
    with ExitStack() as stack:

        def make(name: str, *, status: int = 200) -> Endpoint:
            made = Endpoint(name, status=status)
            stack.enter_context(made.server)
            stack.callback(made.receiver.close)
            stack.callback(made.go_on.set)
            return made

        yield make


def live(*endpoints: Endpoint, **options: object) -> EngageLab:
    receivers = [endpoint.receiver for endpoint in endpoints]
    return EngageLab(receivers, clock=LiveClock(SPEED), code_ttl=None, defaults={"check": False} | options)


def accept(engagelab: EngageLab, to: str = "+6591234567") -> None:
    """Have a message accepted, and wait for none of its callbacks."""
    engagelab.begin_send(to, scenario="delivered")


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


@pytest.mark.parametrize("abreast", [1, 3])
def test_no_more_callbacks_are_under_way_to_a_receiver_than_said(endpoint: Make, abreast: int) -> None:
    """While the first are held back, no other has begun; each that is answered lets in one more."""
    mine = endpoint("mine")
    inside, most, lock = 0, 0, threading.Lock()
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def handle() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        begun.release()
        assert go_on.acquire(timeout=PATIENCE)
        with lock:
            inside -= 1

    mine.handle = handle
    with live(mine) as engagelab, Worker(engagelab, concurrency=abreast):
        runs = [engagelab.begin_send(scenario=["plan"]) for _ in range(10)]
        for number in range(10):
            assert begun.acquire(timeout=PATIENCE)
            if number >= abreast - 1:
                go_on.release()
        for _ in range(abreast - 1):
            go_on.release()
        for run in runs:
            engagelab.journal.wait_for(message_id=run.message_id, outcome="acknowledged", timeout=PATIENCE)
    assert most == abreast


def test_of_too_many_messages_that_wait_the_oldest_are_given_up(endpoint: Make) -> None:
    slow, fast = endpoint("slow"), endpoint("fast")
    slow.go_on.clear()
    given_up: list[int] = []
    clock = LiveClock(SPEED)
    with (
        EngageLab([slow.receiver, fast.receiver], clock=clock, code_ttl=None, defaults={"check": False}) as engagelab,
        Worker(engagelab, concurrency=1, on_given_up=given_up.append),
    ):
        runs = [engagelab.begin_send(scenario=["plan"]) for _ in range(4)]
        for run in runs:  # once the second receiver has it, it waits for the first
            engagelab.journal.wait_for(timeout=PATIENCE, message_id=run.message_id)
        assert slow.asked.wait(PATIENCE)
        engagelab._engine.messages.most_pending = 2
        runs.append(engagelab.begin_send(scenario=["plan"]))
        assert given_up == [3]
        slow.go_on.set()
        for each in (slow, fast):
            engagelab.journal.wait_for(timeout=PATIENCE, message_id=runs[4].message_id, receiver=each.receiver)
    told = [event.message_id for received in slow.recorder.received for event in received.events]  # type: ignore[attr-defined]
    assert told == [runs[0].message_id, runs[3].message_id, runs[4].message_id]
    assert all(delivery.closed for run in runs for delivery in run.deliveries)


def test_a_caller_does_not_wait_for_callbacks_that_are_given_up(endpoint: Make) -> None:
    slow, fast = endpoint("slow"), endpoint("fast")
    slow.go_on.clear()
    with ThreadPoolExecutor() as callers, live(slow, fast) as engagelab, Worker(engagelab, concurrency=1):
        engagelab.begin_send(scenario=["plan"])
        assert slow.asked.wait(PATIENCE)
        waiting = callers.submit(engagelab.send, "+6591234567", scenario=["plan"])
        engagelab.journal.wait_for(timeout=PATIENCE, to="+6591234567", receiver=fast.receiver)
        engagelab._engine.messages.most_pending = 1
        engagelab.begin_send(scenario=["plan"])
        run = waiting.result(PATIENCE)
        assert [delivery.receiver for delivery in run.deliveries if not delivery.attempts] == [slow.receiver]
        slow.go_on.set()


def test_after_a_reset_nothing_goes_out_that_waited_for_a_receiver(endpoint: Make) -> None:
    slow, fast = endpoint("slow"), endpoint("fast")
    slow.go_on.clear()
    options = {"check": False, "retry": [0.0]}
    with (
        EngageLab([slow.receiver, fast.receiver], clock=LiveClock(SPEED), code_ttl=None, defaults=options) as engagelab,
        Worker(engagelab, concurrency=1),
    ):
        for _ in range(3):
            run = engagelab.begin_send(scenario=["plan"])
            engagelab.journal.wait_for(timeout=PATIENCE, message_id=run.message_id, receiver=fast.receiver)
        engagelab.reset()
        slow.recorder.answer = 500  # to the attempt under way: it is not tried again
        slow.go_on.set()
        after = engagelab.begin_send(scenario=["plan", "sent"])
        engagelab.journal.wait_for(
            timeout=PATIENCE, message_id=after.message_id, status="sent", receiver=slow.receiver, outcome="not_200"
        )
    told = [event.message_id for received in slow.recorder.received for event in received.events]  # type: ignore[attr-defined]
    assert told[1:] == [after.message_id] * len(told[1:])


def test_the_callbacks_that_wait_for_a_silent_receiver_are_bounded(endpoint: Make) -> None:
    slow, fast = endpoint("slow"), endpoint("fast")
    slow.go_on.clear()
    with (
        EngageLab(
            [slow.receiver, fast.receiver],
            clock=LiveClock(SPEED),
            code_ttl=None,
            keep=LIMIT,
            defaults={"check": False},
        ) as engagelab,
        Worker(engagelab, concurrency=1),
    ):
        engagelab._engine.messages.most_pending = LIMIT
        for _ in range(10 * LIMIT):
            message_id = engagelab.begin_send(scenario=["plan"]).message_id
            # Once the second receiver has it, it waits for the first.
            engagelab.journal.wait_for(timeout=PATIENCE, message_id=message_id, receiver=fast.receiver)
        gc.collect()
        kept = [each for each in gc.get_objects() if type(each) is Delivery and each.receiver is slow.receiver]
        # Those of the newest messages, a tenth more, and the one at the receiver.
        assert LIMIT <= len(kept) <= LIMIT + LIMIT // 10 + 1
        slow.go_on.set()
        engagelab.journal.wait_for(timeout=PATIENCE, message_id=message_id, receiver=slow.receiver)
    assert len(slow.statuses) == len(kept)


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
