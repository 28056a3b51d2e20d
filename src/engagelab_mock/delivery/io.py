"""Blocking or awaiting: the one difference between `send` and `asend`.

The engine is written once, as coroutines. With `SYNC` they never suspend, and `run_sync` runs them to their end
without an event loop; with `ASYNC` they run in the caller's loop.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from engagelab_mock import eventloop
from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import gather, in_loop
from engagelab_mock.protocol.callback import Callback

if TYPE_CHECKING:
    from engagelab_mock.clock import Clock
    from engagelab_mock.delivery.transport.base import Transport
    from engagelab_mock.delivery.transport.wire import Wire


T = TypeVar("T")


class Io(Protocol):
    """Do what takes time, in one of two ways."""

    def check(self, transport: Transport) -> None:
        """Raise `UsageError` where the transport cannot be used in this way."""

    async def exchange(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None
    ) -> Response:
        """Put a callback to a receiver and return its answer."""

    async def exchange_many(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Put a callback to a receiver several times at once, and return what came of each."""

    async def run_next(self, clock: Clock) -> bool:
        """Run the clock's next action, and say whether there was one."""

    async def pause(self, seconds: float) -> None:
        """Wait, in seconds of the machine, while others work."""


class _Blocking:
    def check(self, transport: Transport) -> None:
        if transport.name == "asgi" and in_loop():
            raise UsageError(
                "the app cannot be called synchronously from inside a running event loop",
                where="Receiver.asgi",
                hint="every verb has an async twin, with an a in front: in an async test use "
                "`await engagelab.asend(...)`, `await engagelab.anotify(...)`, `await engagelab.clock.aadvance(...)`",
            )

    async def exchange(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None
    ) -> Response:
        return transport.exchange(callback, limit, wire)

    async def exchange_many(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        return transport.exchange_many(callback, limit, wire, copies)

    async def run_next(self, clock: Clock) -> bool:
        __tracebackhide__ = True
        return clock.run_next()

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class _Awaiting:
    def check(self, transport: Transport) -> None:
        pass

    async def exchange(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None
    ) -> Response:
        return await transport.aexchange(callback, limit, wire)

    async def exchange_many(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        async def one() -> Response | TransportFailure:
            try:
                return await transport.aexchange(callback, limit, wire)
            except TransportFailure as failure:
                return failure

        return await gather(one() for _ in range(copies))

    async def run_next(self, clock: Clock) -> bool:
        __tracebackhide__ = True
        return await clock.arun_next()

    async def pause(self, seconds: float) -> None:
        await eventloop.sleep(seconds)


SYNC: Io = _Blocking()
ASYNC: Io = _Awaiting()


def run_sync(program: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends.

    >>> async def seven():
    ...     return 7
    >>> run_sync(seven())
    7
    """
    __tracebackhide__ = True
    try:
        program.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    program.close()
    raise RuntimeError("a blocking program was suspended")
