"""Wait for a callback in the journal, in a thread and in an event loop."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import Attempt, Delivery, EngageLab, InvalidDelay, Journal
from tests.patience import PATIENCE


def test_waiting_ends_when_another_thread_sends() -> None:
    waiting = threading.Event()

    class Listeners(list[Callable[[Delivery, Attempt], object]]):
        def append(self, listener: Callable[[Delivery, Attempt], object]) -> None:
            super().append(listener)
            waiting.set()

    with EngageLab() as engagelab:
        engagelab.journal.listeners = Listeners()

        def send() -> None:
            assert waiting.wait(PATIENCE)
            engagelab.send("+6591234567", scenario="delivered")

        sending = threading.Thread(target=send)
        sending.start()
        found = engagelab.journal.wait_for(status="sent", to="+6591234567", timeout=PATIENCE)
        sending.join(PATIENCE)
        assert found.statuses == ["sent"]
        assert found.acknowledged
        assert engagelab.journal.listeners == []


def test_waiting_is_for_an_acknowledged_callback_unless_another_outcome_is_named(mixed: EngageLab) -> None:
    assert mixed.journal.wait_for(status="verified", outcome="not_200", timeout=0).attempts[0].error
    with pytest.raises(AssertionError) as caught:
        mixed.journal.wait_for(status="verified", timeout=0.01)
    assert str(caught.value).startswith(
        "no acknowledged delivery with status='verified' within 0.01 s; the nearest is verified, whose outcome is "
        "not_200\n\n#  event"
    )
    assert mixed.journal.listeners == []


@pytest.mark.parametrize("timeout", [-1, math.inf, math.nan, "3", None])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(InvalidDelay, match="wait_for, timeout"):
        Journal().wait_for(timeout=timeout)


@pytest.mark.asyncio
async def test_an_event_loop_waits_without_standing_still() -> None:
    with EngageLab() as engagelab:
        waiting = asyncio.create_task(engagelab.journal.await_for(status="delivered", timeout=PATIENCE))
        while not engagelab.journal.listeners:
            await asyncio.sleep(0)
        await engagelab.asend("+6591234567", scenario="delivered")
        assert (await waiting).statuses == ["delivered"]
        # What is there already is there at once, and what another thread sends is heard of, too.
        assert (await engagelab.journal.await_for(status="sent", timeout=0)).statuses == ["sent"]
        waiting = asyncio.create_task(engagelab.journal.await_for(status="sent_failed", timeout=PATIENCE))
        await asyncio.to_thread(engagelab.send, scenario="sent_failed")
        assert (await waiting).statuses == ["sent_failed"]
        assert engagelab.journal.listeners == []


@pytest.mark.asyncio
async def test_waiting_in_an_event_loop_fails_like_waiting_outside(mixed: EngageLab) -> None:
    with pytest.raises(AssertionError) as caught:
        await mixed.journal.await_for(status="verified", timeout=0.01)
    with pytest.raises(AssertionError) as expected:
        mixed.journal.wait_for(status="verified", timeout=0.01)
    assert str(caught.value) == str(expected.value)
    assert mixed.journal.listeners == []


def test_waiting_in_an_event_loop_can_be_called_off() -> None:
    journal = Journal()

    async def main() -> None:
        waiting = asyncio.create_task(journal.await_for(status="sent", timeout=3600))
        while not journal.listeners:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    running = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    running.start()
    running.join(PATIENCE)
    assert not running.is_alive()  # a thread that waited on would hold up the end of its loop
    assert journal.listeners == []
