"""The proxy answers for a receiver that does not, and refuses what cannot be forwarded."""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest

from engagelab_mock import EngageLab, Receiver, Recorder, UsageError
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.server.proxy import Passed, RecordingProxy
from tests.peers import Conversation, Peer, answer
from tests.server.proxying import converse, proxied


def test_a_receiver_that_refuses_connections_is_answered_502() -> None:
    passed: list[Passed] = []
    gone = LoopbackServer(Recorder())
    gone.stop()
    with RecordingProxy(gone.url, passed.append) as proxy, EngageLab(Receiver.http(proxy.url)) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], check=False).deliveries

    assert delivery.attempts[0].response is not None
    assert delivery.attempts[0].response.status == 502
    assert (passed[0].status, passed[0].error) == (None, "connection refused: nothing listens there")


def test_a_receiver_that_is_slow_or_speaks_no_http_is_answered_for() -> None:
    passed: list[Passed] = []
    release = threading.Event()

    def silent(conversation: Conversation) -> None:
        release.wait(10)

    with Peer(silent) as peer, RecordingProxy(peer.url, passed.append, limit=0.05) as proxy:
        assert b"did not answer in time" in converse(proxy, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        release.set()
    assert [(each.status, each.error) for each in passed] == [(None, "the receiver did not answer in time")]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"SSH-2.0\r\n", "the receiver's answer is not HTTP: its first line is 'SSH-2.0'"),
        (b"", "the receiver closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "closed the connection in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "is not HTTP: a chunk's size is 'zz'"),
    ],
)
def test_a_receiver_that_does_not_answer_in_http_is_answered_for(reply: bytes, why: str) -> None:
    with proxied(reply) as (_, proxy, passed):
        assert why in converse(proxy, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").decode()
        proxy.stop()
    assert [each.status for each in passed] == [None]
    assert why in passed[0].error


def test_a_host_that_cannot_be_one_is_answered_for() -> None:
    passed: list[Passed] = []
    with RecordingProxy(f"http://{'a' * 64}.invalid", passed.append) as proxy:
        assert b"cannot be reached" in converse(proxy, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    assert [each.status for each in passed] == [None]


def test_a_callback_is_reported_if_its_sender_disconnects() -> None:
    arrived = threading.Event()
    gone = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.request()
        arrived.set()
        gone.wait(10)
        conversation.say(answer("200 OK", b"x" * 100_000))

    passed: list[Passed] = []
    with Peer(script) as peer, RecordingProxy(peer.url, passed.append) as proxy:
        with closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            assert arrived.wait(10)
        gone.set()
        proxy.stop()
    assert [each.status for each in passed] == [200]


def test_an_error_in_the_report_does_not_harm_a_request() -> None:
    def fail(passed: Passed) -> None:
        raise OSError("no space left on device")

    with (
        LoopbackServer(Recorder()) as server,
        RecordingProxy(server.url, fail) as proxy,
        EngageLab(Receiver.http(proxy.url)) as engagelab,
    ):
        assert engagelab.send().acknowledged


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_instead_of_forwarded(request_bytes: bytes) -> None:
    passed: list[Passed] = []
    with (
        LoopbackServer(Recorder()) as server,
        RecordingProxy(server.url, passed.append) as proxy,
        closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection,
    ):
        connection.sendall(request_bytes)
        assert connection.recv(100)
    assert passed == []


def test_an_invalid_address_is_refused() -> None:
    with pytest.raises(UsageError, match="--forward"):
        RecordingProxy("localhost:8000", lambda passed: None)
