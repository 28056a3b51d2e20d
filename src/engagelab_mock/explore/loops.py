"""Run the handlers of several callbacks in one event loop: each stops at every await, and an order says who goes on.

A handler whose work runs in a worker thread, as a synchronous view of FastAPI does, stops at its switch points there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.awaits import awaiting, frames_of, stopping_in_drivers, waits_for_lock, written_frames
from engagelab_mock.explore.interleave import LOCK_FREE, PATIENCE, Deadlock, deadlock_text, sleeps_long
from engagelab_mock.explore.locks import LockWaits, all_others_sleep
from engagelab_mock.explore.orders import Choice, Steps, Trace, letter
from engagelab_mock.explore.switchpoints import Call, Died, SwitchPoints

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Response
    from engagelab_mock.protocol.callback import Callback

#: How long a handler waits until it is regarded as one that waits for another, in seconds.
_WAITS = 0.05
#: How often a running handler is looked at, in seconds.
_LOOK = 0.002
#: How long a thread sleeps inside of SQLite until it is regarded as one that waits for a lock.
_WAITS_SQLITE = 0.005
_SLEEP = ("asyncio.tasks", "sleep")

_JOB: ContextVar[LoopHandler | None] = ContextVar("engagelab_job", default=None)
_HANDLER: ContextVar[LoopHandler | None] = ContextVar("engagelab_handler", default=None)


class LoopHandler:
    """Hold one handler of the app: the steps that it could make next, in the order in which they became ready."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.point = 0
        self.begun = False
        #: Whether the app has returned. Its tasks may go on.
        self.over = False
        #: The tasks that it has started, and that have not ended.
        self.tasks: set[asyncio.Task[Any]] = set()
        #: The calls at which it has stopped, each with the function that lets it go on.
        self.stops: deque[tuple[Call, Callable[[], object]]] = deque()
        self.task: asyncio.Task[Any] | None = None

    @property
    def title(self) -> str:
        """Return the name of the handler and its callback, for a person."""
        return f"handler {letter(self.number)} of `{self.name}`"

    @property
    def frames(self) -> list[FrameType]:
        """Return the frames of its coroutines, from the outside in."""
        return [] if self.task is None else frames_of(self.task.get_coro())

    @property
    def waits_at(self) -> list[list[FrameType]]:
        """Return the frames of all its tasks, from the inside out."""
        tasks = [task for task in (self.task, *self.tasks) if task is not None]
        return [frames_of(task.get_coro())[::-1] for task in tasks]

    @property
    def stack(self) -> str:
        """Return the current place of the handler, as a traceback."""
        return written_frames(self.frames)

    @property
    def waits_for_lock(self) -> bool:
        """Tell whether it waits for a lock, which another task holds."""
        return waits_for_lock(self.frames)

    @property
    def inside(self) -> tuple[str, str]:
        """Return the module and the name of the innermost coroutine."""
        frames = self.frames
        return (str(frames[-1].f_globals.get("__name__")), frames[-1].f_code.co_name) if frames else ("", "")


