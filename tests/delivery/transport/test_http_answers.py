"""Which answers acknowledge, and the other forms of a complete answer over HTTP."""

from __future__ import annotations

import os
import resource
import ssl
import threading

import pytest
import trustme

from engagelab_mock import EngageLab, Outcome, Receiver
from engagelab_mock.delivery.transport import BODY_LIMIT
from engagelab_mock.delivery.transport.http1 import WIDE_BOUNDS
from tests.failures import failure_of
from tests.peers import Conversation, Peer, answer, answering


def receiver_at(url: str) -> Receiver:
    return Receiver.http(f"{url}/engagelab", username="acme", secret="s3cret")


INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
)


@pytest.mark.parametrize(
    "sent",
    [
        answer(),
        answer("200 Fine"),
        answer("200 "),
        answer("200 OK", b"0123456789"),
        answer("200 OK", b"", "Connection: close"),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789",
        b"HTTP/1.0 200 OK\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 10\nContent-Length: 10\n\n0123456789",
        b"HTTP/1.1 200\r\nX-Folded: a\r\n b\r\nContent-Length: 10\r\n\r\n0123456789",
        answer("200 OK", b"0123456789", *[f"X-{number}: 1" for number in range(500)]),
        answer("200 OK", b"0123456789", "X-Long: " + "v" * (WIDE_BOUNDS.size - 100)),
        *[interim + answer("200 OK", b"0123456789") for interim in INTERIM],
        b"".join(INTERIM * 3) + answer("200 OK", b"0123456789"),
    ],
    ids=[
        *("empty", "phrase", "no phrase", "body", "close", "no length", "HTTP/1.0", "chunked", "chunked and a length"),
        *("bare line ends", "folded", "many headers", "a long header", "100 first", "102 first", "103 first"),
        "several first",
    ],
)
def test_a_200_acknowledges_however_it_is_framed(sent: bytes) -> None:
    with Peer(answering(sent)) as peer, EngageLab(receiver_at(peer.url)) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"])
        assert len(peer.requests) == 1
    [attempt] = run.deliveries[0].attempts
    assert attempt.acknowledged
    assert attempt.error == ""
    assert attempt.response is not None
    assert attempt.response.status == 200
    assert attempt.response.body in {b"", b"0123456789"}
    assert len(attempt.response.body) == (10 if b"9" in sent else 0)
    assert attempt.elapsed == attempt.response.elapsed > 0


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("201 Created", "exactly 200"),
        ("202 Accepted", "exactly 200"),
        ("204 No Content", "exactly 200"),
        ("400 Bad Request", "could not read the body"),
        ("401 Unauthorized", "signed as 'acme': does the receiver use the same username and secret?"),
        ("403 Forbidden", "signed as 'acme'"),
        ("404 Not Found", "no route matches http://127.0.0.1:"),
        ("405 Method Not Allowed", "does not accept POST"),
        ("418 I'm a teapot", "answer 200"),
        ("500 Internal Server Error", "the handler failed"),
        ("503 Service Unavailable", "starting, or overloaded"),
    ],
)
def test_no_other_status_acknowledges(status: str, hint: str) -> None:
    body = b"" if status.startswith("204") else b"the reason why"
    with Peer(answering(answer(status, body, "X-Trace: 1", "X-Trace: 2"))) as peer:
        error = failure_of(receiver_at(peer.url))
        assert len(peer.requests) == 1
    attempt = error.delivery.attempts[0]
    assert attempt.outcome is Outcome.NOT_200
    assert attempt.error == f"answered {status}; only 200 acknowledges"
    assert hint in error.hint
    assert not attempt.outcome.unreachable
    assert f"response: {status}  (after " in str(error)
    assert "  X-Trace: 1\n  X-Trace: 2\n" in str(error)
    assert str(error).endswith("\n  the reason why" if body else "\n  (empty body)")


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_a_redirect_is_not_followed(status: str) -> None:
    with Peer(answering(answer())) as target:
        location = f"Location: {target.url}/elsewhere"
        with Peer(answering(answer(status, b"", location), answer())) as peer:
            error = failure_of(receiver_at(peer.url))
            assert len(peer.requests) == 1
        assert target.conversations == []
    assert error.delivery.outcome is Outcome.REDIRECT
    assert error.delivery.attempts[0].error == f"answered {status}; a redirect is not followed"
    assert "register the final address" in error.hint
    assert f"  {location}\n" in str(error)


