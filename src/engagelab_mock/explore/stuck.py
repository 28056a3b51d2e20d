"""Calls that never return: a handler kept a lock or a transaction, and a later one waits for it.

The call is interrupted, and the error says where it waited. A call that computes, or that a debugger has stopped, goes
on. So does one that waits for less than two to three times the receiver's limit.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any
from weakref import finalize

from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.eventloop import stopwatch, to_thread
from engagelab_mock.explore.awaits import frames_of, waits_for_lock, written_frames
from engagelab_mock.explore.interleave import Deadlock
from engagelab_mock.explore.locks import is_asleep, stack_of, written_stack
from engagelab_mock.explore.switchpoints import is_foreign

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Attempt

#: How often in a row a call is seen at one place until it is stuck: a handler, and a function of the user.
_SEEN, _SEEN_PROBE = 3, 10
#: How often an app that has not answered in time is looked at, in seconds.
_LOOK = 0.01
#: How long a thread that waits may compute between two looks at it, in seconds. One that computes gets more than this
#: on a busy machine, too.
_COMPUTES = 0.002
_PACKAGE = __name__.partition(".")[0]
_CALLS = f"{_PACKAGE}.delivery."
_PROBE, _LOOP = f"{_CALLS}probe", f"{_CALLS}transport.lifespan"
#: The methods of a probe, and the functions of the user that they call.
_FUNCTIONS = {"look": "observe", "reset_app": "reset", "prepare_message": "prepare"}
#: The functions that wait for handlers in other threads and processes, for which there are other limits.
_WAITS = {
    (f"{_PACKAGE}.explore.{module}", function)
    for module, function in (("crash", "_read"), ("interleave", "run_in_threads"), ("parallel", "_in_threads"))
}
_DEBUGGERS = ("bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy", "IPython", "pudb")


class Stuck(BaseException):
    """Interrupt a call. Not an `Exception`, which the app could catch."""


class _Place:
    """Remember where a thread was seen, and how often in a row."""

    def __init__(self) -> None:
        self._last: tuple[FrameType | None, int] = (None, 0)
        self.times = 0

    def see(self, frame: FrameType, *, waits: bool) -> int:
        """Enter a place, and return how often in a row the thread was seen there, waiting."""
        place = (frame, frame.f_lasti)
        self.times = self.times + 1 if waits and place == self._last else 1
        self._last = place
        return self.times


class Watch:
    """Interrupt calls in the main thread that are stuck, within the block.

    >>> with Watch(3.0) as watch:
    ...     watch.check()

    Other threads cannot be interrupted, and a block is not watched while the process uses its timer for something else,
    such as the time limit of a test.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._armed = False
        self._before: Any = None
        self._place = _Place()
        self._computed = 0.0
        #: Where a handler was stuck, and the function of the user that was stuck.
        self.stack = ""
        self._function = ""

    def __enter__(self) -> Watch:
        self.stack = self._function = ""
        main = threading.current_thread() is threading.main_thread()
        if self._seconds and main and hasattr(signal, "setitimer") and not signal.getitimer(signal.ITIMER_REAL)[0]:
            self._armed, self._place, self._computed = True, _Place(), time.thread_time()
            self._before = signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before or signal.SIG_DFL)
            self._armed, self._place = False, _Place()
        if isinstance(error, Stuck):
            raise ProbeFailed(
                f"it has waited at one place for a long time:\n{self.stack}\n",
                where=self._function or "receiver",
                hint="does a handler keep a lock or a transaction after its answer?",
            ) from None

    def check(self) -> None:
        """Raise `Deadlock` if a handler was stuck, whatever the app made of its interruption."""
        if self.stack and not self._function:
            raise stuck(self.stack)

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Get the frame that runs in the main thread, each time that the timer ends."""
        computed, self._computed = time.thread_time() - self._computed, time.thread_time()
        if frame is None:
            return
        times = self._place.see(frame, waits=computed < _COMPUTES)
        called, function = _called(frame)
        if called and times >= (_SEEN_PROBE if function else _SEEN):
            self.stack, self._function = written_stack(frame), function
            self._place = _Place()
            raise Stuck


def _called(frame: FrameType) -> tuple[bool, str]:
    """Tell whether a frame belongs to a call of the app, and to which function of the user if it does to one."""
    each: FrameType | None = frame
    idle = str(frame.f_globals.get("__name__")) == "selectors"
    while each is not None:
        module = str(each.f_globals.get("__name__"))
        if module.startswith(_DEBUGGERS) or (idle and module == _LOOP) or (module, each.f_code.co_name) in _WAITS:
            return False, ""
        function = _FUNCTIONS.get(each.f_code.co_name, "") if module == _PROBE else ""
        if function or (module.startswith(_CALLS) and module != _PROBE):
            return True, function
        each = each.f_back
    return False, ""


def stuck(stack: str) -> Deadlock:
    """Return the error for a handler that is stuck.

    >>> str(stuck(""))
    'the handler waits, and no other handler runs'
    """
    return Deadlock("the handler waits, and no other handler runs", f"it waits here:\n{stack}")


class OneThread:
    """Call functions in one thread, which is abandoned if a call is stuck.

    At the end of the process, nothing waits for this thread. A thread of a pool would keep the process alive.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] | None = None
        self._thread = threading.current_thread()

    async def call(self, function: Callable[[], object], seconds: float | None) -> None:
        """Call a function, and raise what it raises; `seconds` is as for a `Watch`."""
        done, place = threading.Event(), _Place()
        raised: list[BaseException] = []

        def run() -> None:
            try:
                function()
            except BaseException as error:
                raised.append(error)
            finally:
                done.set()

        if self._calls is None:
            self._calls = SimpleQueue()
            finalize(self, self._calls.put, None)
            self._thread = threading.Thread(target=_make_calls, args=(self._calls,), daemon=True)
            self._thread.start()
        self._calls.put(partial(copy_context().run, run))
        while not await to_thread(done.wait, seconds):
            frame = next(stack_of(self._thread), None)
            waits = frame is not None and place.see(frame, waits=is_asleep(self._thread)) >= _SEEN
            if waits and frame is not None and _called(frame)[0] and not done.is_set():
                self._calls = None
                raise stuck(written_stack(frame))
        if raised:
            raise raised[0]


