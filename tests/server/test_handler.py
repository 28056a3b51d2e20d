"""Requests that are none, never end or stop half-way: an error object, or nothing, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: How long anything here may take before the test is called stuck, in seconds.
PATIENCE = 10.0


def count(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the number of bytes that arrived."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = str(len(body)).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


@pytest.fixture
def hasty() -> Iterator[LoopbackServer]:
    """Serve with next to no patience."""
    with LoopbackServer(count, request_limit=0.2) as server:
        yield server


def exchange(server: LoopbackServer, request: bytes, *, end: bool = False) -> bytes:
    """Send bytes, and nothing more after if `end`; return all that comes back until the server closes."""
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
    assert exchange(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").endswith(b"\r\n\r\n2")


def test_a_head_that_does_not_end_is_answered_408(hasty: LoopbackServer) -> None:
    status, error = status_and_body(exchange(hasty, b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "))
    assert (status, error["code"]) == (408, 3002)
    assert error["message"] == "the request did not arrive within 0.2 seconds"
    assert_alive(hasty)


def test_a_client_that_sends_drop_by_drop_has_no_more_time_than_others(hasty: LoopbackServer) -> None:
    drops = 0
    with socket.create_connection((hasty.host, hasty.port), timeout=0.05) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
        answer = b""
        while not answer and drops < 100:
            connection.sendall(b"X: y\r\n")
            drops += 1
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        connection.settimeout(PATIENCE)
        with connection.makefile("rb") as rest:
            answer += rest.read()
    assert status_and_body(answer)[0] == 408
    assert 1 < drops < 100
    assert_alive(hasty)


def test_a_client_that_says_nothing_is_sent_away(hasty: LoopbackServer) -> None:
    assert exchange(hasty, b"") == b""
    assert_alive(hasty)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        pytest.param(b"POST / HTTP/1.1 what\r\n\r\n", 400, id="too many words"),
        pytest.param(b"POST\r\n\r\n", 400, id="one word"),
        pytest.param(b"POST / HTTP/9.9\r\n\r\n", 505, id="another version"),
        pytest.param(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="a long path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431, id="a long header"),
    ],
)
def test_what_is_no_request_is_answered_with_an_error_object(request_line: bytes, status: int) -> None:
    with LoopbackServer(count) as server:
        answer = exchange(server, request_line)
        assert_alive(server)
    assert status_and_body(answer)[0] == status
    assert b"Traceback" not in answer


def test_what_is_echoed_in_an_error_cannot_act_on_a_terminal() -> None:
    with LoopbackServer(count) as server:
        answer = exchange(server, b"\x1b[31mPOST / a b c\r\n\r\n")
    assert b"\x1b" not in answer


def test_many_idle_connections_do_not_keep_others_from_being_answered() -> None:
    with LoopbackServer(count) as server:
        idle = [socket.create_connection((server.host, server.port), timeout=PATIENCE) for _ in range(50)]
        assert_alive(server)
        for connection in idle:
            connection.close()
        assert_alive(server)
