"""Servers with ways of their own: the standard library's, and one that hands header names on as they were sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
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


@contextmanager
def by_hand(receiver: CorrectReceiver) -> Iterator[str]:
    """Serve without a framework; `Incoming.raw` has the headers as they were sent."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def answer(self) -> None:
            raw = [(name, value) for name, value in self.headers.items()]
            headers = {name.lower(): value for name, value in raw}
            body = self.rfile.read(int(headers.get("content-length") or 0))
            signatures = [value for name, value in raw if name.lower() == "x-callback-id"]
            status, text, more = receiver.answer(Incoming(self.command, signatures, headers, body, raw))
            content = b"" if self.command == "HEAD" else text.encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET = do_HEAD = do_PUT = do_DELETE = answer

    class Patient(ThreadingHTTPServer):
        request_queue_size = 128

    with Patient(("127.0.0.1", 0), Handler) as server, _running(server):
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