class _Board:
    """Take the steps of handlers out of the loop's ready queue, and let them go on one at a time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, points: SwitchPoints, reach: Callable[[Call], bool] | None = None
    ) -> None:
        self._loop = loop
        self._points = points
        #: Gets each call instead, and tells whether the handler crashes there.
        self._reach = reach
        self._crashed = False
        self._call_soon: Any = loop.call_soon
        self._in_executor: Any = loop.run_in_executor
        self._create_task: Any = loop.create_task
        self._thread = threading.get_ident()
        self.changed = asyncio.Event()
        #: The handlers that stop. A task that an earlier request has left running belongs to none of them.
        self.handlers: list[LoopHandler] = []
        #: Whether the handlers no longer stop.
        self.free = False

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Hold back the steps of handlers within the block."""
        loop: Any = self._loop
        try:
            loop.call_soon, loop.run_in_executor, loop.create_task = self._soon, self._executed, self._created
        except AttributeError:
            raise UsageError(
                f"the steps of {type(loop).__name__} cannot be ordered",
                where="concurrent",
                hint="run this test in asyncio's own event loop",
            ) from None
        anyio = sys.modules.get("anyio.to_thread")
        run_sync: Any = getattr(anyio, "run_sync", None)
        if anyio is not None:
            anyio.run_sync = lambda function, *args, **options: run_sync(  # type: ignore[attr-defined]
                self._stopping(function), *args, **options
            )
        try:
            with stopping_in_drivers():
                yield
        finally:
            self.free = True
            del loop.call_soon, loop.run_in_executor, loop.create_task
            if anyio is not None:
                anyio.run_sync = run_sync  # type: ignore[attr-defined]

    def _soon(self, function: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Do what the loop's `call_soon` does, unless it would be the next step of a handler's task."""
        handler = self._own(_HANDLER.get() if context is None else context.get(_HANDLER))
        task = getattr(function, "__self__", None)
        call = None
        if handler is not None and not self.free and isinstance(task, asyncio.Task):
            call = awaiting(task) if handler.begun else Call("start")
            handler.begun = True
        if handler is None or call is None:
            called: asyncio.Handle = self._call_soon(function, *args, context=context)
            return called
        handle = asyncio.Handle(function, args, self._loop, context)
        self._stop(handler, call, partial(self._call_soon, _run_handle, handle, context=Context()))
        return handle

    def _own(self, handler: LoopHandler | None) -> LoopHandler | None:
        return handler if handler in self.handlers else None

    def _created(self, program: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._create_task(program, **options)
        if (handler := self._own(_HANDLER.get())) is not None:

            def ended(task: asyncio.Task[Any]) -> None:
                handler.tasks.discard(task)
                self.changed.set()

            handler.tasks.add(task)
            task.add_done_callback(ended)
        return task

    def _executed(self, executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        return self._in_executor(executor, self._stopping(function), *args)

    def _stopping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function for a worker thread that stops at the switch points there."""

        def run(*args: Any) -> Any:
            sys.setprofile(self._profile)
            try:
                return function(*args)
            finally:
                sys.setprofile(None)

        return run

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        points, handler, call = self._points, self._own(_HANDLER.get()), None
        if event == "c_call" and function.__name__ in points.short:
            call = points.of_c(frame, function)
        elif event == "call" and points.codes.get(frame.f_code, "new"):
            call = points.of_python(frame)
        if call is None or handler is None or self.free:
            return
        gate = threading.Semaphore(0)
        self._loop.call_soon_threadsafe(self._stop, handler, call, gate.release)
        gate.acquire()
        if self._crashed:
            raise Died

    def _stop(self, handler: LoopHandler, call: Call, go_on: Callable[[], object]) -> None:
        if self._reach is not None and self._reach(call) and handler.task is not None:
            self._crashed = True
            handler.task.cancel()
        if self.free or self._reach is not None:
            go_on()
            return
        handler.stops.append((call, go_on))
        self.changed.set()

    async def doing(self, handler: LoopHandler, job: Callable[[], Coroutine[Any, Any, object]]) -> object:
        """Do a job, after which its handler is over, also if the app was not called."""
        try:
            return await job()
        finally:
            handler.over = True
            self.changed.set()

    def watching(self, app: Any) -> Any:
        """Return the app, whose handlers stop if they belong to a job."""

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            handler = _JOB.get()
            if handler is None:
                await app(scope, receive, send)
                return
            _HANDLER.set(handler)
            handler.task = asyncio.current_task()
            try:
                await asyncio.sleep(0)  # the start of the handler is a stop, too
                await app(scope, receive, send)
            finally:
                handler.over = True
                self.changed.set()

        return watched


def _run_handle(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()


async def run_in_loop(
    transport: Any,
    jobs: Sequence[tuple[str, Callable[[], Coroutine[Any, Any, object]]]],
    points: SwitchPoints,
    order: str,
    *,
    strict: bool = False,
) -> Trace:
    """Run jobs, each of which calls the transport's app once, in the running loop, and return the steps of the app."""
    board = _Board(asyncio.get_running_loop(), points)
    board.handlers = handlers = [LoopHandler(number, name) for number, (name, _) in enumerate(jobs)]
    app = transport.app

    run = _Run(board, handlers, order, strict=strict)
    transport.app = board.watching(app)
    tasks: list[asyncio.Task[object]] = []
    try:
        with board.holding(), contextlib.closing(run.locks):
            for handler, (_, job) in zip(handlers, jobs, strict=True):
                context = copy_context()
                context.run(_JOB.set, handler)
                tasks.append(asyncio.get_running_loop().create_task(board.doing(handler, job), context=context))
            await run.to_end()
    except BaseException:
        for handler in handlers:
            for _, go_on in handler.stops:
                go_on()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
        raise
    finally:
        transport.app = app
    await asyncio.gather(*tasks)
    return Trace(run.steps.moments, len(handlers), order)


async def exchange_in_loop(
    transport: Any, callback: Callback, points: SwitchPoints, reach: Callable[[Call], bool], limit: float | None
) -> Response:
    """Call the transport's app in the running loop; `reach` gets each call, and tells whether the app crashes there."""
    board, app = _Board(asyncio.get_running_loop(), points, reach), transport.app
    transport.app = board.watching(app)
    handler = LoopHandler(0, "")
    board.handlers = [handler]
    _JOB.set(handler)
    try:
        with board.holding():
            answer: Response = await transport.aexchange(callback, limit)
            if handler.tasks:
                await asyncio.wait(handler.tasks, timeout=PATIENCE)
            return answer
    finally:
        transport.app = app


class _Run:
    """Make the steps of one run."""

    def __init__(self, board: _Board, handlers: Sequence[LoopHandler], order: str, *, strict: bool) -> None:
        self._board = board
        self._handlers = handlers
        self._choice = Choice(order, [handler.name for handler in handlers], strict=strict)
        self.steps = Steps()
        self.locks = LockWaits()
        #: The handlers that wait for another one.
        self._waiting: set[int] = set()

    async def to_end(self) -> None:
        handlers = self._handlers
        for handler in handlers:
            await self._settle([handler], PATIENCE)
        last: int | None = None
        while any(not handler.over or handler.stops or handler.tasks for handler in handlers):
            enabled = tuple(handler.number for handler in handlers if handler.stops)
            if not enabled:
                if any(not handler.over for handler in handlers):
                    await self._wait_for_any()
                elif not await self._settle([each for each in handlers if each.tasks], _WAITS, LOCK_FREE):
                    break  # what still runs is not the work of these requests
                continue
            at = [None if handler.over and not handler.stops else handler.point for handler in handlers]
            last = self._choice.next(enabled, (), last, at)
            chosen = handlers[last]
            call, go_on = chosen.stops.popleft()
            self.steps.add(last, chosen.point, call, enabled)
            chosen.point += 1
            go_on()
            if not await self._settle([chosen], _WAITS):
                self.steps.waits(last)
                self._waiting.add(last)
            for number in sorted(self._waiting - {last}) if chosen.over or call.releases else ():
                await self._settle([handlers[number]], LOCK_FREE)
            self._waiting -= {handler.number for handler in handlers if handler.over or handler.stops}

    async def _settle(self, handlers: Sequence[LoopHandler], patience: float, in_driver: float | None = None) -> bool:
        """Wait until one of these handlers has stopped or ended; return False if it waits for another handler.

        A call of a driver may take `in_driver` seconds until it is regarded as one that waits.
        """
        idle, seen = 0.0, stopwatch()
        self.locks.begin()
        # What is ready has run after two rounds of the loop.
        for _ in range(2):
            await asyncio.sleep(0)
        while not any(handler.stops or (handler.over and not handler.tasks) for handler in handlers):
            self._board.changed.clear()
            least = in_driver or (_WAITS_SQLITE if patience == _WAITS else patience)
            waits = [self.locks.waits(frames, least) for each in handlers for frames in each.waits_at]
            now = stopwatch()
            idle += min(now - seen, 2 * _LOOK) if all_others_sleep() else 0.0
            seen = now
            if idle >= (PATIENCE if False in waits else patience):
                return False
            if patience < PATIENCE and (True in waits or handlers[0].waits_for_lock):
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._board.changed.wait()
        return True

    async def _wait_for_any(self) -> None:
        if not await self._settle([each for each in self._handlers if not each.over or each.tasks], PATIENCE):
            handlers = [handler for handler in self._handlers if not handler.over]
            for handler in handlers:
                if handler.inside == _SLEEP:
                    raise sleeps_long(handler.title, PATIENCE, "asyncio.sleep")
            raise Deadlock(
                deadlock_text([handler.title for handler in handlers], len(handlers) < len(self._handlers)),
                "\n\n".join(f"{handler.title} waits here:\n{handler.stack}" for handler in handlers),
            )
