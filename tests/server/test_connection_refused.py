"""A request that is slow, cut off or malformed is answered with an error object, and closes its connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.server.connecting import assert_alive, count, exchange, status_and_body


@pytest.fixture
def hasty() -> Iterator[LoopbackServer]:
    """Serve with next to no patience."""
    with LoopbackServer(count, request_limit=0.2) as server:
        yield server


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


@pytest.mark.parametrize("said", [b"", b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"])
def test_an_idle_connection_is_closed(said: bytes) -> None:
    with LoopbackServer(count, request_limit=0.1, idle_limit=0.05) as server:
        assert exchange(server, said).count(b"HTTP/1.1 200 OK") == bool(said)
        assert_alive(server)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        pytest.param(b"POST / HTTP/1.1 what\r\n\r\n", 400, id="too many words"),
        pytest.param(b"POST\r\n\r\n", 400, id="one word"),
        pytest.param(b"POST / HTTP/9.9\r\n\r\n", 400, id="another version"),
        pytest.param(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="a long path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431, id="a long header"),
        pytest.param(b"GET / HTTP/1.1\r\nX y: z\r\n\r\n", 400, id="a header with a blank in its name"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 400, id="a blank before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nX\r\n\r\n", 400, id="a header without a colon"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, id="a negative length"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, id="two lengths"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            *(400,),
            id="a length and chunks",
        ),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400, id="another coding"),
    ],
)
def test_a_malformed_request_is_answered_with_an_error_object_and_closes(request_line: bytes, status: int) -> None:
    with LoopbackServer(count) as server:
        answer = exchange(server, request_line + b"GET / HTTP/1.1\r\n\r\n")
        assert_alive(server)
    assert answer.count(b"\r\nServer: ") == 1
    assert status_and_body(answer)[0] == status
    assert b"Traceback" not in answer


def test_a_head_that_is_cut_off_is_refused() -> None:
    with LoopbackServer(count) as server:
        answer = exchange(server, b"POST / HTTP/1.1\r\nHost: x", end=True)
    assert status_and_body(answer)[0] == 400


def test_an_error_quotes_no_control_characters() -> None:
    with LoopbackServer(count) as server:
        answer = exchange(server, b"\x1b[31mPOST / a b c\r\n\r\n")
    assert b"\x1b" not in answer
