"""Call an ASGI app in process, with its lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport.base import split_address
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import (
    Flag,
    Limit,
    Start,
    background,
    flag,
    gather,
    in_loop,
    in_trio,
    limited,
    mailbox,
    stopwatch,
)
from engagelab_mock.protocol.callback import Callback, Headers

if TYPE_CHECKING:
    from engagelab_mock.delivery.transport.wire import Wire


Message = MutableMapping[str, Any]
#: An ASGI app. Each framework types scope, receive and send differently, so a closer type would exclude some.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class Lifespan:
    """Run an app's lifespan; an app without one is used without it.

    `state` is what the app's start-up left for its requests.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._ended = False
        self._raised: Exception | None = None

    async def startup(self, start: Start) -> None:
        """Start the app with `start`; raise `TransportFailure` if the app reports that it could not start.

        The caller, which provides `start`, cancels its tasks.
        """
        self._tell, hear = mailbox()
        self._answer, self._listen = mailbox()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        start(self._run(scope, hear))
        message = await self._say("lifespan.startup")
        if message is not None and message["type"] == "lifespan.startup.failed":
            # Frameworks put the whole traceback there; its last line names the error.
            reason = (message.get("message") or "").strip().rpartition("\n")[2] or "it gave no reason"
            # An app that could not start must not be asked to stop.
            self._ended = True
            raise TransportFailure(
                Outcome.APP_RAISED, f"the app's lifespan start-up failed: {reason}"
            ) from self._raised

    async def shutdown(self) -> None:
        """Stop the app, if it is running."""
        await self._say("lifespan.shutdown")

    async def _run(self, scope: Message, hear: Callable[[], Awaitable[Message]]) -> None:
        async def receive() -> Message:
            return await hear()

        async def send(message: Message) -> None:
            self._answer(message)

        try:
            await self._app(scope, receive, send)
        except Exception as error:
            # An app without lifespan raises at once; the specification says to continue without it.
            self._raised = error
        finally:
            self._ended = True
            self._answer(None)

    async def _say(self, event: str) -> Message | None:
        """Send the app an event; return its answer, or None if it ended without one."""
        if self._ended:
            return None
        self._tell({"type": event})
        answer: Message | None = await self._listen()
        return answer


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
        return self.run(self.aexchange(callback, limit, wire))

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
        except Exception as error:
            return exchange.failed(error)
        return exchange.response()

    async def _break_off(self, callback: Callback, limit: float | None, wire: Wire) -> None:
        """Call the app and raise the `TransportFailure` of a wire that breaks off; return if the wire does not."""
        from engagelab_mock.delivery.transport.base import failure_of  # only faults need it

        failure = failure_of(wire, len(callback.body))
        if failure is None:
            return
        cut = wire.cut_after
        exchange = _BrokenExchange(callback.body if cut is None else callback.body[:cut], limit, whole=cut is None)
        try:
            await exchange.run(self.app(self._prepare(callback), exchange.receive, exchange.send))
        except Exception as error:
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

        return self.run(gather(one() for _ in range(copies)))

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[dict[str, Any]]:
        """Start the app in the running loop, and stop it at the end of the `async with` block."""
        async with background() as start:
            lifespan = Lifespan(self.app)
            await lifespan.startup(start)
            before, self._state = self._state, lifespan.state
            try:
                yield lifespan.state
            finally:
                self._state = before
                await lifespan.shutdown()

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
        return loop.run_until_complete(program)

    def close(self) -> None:
        """Stop the app and close the loop; a later exchange opens them again."""
        loop, lifespan = self._loop, self._lifespan
        self._loop = self._lifespan = None
        if loop is None:
            return
        try:
            if lifespan is not None:
                loop.run_until_complete(lifespan.shutdown())
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

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

    __slots__ = ("_body", "_chunks", "_complete", "_elapsed", "_limit", "_start", "_started", "_timer")

    def __init__(self, body: bytes, limit: float | None) -> None:
        self._started = stopwatch()
        self._body: bytes | None = body
        self._limit = limit
        self._timer: Limit | None = None
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._complete: Flag | None = None
        self._elapsed = -1.0

    async def run(self, answering: Awaitable[None]) -> None:
        """Await the app, with a timer from its first wait: many apps never wait, and a timer costs more."""
        if in_trio():
            # Trio closes scopes in the reverse order of opening them, so this one opens before any of the app's.
            async with limited(self._limit) as self._timer:
                await answering
            return
        steps = answering.__await__()
        try:
            waits_for = next(steps)
        except StopIteration:
            return
        async with limited(self._time_left()) as self._timer:
            await _resume(steps, waits_for)

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

    def response(self, raised: Exception | None = None) -> Response:
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

    def failed(self, error: Exception) -> Response:
        """Return the answer if the app raised after completing it, as servers do; else raise `TransportFailure`."""
        if self._elapsed >= 0:
            return self.response(raised=error)
        raise TransportFailure(Outcome.APP_RAISED, f"the app raised {type(error).__name__}: {error}") from error


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


@types.coroutine
def _resume(steps: Generator[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Await the rest of an app's steps: pass its futures to the loop, and their results to the app."""
    try:
        while True:
            try:
                yield waits_for
            except BaseException as error:
                waits_for = steps.throw(error)
            else:
                waits_for = next(steps)
    except StopIteration:
        return


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
