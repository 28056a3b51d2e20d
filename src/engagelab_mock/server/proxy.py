"""A proxy in front of a receiver: it forwards requests byte for byte and reports each of them."""

from __future__ import annotations

import http.client
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec

from engagelab_mock.delivery.transport import split_address
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.protocol.callback import Headers
from engagelab_mock.server.loopback import is_loopback, listening_socket

#: Seconds that the receiver may take for its answer: more than any sender waits.
LIMIT = 60.0
#: Seconds between looks whether the server has to stop.
_POLL = 0.004
#: Seconds that `stop` waits for requests under way.
_FAREWELL = 5.0


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
    #: The receiver's status; None without an answer.
    status: int | None
    elapsed: float
    #: Why there was no answer; empty if there was one.
    error: str = ""


class Answer(msgspec.Struct, frozen=True, eq=False):
    """Hold a receiver's answer, for the sender."""

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class Request(msgspec.Struct, frozen=True, eq=False):
    """Hold a request as it came: its first line in parts, the lines of its headers unchanged."""

    method: str
    path: str
    lines: tuple[bytes, ...]
    headers: Headers
    body: bytes
    chunked: bool

    @property
    def content(self) -> bytes:
        """Return the body to forward, in one chunk if it came in chunks."""
        if not self.chunked:
            return self.body
        size = f"{len(self.body):x}\r\n".encode() + self.body + b"\r\n" if self.body else b""
        return size + b"0\r\n\r\n"

    def head(self, path: str) -> bytes:
        """Return the first line and the headers to forward, without those that concern the sender's connection."""
        dropped = {*HOP_BY_HOP, "expect"}
        for value in self.headers.get_all("connection"):
            dropped.update(name.strip().lower() for name in value.split(","))
        kept = [f"{self.method} {path} HTTP/1.1\r\n".encode("latin-1")]
        keep = True
        for line in self.lines:
            if line[:1] not in {b" ", b"\t"}:  # a folded line goes with the one before it
                keep = line.partition(b":")[0].strip().decode("latin-1").lower() not in dropped
            if keep:
                kept.append(line)
        if self.chunked:
            kept.append(b"Transfer-Encoding: chunked\r\n")
        return b"".join([*kept, b"Connection: close\r\n\r\n"])


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
        parts = split_address(forward, where="--forward")
        self._target = parts
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._limit = limit
        self.on_passed = on_passed
        self.host = host
        self._server = _Server(host, port, self)
        self.port: int = self._server.server_address[1]
        self._thread: threading.Thread | None = None

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
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(_FAREWELL)
            self._thread = None
        self._server.server_close()
        self._server.wait_for_requests(_FAREWELL)

    def pass_on(self, request: Request) -> Answer:
        """Forward a request, and return the receiver's answer."""
        connection = self._connect()
        try:
            connection.connect()
            connection.sock.sendall(request.head(self._path(request.path)) + request.content)
            response = http.client.HTTPResponse(connection.sock, method=request.method)
            response.begin()
            return Answer(response.status, response.reason, response.getheaders(), response.read())
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = str(self._target.hostname), self._target.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=self._limit, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._limit)

    def _path(self, asked: str) -> str:
        if self._target.path in {"", "/"}:
            return asked
        query = "&".join(filter(None, [self._target.query, urlsplit(asked).query]))
        return f"{self._target.path}?{query}" if query else self._target.path

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Tee(io.RawIOBase):
    """Keep the lines of a request's head while they are read."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.lines: list[bytes] = []

    def readline(self, size: int | None = -1, /) -> bytes:
        line = self._stream.readline(-1 if size is None else size)
        self.lines.append(line)
        return line


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A silent sender does not hold a thread for ever.
    timeout = LIMIT
    disable_nagle_algorithm = True
    server: _Server
    _lines: tuple[bytes, ...] = ()

    def parse_request(self) -> bool:
        stream = self.rfile
        tee = _Tee(stream)
        self.rfile = tee  # type: ignore[assignment]
        try:
            return super().parse_request()
        finally:
            self.rfile = stream
            # The last line is the empty one that ends the head.
            self._lines = tuple(line for line in tee.lines if line not in {b"\r\n", b"\n", b""})

    def __getattr__(self, name: str) -> Callable[[], None]:
        # Every method is forwarded: the receiver decides what it accepts.
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def _pass_on(self) -> None:
        with self.server.request_under_way():
            self._pass()

    def _pass(self) -> None:
        at, started = time.time(), stopwatch()
        headers = Headers((name, value.strip()) for name, value in self.headers.items())
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        try:
            body = self._read_chunks() if chunked else self._read(int(self.headers.get("Content-Length") or 0))
        except ValueError:
            self.close_connection = True
            self.send_error(400)
            return
        answer, error = self._ask(Request(self.command, self.path, self._lines, headers, body, chunked))
        elapsed = stopwatch() - started
        try:
            self._answer(answer)
        except OSError:
            # The sender has disconnected, but the receiver has got the callback.
            self.close_connection = True
        passed = Passed(
            at=at,
            method=self.command,
            path=self.path,
            headers=headers,
            body=body,
            status=None if error else answer.status,
            elapsed=elapsed,
            error=error,
        )
        # A failed report does not end the connection: it may carry more callbacks.
        with suppress(Exception):
            self.server.proxy.on_passed(passed)

    def _ask(self, request: Request) -> tuple[Answer, str]:
        """Return the receiver's answer and "", or an answer that says why there is none and that reason."""
        try:
            return self.server.proxy.pass_on(request), ""
        except (OSError, http.client.HTTPException) as failure:
            error = _explain(failure)
            status = 504 if isinstance(failure, TimeoutError) else 502
            text = f"engagelab-mock record: {error}\n".encode()
            return Answer(status, http.client.responses[status], [("Content-Type", "text/plain")], text), error

    def _read(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ValueError("the body is shorter than its length says")
        return body

    def _read_chunks(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline(65537).partition(b";")[0], 16):
            chunks.append(self._read(size))
            self.rfile.readline(65537)
        while self.rfile.readline(65537) not in {b"\r\n", b"\n", b""}:
            pass  # trailers are about the connection
        return b"".join(chunks)

    def _answer(self, answer: Answer) -> None:
        self.send_response_only(answer.status, answer.reason)
        # The receiver's body has been read completely, so its length is known.
        sized = False
        for name, value in answer.headers:
            if name.lower() not in HOP_BY_HOP:
                sized = sized or name.lower() == "content-length"
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or answer.status in {204, 304} or answer.status < 200
        if not sized and not bodiless:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The standard library would wait for its threads without a limit.
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, proxy: RecordingProxy) -> None:
        self.proxy = proxy
        self._under_way = 0
        self._idle = threading.Condition()
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening_socket(host, port)
        self.server_address = self.socket.getsockname()

    @contextmanager
    def request_under_way(self) -> Iterator[None]:
        """Count a request while the block lasts."""
        with self._idle:
            self._under_way += 1
        try:
            yield
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def wait_for_requests(self, seconds: float) -> None:
        """Wait until no request is under way."""
        with self._idle:
            self._idle.wait_for(lambda: self._under_way == 0, seconds)

    def handle_error(self, request: object, address: object) -> None:
        """Report nothing: a broken connection is not a request."""


def _explain(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "the receiver did not answer in time"
    if isinstance(failure, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(failure, OSError):
        return f"the receiver cannot be reached: {failure.strerror or failure}"
    return f"the receiver's answer is not HTTP: {type(failure).__name__}"
