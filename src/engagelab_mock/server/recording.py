"""A proxy in front of a receiver, which passes everything on as it is and tells what passed."""

from __future__ import annotations

import http.client
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from engagelab_mock.clock import stopwatch
from engagelab_mock.delivery.transport.base import split_address
from engagelab_mock.protocol.callback import Headers
from engagelab_mock.server.loopback import is_loopback, listening_socket
from engagelab_mock.server.passing import HOP_BY_HOP, Answer, Passed, Request

#: How long the receiver may take for its answer, in seconds: longer than any sender waits.
LIMIT = 60.0
#: How often the server looks whether it should stop, in seconds.
_POLL = 0.004
#: How long `stop` waits for requests under way, in seconds.
_FAREWELL = 5.0


class RecordingProxy:
    """Listen, pass each request on to `forward` byte for byte, answer with the receiver's answer, tell of it.

    >>> from engagelab_mock import EngageLab, Receiver, Recorder
    >>> from engagelab_mock.server.loopback import LoopbackServer
    >>> passed = []
    >>> with LoopbackServer(Recorder()) as app, RecordingProxy(app.url, passed.append) as proxy:
    ...     with EngageLab(Receiver.http(proxy.url)) as engagelab:
    ...         run = engagelab.send(scenario=["plan"])
    >>> [(each.method, each.status) for each in passed]
    [('POST', 200)]

    Where `forward` has a path, every request goes there; else each keeps its own. `on_passed` is called with each
    request after it was answered, from the server's threads: nothing that it raises can harm a request.
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
        """Return the address to have callbacks sent to."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        path = self._target.path or "/"
        return f"http://[{host}]:{self.port}{path}" if ":" in host else f"http://{host}:{self.port}{path}"

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the proxy."""
        return is_loopback(self.host)

    def stop(self) -> None:
        """Take no more requests, and wait for those under way, but not for ever."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(_FAREWELL)
            self._thread = None
        self._server.server_close()
        self._server.wait_for_requests(_FAREWELL)

    def pass_on(self, request: Request) -> Answer:
        """Pass a request on, and return what the receiver answered."""
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
    """Keep the lines that are read of a request's head."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.lines: list[bytes] = []

    def readline(self, size: int | None = -1, /) -> bytes:
        line = self._stream.readline(-1 if size is None else size)
        self.lines.append(line)
        return line


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A sender that says nothing more does not hold a thread for ever.
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
        # Every method goes through: what the receiver makes of it is what is to be seen.
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
            # The sender has gone; the receiver got the callback all the same.
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
        # The connection has other callbacks to carry, whatever becomes of the record of this one.
        with suppress(Exception):
            self.server.proxy.on_passed(passed)

    def _ask(self, request: Request) -> tuple[Answer, str]:
        """Return the receiver's answer, or one that says why there is none, and that reason."""
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
        # The receiver's body has been read to its end: its length is known, however it was framed.
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
        """Say nothing of connections that broke: what got through is told, what did not never came."""


def _explain(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "the receiver did not answer in time"
    if isinstance(failure, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if isinstance(failure, OSError):
        return f"the receiver cannot be reached: {failure.strerror or failure}"
    return f"the receiver's answer is not HTTP: {type(failure).__name__}"
