"""Blocking and awaiting: the same program, run without an event loop or in one."""

from __future__ import annotations

import asyncio

import pytest

from engagelab_mock import EngageLab, Receiver, UsageError
from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from tests.eventloops import answering


def test_a_program_that_never_suspends_is_driven_to_its_value() -> None:
    async def inner() -> int:
        return 6

    async def program() -> int:
        return await inner() + 1

    assert run_sync(program()) == 7


def test_an_exception_of_a_program_is_raised() -> None:
    async def program() -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        run_sync(program())


def test_a_program_that_suspends_is_closed_and_refused() -> None:
    left: list[str] = []

    async def program() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            left.append("closed")

    with pytest.raises(RuntimeError, match="a coroutine that was run synchronously waited for an event loop"):
        run_sync(program())
    assert left == ["closed"]


def test_outside_a_loop_both_can_call_any_app() -> None:
    for receiver in (Receiver.asgi(answering()), Receiver.recording(), Receiver.http("http://127.0.0.1:1/")):
        SYNC.check(receiver.transport)
        ASYNC.check(receiver.transport)


@pytest.mark.asyncio
async def test_inside_a_loop_only_an_asgi_app_cannot_be_blocked_on() -> None:
    for receiver in (Receiver.recording(), Receiver.http("http://127.0.0.1:1/")):
        SYNC.check(receiver.transport)
    ASYNC.check(Receiver.asgi(answering()).transport)
    with pytest.raises(UsageError, match="inside a running event loop"):
        SYNC.check(Receiver.asgi(answering()).transport)


@pytest.mark.asyncio
async def test_the_bundled_receiver_can_be_blocked_on_in_a_loop() -> None:
    with EngageLab() as engagelab:
        assert engagelab.send("+6591234567").acknowledged