@pytest.mark.parametrize("framing", ["length", "close"])
def test_of_a_huge_body_a_bounded_part_is_kept(framing: str) -> None:
    body = b"x" * (BODY_LIMIT * 3)
    sent = answer("200 OK", body) if framing == "length" else b"HTTP/1.1 200 OK\r\n\r\n" + body
    with Peer(answering(sent)) as peer, EngageLab(receiver_at(peer.url)) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"])
    response = run.deliveries[0].attempts[0].response
    assert run.acknowledged
    assert response is not None
    assert BODY_LIMIT <= len(response.body) < BODY_LIMIT * 1.2


def test_the_answer_is_read_to_its_last_byte_before_the_next_request() -> None:
    with (
        Peer(answering(answer("200 OK", b"x" * (BODY_LIMIT + 1)), answer("201 Second"))) as peer,
        EngageLab(receiver_at(peer.url)) as engagelab,
    ):
        run = engagelab.send("+6591234567", scenario=["plan", "sent"], check=False)
        assert len(peer.conversations) == 1
    statuses = [attempt.response.status for d in run.deliveries for attempt in d.attempts if attempt.response]
    assert statuses == [200, 201]


def test_an_answers_control_characters_do_not_reach_the_error_line() -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(b"HTTP/1.1 500 Bad\x1b[31m\x00\r\nContent-Length: 0\r\n\r\n")

    with Peer(script) as peer:
        error = failure_of(receiver_at(peer.url))
    assert error.delivery.outcome is Outcome.NOT_200
    assert "\x1b" not in str(error)
    assert "\x00" not in str(error)


@pytest.mark.parametrize(
    ("tls", "then"),
    [
        *[(False, then) for then in ("closes", "reads no more", "reads on")],
        # Not "closes": the reset that follows ends a TLS session, and its unread bytes are lost.
        *[(True, then) for then in ("reads no more", "reads on")],
    ],
)
@pytest.mark.parametrize("size", [10, 200_000, 6_000_000])
def test_an_answer_before_the_body_was_read_is_the_answer(size: int, then: str, tls: bool) -> None:
    """A server may refuse a body that is too large as soon as it has seen its length."""

    def script(conversation: Conversation) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += conversation.connection.recv(64)
        conversation.say(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer("413 Too Large", b"at most 1 MB"))
        if then == "reads no more":
            released.wait(10)
        elif then == "reads on":
            conversation.await_departure()

    released = threading.Event()
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Peer(script, tls=context if tls else None) as peer:
        receiver = Receiver.http(peer.url, tls_verify=False)
        with EngageLab(receiver) as engagelab:
            run = engagelab.send(scenario=["plan"], custom_args={"x": "y" * size}, check=False)
        released.set()
    [attempt] = run.deliveries[0].attempts
    assert attempt.outcome is Outcome.NOT_200, attempt.error
    assert attempt.response is not None
    assert (attempt.response.status, attempt.response.body) == (413, b"at most 1 MB")


def test_a_connection_with_half_a_request_is_not_used_again() -> None:
    def refuse(conversation: Conversation) -> None:
        conversation.connection.recv(10)
        conversation.say(answer("413 Too Large"))
        conversation.await_departure()

    with Peer(refuse, answering(answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        engagelab.send(scenario=["plan"], custom_args={"x": "y" * 16_000_000}, check=False)
        assert engagelab.send(scenario=["plan"]).acknowledged
        assert len(peer.conversations) == 2


def test_a_large_body_arrives_whole_despite_interim_answers() -> None:
    """The body is longer than the system's buffers, and read only once interim answers are on their way."""

    def script(conversation: Conversation) -> None:
        conversation.say(INTERIM[1] * 3)
        conversation.request()
        conversation.say(INTERIM[2] + answer())
        conversation.request()
        conversation.say(answer())

    with Peer(script) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        run = engagelab.send(scenario=["plan", "sent"], custom_args={"x": "y" * 6_000_000})
        bodies = [request.partition(b"\r\n\r\n")[2] for request in peer.requests]
    assert bodies == [delivery.body for delivery in run.deliveries]
    assert len(peer.conversations) == 1


def test_descriptors_above_1023_are_usable() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this user may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))

    def goes_on(conversation: Conversation) -> None:
        conversation.say(INTERIM[0])
        conversation.request()
        conversation.say(answer("200 OK", b"", "Connection: close"))

    held: list[int] = []
    try:
        with Peer(goes_on, answering(*[answer()] * 4)) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
            while not held or held[-1] < 1024:
                held.append(os.open(os.devnull, os.O_RDONLY))
            assert engagelab.send(scenario=["plan"], fault="expect_continue").acknowledged
            assert engagelab.send().acknowledged
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
