"""POST a callback over HTTP/1.1: connections kept alive, redirects, proxies and cookies never followed."""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import select
import socket
from collections import deque
from typing import TYPE_CHECKING

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport import BODY_LIMIT, exchange_in_threads, split_address
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import InvalidSettings
from engagelab_mock.eventloop import in_trio, stopwatch, to_thread
from engagelab_mock.protocol.callback import Callback, Headers

if TYPE_CHECKING:
    import ssl
    from concurrent.futures import ThreadPoolExecutor

#: How long an idle connection is kept, in seconds: less than usual servers do, or a server could close it while our
#: next request is under way.
_IDLE_LIMIT = 1.0
_SHOWN_CHARACTERS = 200
#: How many callbacks to one address an event loop can send at the same time, each in a thread.
_MOST_AT_ONCE = 1000
#: On Linux. A server that writes its answer in two pieces on a kept-alive connection, as Django's runserver does,
#: waits for our system's TCP acknowledgement of the first, which otherwise takes 40 ms.
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
#: The wire as it is when no fault changes it.
_PLAIN = Wire()


class HttpTransport:
    """Send callbacks to a URL; those sent at the same time use different connections.

    `tls_verify` is True, False, or the path of a CA bundle to trust instead of the system's.

    >>> HttpTransport("http://127.0.0.1:9/engagelab").address
    'http://127.0.0.1:9/engagelab'
    """

    name = "http"

    def __init__(self, address: str, *, tls_verify: bool | str | os.PathLike[str] = True) -> None:
        parts = split_address(address, where="url")
        self.address = address
        self.tls_verify = tls_verify
        self._host: str = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls: ssl.SSLContext | None = tls_context(tls_verify) if parts.scheme == "https" else None
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        self._head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n"
        #: Connections that wait for the next callback, each with the time of its last complete answer.
        self._idle: deque[tuple[socket.socket, float]] = deque()
        self._threads: ThreadPoolExecutor | None = None

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Send the callback and read the answer to its last byte."""
        wire = wire or _PLAIN
        # The sender's own pauses do not count as the receiver's time.
        started = stopwatch() + wire.pauses
        deadline = None if limit is None else started + limit
        connection = self._reuse(wire) or self._connect(deadline, limit)
        keep = False
        try:
            response, keep = _converse(connection, self._render(callback), callback.body, wire, deadline, limit)
        finally:
            if keep:
                self._idle.append((connection, stopwatch()))
            else:
                connection.close()
        return Response(
            response.status,
            response.reason,
            response.headers,
            response.body,
            max(0.0, stopwatch() - started),
        )

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Send the callback from a thread, because the receiver may run in this loop."""
        if in_trio():
            return await to_thread(self.exchange, callback, limit, wire)
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor  # only loops need it

            # The loop's own pool has few threads, and other code uses it.
            self._threads = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="engagelab")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.exchange, callback, limit, wire)

    def exchange_many(
        self, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Send the callback several times at the same time, from threads."""
        return exchange_in_threads(self, callback, limit, wire, copies)

    def close(self) -> None:
        """Close the idle connections, and end the threads; a later exchange opens new ones."""
        if self._threads is not None:
            # Threads that still wait for an answer end with the answer, or at the limit.
            self._threads.shutdown(wait=False)
            self._threads = None
        while (idle := self._pop_idle()) is not None:
            idle[0].close()

    def _render(self, callback: Callback) -> str:
        return self._head + "".join([f"{name}: {value}\r\n" for name, value in callback.headers.pairs])

    def _reuse(self, wire: Wire) -> socket.socket | None:
        while wire.connection != "new" and (idle := self._pop_idle()) is not None:
            connection, since = idle
            if wire.connection == "kept":
                return connection
            # Readable while idle means that the receiver closed it or sent unexpected bytes: it cannot be used.
            if stopwatch() - since < _IDLE_LIMIT and not select.select([connection], [], [], 0)[0]:
                return connection
            connection.close()
        return None

    def _pop_idle(self) -> tuple[socket.socket, float] | None:
        try:
            return self._idle.pop()
        except IndexError:  # not checked beforehand, because other threads take connections too
            return None

    def _connect(self, deadline: float | None, limit: float | None) -> socket.socket:
        where = f"{self._host}:{self._port}"
        try:
            connection = socket.create_connection((self._host, self._port), timeout=_remaining(deadline))
        except socket.gaierror as error:
            reason = f"the host {self._host!r} cannot be resolved: {error.strerror}"
            raise TransportFailure(Outcome.DNS_FAILURE, reason) from error
        except ConnectionRefusedError as error:
            raise TransportFailure(Outcome.REFUSED, f"connection refused: nothing listens on {where}") from error
        except TimeoutError as error:
            raise TransportFailure(Outcome.CONNECT_TIMEOUT, f"no connection to {where}{_within(limit)}") from error
        except (OSError, UnicodeError) as error:
            raise TransportFailure(Outcome.UNREACHABLE, f"no connection to {where}: {error}") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        try:
            connection.settimeout(_remaining(deadline))
            return self._tls.wrap_socket(connection, server_hostname=self._host)
        except TimeoutError as error:
            connection.close()
            reason = f"no TLS session with {where}{_within(limit)}"
            raise TransportFailure(Outcome.CONNECT_TIMEOUT, reason) from error
        except OSError as error:
            connection.close()
            raise TransportFailure(Outcome.TLS_FAILURE, f"no TLS session with {where}: {error}") from error


class _Deadline(io.RawIOBase):
    """Read from a socket; each read ends at the attempt's deadline."""

    def __init__(self, connection: socket.socket, deadline: float | None) -> None:
        self._connection = connection
        self._deadline = deadline
        self.received = 0
        self.buffer: _Buffer
        self.at_end = False
        #: Whether the wait ends before the attempt's deadline, as a fault wants it.
        self.gives_up = False

    def expect_within(self, seconds: float) -> None:
        """Wait no longer than that from now, or until the deadline if it is earlier."""
        moment = stopwatch() + seconds
        self.gives_up = self._deadline is None or moment < self._deadline
        if self.gives_up:
            self._deadline = moment

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_remaining(self._deadline))
        count = self._connection.recv_into(buffer)
        self.received += count
        self.at_end = count == 0
        return count

    def tell(self) -> int:
        return self.received

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """Return a file; it is the only method of a socket that `HTTPResponse` calls."""
        self.buffer = _Buffer(self)
        return self.buffer


