"""A bulk send in which a message fails, or that is cancelled, ends in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engagelab_mock import EngageLab, Journal, NotAcknowledged, Outcome, Receiver
from tests.receivers.refusing import refusing
from tests.service.bulk import AsyncGate


def test_the_first_failed_message_is_raised_without_starting_another() -> None:
    numbers = [f"+65910000{number:02d}" for number in range(100)]
    app = refusing("+6591000007", "+6591000009")
    for concurrency in (1, 8):
        with EngageLab(Receiver.wsgi(app)) as engagelab:
            with pytest.raises(NotAcknowledged) as caught:
                engagelab.send_many(100, to=numbers, scenario="delivered", concurrency=concurrency)
            assert caught.value.delivery.events[0].to == "+6591000007"  # type: ignore[attr-defined]
            assert caught.value.__notes__ == ["in message 8 of 100"]
            begun = {delivery.events[0].to for delivery in engagelab.journal.deliveries}  # type: ignore[attr-defined]
            assert set(numbers[:8]) <= begun
            assert len(begun) < 100
            assert all(attempt.outcome is not Outcome.PENDING for attempt in engagelab.journal.attempts)
            # The delivered messages still have the expiries of their codes.
            engagelab.clock.advance(minutes=5)
            assert engagelab.journal.statuses.count("verified_timeout") == engagelab.journal.statuses.count("delivered")


@pytest.mark.asyncio
async def test_the_first_failed_message_is_raised_in_an_event_loop_too() -> None:
    numbers = [f"+65910000{number:02d}" for number in range(20)]
    with EngageLab(Receiver.wsgi(refusing("+6591000003"))) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            await engagelab.asend_many(20, to=numbers, scenario="delivered", concurrency=4)
        assert caught.value.__notes__ == ["in message 4 of 20"]


def test_without_a_check_every_message_is_sent() -> None:
    with EngageLab(Receiver.wsgi(refusing("+6591000001"))) as engagelab:
        runs = engagelab.send_many(6, to=["+6591000000", "+6591000001"], check=False, concurrency=3)
        assert [run.acknowledged for run in runs] == [True, False] * 3
        assert len(engagelab.journal.where(outcome="not_200", to="+6591000001")) == 12


def test_no_message_is_started_after_a_cancellation() -> None:
    async def main() -> Journal:
        with EngageLab(Receiver.asgi(AsyncGate(5), limit=None)) as engagelab:
            sending = asyncio.create_task(engagelab.asend_many(50, scenario=["plan"], concurrency=4))
            while len(engagelab.journal) < 4:
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            return engagelab.journal

    assert [attempt.outcome for attempt in asyncio.run(main()).attempts] == [Outcome.ABANDONED] * 4


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, KeyboardInterrupt, asyncio.CancelledError, BaseException])
@pytest.mark.parametrize("way", ["threads", "an ASGI app", "tasks"])
def test_an_app_that_raises_any_exception_fails_the_bulk_send(kind: type[BaseException], way: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise kind("why")

    async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        raise kind("why")

    def send() -> None:
        if way == "tasks":
            asyncio.run(engagelab.asend_many(10, scenario=["plan"], concurrency=3))
        else:
            engagelab.send_many(10, scenario=["plan"], concurrency=3)

    receiver = Receiver.wsgi(app) if way == "threads" else Receiver.asgi(asynchronous, lifespan=False)
    with EngageLab(receiver) as engagelab:
        # In the main thread, it may be Ctrl-C: it goes on.
        goes_on = kind is KeyboardInterrupt and way != "threads"
        with pytest.raises(KeyboardInterrupt if goes_on else NotAcknowledged):
            send()
        outcomes = {attempt.outcome for attempt in engagelab.journal.attempts}
        assert outcomes - {Outcome.ABANDONED} == {Outcome.APP_RAISED}
        assert engagelab.pending == []


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError])
def test_a_bulk_send_that_is_not_checked_goes_on_after_any_exception_of_the_app(kind: type[BaseException]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise kind("why")

    with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
        runs = engagelab.send_many(10, scenario=["plan"], concurrency=3, check=False)
    assert [run.deliveries[0].outcome for run in runs] == [Outcome.APP_RAISED] * 10
