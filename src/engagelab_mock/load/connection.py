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
#: How long a delivery may last if the receiver has no limit, in seconds.
_PATIENCE = 60.0


class _Connection(asyncio.Protocol):
    """One connection of the pool."""

    __slots__ = ("_keep", "_parser", "_pool", "_received", "_status", "_within", "delivery", "since", "transport")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        #: The status of a complete answer, or 0, and whether the connection can be used again after it.
        self._status, self._keep = 0, False
        #: Whether the parser is within an answer.
        self._within = False
        #: The parts of an answer that is not complete yet.
        self._received: list[bytes] = []
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.delivery: Planned | None = None
        #: When the last answer was complete.
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, delivery: Planned, request: bytes) -> None:
        self.delivery = delivery
        self.transport.write(request)

    def on_message_begin(self) -> None:
        self._within = True

    def on_message_complete(self) -> None:
        self._within = False
        # An interim answer, such as 103, is a message to the parser too.
        status = self._parser.get_status_code()
        if status >= 200 or status == 101:
            # The parser knows it only now: afterwards it expects the next message.
            self._status, self._keep = status, status != 101 and self._parser.should_keep_alive()

    def data_received(self, data: bytes) -> None:
        now = stopwatch()
        delivery, pool = self.delivery, self._pool
        if delivery is None:  # bytes that belong to no request
            pool.discard(self)
        elif data == pool.usual and not self._within:
            # Receivers give the same answer many times. The same bytes mean the same to a parser that begins anew.
            self.delivery = None
            pool.release(self, now)
            pool.answered(delivery, pool.usual_status, now)
        else:
            self._parse(delivery, data, now)

    def _parse(self, delivery: Planned, data: bytes, now: float) -> None:
        pool, whole = self._pool, not self._within
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._status, self._keep = self._parser.get_status_code(), False
        except httptools.HttpParserError as error:
            self.delivery = None
            pool.discard(self)
            pool.reasons[Outcome.MALFORMED] = f"the answer is not HTTP: {error}"
            pool.end(delivery, Outcome.MALFORMED, now)
            return
        status, self._status = self._status, 0
        if not status:
            self._received.append(data)
            return
        self._received.clear()
        self.delivery = None
        if self._keep:
            if whole and not self._within:
                pool.usual, pool.usual_status = data, status
            pool.release(self, now)
        else:
            pool.discard(self)
        pool.answered(delivery, status, now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        delivery, self.delivery = self.delivery, None
        if delivery is None:
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
            self._pool.end(delivery, failure.outcome, stopwatch())
        else:
            self._pool.answered(delivery, status, stopwatch())


class Pool:
    """Send deliveries at once, each on a connection of its own while it lasts, and call `ended` with each.

    A delivery waits for a connection only if `size` are in use. It counts as started meanwhile: the receiver is slow.
    """

    def __init__(
        self, transport: HttpTransport, limit: float | None, size: int, ended: Callable[[Planned], None]
    ) -> None:
        self._transport = transport
        self._limit = limit
        self._size = size
        self._ended = ended
        self._idle: list[_Connection] = []
        self._connections: set[_Connection] = set()
        #: The tasks that open connections, each with the delivery for which it does.
        self._connecting: dict[asyncio.Task[None], Planned] = {}
        #: The deliveries for which no more connections may be opened, oldest first.
        self._waiting: deque[Planned] = deque()
        self._addresses: list[str] = []
        #: How many deliveries have not ended.
        self.open = 0
        #: The last reason of each outcome without an answer, for a person to read.
        self.reasons: dict[Outcome, str] = {}
        #: The last whole answer after which its connection was kept, and its status.
        self.usual, self.usual_status = b"", 0

    def send(self, delivery: Planned, request: bytes) -> None:
        """Send the request of a delivery that has just been started."""
        self.open += 1
        idle = self._idle
        while idle:
            connection = idle.pop()
            if delivery.started - connection.since < _IDLE_LIMIT:
                connection.send(delivery, request)
                return
            self.discard(connection)
        delivery.request = request
        self._connect(delivery)

    def _connect(self, delivery: Planned) -> None:
        if len(self._connections) + len(self._connecting) >= self._size:
            self._waiting.append(delivery)
            return
        task = asyncio.ensure_future(self._open(delivery))
        self._connecting[task] = delivery
        task.add_done_callback(self._connecting.pop)

    async def _open(self, delivery: Planned) -> None:
        try:
            connection = await self._new()
        except (OSError, UnicodeError) as error:
            failure = self._failure(error)
            self.reasons[failure.outcome] = failure.reason
            if delivery.outcome is None:
                self.end(delivery, failure.outcome, stopwatch())
            return
        self._connections.add(connection)
        if connection.transport.is_closing():
            self._connections.discard(connection)
        if delivery.outcome is None:
            connection.send(delivery, delivery.request)
        else:
            self.release(connection, stopwatch())

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

    def release(self, connection: _Connection, now: float) -> None:
        """Use a connection again: for a delivery that waits, or for a later one."""
        if self._waiting:
            waiting = self._waiting.popleft()
            connection.send(waiting, waiting.request)
            return
        connection.since = now
        self._idle.append(connection)

    def discard(self, connection: _Connection) -> None:
        """Close a connection."""
        connection.transport.abort()
        self.forget(connection)

    def forget(self, connection: _Connection) -> None:
        """Take a connection out of the pool, and open one for a delivery that waits."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._connect(self._waiting.popleft())

    def answered(self, delivery: Planned, status: int, now: float) -> None:
        """End a delivery that has a complete answer."""
        delivery.answer = status
        delivery.elapsed = elapsed = now - delivery.started
        delivery.outcome = outcome_of(status, elapsed, self._limit)
        self.open -= 1
        self._ended(delivery)

    def end(self, delivery: Planned, outcome: Outcome, now: float) -> None:
        """End a delivery without a complete answer."""
        delivery.outcome = outcome
        delivery.elapsed = now - delivery.started
        self.open -= 1
        self._ended(delivery)

    def expire(self) -> None:
        """End the deliveries that have lasted longer than the limit."""
        now, waiting = stopwatch(), self._waiting
        earliest = now - (_PATIENCE if self._limit is None else self._limit)
        while waiting and waiting[0].started < earliest:
            self.end(waiting.popleft(), Outcome.CONNECT_TIMEOUT, now)
        for delivery in self._connecting.values():
            if delivery.outcome is None and delivery.started < earliest:
                self.end(delivery, Outcome.CONNECT_TIMEOUT, now)
        for connection in list(self._connections):
            late = connection.delivery
            if late is not None and late.started < earliest:
                connection.delivery = None
                self.discard(connection)
                self.end(late, Outcome.TIMEOUT, now)

    async def close(self) -> None:
        """Close all connections."""
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._connections):
            connection.delivery = None
            connection.transport.abort()
        self._connections.clear()
        self._idle.clear()
        await asyncio.sleep(0)
