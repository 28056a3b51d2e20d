"""How a request goes over the wire: in which pieces, on which connection, and when it is broken off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import Callback, Headers, Outcome
from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.delivery.transport.asgi import AsgiTransport
from engagelab_mock.delivery.transport.http import HttpTransport
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.delivery.transport.wsgi import WsgiTransport
from tests.peers import Conversation, Peer, answer, answering

CALLBACK = Callback(Headers([("Content-Type", "application/json")]), b'{"total":0,"rows":[]}')
LIMIT = 3.0


def exchange(peer: Peer, wire: Wire, limit: float | None = LIMIT) -> int:
    transport = HttpTransport(peer.url)
    try:
        return transport.exchange(CALLBACK, limit, wire).status
    finally:
        transport.close()


def failure(peer: Peer, wire: Wire, limit: float | None = LIMIT) -> TransportFailure:
    with pytest.raises(TransportFailure) as caught:
        exchange(peer, wire, limit)
    return caught.value


def reading_pieces(into: list[bytes]) -> Callable[[Conversation], None]:
    """Read piece by piece, as they come, until the request is whole."""

    def script(conversation: Conversation) -> None:
        while not b"".join(into).endswith(CALLBACK.body):
            into.append(conversation.connection.recv(65536))
        conversation.say(answer())

    return script


def test_head_and_body_go_out_together_by_default() -> None:
    head, body = Wire().frame("POST / HTTP/1.1\r\nHost: a\r\n", CALLBACK.body)
    assert head == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n"
    assert body == CALLBACK.body


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_another_method_than_post_can_stand_in_front(method: str) -> None:
    # The answer to HEAD has a length and no body.
    lengthy = b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"
    with Peer(answering(lengthy if method == "HEAD" else answer("204 No Content"))) as peer:
        assert exchange(peer, Wire(method=method)) == 204
    assert peer.requests[0].startswith(f"{method} / HTTP/1.1\r\n".encode())
    assert peer.requests[0].endswith(CALLBACK.body)


def test_in_process_an_app_sees_the_method_too() -> None:
    seen: list[str] = []

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ["REQUEST_METHOD"])
        start_response("200 OK", [])
        return []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["method"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    WsgiTransport(wsgi, "http://testserver/").exchange(CALLBACK, LIMIT, Wire(method="PUT"))
    transport = AsgiTransport(asgi, "http://testserver/", lifespan=False)
    transport.exchange(CALLBACK, LIMIT, Wire(method="DELETE"))
    transport.exchange(CALLBACK, LIMIT)
    transport.close()
    assert seen == ["PUT", "DELETE", "POST"]


@pytest.mark.parametrize(
    ("wire", "pieces"),
    [
        (Wire(head_pieces=3, head_pause=0.03), 3),
        (Wire(body_pieces=4, body_pause=0.03), 4),
        (Wire(head_pieces=2, head_pause=0.03, body_pieces=2, body_pause=0.03), 3),
    ],
    ids=["head", "body", "both"],
)
def test_pieces_come_one_by_one(wire: Wire, pieces: int) -> None:
    came: list[bytes] = []
    with Peer(reading_pieces(came)) as peer:
        assert exchange(peer, wire) == 200
    # The network may join pieces that are sent without a pause.
    assert len(came) >= pieces
    assert b"".join(came).partition(b"\r\n\r\n")[2] == CALLBACK.body


def test_the_senders_own_pauses_are_not_the_receivers_time() -> None:
    with Peer(answering(answer())) as peer:
        assert exchange(peer, Wire(body_pieces=4, body_pause=0.1), limit=0.2) == 200


def read_head(conversation: Conversation) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += conversation.connection.recv(1)


def test_the_body_waits_until_the_receiver_agrees() -> None:
    bodies: list[bytes] = []

    def agreeing(conversation: Conversation) -> None:
        read_head(conversation)
        conversation.connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            conversation.connection.recv(1)
        conversation.connection.settimeout(10)
        conversation.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(conversation.connection.recv(65536))
        conversation.say(answer())

    with Peer(agreeing) as peer:
        assert exchange(peer, Wire(expect=2.0)) == 200
    assert bodies == [CALLBACK.body]


def test_the_body_goes_out_all_the_same_when_no_word_comes() -> None:
    with Peer(answering(answer())) as peer:
        assert exchange(peer, Wire(expect=0.02)) == 200
        assert peer.requests[0].endswith(CALLBACK.body)


def test_the_body_stays_at_home_when_the_receiver_refuses_it() -> None:
    after: list[bytes] = []

    def refusing(conversation: Conversation) -> None:
        read_head(conversation)
        conversation.say(answer("417 Expectation Failed"))
        after.append(conversation.connection.recv(65536))

    with Peer(refusing) as peer:
        assert exchange(peer, Wire(expect=2.0)) == 417
        peer.await_close()
    assert after == [b""]


def test_a_body_cut_short_ends_the_connection() -> None:
    with Peer(lambda conversation: conversation.request()) as peer:
        broken_off = failure(peer, Wire(cut_after=10))
        peer.await_close()
    assert broken_off.outcome is Outcome.ABANDONED
    assert broken_off.reason == "broken off on purpose after 10 of 21 body bytes"
    assert peer.requests[0].endswith(b"\r\n\r\n" + CALLBACK.body[:10])


def test_a_reset_is_one() -> None:
    ends: list[str] = []

    def reading_on(conversation: Conversation) -> None:
        conversation.request()
        try:
            conversation.connection.recv(1)
            ends.append("closed")
        except ConnectionResetError:
            ends.append("reset")

    with Peer(reading_on) as peer:
        assert failure(peer, Wire(reset=True)).outcome is Outcome.ABANDONED
        peer.await_close()
    assert ends == ["reset"]


@pytest.mark.parametrize(
    ("abandon_after", "limit", "outcome"),
    [
        (0.02, LIMIT, Outcome.ABANDONED),
        (0.02, None, Outcome.ABANDONED),
        (5.0, 0.05, Outcome.TIMEOUT),
    ],
)
def test_giving_up_is_told_from_running_out_of_time(
    abandon_after: float, limit: float | None, outcome: Outcome
) -> None:
    def silent(conversation: Conversation) -> None:
        conversation.request()
        conversation.await_departure()

    with Peer(silent) as peer:
        assert failure(peer, Wire(abandon_after=abandon_after), limit).outcome is outcome
        peer.await_close()
        assert peer.requests[0].endswith(CALLBACK.body)


# --- Connections


@pytest.mark.parametrize(("connection", "connections"), [("alive", 1), ("kept", 1), ("new", 2)])
def test_which_connection_is_taken(connection: str, connections: int) -> None:
    def first(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer())
        if connection == "new":
            return
        conversation.request()
        conversation.say(answer())

    with Peer(first, answering(answer())) as peer:
        transport = HttpTransport(peer.url)
        transport.exchange(CALLBACK, LIMIT)
        assert transport.exchange(CALLBACK, LIMIT, Wire(connection=connection)).status == 200  # type: ignore[arg-type]
        transport.close()
        assert len(peer.conversations) == connections


@pytest.mark.parametrize(("wire", "closed"), [(Wire(), False), (Wire(connection="kept"), True)])
def test_only_a_kept_connection_is_taken_unseen(wire: Wire, closed: bool) -> None:
    with Peer(answering(answer())) as peer:
        transport = HttpTransport(peer.url)
        transport.exchange(CALLBACK, LIMIT)
        peer.await_close()
        if closed:
            with pytest.raises(TransportFailure) as caught:
                transport.exchange(CALLBACK, LIMIT, wire)
            assert caught.value.outcome in {Outcome.CLOSED, Outcome.RESET}
        else:
            assert transport.exchange(CALLBACK, LIMIT, wire).status == 200
        transport.close()


@pytest.mark.parametrize(
    ("wire", "reusable"),
    [
        (Wire(), True),
        (Wire(connection="kept"), True),
        (Wire(connection="new"), False),
        (Wire(chunked=True), False),
        (Wire(expect=1.0), False),
    ],
)
def test_a_connection_is_as_good_as_before_if_nothing_unusual_was_done_on_it(wire: Wire, reusable: bool) -> None:
    assert wire.reusable is reusable
