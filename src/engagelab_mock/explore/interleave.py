"""Run the handlers of several callbacks in threads: each stops at its switch points, and an order says who goes on."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from types import FrameType
from typing import Any

from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.locks import LockWaits, can_see_sleep, is_asleep, stack_of, written_stack
from engagelab_mock.explore.orders import Choice, Steps, Trace, letter
from engagelab_mock.explore.switchpoints import (
    Call,
    SwitchPoints,
    call_at,
    ends_transaction,
    in_sqlite,
    releases_lock,
    sleeps,
    starts_thread,
)

#: How long a handler waits until it is regarded as one that waits for a lock, in seconds.
WAITS = 0.02
#: The same inside of SQLite, which waits for nothing but locks and the disk.
_WAITS_SQLITE = 0.005
#: The same, if the lock may be free by now: SQLite looks again after 0.1 s at the latest.
LOCK_FREE = 0.25
#: How many times longer, if the system does not tell whether a thread waits or wants the processor.
_UNSEEN = 5
#: How long a handler sleeps until its database is asked, if that is possible.
_ASKS = 0.005
#: How long all handlers may wait for each other, and how long one may sleep, in seconds.
PATIENCE = 4.0
_SLEEPS = 1.0
#: How often a running handler is looked at, in seconds.
_LOOK = 0.001
#: The most steps of one run.
_STEPS = 10_000


class Deadlock(Exception):
    """Signal that all handlers wait; `stacks` says where."""

    def __init__(self, what: str, stacks: str = "") -> None:
        super().__init__(what)
        self.stacks = stacks


class Handler:
    """Run one handler of the app in a thread, which stops at every switch point until it is let go on."""

    def __init__(self, number: int, name: str, job: Callable[[Handler], object], board: _Board) -> None:
        self.number = number
        self.name = name
        self.point = 0
        #: The call at the point at which it has stopped; None while it runs.
        self.stopped: Call | None = None
        self.over = False
        self.raised: BaseException | None = None
        #: The function of C in which it is, and since when. Only such a function can wait for a lock.
        self.inside: Any = None
        self.yields = False
        #: Whether it has ended a transaction in this step, or released a lock: another handler may have it now.
        self.ended_transaction = self.released_lock = False
        self._call: Call | None = None
        self._board = board
        self._job = job
        self._gate = threading.Semaphore(0)
        self.thread = threading.Thread(
            target=copy_context().run, args=(self._run,), daemon=True, name=f"handler {name}"
        )

    def start(self) -> None:
        """Start the thread. It stops before the job."""
        self.thread.start()

    def has_settled(self) -> bool:
        """Tell whether it has stopped or ended."""
        return self.stopped is not None or self.over

    def go_on(self) -> None:
        """Let the handler run to its next switch point."""
        self.stopped, self.inside = None, None
        self.ended_transaction = self.released_lock = False
        self._gate.release()

    def _run(self) -> None:
        self._stop(Call("start"))
        try:
            self._job(self)
        except BaseException as error:
            self.raised = error
        finally:
            if self._call is not None:
                self._call.over = True
            self.over = True
            with self._board.changed:
                self._board.changed.notify_all()

    def _stop(self, call: Call, *, yields: bool = False) -> None:
        """Wait until this handler is let go on."""
        if self._call is not None:
            self._call.over = True
            self.ended_transaction = self.ended_transaction or self._call.releases
        self._call = call
        if self._board.free:
            return
        # Before the lock: on a busy machine, the thread that orders the handlers can have it many times in a row.
        self.yields = yields
        self.stopped = call
        with self._board.changed:
            self._board.changed.notify_all()
        self._gate.acquire()

    @property
    def call(self) -> Call:
        """Return the call of the step that it makes, or made last."""
        return self._call or Call("start")

    def watched(self, job: Callable[[], Any], points: SwitchPoints) -> Any:
        """Call a function in this thread, and stop at the switch points that it comes to."""
        codes, short = points.codes, points.short

        # An app makes thousands of calls, so this function returns quickly for nearly all of them.
        def profile(frame: FrameType, event: str, function: Any) -> None:
            if event == "c_call":
                self.inside = function
                if function.__name__ in short:
                    self._calls_c(frame, function, points)
                    self.inside = function
            elif event == "call":
                if codes.get(frame.f_code, "new") and (call := points.of_python(frame)) is not None:
                    self.inside = None
                    self._reach(call)
            elif event != "return":
                self.inside = None

        sys.setprofile(profile)
        try:
            return job()
        finally:
            sys.setprofile(None)

    def _calls_c(self, frame: FrameType, function: Any, points: SwitchPoints) -> None:
        call = points.of_c(frame, function)
        if call is not None:
            self._reach(call)
        elif sleeps(function):
            self._reach(call_at("sleep", frame), yields=True)
        elif starts_thread(function):
            self._board.refuse(thread_started(self.title, call_at("start", frame).where))
        elif releases_lock(function):
            self.released_lock = True
        elif ends_transaction(function):
            self.ended_transaction = True

    def _reach(self, call: Call, *, yields: bool = False) -> None:
        self.point += 1
        self._stop(call, yields=yields)

    @property
    def title(self) -> str:
        """Return the name of the handler and its callback, for a person."""
        return f"handler {letter(self.number)} of `{self.name}`"

    @property
    def stack(self) -> str:
        """Return the current place of the handler, as a traceback without the frames of this package."""
        frame = next(stack_of(self.thread), None)
        return "" if frame is None else written_stack(frame)


class _Board:
    """Hold the messages between the handlers of a run and the thread that orders them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        #: Whether the handlers no longer stop.
        self.free = False
        self.refusal: UsageError | None = None

    def refuse(self, error: UsageError) -> None:
        with self.changed:
            self.refusal = self.refusal or error
            self.changed.notify_all()


