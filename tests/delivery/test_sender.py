"""What the sender puts on a callback, and how it judges the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import (
    Delivery,
    EngageLab,
    Event,
    Generator,
    Journal,
    Outcome,
    Receiver,
    Recorder,
    VirtualClock,
    decode,
    encode,
)
from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from engagelab_mock.delivery.sender import Sender

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@pytest.fixture
def sender() -> Sender:
    return Sender(journal=Journal(), clock=VirtualClock(1_700_000_000), generate=Generator.seeded(0))


def attempted(sender: Sender, receiver: Receiver, events: Sequence[Event] = ()) -> Delivery:
    delivery = Delivery(receiver, tuple(events), encode(events), message_id="7")
    run_sync(sender.attempt(SYNC, delivery))
    return delivery


def test_several_events_go_in_one_callback(sender: Sender) -> None:
    receiver = Receiver.recording()
    with EngageLab() as engagelab:
        events = engagelab.send("+6591234567").events
    delivery = attempted(sender, receiver, events)
    assert delivery.acknowledged
    assert delivery.message_id == "7"
    assert delivery.statuses == ["plan", "sent", "delivered", "verified"]
    assert receiver.recorder is not None
    [received] = receiver.recorder.received
    assert received.statuses == delivery.statuses
    assert decode(received.body).total == 4


def test_headers_go_by_the_settings(sender: Sender) -> None:
    app = Recorder()
    plain = attempted(sender, Receiver.wsgi(app)).callback.headers
    assert list(plain) == ["Content-Type", "User-Agent"]
    assert plain["Content-Type"] == "application/json"
    signed = attempted(sender, Receiver.wsgi(app, username="acme", secret="s3cret")).callback.headers
    assert list(signed) == ["Content-Type", "User-Agent", "X-CALLBACK-ID"]
    authorized = attempted(sender, Receiver.wsgi(app, authorization="Bearer  x")).callback.headers
    assert list(authorized) == ["Content-Type", "User-Agent", "Authorization"]
    assert authorized["Authorization"] == "Bearer  x"


def test_every_callback_has_another_nonce(sender: Sender) -> None:
    receiver = Receiver.recording()
    headers = {attempted(sender, receiver).callback.headers["X-CALLBACK-ID"] for _ in range(20)}
    assert len({header.split(";")[1] for header in headers}) == 20


@pytest.mark.parametrize("signed", [False, True])
def test_a_ping_is_signed_on_request_only(sender: Sender, signed: bool) -> None:
    delivery = Delivery(Receiver.recording(), (), b"{}", signed=signed)
    run_sync(sender.attempt(SYNC, delivery))
    assert delivery.acknowledged
    assert ("X-CALLBACK-ID" in delivery.callback.headers) is signed
    assert delivery.callback.body == b"{}"
    assert delivery.events == ()


def test_an_attempt_is_dated_by_the_engines_clock() -> None:
    clock = VirtualClock(1_700_000_000)
    with EngageLab(clock=clock) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered")
    assert [delivery.attempts[0].at - 1_700_000_000 for delivery in run.deliveries] == [0, 2, 5]


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        ("200 OK", Outcome.ACKNOWLEDGED, ""),
        ("200 Anything", Outcome.ACKNOWLEDGED, ""),
        ("199 Odd", Outcome.NOT_200, "answered 199 Odd; only 200 acknowledges"),
        ("201 Created", Outcome.NOT_200, "answered 201 Created; only 200 acknowledges"),
        ("299 Odd", Outcome.NOT_200, "answered 299 Odd; only 200 acknowledges"),
        ("300 Multiple Choices", Outcome.REDIRECT, "answered 300 Multiple Choices; a redirect is not followed"),
        ("399 Odd", Outcome.REDIRECT, "answered 399 Odd; a redirect is not followed"),
        ("400 Bad Request", Outcome.NOT_200, "answered 400 Bad Request; only 200 acknowledges"),
    ],
)
def test_exactly_200_acknowledges(sender: Sender, status: str, outcome: Outcome, error: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [])
        return []

    delivery = attempted(sender, Receiver.wsgi(app))
    assert (delivery.outcome, delivery.attempts[0].error) == (outcome, error)
    assert delivery.acknowledged is (outcome is Outcome.ACKNOWLEDGED)


@pytest.mark.asyncio
async def test_from_a_running_loop_it_is_the_same(sender: Sender) -> None:
    receiver = Receiver.recording()
    delivery = Delivery(receiver, (), encode([]), message_id="7")
    await sender.attempt(ASYNC, delivery)
    assert delivery.acknowledged
    assert delivery.message_id == "7"
