"""POST a callback over HTTP/1.1. Connections are kept alive. Redirects, proxies and cookies are never followed."""

from __future__ import annotations

import io
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport import BODY_LIMIT, Threads, exchange_in_threads, split_address, target_of
from engagelab_mock.delivery.transport.http1 import BadMessage, Body, CutOff, answer_body, broken_off, read_answer_head
from engagelab_mock.delivery.transport.wire import Wire, wait_for
from engagelab_mock.errors import InvalidSettings
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.protocol.callback import Callback, Headers

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer

#: How long an idle connection is kept, in seconds. It is less than in usual servers, or a server could close the
#: connection while our next request is under way.
_IDLE_LIMIT = 1.0
#: How much of a body is read at once, in bytes.
_PART = 65536
#: For Linux. If a server writes its answer in two pieces on a kept-alive connection, as Django's runserver does, it
#: waits for our system's TCP acknowledgement of the first piece, which otherwise takes 40 ms.
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
#: The wire as it is when no fault changes it, and that of a GET without a body.
_PLAIN, _GET = Wire(), Wire(method="GET")


class HttpTransport:
    """Send callbacks to a URL; callbacks sent at the same time use different connections.

    `tls_verify` is True, False, or the path of a CA bundle to trust instead of the system's.

    >>> HttpTransport("http://127.0.0.1:9/engagelab").address
    'http://127.0.0.1:9/engagelab'
    """

    name = "http"

    def __init__(self, address: str, *, tls_verify: bool | str | os.PathLike[str] = True) -> None:
        parts = split_address(address, where="url")
        self.address = address
        self.tls_verify = tls_verify
        self.host: str = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls: ssl.SSLContext | None = tls_context(tls_verify) if parts.scheme == "https" else None
        self._rest = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n"
        self._head = f"POST {target_of(parts)}{self._rest}"
        #: Connections that wait for the next callback, each with the time of its last complete answer.
        self._idle: deque[tuple[socket.socket, float]] = deque()
        #: How many times `close` was called.
        self._closings = 0
        self._threads = Threads()
        self._process = os.getpid()

    def exchange(
        self, callback: Callback, limit: float | None, wire: Wire | None = None, *, target: str | None = None
    ) -> Response:
        """Send the callback and read the answer to its last byte. A `target` is another one on the same server."""
        wire = _PLAIN if wire is None else _GET if wire == _GET and not callback.body else wire
        # The sender's own pauses do not count towards the receiver's time.
        started = stopwatch() + wire.pauses
        deadline = None if limit is None else started + limit
        closings, keep = self._closings, False
        connection = self._reuse(wire) or self._connect(deadline, limit)
        try:
            head = self.render(callback.headers, target)
            response, keep = _converse(connection, head, callback.body, wire, deadline, limit)
        finally:
            if keep:
                self._idle.append((connection, stopwatch()))
                if self._closings != closings:  # another thread has called `close`, which missed this connection
                    self._close_idle()
            else:
                connection.close()
        return Response(
            response.status,
            response.reason,
            response.headers,
            response.body,
            max(0.0, stopwatch() - started - wire.held_back),
        )

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Send the callback from a thread, because the receiver may run in this loop."""
        return await self._threads.run(self.exchange, callback, limit, wire)

    def exchange_many(
        self, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Send the callback several times at the same time, from threads."""
        return exchange_in_threads(self, callback, limit, wire, copies)

    def open(self, limit: float) -> socket.socket:
        """Open a connection and send nothing on it; the caller closes it. Raises `TransportFailure`."""
        return self._connect(stopwatch() + limit, limit)

    def close(self) -> None:
        """Close the idle connections, and end the threads; a later exchange opens new ones."""
        # Threads that still wait for an answer end with the answer, or at the limit.
        self._threads.close()
        self._closings += 1
        self._close_idle()

    def _close_idle(self) -> None:
        while (idle := self._pop_idle()) is not None:
            idle[0].close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_transport, (self.address, self.tls_verify)  # connections and threads belong to this process

    def render(self, headers: Headers, target: str | None = None) -> str:
        """Return the head of a request with these headers, unfinished: `Wire.frame` adds the length of the body."""
        head = self._head if target is None else f"POST {target}{self._rest}"
        return head + "".join([f"{name}: {value}\r\n" for name, value in headers.pairs])

    def _reuse(self, wire: Wire) -> socket.socket | None:
        while wire.connection != "new" and (idle := self._pop_idle()) is not None:
            connection, since = idle
            if wire.connection == "kept":
                return connection
            # If it is readable while idle, the receiver closed it or sent unexpected bytes: it cannot be used.
            if stopwatch() - since < _IDLE_LIMIT and not wait_for(connection, 0):
                return connection
            connection.close()
        return None

    def _pop_idle(self) -> tuple[socket.socket, float] | None:
        if self._process != os.getpid():
            # They belong to the process from which this one was forked. Closing them here does not end them there.
            self._process = os.getpid()
            while self._idle:
                self._idle.pop()[0].close()
        try:
            return self._idle.pop()
        except IndexError:  # not checked before, because other threads take connections too
            return None

    def _connect(self, deadline: float | None, limit: float | None) -> socket.socket:
        try:
            connection = socket.create_connection((self.host, self.port), timeout=_remaining(deadline))
        except (OSError, UnicodeError) as error:
            raise not_connected(error, self.host, self.port, limit) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is None:
            return connection
        where = f"{self.host}:{self.port}"
        try:
            connection.settimeout(_remaining(deadline))
            return self.tls.wrap_socket(connection, server_hostname=self.host)
        except TimeoutError as error:
            connection.close()
            reason = f"no TLS session with {where}{_within(limit)}"
            raise TransportFailure(Outcome.CONNECT_TIMEOUT, reason) from error
        except OSError as error:
            connection.close()
            raise TransportFailure(Outcome.TLS_FAILURE, f"no TLS session with {where}: {error}") from error