def run_in_threads(
    jobs: Sequence[tuple[str, Callable[[Handler], object]]], order: str, *, strict: bool = False
) -> Trace:
    """Run jobs in threads, in an order, and return the steps that they made.

    Each job gets its `Handler`. With `strict`, an order that the handlers do not follow is an error.

    >>> ran = []
    >>> run_in_threads([("one", lambda _: ran.append(1)), ("two", lambda _: ran.append(2))], "b").handlers, ran
    (2, [2, 1])
    """
    board = _Board()
    handlers = [Handler(number, name, job, board) for number, (name, job) in enumerate(jobs)]
    run = _Run(board, handlers, order, strict=strict)
    try:
        with contextlib.closing(run.locks):
            run.to_end()
    except BaseException:
        board.free = True
        for handler in handlers:
            handler.go_on()
        for handler in handlers:
            handler.thread.join(LOCK_FREE)
        raise
    for handler in handlers:
        handler.thread.join()
        if handler.raised is not None:
            raise handler.raised
    return Trace(run.steps.moments, len(handlers), order)


class _Run:
    """Make the steps of one run."""

    def __init__(self, board: _Board, handlers: Sequence[Handler], order: str, *, strict: bool) -> None:
        self._board = board
        self._handlers = handlers
        self._choice = Choice(order, [handler.name for handler in handlers], strict=strict)
        #: The handlers that wait for another one.
        self._waiting: set[int] = set()
        self.steps = Steps()
        self.locks = LockWaits()

    def to_end(self) -> None:
        handlers = self._handlers
        for handler in handlers:
            handler.start()
        for handler in handlers:
            self._settle(handler)
        last: int | None = None
        while any(not handler.over for handler in handlers):
            self._check_refused()
            enabled = tuple(handler.number for handler in handlers if handler.stopped is not None)
            if not enabled:
                self._wait_for_any()
                continue
            yielding = tuple(number for number in enabled if handlers[number].yields)
            at = [None if handler.over else handler.point for handler in handlers]
            last = self._choice.next(enabled, yielding, last, at)
            chosen = handlers[last]
            if chosen.stopped is None or len(self.steps) >= _STEPS:
                hint = "look for a handler that asks the database again and again until something changes"
                what = f"the handlers have made {_STEPS:,} steps, and did not end"
                raise UsageError(what, where="concurrent", hint=hint)
            self.steps.add(last, chosen.point, chosen.stopped, enabled, yielding)
            chosen.go_on()
            self._settle(chosen)
            for number in sorted(self._waiting):
                if chosen.over or chosen.ended_transaction:
                    self._settle(handlers[number], LOCK_FREE)
                elif chosen.released_lock:
                    self._settle(handlers[number])
        self._check_refused()

    def _settle(self, handler: Handler, patience: float | None = None) -> None:
        """Wait until a handler has stopped, has ended, or waits for a lock."""
        board, seen = self._board, stopwatch()
        slept = asleep = answering = 0.0
        with board.changed:
            while not handler.has_settled():
                board.changed.wait(_LOOK)
                self._check_refused()
                now = stopwatch()
                passed, seen = min(now - seen, 4 * _LOOK), now
                inside = handler.inside
                if not is_asleep(handler.thread):
                    asleep = 0.0
                elif inside is not None and sleeps(inside):
                    slept += passed
                    if slept >= _SLEEPS:
                        raise sleeps_long(f"{handler.title}, at {handler.call.where},", _SLEEPS, "time.sleep")
                else:
                    asleep += passed
                    least = patience or (_WAITS_SQLITE if in_sqlite(inside) else WAITS)
                    waits = self.locks.waits(stack_of(handler.thread), least) if asleep >= _ASKS else None
                    if waits is False:
                        # It waits for an answer of the database, which does not take long.
                        answering, asleep = answering + asleep, 0.0
                    if not (
                        waits or asleep >= (least if can_see_sleep() else least * _UNSEEN) or answering >= PATIENCE
                    ):
                        continue
                    # It may have gone on while the database was asked.
                    if not handler.has_settled():
                        self._wait(handler)
                        return
        self._waiting.discard(handler.number)

    def _wait(self, handler: Handler) -> None:
        self._waiting.add(handler.number)
        self.steps.waits(handler.number)

    def _wait_for_any(self) -> None:
        """Wait until one of the handlers, which all wait, goes on."""
        board = self._board

        def moved() -> bool:
            return board.refusal is not None or any(
                handler.stopped is not None or (handler.over and handler.number in self._waiting)
                for handler in self._handlers
            )

        with board.changed:
            if not board.changed.wait_for(moved, PATIENCE):
                raise _deadlock(self._handlers)
            self._check_refused()
        self._waiting -= {handler.number for handler in self._handlers if handler.over or handler.stopped is not None}

    def _check_refused(self) -> None:
        if self._board.refusal is not None:
            raise self._board.refusal


