"""Crashes inside of a handler: it dies at one of its switch points, and the callback is sent again.

The handler runs in a forked process, which exits at once, without `finally` blocks and without flushing anything: so
does a process that the system kills. If the system cannot fork, or the app's state is in memory, an exception that no
app catches is raised instead. That is weaker, because `finally` blocks and rollbacks run.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.io import SYNC, Io, run_sync
from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import to_thread
from engagelab_mock.explore.interleave import thread_started
from engagelab_mock.explore.orders import Moment, Trace
from engagelab_mock.explore.stuck import Watch, place_of_program, stuck
from engagelab_mock.explore.switchpoints import Call, Died, SwitchPoints, call_at, sleeps, starts_thread
from engagelab_mock.explore.together import check_in_process, reached_by
from engagelab_mock.protocol.callback import Headers

if TYPE_CHECKING:
    from types import FrameType

    from engagelab_mock.delivery.model import Delivery
    from engagelab_mock.delivery.sender import Sender
    from engagelab_mock.delivery.transport import Transport
    from engagelab_mock.delivery.transport.wire import Wire
    from engagelab_mock.protocol.callback import Callback

#: How long a handler may take in a forked process, in seconds.
_LIMIT = 30.0


class _Report(msgspec.Struct):
    """Hold the actions of the handler in the other process."""

    calls: list[tuple[str, str, str]]
    died: bool = False
    #: The status that it had answered, or 0.
    answered: int = 0
    #: Why the answer is missing: the outcome and the reason.
    failed: tuple[str, str] = ("", "")
    #: Where it started a thread, which would end without a trace.
    thread: str = ""
    #: Where it waits, if it did not end.
    waits: str = ""


class _Watch:
    """Count the switch points that a handler comes to, and let it die at one of them: by `die`, or by an exception."""

    def __init__(self, points: SwitchPoints, at: int, die: Callable[[], object] | None = None) -> None:
        self.points = points
        self.calls: list[Call] = []
        self.died = False
        #: Where the handler started a thread, and where it waits if it does not end.
        self.thread = self.waits = ""
        self._at = at
        self._die = die

    def profile(self, frame: FrameType, event: str, function: Any) -> None:
        """Get each call of the thread."""
        call: Call | None = None
        if event == "c_call" and function.__name__ in self.points.short:
            call = self.points.of_c(frame, function)
            if call is None and sleeps(function):
                call = call_at("sleep", frame)
            elif call is None and starts_thread(function):
                self.thread = self.thread or call_at("start", frame).where
        elif event == "call" and self.points.codes.get(frame.f_code, "new"):
            call = self.points.of_python(frame)
        if call is not None and self.reach(call):
            raise Died

    def reach(self, call: Call) -> bool:
        """Enter a call, and tell whether the handler dies there."""
        if self.died or call.name == "start":
            return False
        if self.calls:
            self.calls[-1].over = True
        self.calls.append(call)
        self.died = len(self.calls) == self._at
        if self.died and self._die is not None:
            self._die()
        return self.died

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Return the calls as texts."""
        return [(call.name, call.text, call.where) for call in self.calls]


class _Crashing:
    """Call the app as its transport does, and let its handler die at a switch point; 0 lets it live."""

    def __init__(
        self, inner: Transport, points: SwitchPoints, at: int, *, fork: bool, limit: float | None = None
    ) -> None:
        self.name = inner.name
        self.address = inner.address
        self._inner = inner
        self._points = points
        self._at = at
        self._fork = fork
        #: How long the receiver may take. A handler that takes much longer is stuck.
        self._limit = limit
        self.report = _Report([])

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        self.report = self._forked(callback) if self._fork else self._raised(callback)
        report = self.report
        if report.answered and not (report.died and report.answered != 200):
            return Response(report.answered, "", Headers(), b"")
        if report.died:
            name, text, where = report.calls[-1]
            call = f"{name} at {where}" + (f": {text}" if text else "")
            raise TransportFailure(Outcome.CLOSED, f"the handler crashed at switch point {self._at}, {call}")
        raise TransportFailure(Outcome(report.failed[0] or Outcome.CLOSED), report.failed[1])

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        return await to_thread(self.exchange, callback, limit, wire)

    def _raised(self, callback: Callback) -> _Report:
        return self._called(callback, _Watch(self._points, self._at))

    def _called(self, callback: Callback, watch: _Watch) -> _Report:
        with _answers(self._inner) as answered:
            report = _Report([])
            before = sys.getprofile()
            sys.setprofile(watch.profile)
            try:
                response = self._exchanged(callback, watch)
                report.answered = response.status
            except TransportFailure as failure:
                report.failed = (str(failure.outcome), failure.reason)
            finally:
                sys.setprofile(before)
            report.calls, report.died, report.thread, report.waits = watch.told, watch.died, watch.thread, watch.waits
            if watch.died:
                report.answered = answered[0] if answered else 0
            return report

    def _exchanged(self, callback: Callback, watch: _Watch) -> Response:
        if self.name == "wsgi":
            return self._inner.exchange(callback, None)
        from engagelab_mock.explore.loops import exchange_in_loop  # only ASGI apps need it

        transport: Any = self._inner
        limit = None if self._limit is None else 2 * self._limit
        program = exchange_in_loop(transport, callback, watch.points, watch.reach, limit)
        try:
            answer: Response = transport.run(program)
        except TransportFailure as failure:
            if failure.outcome is Outcome.TIMEOUT:
                watch.waits = place_of_program(transport.given_up[-1]) if transport.given_up else ""
            raise
        return answer

    def _forked(self, callback: Callback) -> _Report:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            # Other threads are not copied. The handler runs in this one.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            self._run_child(callback, writer)
        os.close(writer)
        try:
            told = _read(reader, max(_LIMIT, 5 * (self._limit or 0)))
        finally:
            os.close(reader)
            # It has told everything, or takes too long.
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if not told:
            raise _not_ended(f"the forked handler did not end as expected within {_LIMIT:g} s")
        return msgspec.json.decode(told, type=_Report)

    def _run_child(self, callback: Callback, writer: int) -> None:
        """Run the handler in the forked process, report its actions, and exit at once."""
        watch: _Watch
        # The loop in which another thread runs the app's lifespan is not in this process.
        vars(self._inner).update({"_hosted": None} if self.name == "asgi" else {})
        # An object that is collected would end the session of the other process.
        self._kept = [*_without_connections()]
        with contextlib.suppress(BaseException), _answers(self._inner) as answered:

            def die() -> None:
                report = _Report(watch.told, True, answered[0] if answered else 0, thread=watch.thread)
                os.write(writer, msgspec.json.encode(report))
                os._exit(0)

            watch = _Watch(self._points, self._at, die)
            with Watch(self._limit) as stuck_here:
                report = self._called(callback, watch)
            report.waits = report.waits or stuck_here.stack
            os.write(writer, msgspec.json.encode(report))
        os._exit(0)


