"""The engine's interface to the running event loop, of asyncio or trio.

Asyncio and trio are imported only if they run: synchronous callers need neither.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import BuiltinFunctionType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar

if TYPE_CHECKING:
    import trio

P = ParamSpec("P")
T = TypeVar("T")


def in_trio() -> bool:
    """Tell whether the caller runs under trio.

    >>> in_trio()
    False
    """
    loaded = sys.modules.get("trio")
    return loaded is not None and bool(loaded.lowlevel.in_trio_task())


def in_loop() -> bool:
    """Tell whether the caller runs in an event loop, of either kind.

    >>> in_loop()
    False
    """
    asyncio = sys.modules.get("asyncio")
    return (asyncio is not None and asyncio._get_running_loop() is not None) or in_trio()


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an exception is there because the running task was asked to end, or its coroutine was closed.

    >>> is_cancellation(SystemExit())
    False
    """
    if in_trio():
        import trio

        if trio.current_effective_deadline() != -math.inf:
            return False
        ends = (trio.Cancelled, GeneratorExit)
        return isinstance(error, ends) or (isinstance(error, BaseExceptionGroup) and error.subgroup(ends) is not None)
    import asyncio

    loop = asyncio._get_running_loop()
    task = asyncio.current_task(loop) if loop is not None else None
    return isinstance(error, (asyncio.CancelledError, GeneratorExit)) and (task is None or task.cancelling() > 0)


async def raise_own_cancellation() -> None:
    """Raise the cancellation that the running task has asked for itself; asyncio raises it at the next wait only."""
    if not in_trio():
        import asyncio

        if getattr(asyncio.current_task(), "_must_cancel", False):
            await asyncio.sleep(0)


async def sleep(seconds: float) -> None:
    """Wait without blocking the event loop."""
    if _clock_is_patched():
        await to_thread(time.sleep, seconds)
    elif in_trio():
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


async def to_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function in a thread; a caller that is cancelled does not wait for it."""
    if in_trio():
        import trio

        # trio's own limiter allows 40 threads in all; the number of concurrent callbacks is limited elsewhere.
        limiter = trio.CapacityLimiter(1)
        return await trio.to_thread.run_sync(lambda: function(*args, **kwargs), abandon_on_cancel=True, limiter=limiter)
    import asyncio

    return await asyncio.to_thread(function, *args, **kwargs)


def from_thread() -> Callable[[Awaitable[T]], T]:
    """Return a function that awaits in the running loop while it blocks another thread, whose result it returns."""

    async def awaited(value: Awaitable[T]) -> T:
        return await value

    if in_trio():
        import trio

        token = trio.lowlevel.current_trio_token()
        return lambda value: trio.from_thread.run(awaited, value, trio_token=token)
    import asyncio

    loop = asyncio.get_running_loop()
    return lambda value: asyncio.run_coroutine_threadsafe(awaited(value), loop).result()


async def gather(programs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently and return their results in order; the first error cancels the others."""
    failures: list[Exception] = []
    results: dict[int, T] = {}

    async def one(number: int, program: Coroutine[Any, Any, T]) -> None:
        try:
            results[number] = await program
        except Exception as error:
            failures.append(error)
            raise

    # Callers expect the error of one coroutine, not a group of errors.
    with contextlib.suppress(ExceptionGroup):
        if in_trio():
            import trio

            async with trio.open_nursery() as nursery:
                for number, program in enumerate(programs):
                    nursery.start_soon(one, number, program)
        else:
            import asyncio

            async with asyncio.TaskGroup() as group:
                for number, program in enumerate(programs):
                    group.create_task(one(number, program))
    if failures:
        raise failures[0]
    return [results[number] for number in sorted(results)]


class Flag(Protocol):
    """An event of either loop."""

    def set(self) -> object:
        """Wake all that wait."""

    async def wait(self) -> object:
        """Wait until it is set."""


