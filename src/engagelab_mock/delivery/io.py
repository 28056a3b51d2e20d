"""How the engine waits and calls receivers: blocking or awaiting. `send` and `asend` differ only in this.

The engine is written once, as coroutines. With `SYNC` they never suspend, and `run_sync` runs them to their end
without an event loop. With `ASYNC` they run in the caller's loop.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import gather, in_loop, sleep
from engagelab_mock.protocol.callback import Callback

if TYPE_CHECKING:
    from types import FrameType

    from engagelab_mock.clock import Clock, Entry
    from engagelab_mock.delivery.transport import Transport
    from engagelab_mock.delivery.transport.wire import Wire
    from engagelab_mock.eventloop import Condition

T = TypeVar("T")


class Io(Protocol):
    """The operations that take time. They block, or they await."""

    def check(self, transport: Transport) -> None:
        """Raise `UsageError` if the transport cannot be used with this `Io`."""

    async def exchange_many(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Send a callback to a receiver several times at once, and return each answer or failure."""

    async def wait_for(self, condition: Condition, ready: Callable[[], bool], timeout: float) -> bool:
        """Wait until `ready()` is true, at most `timeout` seconds, and return the last result."""

    async def wait_until_due(self, clock: Clock, head: Entry, wait: float) -> None:
        """Wait at most `wait` seconds until `head` is due; the caller must not hold the clock's lock."""

    async def pause(self, seconds: float) -> None:
        """Wait that many seconds of real time."""

    async def run(self, entry: Entry) -> None:
        """Run an entry of a clock's agenda."""

    async def run_next(self, clock: Clock) -> bool:
        """Wait for the next entry of a clock's agenda and run it; return False if no entry is left."""


class _Sync:
    def check(self, transport: Transport) -> None:
        if transport.name == "asgi" and in_loop() and _is_called_by_loop():
            raise UsageError(
                "the app cannot be called synchronously from inside a running event loop",
                where="Receiver.asgi",
                hint="every method has an async twin, whose name starts with a: in an async test use "
                "`await engagelab.asend(...)`, `await engagelab.anotify(...)`, `await engagelab.clock.aadvance(...)`",
            )

    async def exchange_many(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        return transport.exchange_many(callback, limit, wire, copies)

    async def wait_for(self, condition: Condition, ready: Callable[[], bool], timeout: float) -> bool:
        return condition.wait_for(ready, timeout)

    async def wait_until_due(self, clock: Clock, head: Entry, wait: float) -> None:
        with clock.condition.lock:
            if clock.head() is head:
                clock.condition.wait(wait)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def run(self, entry: Entry) -> None:
        __tracebackhide__ = True
        entry.run()

    async def run_next(self, clock: Clock) -> bool:
        __tracebackhide__ = True
        return clock.run_next()


class _Async:
    def check(self, transport: Transport) -> None:
        pass

    async def exchange_many(
        self, transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        async def one() -> Response | TransportFailure:
            try:
                return await transport.aexchange(callback, limit, wire)
            except TransportFailure as failure:
                return failure

        return await gather(one() for _ in range(copies))

    async def wait_for(self, condition: Condition, ready: Callable[[], bool], timeout: float) -> bool:
        return await condition.await_for(ready, timeout)

    async def wait_until_due(self, clock: Clock, head: Entry, wait: float) -> None:
        await clock.await_due(head, wait)

    async def pause(self, seconds: float) -> None:
        await sleep(seconds)

    async def run(self, entry: Entry) -> None:
        __tracebackhide__ = True
        await entry.arun()

    async def run_next(self, clock: Clock) -> bool:
        __tracebackhide__ = True
        return await clock.arun_next()


def _is_called_by_loop() -> bool:
    """Tell whether the running event loop has called the caller, and can do nothing else until it returns.

    A greenlet can run while a loop waits on another stack of the same thread, as in Playwright's synchronous API.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__", "").partition(".")[0] in {"asyncio", "trio"}:
            return True
    return False


SYNC: Io = _Sync()
ASYNC: Io = _Async()


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
    raise RuntimeError("a coroutine that was run synchronously waited for an event loop")


# A time limit for a blocking call.


class _TooLong(BaseException):
    """A blocking call has taken too long. Not an `Exception`, which the call could catch."""


def call_in_time(function: Callable[[], T], seconds: float) -> T:
    """Call a blocking function, and raise `TimeoutError` if it does not return within that many seconds.

    >>> call_in_time(lambda: 7, 1.0)
    7

    In the main thread, the call is interrupted, unless another timer runs than this package's, such as that of a test's
    time limit. The call stays in its thread, because a database connection may belong to it. Other threads cannot be
    interrupted, so they call the function in a new thread, and abandon that thread if the function does not return.
    """
    if threading.current_thread() is not threading.main_thread():
        return _call_in_a_thread(function, seconds)
    if not hasattr(signal, "setitimer"):
        return function()
    timer, handler = signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)
    if timer[0] and not str(getattr(handler, "__module__", "")).startswith(f"{__package__.partition('.')[0]}."):
        return function()

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        return function()
    except _TooLong:
        raise TimeoutError from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _call_in_a_thread(function: Callable[[], T], seconds: float) -> T:
    from concurrent.futures import Future

    done: Future[T] = Future()

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=copy_context().run, args=(call,), daemon=True).start()
    return done.result(seconds)