def _not_ended(what: str) -> UsageError:
    thread = "does it wait for a thread, such as that of a connection which an earlier handler has opened?"
    return UsageError(what, where="crashes", hint=f"{thread} Threads are not copied into a forked process")


def _read(reader: int, limit: float) -> bytes:
    """Return the output of the other process; nothing if it takes too long."""
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while selector.select(limit):
            part = os.read(reader, 65536)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return b""


@contextlib.contextmanager
def _answers(transport: Any) -> Iterator[list[int]]:
    """Yield a list that gets the status as soon as the app has given its whole answer; work can follow."""
    answered: list[int] = []
    app = transport.app
    transport.app = _wsgi(app, answered) if transport.name == "wsgi" else _asgi(app, answered)
    try:
        yield answered
    finally:
        transport.app = app


def _wsgi(app: Any, answered: list[int]) -> Any:
    def call(environ: Any, start_response: Any) -> Any:
        status: list[str] = []

        def start(line: str, *rest: Any) -> Any:
            status.append(line)
            return start_response(line, *rest)

        return _Chunks(app(environ, start), status, answered)

    return call


class _Chunks:
    """The body of a WSGI app's answer."""

    def __init__(self, chunks: Any, status: list[str], answered: list[int]) -> None:
        self._chunks = chunks
        self._status = status
        self._answered = answered

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._status and self._status[-1][:3].isdecimal():
            self._answered.append(int(self._status[-1][:3]))

    def close(self) -> None:
        getattr(self._chunks, "close", lambda: None)()


def _asgi(app: Any, answered: list[int]) -> Any:
    async def call(scope: Any, receive: Any, send: Any) -> None:
        status: list[int] = []

        async def sent(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                status.append(message["status"])
            elif message["type"] == "http.response.body" and not message.get("more_body") and status:
                answered.append(status[0])

        await app(scope, receive, sent)

    return call


async def deliver_crashing(
    io: Io, sender: Sender, delivery: Delivery, points: SwitchPoints, at: int, *, fork: bool
) -> Trace:
    """Make a delivery's next attempt, in a handler that dies at a switch point, and return its actions until then."""
    receiver = delivery.receiver
    check_in_process(receiver, where="crashes")
    # In a transaction of the test, only this process sees the state.
    fork = fork and not any(connection.in_atomic_block for connection in _django_connections())
    transport = _Crashing(receiver.transport, points, at, fork=fork, limit=receiver.limit)
    delivery.receiver = reached_by(receiver, transport)
    try:
        if io is SYNC:
            run_sync(sender.attempt(SYNC, delivery))
        else:
            await sender.attempt(io, delivery)
    finally:
        delivery.receiver = receiver
    report = transport.report
    if report.waits and fork:
        raise _not_ended(f"the forked handler of `{'+'.join(delivery.statuses)}` waits here:\n{report.waits}\n")
    if report.waits:
        raise stuck(report.waits)
    if report.thread and transport.name == "wsgi":  # an ASGI app may use the worker threads of its event loop
        raise thread_started(f"the handler of `{'+'.join(delivery.statuses)}`", report.thread)
    moments = tuple(
        Moment(0, number, name, text, where, (0,)) for number, (name, text, where) in enumerate(report.calls, 1)
    )
    return Trace(moments, 1, crashed=report.died, weak=report.died and not fork)


def _django_connections() -> list[Any]:
    """Return the connections of Django that this thread has opened."""
    django = sys.modules.get("django.db")
    return django.connections.all(initialized_only=True) if django is not None else []


def _without_connections() -> Iterator[Any]:
    """Yield the connections of Django to servers, and forget them: a session belongs to the process that began it."""
    for connection in _django_connections():
        if connection.vendor != "sqlite":
            del sys.modules["django.db"].connections[connection.alias]
            yield connection


def can_fork() -> bool:
    """Tell whether this system can copy a process.

    >>> can_fork() == hasattr(os, "fork")
    True
    """
    return hasattr(os, "fork")
