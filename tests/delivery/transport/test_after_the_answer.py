"""An answer is complete at its last byte, and an app that takes too long goes on: as behind a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import anyio
import pytest

from engagelab_mock import Attempt, EngageLab, Outcome, Receiver

LIMIT = 0.05
START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}


def busy() -> None:
    """Take longer than the limit; busy, not asleep: the clock must move while the app has the thread."""
    until = perf_counter() + 1.2 * LIMIT
    while perf_counter() < until:
        pass


def fail() -> None:
    raise LookupError("in close")


class Closing:
    """A WSGI app whose answer is closed in a given way."""

    def __init__(
        self, close: Callable[[], None], chunks: Callable[[], Iterator[bytes]] = lambda: iter([b"fine"])
    ) -> None:
        self._close = close
        self._chunks = chunks
        self.closed = 0

    def __call__(self, environ: Any, start_response: Any) -> Closing:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks()

    def close(self) -> None:
        self.closed += 1
        self._close()


def attempt_of(app: Any) -> Attempt:
    with EngageLab(Receiver.wsgi(app, limit=LIMIT)) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], check=False).deliveries
    return delivery.attempts[0]


def test_a_slow_close_is_not_part_of_the_answer() -> None:
    app = Closing(busy)
    attempt = attempt_of(app)
    assert attempt.acknowledged
    assert attempt.elapsed < LIMIT
    assert app.closed == 1


def test_a_close_that_raises_is_recorded_with_the_answer() -> None:
    attempt = attempt_of(Closing(fail))
    assert attempt.acknowledged
    assert attempt.response is not None
    assert attempt.response.body == b"fine"
    assert isinstance(attempt.exception, LookupError)


def test_slow_chunks_are_part_of_the_answer() -> None:
    def chunks() -> Iterator[bytes]:
        busy()
        yield b"fine"

    assert attempt_of(Closing(lambda: None, chunks)).outcome is Outcome.TIMEOUT


def test_a_body_that_raises_is_not_hidden_by_its_close() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"fi"
        raise ZeroDivisionError

    app = Closing(fail, chunks)
    attempt = attempt_of(app)
    assert attempt.outcome is Outcome.APP_RAISED
    assert isinstance(attempt.exception, ZeroDivisionError)
    assert app.closed == 1


@pytest.mark.anyio
@pytest.mark.parametrize("close", [busy, fail])
async def test_a_close_in_an_asynchronous_send(close: Callable[[], None]) -> None:
    with EngageLab(Receiver.wsgi(Closing(close), limit=LIMIT)) as engagelab:
        run = await engagelab.asend(scenario=["plan"])
    assert run.acknowledged


# ---- an ASGI app that takes too long ----


class Slow:
    """An app whose first request does not end before a second one comes, or before it is cancelled."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.second = anyio.Event()
        self.ended = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if self.log:
            self.second.set()
            await self.ended.wait()
        else:
            self.log.append((await receive())["type"])
            try:
                await self.second.wait()
            except BaseException:
                self.log.append("cancelled")
                raise
            self.log.append("committed")
            self.ended.set()
        await send(START)
        await send(BODY)


def test_it_goes_on_while_the_next_callback_is_sent() -> None:
    app = Slow()
    with EngageLab(Receiver.asgi(app, limit=LIMIT, lifespan=False)) as engagelab:
        engagelab.send(scenario=["plan"], retry=[1.0])
        [first, second] = engagelab.journal.attempts
    assert first.outcome is Outcome.TIMEOUT
    assert first.response is None
    assert second.acknowledged
    assert app.log == ["http.disconnect", "committed"]


@pytest.mark.anyio
async def test_it_goes_on_in_the_tests_own_loop() -> None:
    app = Slow()
    with EngageLab(Receiver.asgi(app, limit=LIMIT, lifespan=False)) as engagelab:
        run = await engagelab.asend(scenario=["plan"], check=False)
        app.second.set()
        with anyio.fail_after(10):
            await app.ended.wait()
    assert run.deliveries[0].outcome is Outcome.TIMEOUT
    assert app.log == ["http.disconnect", "committed"]


def test_it_is_cancelled_when_the_receiver_is_closed() -> None:
    app = Slow()
    with EngageLab(Receiver.asgi(app, limit=LIMIT, lifespan=False)) as engagelab:
        engagelab.send(scenario=["plan"], check=False)
        assert app.log == ["http.disconnect"]
    assert app.log == ["http.disconnect", "cancelled"]


@pytest.mark.anyio
async def test_it_is_cancelled_in_the_tests_own_loop_when_the_receiver_is_closed() -> None:
    app = Slow()
    with EngageLab(Receiver.asgi(app, limit=LIMIT, lifespan=False)) as engagelab:
        await engagelab.asend(scenario=["plan"], check=False)
    with anyio.fail_after(10):
        while "cancelled" not in app.log:
            await anyio.sleep(0)


@pytest.mark.asyncio
async def test_it_may_fail_after_the_sender_has_gone() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.current_task())
        await receive()
        await receive()
        raise SystemExit("too late")

    with EngageLab(Receiver.asgi(app, limit=LIMIT, lifespan=False)) as engagelab:
        run = await engagelab.asend(scenario=["plan"], check=False)
        [task] = tasks
        assert task is not None
        await asyncio.wait({task})
    assert run.deliveries[0].outcome is Outcome.TIMEOUT
