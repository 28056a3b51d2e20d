"""Servers: Werkzeug, the standard library's, and one that passes header names on as they were sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.correct import CorrectReceiver, Incoming
from tests.checks.receivers.frameworks import on_flask


@contextmanager
def on_werkzeug(receiver: CorrectReceiver) -> Iterator[str]:
    with LoopbackServer(on_flask(receiver)) as server:
        yield server.url


@contextmanager
def on_wsgiref(receiver: CorrectReceiver) -> Iterator[str]:
    """Serve with the standard library's server, which takes X_CALLBACK_ID for X-CALLBACK-ID."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    class Patient(WSGIServer):
        request_queue_size = 128

    app = on_flask(receiver)
    with make_server("127.0.0.1", 0, app, Patient, Quiet) as server, _running(server):
        yield f"http://127.0.0.1:{server.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Serve HTTP/1.1 without a framework; `Incoming.raw` has the headers as they were sent."""

    receiver: CorrectReceiver
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self) -> None:
        raw = [(name, value) for name, value in self.headers.items()]
        headers = {name.lower(): value for name, value in raw}
        body = self.read_body()
        if body is None:
            self.close_connection = True
            return
        signatures = [value for name, value in raw if name.lower() == "x-callback-id"]
        status, text, more = self.receiver.answer(Incoming(self.command, signatures, headers, body, raw))
        content = b"" if self.command == "HEAD" else text.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.answer()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST

    def read_body(self) -> bytes | None:
        """Return the body; None if the connection ended before it."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self.read_chunks()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size + 2)[:size]
        self.rfile.readline()
        return body


class Threaded(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients disconnect at any time, on purpose


class OneByOne(HTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def handling(
    receiver: CorrectReceiver, handler: type[Handler], server: type[HTTPServer] = Threaded
) -> Iterator[HTTPServer]:
    """Serve with a certain handler."""
    bound = type(handler.__name__, (handler,), {"receiver": receiver})
    with server(("127.0.0.1", 0), bound) as serving, _running(serving):
        yield serving


@contextmanager
def by_hand(receiver: CorrectReceiver) -> Iterator[str]:
    with handling(receiver, Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def _running(server: HTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(5)