def _make_calls(calls: SimpleQueue[Callable[[], object] | None]) -> None:
    while (call := calls.get()) is not None:
        call()


async def check_given_up(io: Io, transport: Any, attempt: Attempt, limit: float | None) -> None:
    """Raise `Deadlock` if an ASGI app has not answered in time, and waits for a lock or a thread after as long again.

    A program that waits for anything else in the event loop was only too slow: its time limit has ended it.
    """
    if attempt.outcome is not Outcome.TIMEOUT or not transport.given_up or not limit:
        return
    program = transport.given_up[-1]
    ends = stopwatch() + (limit if io is ASYNC else 0.0)  # without a running loop, the transport has waited already
    while program.cr_frame is not None and stopwatch() < ends:
        await io.pause(_LOOK)
    frames = frames_of(program)
    if program.cr_frame is not None and (waits_for_lock(frames) or all(map(is_foreign, frames))):
        raise stuck(place_of_program(program))


def place_of_program(program: Any) -> str:
    """Return the place of a coroutine as a traceback; if it waits for a thread, the place of that thread."""
    frames = frames_of(program)
    if not any(not is_foreign(frame) for frame in frames):
        others = [[*stack_of(thread)] for thread in threading.enumerate() if thread is not threading.current_thread()]
        if theirs := [stack for stack in others if any(not is_foreign(frame) for frame in stack)]:
            return written_stack(theirs[-1][0])
    return written_frames(frames)