def not_connected(error: Exception, host: str, port: int, limit: float | None) -> TransportFailure:
    """Return the failure of an attempt that got no connection.

    >>> not_connected(ConnectionRefusedError(), "127.0.0.1", 9, 3.0).reason
    'connection refused: nothing listens on 127.0.0.1:9'
    """
    where = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        return TransportFailure(Outcome.DNS_FAILURE, f"the host {host!r} cannot be resolved: {error.strerror}")
    if isinstance(error, ConnectionRefusedError):
        return TransportFailure(Outcome.REFUSED, f"connection refused: nothing listens on {where}")
    if isinstance(error, TimeoutError):
        return TransportFailure(Outcome.CONNECT_TIMEOUT, f"no connection to {where}{_within(limit)}")
    return TransportFailure(Outcome.UNREACHABLE, f"no connection to {where}: {error}")


def _new_transport(address: str, tls_verify: bool | str | os.PathLike[str]) -> HttpTransport:
    return HttpTransport(address, tls_verify=tls_verify)


class Channel(io.RawIOBase):
    """Send a request and read its answer; each wait ends at the deadline.

    Bytes that the system does not take at once are sent while the answer is read. A receiver may answer before it has
    read the request: it refuses a body that is too large, and closes the connection.
    """

    def __init__(self, connection: socket.socket, deadline: float | None) -> None:
        self._connection = connection
        self._deadline = deadline
        #: The exceptions that mean that the system has no bytes, or takes none, at the moment.
        self._busy: tuple[type[OSError], ...] = (BlockingIOError,)
        if type(connection) is not socket.socket:
            import ssl

            self._busy = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._unsent = memoryview(b"")
        self._more: Iterator[bytes] = iter(())
        #: Whether a part of the request is still to be sent.
        self.sending = False
        #: The error of sending, if the receiver takes no more of the request.
        self.refused: OSError | None = None
        self.received = 0
        self.at_end = False
        #: Whether a fault ends the wait before the attempt's deadline.
        self.gives_up = False

    def send(self, data: bytes, more: Iterable[bytes] = ()) -> None:
        """Begin to send a request; `more` are the parts that follow, taken one by one."""
        self._unsent, self._more = memoryview(data), iter(more)
        self._connection.settimeout(0)
        with suppress(*self._busy):
            self._send_some()

    def expect_within(self, seconds: float) -> None:
        """Wait no longer than that from now, or until the deadline if it is earlier."""
        moment = stopwatch() + seconds
        self.gives_up = self._deadline is None or moment < self._deadline
        if self.gives_up:
            self._deadline = moment

    def allow(self, seconds: float) -> None:
        """Wait that much longer than until the deadline."""
        if self._deadline is not None:
            self._deadline += seconds

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes of the answer."""
        count = self._send_and_receive(buffer) if self.sending else None
        if count is None:
            self._connection.settimeout(_remaining(self._deadline))
            count = self._connection.recv_into(buffer)
        self.received += count
        self.at_end = count == 0
        return count

    def tell(self) -> int:
        """Return how many bytes were received."""
        return self.received

    def _send_and_receive(self, buffer: WriteableBuffer) -> int | None:
        """Send until some bytes arrive, and return their number; None if all is sent before."""
        self._connection.settimeout(0)
        while self.sending:
            with suppress(*self._busy):
                return self._connection.recv_into(buffer)
            try:
                self._send_some()
            except self._busy:
                wait_for(self._connection, _remaining(self._deadline), writable=True)
        return None

    def _send_some(self) -> None:
        """Send the bytes that the system takes at once; raise one of `_busy` if it takes none."""
        self.sending = True
        try:
            sent = self._connection.send(self._unsent)
        except self._busy:
            raise
        except OSError as error:
            self.sending, self.refused = False, error
            return
        self._unsent = self._unsent[sent:]
        self.sending = True if self._unsent else self._next()

    def _next(self) -> bool:
        """Go on to the next part of the request; return False if no part is left."""
        for part in self._more:
            if part:
                self._unsent = memoryview(part)
                return True
        return False


def _converse(
    connection: socket.socket, head: str, body: bytes, wire: Wire, deadline: float | None, limit: float | None
) -> tuple[Response, bool]:
    """Send a request; return its answer, and whether the connection can be used again."""
    channel = Channel(connection, deadline)
    try:
        _send(channel, connection, wire, *wire.frame(head, body))
        if wire.abandon_after is not None:
            channel.expect_within(wire.abandon_after)
        return _read_answer(channel, wire)
    except TimeoutError:
        if channel.gives_up:
            reason = f"stopped waiting for the answer, on purpose, after {wire.abandon_after:g} s"
            raise TransportFailure(Outcome.ABANDONED, reason) from None
        arrived = f"; {channel.received} bytes had arrived" if channel.received else ""
        reason = f"no complete answer{_within(limit)}{arrived}"
        raise TransportFailure(Outcome.TIMEOUT, reason) from None
    except (BadMessage, OSError) as error:
        raise broken_off(error, channel.refused) from error


def read_to_end(received: bytes) -> Response:
    """Return the answer in all the bytes that came before a connection ended, or raise `BadMessage` or `CutOff`.

    >>> read_to_end(b"HTTP/1.0 200 OK\\r\\n\\r\\nok").body
    b'ok'
    """
    stream = io.BufferedReader(io.BytesIO(received))
    answer = read_answer_head(stream)
    body = _read_body(answer_body(answer, "POST", stream))
    return Response(answer.status, answer.reason, Headers(answer.fields.pairs), body)


def _send(channel: Channel, connection: socket.socket, wire: Wire, head: bytes, body: bytes) -> None:
    if wire is _PLAIN:
        channel.send(head + body)
    else:
        try:
            wire.put(connection, head, body)
        except ConnectionError as error:
            channel.refused = error  # the receiver may have answered before
        channel.allow(wire.held_back)
    if _QUICK_ACK is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


def _read_answer(channel: Channel, wire: Wire) -> tuple[Response, bool]:
    stream = io.BufferedReader(channel)
    answer = read_answer_head(stream)
    body = _read_body(answer_body(answer, wire.method, stream))
    # Not after an unusual request: a receiver may not have read all of it, and would read the rest as the next request.
    keep = (
        (wire is _PLAIN or wire is _GET or wire.reusable)
        and not (answer.closes or channel.at_end or channel.sending or channel.refused)
        and channel.received == stream.tell()
    )
    return Response(answer.status, answer.reason, Headers(answer.fields.pairs), body), keep


def _read_body(body: Body) -> bytes:
    """Return the part of a body that is kept, once the body has arrived to its last byte."""
    kept, size = b"", 0
    part = min(_PART, body.length or _PART)
    with suppress(CutOff):
        while not body.ended and (data := body.read(part)):
            size += len(data)
            if len(kept) < BODY_LIMIT:
                kept += data
    if not body.ended:
        expected = "" if body.length is None else f" of {body.length}"
        raise CutOff(f"the connection was closed in the middle of the answer: {size}{expected} body bytes")
    return kept


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - stopwatch()
    if left <= 0:
        raise TimeoutError
    return left


def _within(limit: float | None) -> str:
    # Without our time limit, that of the operating system may still end an attempt.
    return "" if limit is None else f" within {limit:g} s"


def tls_context(tls_verify: bool | str | os.PathLike[str]) -> ssl.SSLContext:
    """Return the TLS context. It verifies with the system's certificates, with a bundle, or not at all.

    >>> tls_context(False).check_hostname
    False
    """
    import ssl  # half the cost of this module's imports, and most receivers in tests are plain http

    bundle = None if isinstance(tls_verify, bool) else os.fspath(tls_verify)
    try:
        context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise InvalidSettings(
            f"the CA bundle {bundle!r} cannot be used: {error}",
            where="tls_verify",
            hint="it is a file of certificates in PEM form",
        ) from None
    if tls_verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