class _Buffer(io.BufferedReader):
    """Count the bytes that arrived after the end of the answer."""

    left_over = 0

    def close(self) -> None:
        if not self.closed:
            self.left_over = self.raw.tell() - self.tell()
        super().close()


def _converse(
    connection: socket.socket, head: str, body: bytes, wire: Wire, deadline: float | None, limit: float | None
) -> tuple[Response, bool]:
    """Send a request; return its answer, and whether the connection can be used again."""
    reader = _Deadline(connection, deadline)
    answer = http.client.HTTPResponse(reader, method=wire.method)  # type: ignore[arg-type]
    try:
        connection.settimeout(_remaining(deadline))
        framed, content = wire.frame(head, body)
        if wire is _PLAIN:
            connection.sendall(framed + content)
        else:
            wire.put(connection, framed, content)
        if _QUICK_ACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        if wire.abandon_after is not None:
            reader.expect_within(wire.abandon_after)
        answer.begin()
        if reader.at_end:
            raise TransportFailure(Outcome.INCOMPLETE, "the connection was closed in the middle of the headers")
        answered = _read_body(answer)
        answer.close()
        # A receiver may not have read all of an unusual request, and would take the rest for the next one.
        keep = (wire is _PLAIN or wire.reusable) and not answer.will_close and not reader.buffer.left_over
        return Response(answer.status, answer.reason, Headers(answer.headers.items()), answered), keep
    except TimeoutError:
        if reader.gives_up:
            reason = f"stopped waiting for the answer, on purpose, after {wire.abandon_after:g} s"
            raise TransportFailure(Outcome.ABANDONED, reason) from None
        arrived = f"; {reader.received} bytes had arrived" if reader.received else ""
        reason = f"no complete answer{_within(limit)}{arrived}"
        raise TransportFailure(Outcome.TIMEOUT, reason) from None
    except http.client.RemoteDisconnected as error:
        raise TransportFailure(Outcome.CLOSED, "the connection was closed without an answer") from error
    except http.client.IncompleteRead as error:
        if not reader.at_end:
            raise TransportFailure(Outcome.MALFORMED, "the answer is not HTTP: its chunks are malformed") from error
        expected = f" of {len(error.partial) + error.expected}" if error.expected is not None else ""
        reason = f"the connection was closed in the middle of the answer: {len(error.partial)}{expected} body bytes"
        raise TransportFailure(Outcome.INCOMPLETE, reason) from error
    except (http.client.HTTPException, ValueError) as error:
        shown = ascii(str(error))[:_SHOWN_CHARACTERS]
        reason = f"the answer is not HTTP: {type(error).__name__}: {shown}"
        raise TransportFailure(Outcome.MALFORMED, reason) from error
    except OSError as error:
        raise TransportFailure(Outcome.RESET, f"the connection broke: {error.strerror or error}") from error
    finally:
        answer.close()


def _read_body(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read() if answer.length is not None and answer.length <= BODY_LIMIT else b""
    # Without a length, or beyond the limit, read to the last byte: then the answer is complete.
    while chunk := answer.read(65536):
        if len(body) < BODY_LIMIT:
            body += chunk
    if answer.length:
        raise http.client.IncompleteRead(body, answer.length)
    return body


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - stopwatch()
    if left <= 0:
        raise TimeoutError
    return left


def _within(limit: float | None) -> str:
    # Without our limit, the operating system's may still end an attempt.
    return "" if limit is None else f" within {limit:g} s"


def tls_context(tls_verify: bool | str | os.PathLike[str]) -> ssl.SSLContext:
    """Return the TLS context: it verifies with the system's certificates, with a bundle, or not at all.

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
