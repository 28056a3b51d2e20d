"""Which answers acknowledge, and what else a complete answer over HTTP can be."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, Outcome, Receiver
from engagelab_mock.delivery.transport import BODY_LIMIT
from tests.failures import failure_of
from tests.peers import Conversation, Peer, answer, answering


def receiver_at(url: str) -> Receiver:
    return Receiver.http(f"{url}/engagelab", username="acme", secret="s3cret")


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
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer("200 OK", b"0123456789"),
    ],
    ids=["empty", "phrase", "no phrase", "body", "close", "no length", "HTTP/1.0", "chunked", "100 first"],
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
        ("405 Method Not Allowed", "add it to the route's methods"),
        ("418 I'm a teapot", "answer 200"),
        ("500 Internal Server Error", "return '', 200"),
        ("503 Service Unavailable", "the handler failed"),
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
