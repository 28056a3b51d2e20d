"""A fault on the wire affects only its own attempt and never the next one, with any reaction of the receiver."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engagelab_mock import EngageLab, Outcome, Receiver
from tests.peers import Conversation, Peer, answer, answering


def read_on(conversation: Conversation) -> bytes:
    """Read until a next request begins on this connection, or the client leaves it."""
    data = b""
    while b"POST" not in data and (chunk := conversation.connection.recv(4096)):
        data += chunk
    return data


def leaving_the_body_unread(conversation: Conversation) -> None:
    """Answer after the head alone. Then take the chunked body, when it has come, for a new request."""
    conversation.request()
    conversation.say(answer())
    if b"POST" in read_on(conversation):
        conversation.say(answer("400 Bad Request"))


def refusing_the_body(conversation: Conversation) -> None:
    """Refuse the announced body, but take the next bytes for this body all the same."""
    while b"\r\n\r\n" not in conversation.connection.recv(4096):
        pass
    conversation.say(answer("417 Expectation Failed"))
    read_on(conversation)


@pytest.mark.parametrize(
    ("script", "fault", "outcome"),
    [
        (leaving_the_body_unread, "chunked", Outcome.ACKNOWLEDGED),
        (refusing_the_body, "expect_continue", Outcome.NOT_200),
    ],
)
def test_the_next_callback_goes_over_another_connection(
    script: Callable[[Conversation], None], fault: str, outcome: Outcome
) -> None:
    with Peer(script, answering(answer())) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        struck = engagelab.send("+6591234567", scenario=["plan"], fault=fault)
        after = engagelab.send("+6591234567", scenario=["plan"], check=False)
        assert [run.deliveries[0].outcome for run in (struck, after)] == [outcome, Outcome.ACKNOWLEDGED]
        assert len(peer.conversations) == 2


@pytest.mark.parametrize("fault", [None, "lowercase_headers", "stale", "tampered_body"])
def test_a_fault_that_leaves_the_wire_alone_leaves_the_connection_alone(fault: str | None) -> None:
    with (
        Peer(answering(answer(), answer())) as peer,
        EngageLab(Receiver.http(peer.url, username="acme", secret="s3cret")) as engagelab,
    ):
        engagelab.send("+6591234567", scenario=["plan"], fault=fault)
        engagelab.send("+6591234567", scenario=["plan"])
        assert len(peer.conversations) == 1
