"""Call an ASGI app in process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from engagelab_mock.delivery.io import SYNC
from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure, app_raised
from engagelab_mock.delivery.transport import check_length, split_address
from engagelab_mock.delivery.transport.lifespan import AppLoop, AsgiApp, Message, running
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import Flag, caller, flag, from_thread, gather, in_trio, limited, stopwatch
from engagelab_mock.protocol.callback import Callback, Headers

if TYPE_CHECKING:
    from engagelab_mock.delivery.transport.wire import Wire

T = TypeVar("T")
#: How long a thread waits for the loop in which `receiver.lifespan()` runs the app, in seconds.
_PATIENCE = 5.0


class AsgiTransport:
    """Drive an app by hand, as the ASGI specification says.

    From synchronous code, the app runs in one loop that stays open between callbacks. Its lifespan starts before the
    first callback. From a running loop, of asyncio or trio, the app runs in that loop (`aexchange`), and its lifespan
    lasts as long as the caller's `async with transport.lifespan()`. Meanwhile, other threads call it there, too.

    As behind a server, each request has its own task and context. Only the app ends that task: if a client has waited
    too long, it is gone, and the app continues.

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
        self._own = AppLoop(app, lifespan=lifespan)
        #: While the lifespan runs in a caller's loop: its state, and a function that runs a coroutine in that loop.
        self._hosted: tuple[dict[str, Any], Callable[[Coroutine[Any, Any, Any]], Any]] | None = None
        #: Requests that were given up and have not ended, each with a function that calls another function in its loop.
        self._late: list[tuple[_Exchange, Callable[[Callable[[], object]], object]]] = []

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Call the app with the callback and collect its answer, outside of a running loop."""
        return self._call(self.aexchange(callback, limit, wire))

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Call the app in the running loop and collect its answer."""
        if wire is not None:
            await self._break_off(callback, limit, wire)
        scope = self._prepare(callback)
        if wire is not None:
            scope["method"] = wire.method
        exchange = _Exchange(callback.body, limit)
        await self._run_request(exchange, scope)
        return exchange.response()

    async def _run_request(self, exchange: _Exchange, scope: dict[str, Any]) -> None:
        try:
            await exchange.run(self.app, scope)
        except TransportFailure:
            self._late = [late for late in self._late if not late[0].ended]
            self._late.append((exchange, caller()))
            raise

    async def _break_off(self, callback: Callback, limit: float | None, wire: Wire) -> None:
        """Call the app and raise the `TransportFailure` of a wire that breaks off; return if it does not break off."""
        from engagelab_mock.delivery.transport.wire import failure_of  # only faults need it

        failure = failure_of(wire, len(callback.body))
        if failure is None:
            return
        cut = wire.cut_after
        exchange = _BrokenExchange(callback.body if cut is None else callback.body[:cut], limit, whole=cut is None)
        try:
            await self._run_request(exchange, self._prepare(callback))
        except TransportFailure as error:
            raise failure from error
        raise failure from exchange.raised

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

    @property
    def given_up(self) -> list[Coroutine[Any, Any, None]]:
        """Return the requests that were given up and have not ended."""
        return [exchange.program for exchange, _ in self._late if not exchange.ended]

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[dict[str, Any]]:
        """Start the app in the running loop, and stop it at the end of the `async with` block."""
        async with running(self.app) as state:
            before, self._hosted = self._hosted, (state, _in_this_loop())
            try:
                yield state
            finally:
                self._hosted = before

    def run(self, program: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop of the app: its own loop, or that of `lifespan`, which another thread runs."""
        try:
            SYNC.check(self)
        except UsageError:
            program.close()
            raise
        if self._hosted is not None:
            result: T = self._hosted[1](program)
            return result
        before = {id(exchange) for exchange, _ in self._late}
        try:
            return self._own.run(program)
        finally:
            # This loop does not run between two calls, so late requests get their time limit again to finish.
            late = [exchange for exchange, _ in self._late if id(exchange) not in before]
            if late:
                self._own.run(gather(exchange.finish() for exchange in late))

    def _call(self, program: Coroutine[Any, Any, T]) -> T:
        try:
            return self.run(program)
        except (SystemExit, KeyboardInterrupt) as error:
            raise app_raised(error) from error

    def close(self) -> None:
        """Cancel requests that were given up, stop the app and close its loop; a later exchange opens it again.

        Raises `TransportFailure`, after closing all, if the app's lifespan failed at shutdown or before.
        """
        late, self._late = self._late, []
        for exchange, call_soon in late:
            with contextlib.suppress(RuntimeError):  # its loop may be closed already
                call_soon(exchange.cancel)
        self._own.close()

    def _prepare(self, callback: Callback) -> dict[str, Any]:
        scope = self._scope.copy()
        scope["headers"] = [
            self._host,
            (b"content-length", b"%d" % len(callback.body)),
            *[(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in callback.headers.pairs],
        ]
        state = self._own.state
        if state is None and self._hosted is not None:
            state = self._hosted[0]
        if state is not None:
            scope["state"] = state.copy()
        return scope


class _Exchange:
    """Hold one request and its answer, as the app sees them through `receive` and `send`."""

    __slots__ = (
        "_body",
        "_chunks",
        "_elapsed",
        "_end",
        "_gone",
        "_limit",
        "_over",
        "_start",
        "_started",
        "cancel",
        "ended",
        "program",
        "raised",
    )

    def __init__(self, body: bytes, limit: float | None) -> None:
        self._started = stopwatch()
        self._body: bytes | None = body
        self._limit = limit
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._elapsed = -1.0
        #: Set when the answer is complete or cannot come; and when the app has ended. Made when a task waits for it.
        self._over: Flag | None = None
        self._end: Flag | None = None
        self._gone = False
        self.ended = False
        self.raised: BaseException | None = None

    async def run(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        """Call the app and wait until it has ended; raise `TransportFailure` if its answer takes too long.

        The limit does not apply to the app's work after its answer.
        """
        #: The call of the app, and a function that cancels it.
        self.program = self._serve(app, scope)
        self.cancel = _start(self.program)
        try:
            # Many apps never wait, and setting a time limit costs more than calling them.
            await _checkpoint()
            if self.ended:
                return
            over, self._end = self._until_over(), flag()
            if self._elapsed < 0:
                async with limited(None if self._limit is None else self._limit - (stopwatch() - self._started)):
                    await over.wait()
            await self._end.wait()
        except TimeoutError:
            self._gone = True
            over.set()
            raise TransportFailure(Outcome.TIMEOUT, f"no complete answer within {self._limit:g} s") from None
        except GeneratorExit:
            self.cancel()
            raise
        except BaseException as stopped:
            # The test was stopped, so the app is stopped too.
            self.cancel()
            await self._until_ended()
            raise stopped from self.raised

    async def _serve(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
        except BaseException as error:
            self.raised = error
        self.ended = True
        for waited_for in (self._over, self._end):
            if waited_for is not None:
                waited_for.set()

    async def finish(self) -> None:
        """Wait until the app has ended, at most as long as its answer was waited for."""
        with contextlib.suppress(TimeoutError):
            async with limited(self._limit):
                await self._until_ended()

    async def _until_ended(self) -> None:
        if self.ended:
            return
        if self._end is None:
            self._end = flag()
        if in_trio():
            import trio

            with trio.CancelScope(shield=True):
                await self._end.wait()
        else:
            await self._end.wait()

    def _until_over(self) -> Flag:
        if self._over is None:
            self._over = flag()
        return self._over

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._elapsed < 0 and not self._gone:
            # The client stays connected until it has its answer.
            await self._until_over().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
        elif kind == "http.response.body" and self._elapsed < 0 and not self._gone:
            self._chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._elapsed = stopwatch() - self._started
                if self._over is not None:
                    self._over.set()

    def response(self) -> Response:
        """Return the answer, with the exception that the app raised after it; else raise `TransportFailure`."""
        error = self.raised
        if self._elapsed < 0 and error is not None:
            raise app_raised(error) from error
        if self._start is None or self._elapsed < 0:
            what = "sent no response" if self._start is None else "did not finish its response"
            raise TransportFailure(Outcome.MALFORMED, f"the app returned and {what}")
        try:
            status = int(self._start["status"])
            headers = self._start.get("headers", ())
            pairs = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers]
            body = b"".join(self._chunks)
        except (KeyError, TypeError, ValueError) as broken:
            reason = f"the app's response breaks ASGI: {type(broken).__name__}: {broken}"
            raise TransportFailure(Outcome.MALFORMED, reason) from error
        response = Response(status, "", Headers(pairs), body, self._elapsed, error)
        check_length(response)
        return response


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
        """Drop the message, as servers do: only ASGI versions later than that of our scope raise an error."""


def _start(program: Coroutine[Any, Any, None]) -> Callable[[], object]:
    """Run a coroutine in its own task and context, and return a function that cancels it."""
    if in_trio():
        import trio

        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await program

        # A task in the caller's nursery would end with it.
        trio.lowlevel.spawn_system_task(run, context=copy_context())
        return scope.cancel
    import asyncio

    return asyncio.get_running_loop().create_task(program).cancel


async def _checkpoint() -> None:
    if in_trio():
        import trio

        await trio.lowlevel.checkpoint()
    else:
        import asyncio

        await asyncio.sleep(0)


def _in_this_loop() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return a function that runs a coroutine in the running loop, called from another thread."""
    call_soon, run = caller(), from_thread()

    def run_there(program: Coroutine[Any, Any, Any]) -> Any:
        answers = threading.Event()
        call_soon(answers.set)
        if not answers.wait(_PATIENCE):
            program.close()
            raise UsageError(
                f"the event loop in which the app's lifespan runs did nothing for {_PATIENCE:g} s",
                where="receiver.lifespan",
                hint="the test blocks it: `await engagelab.asend(…)`, or the blocking call in `asyncio.to_thread`",
            )
        return run(program)

    return run_there
