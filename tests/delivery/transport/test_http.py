"""Every way in which HTTP can fail, over real sockets."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from engagelab_mock import EngageLab, Outcome, Receiver
from engagelab_mock.delivery.transport.http1 import WIDE_BOUNDS
from tests.failures import failure_of
from tests.peers import Conversation, Peer, Script, answer

LIMIT = 0.25


def receiver_at(url: str, *, limit: float | None = 3.0) -> Receiver:
    return Receiver.http(f"{url}/engagelab", username="acme", secret="s3cret", limit=limit)


def failure_with(script: Script, *, limit: float = 3.0) -> tuple[Outcome, str]:
    with Peer(script) as peer:
        error = failure_of(receiver_at(peer.url, limit=limit))
        assert len(peer.requests) == 1
    assert not error.delivery.outcome.unreachable
    return error.delivery.outcome, error.delivery.attempts[0].error


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def full_port() -> Iterator[int]:
    """Give a port whose backlog is full: the system drops every new connection to it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            while True:
                waiting.append(socket.create_connection(listener.getsockname(), timeout=0.05))
                assert len(waiting) < 100
        except TimeoutError:
            yield listener.getsockname()[1]
        for connection in waiting:
            connection.close()


def test_a_closed_port_is_refused(closed_port: int) -> None:
    error = failure_of(receiver_at(f"http://127.0.0.1:{closed_port}"))
    assert error.delivery.outcome is Outcome.REFUSED
    assert error.what == (f"plan was not acknowledged: connection refused: nothing listens on 127.0.0.1:{closed_port}")
    assert error.hint == "start the receiver first, and check the host and port of its address"
    assert error.delivery.outcome.unreachable
    assert isinstance(error.__cause__, ConnectionRefusedError)


def test_a_host_that_does_not_exist_is_a_dns_failure() -> None:
    error = failure_of(receiver_at("http://receiver.invalid"))
    assert error.delivery.outcome is Outcome.DNS_FAILURE
    assert "the host 'receiver.invalid' cannot be resolved: " in error.what
    assert error.hint == "check the spelling of the host"
    assert error.delivery.outcome.unreachable


def test_a_port_that_takes_no_connections_is_a_connect_timeout(full_port: int) -> None:
    error = failure_of(receiver_at(f"http://127.0.0.1:{full_port}", limit=LIMIT))
    assert error.delivery.outcome is Outcome.CONNECT_TIMEOUT
    assert error.what.endswith(f"no connection to 127.0.0.1:{full_port} within 0.25 s")
    assert "firewall" in error.hint
    assert error.delivery.outcome.unreachable


def test_the_systems_own_connect_timeout_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(*_: object, **__: object) -> socket.socket:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr(socket, "create_connection", time_out)
    error = failure_of(receiver_at("http://127.0.0.1:9", limit=None))
    assert error.delivery.outcome is Outcome.CONNECT_TIMEOUT
    assert error.what.endswith("no connection to 127.0.0.1:9")


def test_no_route_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_the_way(*_: object, **__: object) -> socket.socket:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(socket, "create_connection", lose_the_way)
    error = failure_of(receiver_at("http://127.0.0.1:9"))
    assert error.delivery.outcome is Outcome.UNREACHABLE
    assert error.what.endswith("no connection to 127.0.0.1:9: [Errno 113] No route to host")
    assert error.delivery.outcome.unreachable


def test_a_host_name_that_cannot_be_one_is_unreachable() -> None:
    error = failure_of(receiver_at(f"http://{'a' * 64}.invalid"))
    assert error.delivery.outcome is Outcome.UNREACHABLE
    assert error.delivery.outcome.unreachable


def test_a_reset_connection() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.reset()

    outcome, reason = failure_with(script)
    assert outcome is Outcome.RESET
    assert reason == "the connection broke: Connection reset by peer"


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["nothing", "an interim answer"])
def test_a_connection_closed_without_an_answer(before: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(before)

    outcome, reason = failure_with(script)
    assert outcome is Outcome.CLOSED
    assert reason == "the connection was closed without an answer"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", "in the middle of the headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "in the middle of the headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", "in the middle of the answer: 4 of 10 body bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "in the middle of the answer: 0 of 10 body bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nfour", "in the middle of the answer: 4 of 2000000 body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nfour", "in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n", "in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n", "in the middle of the answer"),
        (b"HTTP/1.1 20", "in the middle of the headers"),
    ],
    ids=["header", "headers", "body", "no body", "large body", "chunk", "chunks", "trailers", "status"],
)
def test_an_answer_cut_short(sent: bytes, told: str) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(sent)

    outcome, reason = failure_with(script)
    assert outcome is Outcome.INCOMPLETE
    assert told in reason


@pytest.mark.parametrize(
    "sent",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"X" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * (WIDE_BOUNDS.size // 11) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"1" * WIDE_BOUNDS.size + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX Blank: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Odd: a\rX-Evil: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nSSH-2.0-OpenSSH_9.6\r\n",
    ],
    ids=[
        *("tls", "ssh", "smtp", "status", "low status", "version", "long line", "many headers", "long header"),
        *("header name", "bare CR", "negative length", "two lengths", "chunk size", "long chunk", "after an interim"),
    ],
)
def test_an_answer_that_is_not_http(sent: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(sent)

    outcome, reason = failure_with(script)
    assert outcome is Outcome.MALFORMED
    assert reason.startswith("the answer is not HTTP: ")
    assert len(reason) < 300


@pytest.mark.parametrize(
    "dripped",
    [b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000, b"H" * 1000],
    ids=["status and headers", "status line"],
)
def test_headers_that_drip_past_the_limit_are_a_timeout(dripped: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.drip(dripped, every=0.01)

    outcome, reason = failure_with(script, limit=LIMIT)
    assert outcome is Outcome.TIMEOUT
    assert re.fullmatch(r"no complete answer within 0\.25 s; \d+ bytes had arrived", reason)


@pytest.mark.parametrize(
    "headers",
    [b"Content-Length: 1000", b"Transfer-Encoding: chunked", b"Connection: close"],
    ids=["length", "chunked", "to the close"],
)
def test_a_body_that_drips_past_the_limit_is_a_timeout(headers: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n")
        conversation.drip(b"1\r\na\r\n", every=0.01)

    outcome, reason = failure_with(script, limit=LIMIT)
    assert outcome is Outcome.TIMEOUT
    assert reason.startswith("no complete answer within 0.25 s; ")


def test_no_answer_at_all_is_a_timeout() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.await_departure()

    outcome, reason = failure_with(script, limit=LIMIT)
    assert outcome is Outcome.TIMEOUT
    assert reason == "no complete answer within 0.25 s"


def test_without_a_limit_a_slow_answer_is_waited_for() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        for byte in answer("200 OK", b"slow"):
            conversation.say(bytes([byte]))

    with Peer(script) as peer, EngageLab(receiver_at(peer.url, limit=None)) as engagelab:
        assert engagelab.send("+6591234567", scenario=["plan"]).acknowledged


def test_a_failure_does_not_spoil_the_next_delivery() -> None:
    def fine(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer())

    with Peer(Conversation.request, fine) as peer, EngageLab(receiver_at(peer.url)) as engagelab:
        assert not engagelab.send(scenario=["plan"], check=False).acknowledged
        assert engagelab.send(scenario=["plan"]).acknowledged
        assert [attempt.outcome for attempt in engagelab.journal.attempts] == [Outcome.CLOSED, Outcome.ACKNOWLEDGED]
