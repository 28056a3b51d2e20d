"""Connections to a server that runs an app, as bytes."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def count(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the number of bytes that arrived."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = str(len(body)).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


def exchange(server: LoopbackServer, request: bytes, *, end: bool = False) -> bytes:
    """Send bytes, with `end` as the last ones; return all that comes back until the server closes."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.read()


def status_and_body(answer: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def assert_alive(server: LoopbackServer) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    assert exchange(server, request).endswith(b"\r\n\r\n2")


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HI = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


class Reader(io.BufferedReader):
    """Read from a connection, also after the answer that was read has been closed."""

    def close(self) -> None:
        pass


class Client:
    """Talk to a server over one connection."""

    def __init__(self, server: LoopbackServer) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=PATIENCE)
        self._reader = Reader(socket.SocketIO(self._socket, "r"))

    def makefile(self, mode: str) -> Reader:
        return self._reader

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def answer(self, method: str = "POST") -> tuple[int, dict[str, str], bytes]:
        """Read one answer, and leave the bytes after it unread."""
        response = http.client.HTTPResponse(cast("socket.socket", self), method=method)
        response.begin()
        return response.status, dict(response.getheaders()), response.read()

    def receive(self, size: int) -> bytes:
        """Read so many bytes."""
        return self._reader.read(size)

    def ended(self) -> bool:
        """Wait for the server to close the connection or to send something; tell whether it closed."""
        return self._reader.read(1) == b""

    def close(self) -> None:
        self._socket.close()


@contextmanager
def client(app: WSGIApplication, **limits: Any) -> Iterator[Client]:
    """Serve an app, and connect to it."""
    with LoopbackServer(app, **limits) as server, closing(Client(server)) as connected:
        yield connected
