from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import flask
import pytest
import trustme

from engagelab_mock import Recorder
from engagelab_mock.delivery.transport.http import tls_context
from engagelab_mock.server import proxy as proxy_module
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.server.proxy import Passed, RecordingProxy
from tests.peers import Conversation, Peer, answer, answering
from tests.server.proxying import BODY, HEAD, converse, proxied


def test_a_request_arrives_byte_for_byte() -> None:
    with proxied(answer("200 OK", b"fine")) as (peer, proxy, passed):
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        assert converse(proxy, request) == b"fine"
        proxy.stop()

    [arrived] = peer.requests
    assert arrived == request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    assert (passed[0].status, passed[0].body, passed[0].error) == (200, BODY, "")
    assert passed[0].headers.get_all("X-CALLBACK-ID") == ["timestamp=1;nonce=2", "twice"]


def test_headers_about_the_connection_are_not_forwarded() -> None:
    with proxied(answer("200 OK", b"")) as (peer, proxy, _):
        converse(proxy, HEAD + b"Connection: keep-alive, X-Odd\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\n{}")

    [arrived] = peer.requests
    assert b"eep-" not in arrived
    assert b"X-Odd" not in arrived
    assert arrived.endswith(b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def test_a_body_in_chunks_goes_on_in_chunks() -> None:
    with proxied(answer("200 OK", b"")) as (peer, proxy, passed):
        converse(
            proxy, HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n3;x=y\r\n":1\r\n1\r\n}\r\n0\r\nT: 1\r\n\r\n'
        )
        proxy.stop()

    assert passed[0].body == b'{"a":1}'
    [arrived] = peer.requests
    assert arrived.partition(b"\r\n\r\n")[0].count(b"Transfer-Encoding: chunked") == 1


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (answer("401 Go Away", b"not signed", "X-Why: because", "x-why: again"), 401, b"not signed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer("200 OK", b"late"), 200, b"late"),
        (answer("200 OK", b"many", *[f"X-{number}: 1" for number in range(90)]), 200, b"many"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 200, b"ab"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, b""),
    ],
    ids=["headers", "chunks", "to the end", "103 first", "many headers", "chunks and a length", "204", "redirect"],
)
def test_the_receiver_s_answer_is_the_answer(reply: bytes, status: int, body: bytes) -> None:
    with proxied(reply) as (_, proxy, passed):
        with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)) as connection:
            connection.request("POST", "/", b"{}")
            response = connection.getresponse()
            found = (response.status, response.read())
            headers = response.getheaders()
        proxy.stop()

    assert found == (status, body)
    assert passed[0].status == status
    if status == 401:
        assert response.reason == "Go Away"
        assert headers[-2:] == [("X-Why", "because"), ("x-why", "again")]
    if status == 302:
        assert response.headers["Location"] == "/elsewhere"


def test_an_answer_arrives_byte_for_byte() -> None:
    lines = b"X-Odd:caf\xe9\r\nx-odd:   twice \r\nX-Folded: a\r\n  b\r\nContent-Length: 2\r\n"
    lines += b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"X-Long: " + b"v" * 100_000 + b"\r\n"
    with (
        proxied(b"HTTP/1.1 299 Go \xe9\r\nKeep-Alive: 5\r\n" + lines + b"\r\nhi") as (_, proxy, _passed),
        closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection,
    ):
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as arrived:
            assert arrived.read() == b"HTTP/1.1 299 Go \xe9\r\n" + lines + b"Connection: close\r\n\r\nhi"


def test_a_request_with_many_headers_goes_through() -> None:
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"X-Long: " + b"v" * 100_000 + b"\r\n"
    with proxied(answer()) as (peer, proxy, _):
        converse(proxy, b"POST / HTTP/1.1\r\n" + many + b"Content-Length: 2\r\n\r\n{}")
    assert many in peer.requests[0]


@pytest.mark.parametrize("size", [10, 200_000, 6_000_000])
def test_an_answer_before_the_body_was_read_goes_back(size: int) -> None:
    def script(conversation: Conversation) -> None:
        conversation.connection.recv(20)
        conversation.say(answer("413 Too Large", b"at most 1 MB"))

    passed: list[Passed] = []
    with Peer(script) as peer, RecordingProxy(peer.url, passed.append) as proxy:
        assert converse(proxy, b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) == b"at most 1 MB"
    assert [(each.status, len(each.body), each.whole) for each in passed] == [(413, size, True)]


