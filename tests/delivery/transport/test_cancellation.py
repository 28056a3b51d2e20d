"""A genuine cancellation of the caller ends the attempt as abandoned, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest
import trio

from engagelab_mock import EngageLab, NotAcknowledged, Outcome
from tests.delivery.transport.ending import asgi, raising
from tests.patience import PATIENCE


class Waiting:
    """An app that waits until its caller is cancelled; in the second mode it starts a task group before."""

    def __init__(self, grouped: bool = False) -> None:
        self.reached = anyio.Event()
        self.grouped = grouped

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if self.grouped:
                group = await stack.enter_async_context(anyio.create_task_group())
                group.start_soon(anyio.sleep_forever)
            self.reached.set()
            await anyio.sleep_forever()


def is_abandoned(engagelab: EngageLab) -> bool:
    attempts = engagelab.journal.attempts
    assert {attempt.outcome for attempt in attempts} == {Outcome.ABANDONED}
    assert all(attempt.error.startswith("the sender was stopped before it had the answer: ") for attempt in attempts)
    assert all(attempt.exception is not None for attempt in attempts)
    assert all(delivery.closed for delivery in engagelab.journal.deliveries)
    assert engagelab.journal.statuses == ["plan"] * len(engagelab.journal)
    return True


@pytest.mark.anyio
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("fault", [None, "duplicate"])
async def test_a_cancel_scope_of_the_test_cancels(grouped: bool, fault: str | None) -> None:
    app = Waiting(grouped)
    engagelab = EngageLab(asgi(app, limit=None))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: engagelab.asend("+6591234567", check=False, fault=fault))
            await app.reached.wait()
            group.cancel_scope.cancel()
    assert group.cancel_scope.cancel_called
    assert is_abandoned(engagelab)


@pytest.mark.asyncio
async def test_cancelling_the_task_cancels() -> None:
    app = Waiting()
    engagelab = EngageLab(asgi(app, limit=None))
    sending = asyncio.create_task(engagelab.asend("+6591234567", check=False))
    await app.reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert sending.cancelled()
    assert is_abandoned(engagelab)


@pytest.mark.asyncio
async def test_a_time_limit_of_the_test_ends_it() -> None:
    engagelab = EngageLab(asgi(Waiting(), limit=None))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await engagelab.asend("+6591234567", check=False)
    assert is_abandoned(engagelab)


@pytest.mark.asyncio
async def test_a_task_group_that_fails_cancels() -> None:
    app = Waiting()
    engagelab = EngageLab(asgi(app, limit=None))

    async def fails() -> None:
        await app.reached.wait()
        raise LookupError("in the test")

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(engagelab.asend("+6591234567", check=False))
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        await together()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert is_abandoned(engagelab)


@pytest.mark.asyncio
async def test_a_task_that_cancelled_itself_before_the_send_is_cancelled() -> None:
    engagelab = EngageLab(asgi(Waiting(), limit=None))

    async def test() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await engagelab.asend("+6591234567", check=False)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(test())
    assert len(engagelab.journal) == 0
    assert engagelab.pending == []


@pytest.mark.asyncio
async def test_a_task_that_was_cancelled_before_may_send_and_be_cancelled_again() -> None:
    """Code that cleans up after a cancellation sends as well."""
    app = Waiting()
    raising_app = EngageLab(asgi(raising(asyncio.CancelledError, "after a wait")))
    engagelab = EngageLab(asgi(app, limit=None))

    async def test() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(NotAcknowledged):
                await raising_app.asend("+6591234567")
            await engagelab.asend("+6591234567")

    task = asyncio.create_task(test())
    await asyncio.sleep(0)
    task.cancel()
    await app.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_abandoned(engagelab)


def test_an_app_of_trio_that_fails_while_it_is_cancelled_shows_its_error() -> None:
    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("in the app")

    async def main() -> EngageLab:
        reached = trio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails)
                reached.set()
                await trio.sleep_forever()

        async def stop(scope: trio.CancelScope) -> None:
            await reached.wait()
            scope.cancel()

        engagelab = EngageLab(asgi(app, limit=None))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop, nursery.cancel_scope)
            await engagelab.asend("+6591234567", check=False)
        return engagelab

    engagelab = trio.run(main)
    assert is_abandoned(engagelab)
    stopped = engagelab.journal.attempts[0].exception
    assert stopped is not None
    assert isinstance(stopped.__cause__, BaseExceptionGroup)
    assert stopped.__cause__.subgroup(LookupError) is not None


def test_a_coroutine_that_is_closed_ends_its_attempt() -> None:
    engagelab = EngageLab(asgi(Waiting(), limit=None))

    async def main() -> Coroutine[Any, Any, Any]:
        sending = engagelab.asend("+6591234567", check=False)
        driven = asyncio.create_task(_once(sending))
        await driven
        return sending

    asyncio.run(main()).close()
    assert is_abandoned(engagelab)


async def _once(program: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine up to its first wait."""
    program.send(None)


@pytest.mark.anyio
async def test_an_attempt_that_was_abandoned_wakes_those_who_wait_for_it() -> None:
    app = Waiting()
    engagelab = EngageLab(asgi(app, limit=None))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def send() -> None:
                with scope:
                    await engagelab.asend("+6591234567")

            group.start_soon(send)
            await app.reached.wait()
            scope.cancel()
            found = await engagelab.journal.await_for(outcome="abandoned", timeout=PATIENCE)
    assert found.statuses == ["plan"]