def _deadlock(handlers: Sequence[Handler]) -> Deadlock:
    waiting = [handler for handler in handlers if not handler.over]
    what = deadlock_text([handler.title for handler in waiting], len(waiting) < len(handlers))
    return Deadlock(what, "\n\n".join(f"{handler.title} waits here:\n{handler.stack}" for handler in waiting))


def deadlock_text(waiting: Sequence[str], ended: bool) -> str:
    """Say which handlers wait for each other.

    >>> deadlock_text(["handler b of `sent`"], True)
    'handler b of `sent` waits, and no other handler runs: the others have ended'
    """
    what = f"{' and '.join(waiting)} wait for each other" if len(waiting) > 1 else f"{waiting[0]} waits"
    return f"{what}, and no other handler runs{': the others have ended' if ended else ''}"


def sleeps_long(title: str, seconds: float, function: str) -> UsageError:
    """Return the error for a handler that sleeps.

    >>> sleeps_long("handler a of `sent`", 1.0, "time.sleep").what
    'handler a of `sent` sleeps for more than 1 s'
    """
    return UsageError(
        f"{title} sleeps for more than {seconds:g} s",
        where="concurrent",
        hint=f"an exploration runs it many times: let the test replace what calls {function}, by monkeypatch.setattr",
    )


def thread_started(title: str, where: str) -> UsageError:
    """Return the error for a handler that starts a thread.

    >>> thread_started("handler a of `sent`", "shop.py:12").what
    'handler a of `sent` starts a thread, at shop.py:12; the steps of that thread cannot be ordered, nor end in a crash'
    """
    return UsageError(
        f"{title} starts a thread, at {where}; the steps of that thread cannot be ordered, nor end in a crash",
        where="explore",
        hint="do this work in the handler while the test runs, such as with a job queue that runs each job at once",
    )