PARTS = [b"y" * 200_000, b"z" * 100_000]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_long_to_be_held_goes_on_as_it_arrives(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "BODY_KEPT", 1000)
    seen = threading.Event()
    arrived = bytearray()

    def script(conversation: Conversation) -> None:
        while arrived.count(b"z") < len(PARTS[1]) or (chunked and not arrived.endswith(b"0\r\n\r\n")):
            arrived.extend(conversation.connection.recv(65536))
            if arrived.count(b"y") > 50_000:
                seen.set()
        conversation.say(answer("200 OK", b"fine"))

    head = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % sum(map(len, PARTS))
    first, second = [b"%x\r\n%s\r\n" % (len(part), part) if chunked else part for part in PARTS]
    passed: list[Passed] = []
    with (
        Peer(script) as peer,
        RecordingProxy(peer.url, passed.append) as proxy,
        closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection,
    ):
        connection.sendall(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\n" + first)
        assert seen.wait(10)
        connection.sendall(second + (b"0\r\n\r\n" if chunked else b""))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.read() == b"fine"
    assert arrived.partition(b"\r\n\r\n")[2].count(b"y") == len(PARTS[0])
    assert [(each.status, each.whole) for each in passed] == [(200, False)]
    assert 1000 <= len(passed[0].body) < len(PARTS[0])


@pytest.mark.parametrize("end", [b"zz\r\n", b""], ids=["malformed", "cut off"])
def test_a_long_body_that_is_broken_is_refused_without_a_report(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "BODY_KEPT", 1000)
    passed: list[Passed] = []

    def script(conversation: Conversation) -> None:
        conversation.await_departure()

    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n" + end
    with (
        Peer(script) as peer,
        RecordingProxy(peer.url, passed.append) as proxy,
        closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection,
    ):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert passed == []


@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_too_long_to_be_held_goes_back_as_it_arrives(
    framing: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "BODY_KEPT", 1000)
    seen = threading.Event()
    heads = {"length": "Content-Length: 300000", "chunks": "Transfer-Encoding: chunked", "end": "X-Y: z"}

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(f"HTTP/1.1 200 OK\r\n{heads[framing]}\r\n\r\n".encode())
        for part in PARTS:
            conversation.say(b"%x\r\n%s\r\n" % (len(part), part) if framing == "chunks" else part)
            assert seen.wait(10)
        conversation.say(b"0\r\n\r\n" if framing == "chunks" else b"")

    passed: list[Passed] = []
    with (
        Peer(script) as peer,
        RecordingProxy(peer.url, passed.append) as proxy,
        closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection,
    ):
        connection.sendall(f"POST / HTTP/{version}\r\nContent-Length: 0\r\n\r\n".encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read(1000)
        seen.set()
        body += response.read()
    assert body == b"".join(PARTS)
    assert [each.status for each in passed] == [200]


def test_every_method_goes_through_and_a_connection_carries_several() -> None:
    methods: list[str] = []
    app = flask.Flask("app")

    @app.route("/", methods=["GET", "PUT", "DELETE", "POST"])
    def view() -> str:
        methods.append(flask.request.method)
        return flask.request.method

    passed: list[Passed] = []
    with (
        LoopbackServer(app) as server,
        RecordingProxy(server.url, passed.append) as proxy,
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)) as connection,
    ):
        for method in ("GET", "PUT", "DELETE", "POST", "HEAD"):
            connection.request(method, "/")
            response = connection.getresponse()
            assert response.read() == (b"" if method == "HEAD" else method.encode())
    assert methods == ["GET", "PUT", "DELETE", "POST", "GET"] or methods[:4] == ["GET", "PUT", "DELETE", "POST"]
    assert [each.method for each in passed] == ["GET", "PUT", "DELETE", "POST", "HEAD"]


@pytest.mark.parametrize(
    ("forward", "asked", "arrives"),
    [("", "/a?b=c", "/a?b=c"), ("/", "/a", "/a"), ("/cb", "/a?b=c", "/cb?b=c"), ("/cb?t=1", "/a", "/cb?t=1")],
)
def test_the_forward_s_path_is_where_it_goes(forward: str, asked: str, arrives: str) -> None:
    recorder = Recorder()
    seen: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        query = environ["QUERY_STRING"]
        seen.append(environ["PATH_INFO"] + (f"?{query}" if query else ""))
        return recorder(environ, start_response)

    with (
        LoopbackServer(app) as server,
        RecordingProxy(server.url + forward, lambda passed: None) as proxy,
        closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)) as connection,
    ):
        connection.request("POST", asked, b"")
        assert connection.getresponse().status == 200
    assert seen == [arrives]


def test_a_receiver_behind_tls_is_reached_and_its_certificate_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    passed: list[Passed] = []
    with Peer(answering(answer()), answering(answer()), tls=context) as peer:
        for trust in (tls_context(str(bundle)), tls_context(True)):
            with RecordingProxy(peer.url, passed.append, tls=trust) as proxy:
                converse(proxy, b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")

    assert [each.status for each in passed] == [200, None]
    assert "cannot be reached" in passed[1].error
