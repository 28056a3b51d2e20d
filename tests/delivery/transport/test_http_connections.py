"""What goes over a connection: the request's bytes, and one delivery after another."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from engagelab_mock import Callback, EngageLab, Headers, InvalidSettings, Receiver
from engagelab_mock.delivery.transport import http as http_module
from engagelab_mock.delivery.transport.http import HttpTransport
from tests.peers import Conversation, Peer, answer, answering


def plan(engagelab: EngageLab) -> bool:
    return engagelab.send("+6591234567", scenario=["plan"], check=False).acknowledged


def head_of(request: bytes) -> tuple[str, list[tuple[str, str]]]:
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return lines[0], [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]


def test_the_request_as_the_peer_sees_it() -> None:
    with Peer(answering(answer())) as peer:
        receiver = Receiver.http(
            f"{peer.url}/engagelab/otp%20in?tenant=7&x=%C3%A9",
            username="acme",
            secret="s3cret",
            authorization="Bearer  tok:en=é",
        )
        with EngageLab(receiver) as engagelab:
            run = engagelab.send("+6591234567", scenario=["plan"])
        [request] = peer.requests
    request_line, headers = head_of(request)
    body = request.partition(b"\r\n\r\n")[2]
    names = [name.lower() for name, _ in headers]
    values = {name.lower(): value for name, value in headers}
    assert request_line == "POST /engagelab/otp%20in?tenant=7&x=%C3%A9 HTTP/1.1"
    assert len(names) == len(set(names))
    assert values["host"] == f"127.0.0.1:{peer.port}"
    assert values["content-type"] == "application/json"
    assert values["content-length"] == str(len(body))
    assert values["authorization"] == "Bearer  tok:en=é"
    assert values["user-agent"] == "engagelab-mock"
    assert not {"cookie", "transfer-encoding", "expect"} & set(names)
    parts = dict(part.split("=") for part in values["x-callback-id"].split(";"))
    signed = (parts["timestamp"] + parts["nonce"] + parts["username"]).encode()
    assert hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest() == parts["signature"]
    assert body == run.deliveries[0].callback.body
    envelope = msgspec.json.decode(body)
    assert envelope["total"] == 1
    assert envelope["rows"][0]["status"]["message_status"] == "plan"


@pytest.mark.parametrize("address", ["{url}", "{url}/", "{url}?a=1", "{url}/#part"])
def test_an_address_without_a_path_asks_for_the_root(address: str) -> None:
    with Peer(answering(answer())) as peer, EngageLab(Receiver.http(address.format(url=peer.url))) as engagelab:
        assert plan(engagelab)
        assert peer.requests[0].startswith(b"POST /?a=1 HTTP" if "?" in address else b"POST / HTTP")


def test_without_settings_neither_signature_nor_authorization_is_sent() -> None:
    with Peer(answering(answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert plan(engagelab)
        names = {name.lower() for name, _ in head_of(peer.requests[0])[1]}
    assert not {"x-callback-id", "authorization"} & names


def test_the_documents_own_ping_is_empty_and_unsigned() -> None:
    with (
        Peer(answering(answer())) as peer,
        EngageLab(Receiver.http(peer.url, username="acme", secret="s3cret")) as engagelab,
    ):
        assert engagelab.validate_address().acknowledged
        [request] = peer.requests
    headers = {name.lower(): value for name, value in head_of(request)[1]}
    assert request.endswith(b"\r\n\r\n")
    assert headers["content-length"] == "0"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert "x-callback-id" not in headers


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "naïve ☃"])
def test_no_setting_can_begin_another_header(evil: str) -> None:
    with Peer(answering(answer())) as peer:
        with pytest.raises(InvalidSettings):
            Receiver.http(peer.url, authorization=evil)
        with pytest.raises(InvalidSettings):
            Receiver.http(peer.url, username=evil, secret="s3cret")
        with pytest.raises(InvalidSettings):
            Receiver.http(f"{peer.url}/{evil}")
        with pytest.raises(InvalidSettings):
            Receiver.http(peer.url).with_settings(authorization=evil)
        with EngageLab(Receiver.http(peer.url)) as engagelab:
            with pytest.raises(InvalidSettings):
                engagelab.validate_address(content_type=evil)
            assert len(engagelab.journal.refusals) == 1
        assert peer.conversations == []


def test_deliveries_share_a_connection_while_the_peer_keeps_it() -> None:
    with (
        Peer(answering(*[answer("200 OK", b"kept")] * 4)) as peer,
        EngageLab(Receiver.http(peer.url)) as engagelab,
    ):
        assert engagelab.send("+6591234567").acknowledged
        assert [len(conversation.requests) for conversation in peer.conversations] == [4]


@pytest.mark.parametrize("goodbye", [answer("200 OK", b"", "Connection: close"), b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_peer_that_announces_the_close_gets_a_new_connection(goodbye: bytes) -> None:
    with Peer(answering(goodbye)) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
        assert [len(conversation.requests) for conversation in peer.conversations] == [1, 1, 1, 1]


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_peer_that_leaves_between_deliveries_spoils_none(how: str) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer())
        if how == "reset":
            conversation.reset()

    with Peer(script) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        for _ in range(3):
            assert plan(engagelab)
            peer.await_close()
        assert len(peer.conversations) == 3


def test_a_connection_that_was_in_use_when_the_receiver_was_closed_is_closed_too() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        receiver.close()  # while the sender waits for the answer
        conversation.say(answer())
        conversation.request()  # b"" once the sender has closed

    with Peer(script) as peer:
        receiver = Receiver.http(peer.url)
        engagelab = EngageLab(receiver)
        assert plan(engagelab)
        peer.await_close()
        assert len(peer.requests) == 1


def test_an_idle_connection_is_not_trusted_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(http_module, "stopwatch", lambda: now)
    with Peer(answering(answer(), answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert plan(engagelab)
        now += 0.5
        assert plan(engagelab)
        assert len(peer.conversations) == 1
    with Peer(answering(answer(), answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert plan(engagelab)
        now += 2
        assert plan(engagelab)
        assert len(peer.conversations) == 2


def test_bytes_without_a_request_are_not_the_next_answer() -> None:
    said = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer())
        conversation.say(answer("500 Left over"))
        said.set()
        conversation.await_departure()

    with Peer(script, answering(answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert plan(engagelab)
        assert said.wait(10)
        assert plan(engagelab)
        assert not [attempt for attempt in engagelab.journal.attempts if not attempt.acknowledged]


def test_half_an_answer_left_over_is_not_the_next_answer_either() -> None:
    may_go_on = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer() + b"HTTP/1.1 500 Lef")
        assert may_go_on.wait(10)
        if conversation.request():
            conversation.say(b"t over\r\n\r\n")

    with Peer(script, answering(answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert plan(engagelab)
        may_go_on.set()
        assert plan(engagelab)
        assert len(peer.conversations) == 2


def test_a_closed_engagelab_opens_new_connections() -> None:
    with Peer(answering(answer(), answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert plan(engagelab)
        engagelab.close()
        assert plan(engagelab)
        assert len(peer.conversations) == 2


def test_cookies_are_never_sent_back() -> None:
    greeting = answer("200 OK", b"", "Set-Cookie: session=1; Path=/")
    with Peer(answering(*[greeting] * 4)) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
        assert len(peer.requests) == 4
        assert not [request for request in peer.requests if b"cookie" in request.lower()]


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer(answering(answer("502 Proxy"))) as proxy, Peer(answering(answer())) as peer:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with EngageLab(Receiver.http(peer.url)) as engagelab:
            assert plan(engagelab)
        assert proxy.conversations == []


class _Gathering(http.server.BaseHTTPRequestHandler):
    """Answers only once as many requests wait for their answer as the barrier wants."""

    protocol_version = "HTTP/1.1"
    barrier: threading.Barrier

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.barrier.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def gathering(parties: int) -> Iterator[str]:
    handler = type("Handler", (_Gathering,), {"barrier": threading.Barrier(parties)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_several_deliveries_at_a_time_have_a_connection_each() -> None:
    async def send_all(transport: HttpTransport) -> list[int]:
        callback = Callback(Headers([("Content-Type", "application/json")]), b"{}")
        return [r.status for r in await asyncio.gather(*[transport.aexchange(callback, 10) for _ in range(3)])]

    with gathering(3) as url:
        transport = HttpTransport(url)
        assert asyncio.run(send_all(transport)) == [200, 200, 200]
        assert asyncio.run(send_all(transport)) == [200, 200, 200]
        transport.close()
