"""One connection: each request that arrives within its time limit is answered, by a WSGI app or by a proxy."""

from __future__ import annotations

import functools
import io
import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from engagelab_mock.delivery.transport.http1 import (
    SERVER_BOUNDS,
    BadMessage,
    Body,
    Bounds,
    Head,
    has_word,
    printable,
    read_head,
    request_body,
)
from engagelab_mock.delivery.transport.wire import wait_for
from engagelab_mock.eventloop import stopwatch

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

log = logging.getLogger("engagelab_mock.server")
#: Seconds that a client may take to send one request, and to read its answer.
REQUEST_LIMIT = 10.0
#: Seconds that a client may go on sending a request that was refused.
_LINGER = 2.0
#: Headers that the server sets itself; an app cannot change them.
_OURS = frozenset({"connection", "date", "server", "transfer-encoding"})


class Connection:
    """Have `respond` answer the requests of one connection; `may_keep` tells whether it may stay open for another."""

    def __init__(
        self,
        respond: Callable[[Connection, Head, Body], None],
        connection: socket.socket,
        peer: Any,
        *,
        request_limit: float = REQUEST_LIMIT,
        bounds: Bounds = SERVER_BOUNDS,
        may_keep: Callable[[], bool],
        step_aside: Callable[[], object] = lambda: None,
    ) -> None:
        self._respond = respond
        self.socket = connection
        #: The client's address, and this end's.
        self.peer, self.address = peer, connection.getsockname()
        self._limit = request_limit
        self._bounds = bounds
        self._may_keep = may_keep
        #: To be called by a request that will wait, so that the server can answer others.
        self.step_aside = step_aside
        self._arriving = _Arriving(connection)
        self._stream = io.BufferedReader(self._arriving)
        #: Whether the connection stays open after the answer to this request.
        self.keep = True
        #: Whether the answer to this request has begun.
        self.begun = False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Most requests have arrived, and most answers fit into the system's buffer, so there is nothing to wait for. A
        # time limit costs three system calls each time, and at each of them another thread may take over.
        connection.setblocking(False)

    def serve(self) -> bool:
        """Answer the requests that have begun to arrive; return whether more may follow on this connection."""
        try:
            more = True
            while self.keep and more:
                self._arriving.allow(self._limit)
                if not self._stream.peek(1):  # the client has closed it
                    return False
                self._exchange()
                self._arriving.pause()
                more = bool(self._stream.peek(1))
        except OSError:
            return False  # the client has gone, or is too slow to read
        return self.keep

    def _exchange(self) -> None:
        self.begun = False
        try:
            head = read_head(self._stream, self._bounds)
            body = request_body(head.fields, self._stream)
        except TimeoutError:
            self.refuse(408, f"the request did not arrive within {self._limit:g} seconds")
        except BadMessage as bad:
            self.refuse(bad.status, bad.message)
        else:
            if head.fields.lists("connection", "close") or (
                head.version == "HTTP/1.0" and not head.fields.lists("connection", "keep-alive")
            ):
                self.keep = False
            if head.version != "HTTP/1.0" and head.fields.lists("expect", "100-continue"):
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._answer(head, body)

    def _answer(self, head: Head, body: Body) -> None:
        try:
            self._respond(self, head, body)
        except (ConnectionError, TimeoutError):
            self.keep = False
        except Exception:
            log.exception("the app failed to answer %s %s", printable(head.method), printable(head.target))
            self.keep = False
            if not self.begun:
                self.refuse(500, "internal error", code=1000)
        else:
            if not body.ended:
                self._linger()

    def may_keep(self, body: Body) -> bool:
        """Tell whether the connection can carry another request, as far as client, body and server are concerned."""
        return self.keep and body.ended and self._may_keep()

    def send(self, data: bytes) -> None:
        """Send bytes, or raise `OSError`."""
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):  # the client reads slowly
            self.socket.settimeout(self._limit)
            self.socket.sendall(memoryview(data)[sent:])
            self.socket.setblocking(False)

    def refuse(self, status: int, message: str, code: int = 3002) -> None:
        """Answer a request that cannot be used, and close the connection. Code 3002 is "bad parameters" [?]."""
        self.keep = False
        body = json.dumps({"code": code, "message": printable(message)}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        self.send(response_head(f"{status} {HTTPStatus(status).phrase}", headers) + body)
        self._linger()

    def _linger(self) -> None:
        """Read on for a moment: closing a socket with unread data resets it, and the client loses the answer."""
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.settimeout(_LINGER)
        end = stopwatch() + _LINGER
        while stopwatch() < end and self.socket.recv(65536):
            pass


class WsgiResponder:
    """Answer requests with a WSGI app."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, connection: Connection, head: Head, body: Body) -> None:
        """Call the app, and send its answer."""
        answer = _Answer(connection, head, body)
        parts = self._app(self._environ(connection, head, body), answer.start)
        try:
            for part in parts:
                answer.write(part)
            answer.end()
        finally:
            getattr(parts, "close", _nothing)()

    def _environ(self, connection: Connection, head: Head, body: Body) -> WSGIEnvironment:
        target, host = head.target, None
        if not target.startswith("/") and "://" in target:  # as clients send to a proxy
            parts = urlsplit(target)
            target, host = parts._replace(scheme="", netloc="").geturl(), parts.netloc
        path, _, query = target.partition("?")
        name, port = connection.address[:2]
        environ: WSGIEnvironment = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BufferedReader(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "SERVER_SOFTWARE": "engagelab-mock",
            "SERVER_PROTOCOL": head.version,
            "SERVER_NAME": name,
            "SERVER_PORT": str(port),
            "REQUEST_METHOD": head.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": head.target,
            "REMOTE_ADDR": connection.peer[0],
            "REMOTE_PORT": connection.peer[1],
            "werkzeug.socket": connection.socket,  # the name that Werkzeug's own server gives it
            "engagelab_mock.step_aside": connection.step_aside,
        }
        if body.chunked:
            environ["wsgi.input_terminated"] = True
        for given, value in head.fields.pairs:
            if "_" in given:  # its key would look like that of another header
                continue
            key = given.upper().replace("-", "_")
            if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
                key = f"HTTP_{key}"
                if key in environ:
                    value = f"{environ[key]},{value}"
            environ[key] = value
        if host is not None:
            environ["HTTP_HOST"] = host
        return environ


class _Answer:
    """Send an app's answer to one request, framed so that the client can see its end."""

    def __init__(self, connection: Connection, head: Head, body: Body) -> None:
        self._connection = connection
        self._head = head
        self._body = body
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._bodiless = head.method == "HEAD"
        self._chunked = False
        #: Bytes that are still to come, if their number is known.
        self._left: int | None = None

    def start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Take the status and the headers: WSGI's `start_response`."""
        if exc_info is not None and exc_info[1] is not None and self._connection.begun:
            raise exc_info[1]
        if self._status and exc_info is None:
            raise AssertionError("start_response was called twice")
        self._status, self._headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body, after the head if that has not been sent."""
        before = b"" if self._connection.begun else self._begin()
        if self._bodiless:
            data = b""
        elif self._left is not None:
            self._left -= len(data)
        if data and self._chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        if before or data:
            self._connection.send(before + data)

    def end(self) -> None:
        """Send the end of the answer."""
        if not self._connection.begun:
            self.write(b"")
        if self._chunked:
            self._connection.send(b"0\r\n\r\n")
        elif self._left:
            self._connection.keep = False  # the client waits for more, or got too much

    def _begin(self) -> bytes:
        if not self._status:
            raise AssertionError("the app has not called start_response")
        self._connection.begun = True
        given = {name.lower(): value for name, value in self._headers}
        self._bodiless = self._bodiless or self._status[:1] == "1" or self._status[:3] in {"204", "304"}
        if "content-length" in given:
            self._left = None if self._bodiless else int(given["content-length"])
        elif not self._bodiless:
            self._chunked = self._head.version != "HTTP/1.0"
        framed = self._bodiless or self._chunked or self._left is not None
        connection = self._connection
        connection.keep = (
            framed and not has_word(given.get("connection", ""), "close") and connection.may_keep(self._body)
        )
        headers = [(name, value) for name, value in self._headers if name.lower() not in _OURS]
        if self._chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        if not connection.keep:
            headers.append(("Connection", "close"))
        elif self._head.version == "HTTP/1.0":
            headers.append(("Connection", "keep-alive"))
        return response_head(self._status, headers)


def response_head(status: str, headers: list[tuple[str, str]]) -> bytes:
    """Return the head of an answer.

    >>> response_head("200 OK", [("Content-Length", "0")])[:15]
    b'HTTP/1.1 200 OK'
    """
    lines = [f"HTTP/1.1 {status}", "Server: engagelab-mock", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class _Arriving(io.RawIOBase):
    """Read from a socket until a limit is over, however slowly it arrives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline: float | None = None

    def allow(self, seconds: float) -> None:
        """Set the limit to that many seconds from now."""
        self._deadline = stopwatch() + seconds

    def pause(self) -> None:
        """Read nothing more from the socket until the next limit is set."""
        self._deadline = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._deadline is None:
            return None
        while (left := self._deadline - stopwatch()) > 0:
            try:
                return self._connection.recv_into(buffer)
            except BlockingIOError:
                wait_for(self._connection, left)
        raise TimeoutError("the request took too long")


def _nothing() -> None:
    pass