def flag() -> Flag:
    """Return a flag of the running loop; set it from that loop."""
    if in_trio():
        import trio

        return trio.Event()
    import asyncio

    return asyncio.Event()


def caller() -> Callable[[Callable[[], object]], object]:
    """Return a function that makes the running loop call another one soon; it works from any thread."""
    if in_trio():
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    import asyncio

    return asyncio.get_running_loop().call_soon_threadsafe


class Limit(Protocol):
    """Limit the time of an `async with` block, which ends with `TimeoutError`, as `asyncio.timeout` does."""

    def reschedule(self, when: None) -> None:
        """Remove the limit."""

    def expired(self) -> bool:
        """Tell whether the limit ended the block."""

    async def __aenter__(self) -> Self:
        """Start counting."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Stop counting."""


def limited(seconds: float | None) -> Limit:
    """Return a limit of that many seconds, or without a limit for None."""
    if in_trio():
        return _TrioLimit(seconds)
    if seconds is not None and _clock_is_patched():
        return _WatchedLimit(seconds)
    import asyncio

    return asyncio.timeout(seconds)


def _clock_is_patched() -> bool:
    # Libraries that freeze time replace this function, and an event loop's timers would be due never or at once.
    return not isinstance(time.monotonic, BuiltinFunctionType)


class _Watch:
    """Make a loop call a function after that many seconds, counted by a thread, whose clock is not patched."""

    def __init__(self, seconds: float, ring: Callable[[], object]) -> None:
        call_soon = caller()
        self._ring: Callable[[], object] | None = ring
        self._timer = threading.Timer(seconds, self._call, [call_soon])
        self._timer.daemon = True
        self._timer.start()

    def _call(self, call_soon: Callable[[Callable[[], object]], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            call_soon(self._fire)

    def _fire(self) -> None:
        if self._ring is not None:
            self._ring()

    def stop(self) -> None:
        self._ring = None
        self._timer.cancel()


class _WatchedLimit:
    """asyncio's own limit, which a thread ends."""

    def __init__(self, seconds: float) -> None:
        import asyncio

        self._seconds = seconds
        self._limit = asyncio.timeout(None)
        self._watch: _Watch | None = None

    def reschedule(self, when: None) -> None:
        if self._watch is not None:
            self._watch.stop()

    def expired(self) -> bool:
        return self._limit.expired()

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        # This is in the past for any clock of the loop.
        self._watch = _Watch(self._seconds, lambda: self._limit.reschedule(-math.inf))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.reschedule(None)
        await self._limit.__aexit__(kind, error, traceback)
        return None


class _TrioLimit:
    """A cancel scope that raises when its time is over."""

    def __init__(self, seconds: float | None) -> None:
        import trio

        self._seconds = seconds
        self._scope: trio.CancelScope = trio.CancelScope()
        self._watch: _Watch | None = None

    def reschedule(self, when: None) -> None:
        self._scope.deadline = math.inf
        if self._watch is not None:
            self._watch.stop()

    def expired(self) -> bool:
        return self._scope.cancelled_caught

    async def __aenter__(self) -> Self:
        import trio

        if self._seconds is not None:
            if _clock_is_patched():
                self._watch = _Watch(self._seconds, self._scope.cancel)
            else:
                self._scope.deadline = trio.current_time() + self._seconds
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.reschedule(None)
        swallowed = self._scope.__exit__(kind, error, traceback)
        if self._scope.cancelled_caught:
            raise TimeoutError from None
        return swallowed


def _unpatched() -> Callable[[], float]:
    # Libraries that freeze or move time replace `time.monotonic` and `time.perf_counter` in every module.
    if sys.platform == "win32":
        return functools.partial(time.perf_counter)
    return functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)


#: Return real seconds since an unspecified moment. An attempt's limit is in real seconds, even if the date is frozen.
stopwatch: Callable[[], float] = _unpatched()
