"""One connection after another request: kept open, framed exactly, refused with an error object, bounded, closed."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
