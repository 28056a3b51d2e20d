"""One connection carries one request after another: kept open, framed exactly, bounded, closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
from tests.patience import PATIENCE
from tests.server.connecting import GET, HI, Client, assert_alive, client, count, exchange, status_and_body


def test_a_connection_carries_requests_one_after_the_other() -> None:
    with client(count) as connected:
        for _ in range(3):
            connected.send(HI)
            status, headers, body = connected.answer()
            assert (status, body, headers.get("Connection")) == (200, b"2", None)
            assert {"Date", "Server"} <= set(headers)


def test_requests_that_are_sent_at_once_are_answered_in_order() -> None:
    requests = b"".join(HI.replace(b": 2", b": %d" % length).replace(b"hi", b"x" * length) for length in range(1, 6))
    with client(count) as connected:
        # The empty line is what some clients send after a body.
        connected.send(requests.replace(b"xxxPOST", b"xxx\r\nPOST"))
        assert [connected.answer()[2] for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize(
    "asked",
    [
        HI.replace(b"Host", b"Connection: TE, Close\r\nHost"),
        HI.replace(b"1.1", b"1.0"),
        HI.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: close\r\nHost"),
    ],
)
def test_a_client_may_end_the_connection(asked: bytes) -> None:
    with client(count) as connected:
        connected.send(asked + HI)
        status, headers, body = connected.answer()
        assert (status, body, headers["Connection"]) == (200, b"2", "close")
        assert connected.ended()


def test_a_client_of_http_1_0_may_keep_it() -> None:
    with client(count) as connected:
        for _ in range(2):
            connected.send(HI.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: keep-alive\r\nHost"))
            status, headers, body = connected.answer()
            assert (status, body, headers["Connection"]) == (200, b"2", "keep-alive")


def test_an_app_may_end_it() -> None:
    def last(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "0"), ("Connection", "close")])
        return []

    with client(last) as connected:
        connected.send(GET)
        assert connected.answer()[1]["Connection"] == "close"
        assert connected.ended()


def test_a_body_that_the_app_does_not_read_is_not_taken_for_a_request() -> None:
    called: list[str] = []

    def refuse(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        called.append(environ["PATH_INFO"])
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return []

    hidden = GET.replace(b"/ ", b"/hidden ") * 100
    with client(refuse) as connected:
        connected.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden)
        status, headers, _ = connected.answer()
        assert (status, headers["Connection"]) == (401, "close")
        assert connected.ended()
    assert called == ["/"]


@pytest.mark.parametrize("head", [b"Content-Length: 3\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3\r\n"])
def test_a_body_is_read_to_its_end_and_no_further(head: bytes) -> None:
    def read_all(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    end = b"\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n" if b"chunked" in head else b""
    with client(read_all) as connected:
        connected.send((b"POST / HTTP/1.1\r\n" + head + b"abc" + end) * 2)
        expected = b"abcde" if end else b"abc"
        assert [connected.answer()[2] for _ in range(2)] == [expected, expected]


def test_a_client_that_asks_whether_to_go_on_is_told_once() -> None:
    with client(count) as connected:
        connected.send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        told = connected.receive(25)
        assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
        connected.send(b"hi")
        assert connected.receive(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("app", ["with a length", "in parts"])
def test_an_answer_to_head_has_no_body(app: str) -> None:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "4")] if app == "with a length" else [])
        return [b"bo", b"dy"]

    with client(answer) as connected:
        for _ in range(2):
            connected.send(GET.replace(b"GET", b"HEAD"))
            assert connected.answer("HEAD")[::2] == (200, b"")
        connected.send(GET)
        assert connected.answer("GET")[::2] == (200, b"body")


def parts(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer in parts, without saying how many bytes they are."""
    start_response("200 OK", [])
    return iter([b"some", b"", b"thing"])


def test_an_answer_of_unknown_length_is_chunked_and_the_connection_kept() -> None:
    with client(parts) as connected:
        for _ in range(2):
            connected.send(GET)
            status, headers, body = connected.answer()
            assert (status, body, headers["Transfer-Encoding"]) == (200, b"something", "chunked")


