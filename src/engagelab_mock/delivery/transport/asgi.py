"""Call an ASGI app in process, with its lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure, app_raised
from engagelab_mock.delivery.transport import split_address
from engagelab_mock.delivery.transport.lifespan import AsgiApp, Lifespan, Message, running
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import (
    Flag,
    Limit,
    flag,
    gather,
    in_loop,
    in_trio,
    is_cancellation,
    limited,
    stopwatch,
)
from engagelab_mock.protocol.callback import Callback, Headers

if TYPE_CHECKING:
    from engagelab_mock.delivery.transport.wire import Wire


T = TypeVar("T")


class AsgiTransport:
    """Drive an app by hand, as the ASGI specification says.

    From synchronous code the app runs in one loop that stays open between callbacks, with its lifespan started before
    the first. From a running loop, of asyncio or trio, it runs in that loop (`aexchange`), and its lifespan lasts for
    the caller's `async with transport.lifespan()`.

    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200})
    ...     await send({"type": "http.response.body"})
    >>> transport = AsgiTransport(app, "http://testserver/engagelab", lifespan=False)
    >>> transport.exchange(Callback(Headers(), b"{}"), 3).status
    200
    >>> transport.close()
    """

    name = "asgi"

    def __init__(self, app: AsgiApp, address: str, *, lifespan: bool = True) -> None:
        self.app = app
        self.address = address
        parts = split_address(address, where="base_url")
        path = parts.path or "/"
        default_port = 443 if parts.scheme == "https" else 80
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": parts.scheme,
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": parts.query.encode("ascii"),
            "root_path": "",
            "client": ("127.0.0.1", 50000),
            "server": (parts.hostname, parts.port or default_port),
        }
        self._host = (b"host", parts.netloc.encode("ascii"))
        self._wants_lifespan = lifespan
        self._lifespan: Lifespan | None = None
        #: The state of the app's lifespan in the caller's loop, while it runs there.
        self._state: dict[str, Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Call the app with the callback and collect its answer, outside of a running loop."""
        return self._call(self.aexchange(callback, limit, wire))

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Call the app in the running loop and collect its answer."""
        if wire is not None:
            await self._break_off(callback, limit, wire)
        exchange = _Exchange(callback.body, limit)
        scope = self._prepare(callback)
        if wire is not None:
            scope["method"] = wire.method
        try:
            await exchange.run(self.app(scope, exchange.receive, exchange.send))
        except TimeoutError as error:
            if not exchange.expired:
                return exchange.failed(error)
            reason = f"no complete answer within {limit:g} s"
            raise TransportFailure(Outcome.TIMEOUT, reason) from None
        except BaseException as error:
            if exchange.cancelled:
                raise
            return exchange.failed(error)
        return exchange.response()

    async def _break_off(self, callback: Callback, limit: float | None, wire: Wire) -> None:
        """Call the app and raise the `TransportFailure` of a wire that breaks off; return if the wire does not."""
        from engagelab_mock.delivery.transport.wire import failure_of  # only faults need it

        failure = failure_of(wire, len(callback.body))
        if failure is None:
            return
        cut = wire.cut_after
        exchange = _BrokenExchange(callback.body if cut is None else callback.body[:cut], limit, whole=cut is None)
        try:
            await exchange.run(self.app(self._prepare(callback), exchange.receive, exchange.send))
        except BaseException as error:
            if exchange.cancelled:
                raise
            raise failure from error
        raise failure

    def exchange_many(
        self, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Call the app several times at the same time, in its own loop."""

        async def one() -> Response | TransportFailure:
            try:
                return await self.aexchange(callback, limit, wire)
            except TransportFailure as failure:
                return failure

        return self._call(gather(one() for _ in range(copies)))

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[dict[str, Any]]:
        """Start the app in the running loop, and stop it at the end of the `async with` block."""
        async with running(self.app) as state:
            before, self._state = self._state, state
            try:
                yield state
            finally:
                self._state = before

    def run(self, program: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the app's own loop, starting the app first if necessary."""
        if in_loop():
            program.close()
            raise UsageError(
                "the app cannot be called synchronously from inside a running event loop",
                where="Receiver.asgi",
                hint="in an async test use `await engagelab.asend(...)`, or the async twin of the method you called",
            )
        try:
            loop = self._loop or self._open()
        except BaseException:
            program.close()
            raise
        task = loop.create_task(program)
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt):
            # These two leave the loop at once if any task raises them, or a signal, so this task may not have ended.
            _cancel(loop, {task})
            raise

    def _call(self, program: Coroutine[Any, Any, T]) -> T:
        try:
            return self.run(program)
        except (SystemExit, KeyboardInterrupt) as error:
            raise app_raised(error) from error

    def close(self) -> None:
        """Stop the app and close the loop; a later exchange opens them again.

        Raises `TransportFailure`, after all is closed, if the app's lifespan failed at shutdown or before.
        """
        loop, lifespan = self._loop, self._lifespan
        self._loop = self._lifespan = None
        if loop is None:
            return
        with contextlib.closing(loop):
            try:
                if lifespan is not None:
                    loop.run_until_complete(lifespan.shutdown())
            finally:
                _cancel(loop, asyncio.all_tasks(loop))
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())

    def _open(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.new_event_loop()
        with contextlib.suppress(AttributeError):  # some loops do not accept a clock
            # The app's timers use this clock, even if the test has frozen Python's own.
            self._loop.time = stopwatch  # type: ignore[method-assign]
        if self._wants_lifespan:
            self._lifespan = Lifespan(self.app)
            try:
                self._loop.run_until_complete(self._lifespan.startup(self._loop.create_task))
            except BaseException:
                self.close()
                raise
        return self._loop

    def _prepare(self, callback: Callback) -> dict[str, Any]:
        scope = self._scope.copy()
        scope["headers"] = [
            self._host,
            (b"content-length", b"%d" % len(callback.body)),
            *[(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in callback.headers.pairs],
        ]
        own = self._loop is not None and asyncio._get_running_loop() is self._loop
        state = self._state if not own else self._lifespan.state if self._lifespan is not None else None
        if state is not None:
            scope["state"] = state.copy()
        return scope


class _Exchange:
    """Hold one request and its answer, as the app sees them through `receive` and `send`."""

    __slots__ = ("_body", "_chunks", "_complete", "_elapsed", "_limit", "_start", "_started", "_timer", "cancelled")

    def __init__(self, body: bytes, limit: float | None) -> None:
        self._started = stopwatch()
        self._body: bytes | None = body
        self._limit = limit
        self._timer: Limit | None = None
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._complete: Flag | None = None
        self._elapsed = -1.0
        #: The task that makes the call was cancelled from outside, or its coroutine was closed.
        self.cancelled = False

    async def run(self, answering: Awaitable[None]) -> None:
        """Await the app, with a timer from its first wait: many apps never wait, and a timer costs more."""
        if in_trio():
            # Trio closes scopes in the reverse order of opening them, so this one opens before any of the app's.
            try:
                async with limited(self._limit) as self._timer:
                    await answering
            except BaseException as error:
                self.cancelled = is_cancellation(error)
                raise
            return
        # Until its first wait, nothing from outside can reach the app: what it raises is its own.
        steps = answering.__await__()
        try:
            waits_for = next(steps)
        except StopIteration:
            return
        waiting = _Waiting()
        try:
            async with limited(self._time_left()) as self._timer:
                await waiting.resume(steps, waits_for)
        except BaseException as error:
            self.cancelled = waiting.was_cancelled(error)
            raise

    @property
    def expired(self) -> bool:
        return self._timer is not None and self._timer.expired()

    def _time_left(self) -> float | None:
        # The limit does not apply to background work after the answer.
        if self._limit is None or self._elapsed >= 0:
            return None
        return self._limit - (stopwatch() - self._started)

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._elapsed < 0:
            # The client stays connected until it has its answer.
            if self._complete is None:
                self._complete = flag()
            await self._complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
        elif kind == "http.response.body" and self._elapsed < 0:
            self._chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._elapsed = stopwatch() - self._started
                if self._timer is not None:
                    self._timer.reschedule(None)
                if self._complete is not None:
                    self._complete.set()

    def response(self, raised: BaseException | None = None) -> Response:
        if self._start is None or self._elapsed < 0:
            what = "sent no response" if self._start is None else "did not finish its response"
            raise TransportFailure(Outcome.MALFORMED, f"the app returned and {what}")
        try:
            status = int(self._start["status"])
            headers = self._start.get("headers", ())
            pairs = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers]
            body = b"".join(self._chunks)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"the app's response breaks ASGI: {type(error).__name__}: {error}"
            raise TransportFailure(Outcome.MALFORMED, reason) from raised
        return Response(status, "", Headers(pairs), body, self._elapsed, raised)

    def failed(self, error: BaseException) -> Response:
        """Return the answer if the app raised after completing it, as servers do; else raise `TransportFailure`."""
        if self._elapsed >= 0:
            return self.response(raised=error)
        raise app_raised(error) from error


class _BrokenExchange(_Exchange):
    """Hold a request whose client disconnects: the app gets a part of the body and cannot send anything."""

    __slots__ = ("_whole",)

    def __init__(self, body: bytes, limit: float | None, *, whole: bool) -> None:
        super().__init__(body, limit)
        self._whole = whole

    async def receive(self) -> Message:
        if self._body is None:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": not self._whole}

    async def send(self, message: Message) -> None:
        # As the ASGI specification demands from servers when the connection is closed.
        raise ConnectionResetError("the client closed the connection")


class _Waiting:
    """Await the rest of an app's steps, and tell whether it was the task that was cancelled meanwhile.

    An app runs in its caller's task, and can raise CancelledError by itself. Asyncio counts the requests to cancel a
    task. Requests that come while the app waits are from outside, unless the app withdraws them, as its time limits
    and task groups do. A request that comes between two waits is the app's own.
    """

    __slots__ = ("_asked", "_requests", "_task")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._asked, self._requests = False, 0
        if self._task is not None:
            # A request that is not delivered yet was made before this first wait, by the app.
            self._requests = self._task.cancelling() - getattr(self._task, "_must_cancel", False)

    @types.coroutine
    def resume(self, steps: Generator[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
        """Pass the app's futures to the loop, and their results to the app."""
        task = self._task
        try:
            while True:
                requests = task.cancelling() if task is not None else 0
                try:
                    yield waits_for
                except BaseException as error:
                    # A coroutine that is closed is not run by its task any more.
                    if isinstance(error, GeneratorExit) or (task is not None and task.cancelling() > requests):
                        self._asked = True
                    waits_for = steps.throw(error)
                else:
                    waits_for = next(steps)
        except StopIteration:
            return

    def was_cancelled(self, error: BaseException) -> bool:
        """Tell whether an exception of the app is there because the task was cancelled, or its coroutine closed."""
        if isinstance(error, GeneratorExit):
            return self._asked
        task = self._task
        if task is None or not isinstance(error, asyncio.CancelledError):
            return False
        if self._asked and task.cancelling() > self._requests:
            return True
        while task.cancelling() > self._requests:
            task.uncancel()  # or the app's own request would look like one to the caller's time limits
        return False


def _cancel(loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    ended = asyncio.gather(*tasks, return_exceptions=True)
    while not ended.done():
        running = asyncio.all_tasks(loop)
        try:
            loop.run_until_complete(ended)
        except (SystemExit, KeyboardInterrupt):
            # Each task that raises one stops the loop again. Otherwise a signal has raised it: stop waiting.
            if not any(task.done() for task in running):
                raise
