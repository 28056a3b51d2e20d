"""Connections that are kept alive, for many requests at once: one request at a time on each, parsed by httptools."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, cast

from engagelab_mock.delivery.outcome import Outcome, TransportFailure, outcome_of
from engagelab_mock.delivery.transport.http import HttpTransport, not_connected, read_to_end
from engagelab_mock.delivery.transport.http1 import BadMessage, broken_off
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagelab_mock.load.plan import Planned

try:
    import httptools
except ImportError:
    raise UsageError(
        "it needs the packages of the extra 'load'", where="load", hint="python -m pip install 'engagelab-mock[load]'"
    ) from None

#: How long an idle connection is used again, in seconds: less than servers keep it, as in `HttpTransport`.
_IDLE_LIMIT = 1.0
#: How long an exchange may last if the receiver has no limit, in seconds.
_PATIENCE = 60.0


class Exchange:
    """Hold one request, from the moment at which it is started until its outcome is known. Times are `stopwatch()`."""

    __slots__ = ("answer", "connection", "data", "elapsed", "outcome", "planned", "started")

    def __init__(self, planned: Planned, data: bytes, started: float) -> None:
        self.planned = planned
        self.data = data
        self.started = started
        self.connection: _Connection | None = None
        self.outcome: Outcome | None = None
        self.elapsed = 0.0
        #: The HTTP status; 0 without an answer.
        self.answer = 0


class _Connection(asyncio.Protocol):
    """One connection of the pool."""

    __slots__ = ("_complete", "_keep", "_parser", "_pool", "_received", "_status", "exchange", "since", "transport")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._complete = False
        self._status = 0
        self._keep = False
        #: The parts of an answer that is not complete yet.
        self._received: list[bytes] = []
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.exchange: Exchange | None = None
        #: When the last answer was complete.
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.connection = self
        self.transport.write(exchange.data)

    def on_message_complete(self) -> None:
        # An interim answer, such as 103, is a message to the parser too.
        status = self._parser.get_status_code()
        if status >= 200 or status == 101:
            # The parser knows it only now: afterwards it expects the next message.
            self._status, self._keep, self._complete = status, self._parser.should_keep_alive(), True

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # bytes that belong to no request
            self._pool.discard(self)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._status, self._keep, self._complete = self._parser.get_status_code(), False, True
        except httptools.HttpParserError as error:
            self.exchange = None
            self._pool.discard(self)
            self._pool.fail(exchange, Outcome.MALFORMED)
            self._pool.reasons[Outcome.MALFORMED] = f"the answer is not HTTP: {error}"
            return
        if not self._complete:
            self._received.append(data)
            return
        self._complete = False
        self._received.clear()
        self.exchange = None
        pool, status = self._pool, self._status
        if self._keep and status != 101:
            pool.release(self)
        else:
            pool.discard(self)
        pool.answered(exchange, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        received = b"".join(self._received)
        try:
            if isinstance(exc, OSError) and not received:
                raise exc
            # An answer without a length ends with its connection.
            status = read_to_end(received).status
        except (BadMessage, OSError) as error:
            failure = broken_off(error)
            self._pool.reasons[failure.outcome] = failure.reason
            self._pool.fail(exchange, failure.outcome)
        else:
            self._pool.answered(exchange, status)


class Pool:
    """Send exchanges at once, each on a connection of its own while it lasts, and call `ended` with each.

    An exchange waits for a connection only if `size` are in use. It counts as started meanwhile: the receiver is slow.
    """

    def __init__(
        self, transport: HttpTransport, limit: float | None, size: int, ended: Callable[[Exchange], None]
    ) -> None:
        self._transport = transport
        self._limit = limit
        self._size = size
        self._ended = ended
        self._idle: list[_Connection] = []
        self._connections: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[Exchange] = deque()
        #: All that were started, oldest first; those that have ended are dropped by `expire`.
        self._started: deque[Exchange] = deque()
        self._addresses: list[str] = []
        #: How many exchanges have not ended.
        self.open = 0
        #: The last reason of each outcome without an answer, for a person to read.
        self.reasons: dict[Outcome, str] = {}

    def send(self, exchange: Exchange) -> None:
        """Start an exchange."""
        self.open += 1
        self._started.append(exchange)
        idle = self._idle
        while idle:
            connection = idle.pop()
            if exchange.started - connection.since < _IDLE_LIMIT:
                connection.send(exchange)
                return
            self.discard(connection)
        self._connect(exchange)

    def _connect(self, exchange: Exchange) -> None:
        if len(self._connections) + len(self._connecting) >= self._size:
            self._waiting.append(exchange)
            return
        task = asyncio.ensure_future(self._open(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, exchange: Exchange) -> None:
        try:
            connection = await self._new()
        except (OSError, UnicodeError) as error:
            failure = self._failure(error)
            self.reasons[failure.outcome] = failure.reason
            if exchange.outcome is None:
                self.fail(exchange, failure.outcome)
            return
        self._connections.add(connection)
        if connection.transport.is_closing():
            self._connections.discard(connection)
        if exchange.outcome is None:
            connection.send(exchange)
        else:
            self.release(connection)

    async def _new(self) -> _Connection:
        transport, loop = self._transport, asyncio.get_running_loop()
        if not self._addresses:
            found = await loop.getaddrinfo(transport.host, transport.port, type=socket.SOCK_STREAM)
            self._addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        refused: OSError | None = None
        for address in list(self._addresses):
            try:
                _, connection = await loop.create_connection(
                    lambda: _Connection(self),
                    address,
                    transport.port,
                    ssl=transport.tls,
                    server_hostname=transport.host if transport.tls else None,
                )
            except OSError as error:
                refused = refused or error
                continue
            # Later connections go to the address that answers.
            self._addresses = [address]
            return connection
        raise refused or OSError("the host has no address")

    def _failure(self, error: Exception) -> TransportFailure:
        transport = self._transport
        if transport.tls is not None:
            import ssl

            if isinstance(error, ssl.SSLError):
                where = f"{transport.host}:{transport.port}"
                return TransportFailure(Outcome.TLS_FAILURE, f"no TLS session with {where}: {error}")
        return not_connected(error, transport.host, transport.port, self._limit)

    def release(self, connection: _Connection) -> None:
        """Use a connection again: for an exchange that waits, or for a later one."""
        while self._waiting:
            exchange = self._waiting.popleft()
            if exchange.outcome is None:
                connection.send(exchange)
                return
        connection.since = stopwatch()
        self._idle.append(connection)

    def discard(self, connection: _Connection) -> None:
        """Close a connection."""
        connection.transport.abort()
        self.forget(connection)

    def forget(self, connection: _Connection) -> None:
        """Take a connection out of the pool, and open one for an exchange that waits."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        while self._waiting:
            exchange = self._waiting.popleft()
            if exchange.outcome is None:
                self._connect(exchange)
                return

    def answered(self, exchange: Exchange, status: int) -> None:
        """End an exchange that has a complete answer."""
        if exchange.outcome is None:
            exchange.answer = status
            exchange.elapsed = stopwatch() - exchange.started
            exchange.outcome = outcome_of(status, exchange.elapsed, self._limit)
            exchange.connection = None
            self.open -= 1
            self._ended(exchange)

    def fail(self, exchange: Exchange, outcome: Outcome) -> None:
        """End an exchange without a complete answer."""
        if exchange.outcome is None:
            exchange.elapsed = stopwatch() - exchange.started
            exchange.outcome = outcome
            exchange.connection = None
            self.open -= 1
            self._ended(exchange)

    def expire(self) -> None:
        """End the exchanges that have lasted longer than the limit."""
        started, now = self._started, stopwatch()
        limit = _PATIENCE if self._limit is None else self._limit
        while started:
            exchange = started[0]
            if exchange.outcome is None:
                if now - exchange.started <= limit:
                    return
                connection = exchange.connection
                self.fail(exchange, Outcome.TIMEOUT if connection is not None else Outcome.CONNECT_TIMEOUT)
                if connection is not None:
                    connection.exchange = None
                    self.discard(connection)
            started.popleft()

    async def close(self) -> None:
        """Close all connections."""
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._connections):
            connection.exchange = None
            connection.transport.abort()
        self._connections.clear()
        self._idle.clear()
        await asyncio.sleep(0)