def test_for_http_1_0_it_ends_with_the_connection() -> None:
    with client(parts) as connected:
        connected.send(GET.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: keep-alive\r\nHost"))
        status, headers, body = connected.answer()
        assert (status, body, headers["Connection"]) == (200, b"something", "close")
        assert "Transfer-Encoding" not in headers


@pytest.mark.parametrize("length", [4, 12])
def test_an_app_that_sends_another_length_than_it_says_ends_the_connection(length: int) -> None:
    def lie(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(length))])
        return [b"8 bytes."]

    with LoopbackServer(lie) as server:
        answer = exchange(server, GET)
    assert answer.endswith(b"\r\n\r\n8 bytes.")


def test_an_app_that_fails_is_answered_for_and_ends_the_connection() -> None:
    def fail(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise RuntimeError("a secret")

    def fail_late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        raise RuntimeError("a secret")

    with LoopbackServer(fail) as server:
        answer = exchange(server, GET)
    assert status_and_body(answer) == (500, {"code": 1000, "message": "internal error"})
    with LoopbackServer(fail_late) as server:
        answer = exchange(server, GET)
    # Without the last chunk, the client sees that it is not complete.
    assert answer.endswith(b"\r\n\r\n5\r\nbegun\r\n")


def test_only_so_many_connections_are_kept() -> None:
    with LoopbackServer(count, kept=2) as server, ExitStack() as stack:
        clients = [stack.enter_context(closing(Client(server))) for _ in range(2)]
        for each in clients:
            each.send(HI)
            assert "Connection" not in each.answer()[1]
        surplus = stack.enter_context(closing(Client(server)))
        surplus.send(HI)
        assert surplus.answer()[1]["Connection"] == "close"
        assert surplus.ended()
        # The others are, as before.
        clients[0].send(HI)
        assert "Connection" not in clients[0].answer()[1]


def test_idle_connections_are_closed_when_the_server_stops() -> None:
    with ExitStack() as stack:
        with LoopbackServer(count) as server:
            clients = [stack.enter_context(closing(Client(server))) for _ in range(5)]
            for each in clients[:3]:
                each.send(HI)
                each.answer()
        assert [each.ended() for each in clients[:3]] == [True] * 3


def test_a_request_under_way_when_the_server_stops_is_answered_and_closes() -> None:
    entered, released = threading.Event(), threading.Event()

    def hang(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        released.wait(PATIENCE)
        return count(environ, start_response)

    server = LoopbackServer(hang).start()
    with closing(Client(server)) as connected:
        connected.send(HI + HI)
        assert entered.wait(PATIENCE)
        server.stop()
        released.set()
        status, headers, body = connected.answer()
        assert (status, body, headers["Connection"]) == (200, b"2", "close")


def test_apps_that_block_do_not_keep_others_from_being_answered() -> None:
    together = threading.Barrier(20)

    def meet(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        together.wait(PATIENCE)
        return count(environ, start_response)

    with LoopbackServer(meet) as server, ExitStack() as stack:
        clients = [stack.enter_context(closing(Client(server))) for _ in range(20)]
        for each in clients:
            each.send(HI)
        assert [each.answer()[0] for each in clients] == [200] * 20


def test_the_environment_follows_wsgi() -> None:
    seen: list[WSGIEnvironment] = []

    def look(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        return count(environ, start_response)

    with LoopbackServer(look) as server:
        exchange(
            server,
            b"GET http://shop.example:81/caf%C3%A9//x?y=%41 HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two: 2\r\n"
            b"X-Folded: a\r\n b\r\nX_Two: 3\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
        )
        exchange(server, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    wanted = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/caf\xc3\xa9//x",
        "QUERY_STRING": "y=%41",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "shop.example:81",
        "HTTP_X_TWO": "1,2",
        "HTTP_X_FOLDED": "a b",
        "CONTENT_TYPE": "text/plain",
        "wsgi.url_scheme": "http",
    }
    assert {name: seen[0][name] for name in wanted} == wanted
    assert "CONTENT_LENGTH" not in seen[0]
    assert (seen[1]["PATH_INFO"], seen[1]["HTTP_HOST"]) == ("*", "x")


def test_many_idle_connections_do_not_keep_others_from_being_answered() -> None:
    with LoopbackServer(count) as server:
        idle = [socket.create_connection((server.host, server.port), timeout=PATIENCE) for _ in range(50)]
        assert_alive(server)
        for connection in idle:
            connection.close()
        assert_alive(server)
