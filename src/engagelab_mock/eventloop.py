"""asyncio or trio, by which is running: the few things that are asked of an event loop.

Both are imported only where they are running: synchronous callers need neither.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from types import BuiltinFunctionType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar

if TYPE_CHECKING:
    import trio

P = ParamSpec("P")
T = TypeVar("T")

#: What runs a coroutine beside the caller's own.
Start = Callable[[Coroutine[Any, Any, None]], object]


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


async def sleep(seconds: float) -> None:
    """Wait, leaving the event loop free."""
    if _clock_is_patched():
        await to_thread(time.sleep, seconds)
    elif in_trio():
        import trio

        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


async def to_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what blocks in a thread; who is cancelled meanwhile does not wait for it."""
    if in_trio():
        import trio

        # trio's own limiter has 40 threads for all; how many callbacks are under way is decided elsewhere.
        limiter = trio.CapacityLimiter(1)
        return await trio.to_thread.run_sync(lambda: function(*args, **kwargs), abandon_on_cancel=True, limiter=limiter)
    import asyncio

    return await asyncio.to_thread(function, *args, **kwargs)


async def gather(programs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at once and return their results in order; the first error cancels the others and is raised."""
    failures: list[Exception] = []
    results: dict[int, T] = {}

    async def one(number: int, program: Coroutine[Any, Any, T]) -> None:
        try:
            results[number] = await program
        except Exception as error:
            failures.append(error)
            raise

    # A group of errors would be news to callers, who know what one of the coroutines raises.
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
    """Wait until it is set; both loops' events are such."""

    def set(self) -> object:
        """Let go whoever waits."""

    async def wait(self) -> object:
        """Wait until it is set."""


def flag() -> Flag:
    """Make a flag of the running loop, to be set from that loop."""
    if in_trio():
        import trio

        return trio.Event()
    import asyncio

    return asyncio.Event()


def caller() -> Callable[[Callable[[], object]], object]:
    """Return what has the running loop call a function, soon, from whichever thread it is asked."""
    if in_trio():
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
    import asyncio

    return asyncio.get_running_loop().call_soon_threadsafe


def mailbox() -> tuple[Callable[[Any], None], Callable[[], Awaitable[Any]]]:
    """Make a queue of the running loop, as the two functions that put in and wait for what comes out."""
    if in_trio():
        import trio

        send, receive = trio.open_memory_channel[Any](math.inf)
        return send.send_nowait, receive.receive
    import asyncio

    queue = asyncio.Queue[Any]()
    return queue.put_nowait, queue.get


@contextlib.asynccontextmanager
async def background() -> AsyncIterator[Start]:
    """Start coroutines that run beside an `async with` block, and are cancelled at its end."""
    if not in_trio():
        import asyncio

        tasks: list[asyncio.Task[None]] = []
        try:
            yield lambda program: tasks.append(asyncio.create_task(program))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return
    import trio

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield lambda program: nursery.start_soon(lambda: program)
        except Exception as error:
            failure = error  # which the nursery would wrap in a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class Limit(Protocol):
    """Bound what is awaited in an `async with` block; `TimeoutError` says that it is over. `asyncio.timeout` is one."""

    def reschedule(self, when: None) -> None:
        """Lift the limit."""

    def expired(self) -> bool:
        """Tell whether the limit is what ended the block."""

    async def __aenter__(self) -> Self:
        """Start counting."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Stop counting."""


def limited(seconds: float | None) -> Limit:
    """Make a limit of that many seconds, or of none."""
    if in_trio():
        return _TrioLimit(seconds)
    if seconds is not None and _clock_is_patched():
        return _WatchedLimit(seconds)
    import asyncio

    return asyncio.timeout(seconds)


def _clock_is_patched() -> bool:
    # Who freezes time replaces this function. Timers of an event loop read it, and would be due never, or at once.
    return not isinstance(time.monotonic, BuiltinFunctionType)


class _Watch:
    """Have a loop call a function after so many seconds, counted by a thread: nobody patches its clock."""

    def __init__(self, seconds: float, ring: Callable[[], object]) -> None:
        call_soon = caller()
        self._ring: Callable[[], object] | None = ring
        self._timer = threading.Timer(seconds, self._call, [call_soon])
        self._timer.daemon = True
        self._timer.start()

    def _call(self, call_soon: Callable[[Callable[[], object]], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be gone by now
            call_soon(self._fire)

    def _fire(self) -> None:
        if self._ring is not None:
            self._ring()

    def stop(self) -> None:
        self._ring = None
        self._timer.cancel()


class _WatchedLimit:
    """asyncio's own limit, told by a watch when it is over."""

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
        # Whatever time it is to the loop, this is before it.
        self._watch = _Watch(self._seconds, lambda: self._limit.reschedule(-math.inf))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.reschedule(None)
        await self._limit.__aexit__(kind, error, traceback)
        return None


class _TrioLimit:
    """A cancel scope that raises when it is over."""

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
