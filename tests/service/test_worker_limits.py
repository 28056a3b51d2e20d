"""The callbacks that wait for a receiver are bounded; after that the oldest messages are given up."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engagelab_mock import Delivery, EngageLab, LiveClock
from engagelab_mock.service.worker import DeliveryWorker as Worker
from tests.patience import PATIENCE
from tests.service.endpoints import SPEED, Make, live

#: How many messages may wait.
LIMIT = 10


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
