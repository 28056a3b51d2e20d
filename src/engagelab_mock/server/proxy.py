"""A proxy in front of a receiver: it forwards requests byte for byte and reports each of them."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from itertools import chain
from types import TracebackType
from typing import Any, Self

import msgspec

from engagelab_mock.delivery.transport import split_address
from engagelab_mock.delivery.transport.http import Channel
from engagelab_mock.delivery.transport.http1 import (
    WIDE_BOUNDS,
    AnswerHead,
    BadBody,
    BadMessage,
    Body,
    CutOff,
    Fields,
    Head,
    NoAnswer,
    answer_body,
    read_answer_head,
)
from engagelab_mock.errors import reduce_error
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.protocol.callback import Headers
from engagelab_mock.server.connection import Connection
from engagelab_mock.server.listening import is_loopback, listening_socket
from engagelab_mock.server.loopback import Listener

#: Seconds that the receiver may take for its answer, and a sender for its request: more than any of them waits.
LIMIT = 60.0
#: How much of a body is held in memory and reported, in bytes. The rest of a longer one is forwarded as it arrives.
BODY_KEPT = 8 << 20
#: Seconds that `stop` waits for requests under way.
_FAREWELL = 5.0
_PART = 65536


#: Headers that concern one connection and not the message.
HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)


class Passed(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Hold one request that was forwarded; it came at `at`, in Unix seconds, and took `elapsed` seconds."""

    at: float
    method: str
    path: str
    headers: Headers
    body: bytes
    #: Whether `body` is complete. A body that is too long to be kept is cut off.
    whole: bool
    #: The receiver's status; None without an answer.
    status: int | None
    elapsed: float
    #: Why there was no answer; empty if there was one.
    error: str = ""


class RecordingProxy:
    """Forward each request byte for byte to `forward`, return the receiver's answer, and report both.

    >>> from engagelab_mock import EngageLab, Receiver, Recorder
    >>> from engagelab_mock.server.loopback import LoopbackServer
    >>> passed = []
    >>> with LoopbackServer(Recorder()) as app, RecordingProxy(app.url, passed.append) as proxy:
    ...     with EngageLab(Receiver.http(proxy.url)) as engagelab:
    ...         run = engagelab.send(scenario=["plan"])
    >>> [(each.method, each.status) for each in passed]
    [('POST', 200)]

    If `forward` has a path, every request goes to that path; otherwise each keeps its own. `on_passed` is called with
    each request after the answer, on the server's threads. Errors that it raises are ignored.
    """

    def __init__(
        self,
        forward: str,
        on_passed: Callable[[Passed], object],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        limit: float = LIMIT,
    ) -> None:
        self._target = split_address(forward, where="--forward")
        self._tls = (tls or ssl.create_default_context()) if self._target.scheme == "https" else None
        self.limit = limit
        self._on_passed = on_passed
        self.host = host
        self._under_way = 0
        self._idle = threading.Condition()
        self._listener = Listener(
            listening_socket(host, port), self._connect, name="RecordingProxy", first_limit=LIMIT, idle_limit=LIMIT
        )
        self.port = self._listener.port

    @property
    def url(self) -> str:
        """Return the address to send callbacks to."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        path = self._target.path or "/"
        return f"http://[{host}]:{self.port}{path}" if ":" in host else f"http://{host}:{self.port}{path}"

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the proxy."""
        return is_loopback(self.host)

    def stop(self) -> None:
        """Accept no more requests, and wait a limited time for those under way."""
        self._listener.stop()
        with self._idle:
            self._idle.wait_for(lambda: self._under_way == 0, _FAREWELL)

    def open(self) -> socket.socket:
        """Connect to the receiver."""
        host, port = str(self._target.hostname), self._target.port or (80 if self._tls is None else 443)
        connection = socket.create_connection((host, port), timeout=self.limit)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=host)
        except OSError:
            connection.close()
            raise

    def path(self, asked: str) -> str:
        """Return the path to ask the receiver for."""
        if self._target.path in {"", "/"}:
            return asked
        query = "&".join(filter(None, [self._target.query, asked.partition("?")[2]]))
        return f"{self._target.path}?{query}" if query else self._target.path

    def _connect(self, connection: socket.socket, peer: Any) -> Connection:
        may_keep = self._listener.may_keep
        return Connection(self._respond, connection, peer, request_limit=LIMIT, bounds=WIDE_BOUNDS, may_keep=may_keep)

    def _respond(self, connection: Connection, head: Head, body: Body) -> None:
        with self._request_under_way():
            passed = _Passage(self, connection, head, body).run()
            if passed is not None:
                # A failed report does not end the connection: it may carry more callbacks.
                with suppress(Exception):
                    self._on_passed(passed)

    @contextmanager
    def _request_under_way(self) -> Iterator[None]:
        """Count a request while the block lasts."""
        with self._idle:
            self._under_way += 1
        try:
            yield
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _SenderFailed(Exception):
    """Hold the status of the answer to a sender that did not send its whole body, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    __reduce__ = reduce_error


class _Passage:
    """Take one request to the receiver, and the answer back."""

    def __init__(self, proxy: RecordingProxy, connection: Connection, head: Head, body: Body) -> None:
        self._proxy = proxy
        self._connection = connection
        self._head = head
        self._body = body

    def run(self) -> Passed | None:
        """Forward the request and answer it; return None if the sender did not send all of it."""
        at, started = time.time(), stopwatch()
        status, error = None, ""
        try:
            # A body that is malformed is not forwarded, unless it is too long to be held.
            parts = self._sent()
            kept = _first(parts)
            whole = self._body.ended
            with ExitStack() as stack:
                try:
                    answer, content, first = self._ask(stack, kept, parts)
                except (OSError, UnicodeError, BadMessage) as failure:
                    elapsed = stopwatch() - started
                    error = _explain(failure)
                    send = partial(self._answer_for, failure)
                else:
                    elapsed = stopwatch() - started
                    status = answer.status
                    send = partial(self._answer, answer, content, first)
                try:
                    send()
                except OSError:
                    # The sender has disconnected, but the receiver has got the callback. Or a long answer was cut off.
                    self._connection.keep = False
        except _SenderFailed as failure:
            self._connection.refuse(failure.status, failure.reason)
            return None
        return Passed(
            at=at,
            method=self._head.method,
            path=self._head.target,
            headers=Headers(self._head.fields.pairs),
            body=kept,
            whole=whole,
            status=status,
            elapsed=elapsed,
            error=error,
        )

    def _sent(self) -> Iterator[bytes]:
        """Read the sender's body in parts."""
        try:
            yield from _read(self._body)
        except TimeoutError:
            raise _SenderFailed(408, "the body did not arrive in time") from None
        except OSError as error:
            raise _SenderFailed(400, f"the body cannot be read: {error}") from None

    def _ask(self, stack: ExitStack, kept: bytes, rest: Iterator[bytes]) -> tuple[AnswerHead, Body, bytes]:
        """Send the request, and read the answer: its head, its body, and the first part of the body."""
        connection = stack.enter_context(closing(self._proxy.open()))
        channel = Channel(connection, stopwatch() + self._proxy.limit)
        stream = io.BufferedReader(channel)
        framed = _chunks(chain([kept], rest)) if self._body.chunked else chain([kept], rest)
        channel.send(self._request_head() + next(framed, b""), framed)
        try:
            answer = read_answer_head(stream)
        except NoAnswer:
            if channel.refused is not None:
                raise channel.refused from None
            raise
        content = answer_body(answer, self._head.method, stream)
        return answer, content, _first(_read(content))

    def _request_head(self) -> bytes:
        """Return the first line and the headers to forward, without those that concern the sender's connection."""
        head = self._head
        lines = [f"{head.method} {self._proxy.path(head.target)} HTTP/1.1\r\n".encode("latin-1")]
        lines += head.fields.without({*_hop_by_hop(head.fields), "expect"})
        if self._body.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        return b"".join([*lines, b"Connection: close\r\n\r\n"])

    def _answer(self, answer: AnswerHead, content: Body, first: bytes) -> None:
        """Send the receiver's answer to the sender, in its own frame if it came in chunks or without a length."""
        dropped = _hop_by_hop(answer.fields)
        framing: list[bytes] = []
        parts: Iterator[bytes] = chain([first], _read(content))
        closes = False
        if content.length is None:
            dropped.add("content-length")
            if content.ended:
                framing = [b"Content-Length: %d\r\n" % len(first)]
            elif self._head.version == "HTTP/1.0":
                closes = True
            else:
                framing, parts = [b"Transfer-Encoding: chunked\r\n"], _chunks(parts)
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}\r\n".encode("latin-1")]
        self._send([*lines, *answer.fields.without(dropped), *framing], parts, closes=closes)

    def _answer_for(self, failure: Exception) -> None:
        """Answer in place of a receiver that did not answer."""
        status = HTTPStatus.GATEWAY_TIMEOUT if isinstance(failure, TimeoutError) else HTTPStatus.BAD_GATEWAY
        text = b"" if self._head.method == "HEAD" else f"engagelab-mock record: {_explain(failure)}\n".encode()
        head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
        self._send([head.encode()], iter([text]))

    def _send(self, lines: list[bytes], parts: Iterator[bytes], *, closes: bool = False) -> None:
        connection = self._connection
        connection.begun = True
        connection.keep = connection.may_keep(self._body) and not closes
        if not connection.keep:
            lines.append(b"Connection: close\r\n")
        elif self._head.version == "HTTP/1.0":
            lines.append(b"Connection: keep-alive\r\n")
        connection.send(b"".join([*lines, b"\r\n", next(parts, b"")]))
        for part in parts:
            connection.send(part)


def _hop_by_hop(fields: Fields) -> set[str]:
    """Return the names of the headers that concern one connection only."""
    listed = [name.strip().lower() for value in fields.get_all("connection") for name in value.split(",")]
    return {*HOP_BY_HOP, *listed}


def _read(body: Body) -> Iterator[bytes]:
    """Read a body in parts, and raise `CutOff` if it is shorter than announced."""
    while not body.ended and (part := body.read(_PART)):
        yield part
    if not body.ended:
        raise CutOff("it ended too early")


def _first(parts: Iterator[bytes]) -> bytes:
    """Return as much of a body as is held in memory; the rest stays in `parts`."""
    kept: list[bytes] = []
    size = 0
    while size < BODY_KEPT and (part := next(parts, b"")):
        kept.append(part)
        size += len(part)
    return b"".join(kept)


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Frame parts as chunks, the last one included."""
    for part in parts:
        if part:
            yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _explain(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "the receiver did not answer in time"
    if isinstance(failure, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(failure, NoAnswer):
        return "the receiver closed the connection without an answer"
    if isinstance(failure, CutOff):
        return "the receiver closed the connection in the middle of its answer"
    if isinstance(failure, (BadMessage, BadBody)):
        return f"the receiver's answer is not HTTP: {failure}"
    return f"the receiver cannot be reached: {getattr(failure, 'strerror', None) or failure}"
