"""What a user's type checker makes of the public API; mypy reads this file, nothing runs it.

Each `type: ignore` stands for an error that has to be there: mypy, strict, reports one that is not needed.
"""

from __future__ import annotations

from typing import assert_type

from engagelab_mock import (
    ApiServer,
    Attempt,
    Callback,
    Delivery,
    EngageLab,
    Envelope,
    Event,
    Finding,
    Interception,
    Journal,
    Message,
    NotAcknowledged,
    Receiver,
    Report,
    Run,
    Scenario,
    Signature,
    StatusEvent,
    Verdict,
    VirtualClock,
    decode,
    encode,
    parse,
    sign,
    verify,
)
from engagelab_mock.server import create_app
from engagelab_mock.server.app import ServerApp


def a_test(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="fallback", channel="voice", custom_args={"order": 7})
    assert_type(run, Run)
    assert_type(run.statuses, list[str])
    assert_type(run.deliveries, list[Delivery])
    assert_type(run.deliveries[0].attempts[0], Attempt)
    assert_type(run.deliveries[0].acknowledged, bool)
    assert_type(run.deliveries[0].callback, Callback)
    assert_type(engagelab.journal, Journal)
    assert_type(engagelab.journal.statuses, list[str])
    engagelab.send("+6591234567", scenario=Scenario("mine").then("plan").then("sent", after=2, channel="whatsapp"))
    engagelab.send(scenario=["plan", "sent"], check=False)
    report = engagelab.check(observe=lambda message_id: message_id.upper(), prepare=lambda message: message.id)
    assert_type(report, Report)
    assert_type(report.at_least("major"), list[Finding])


def a_test_of_the_whole_loop(engagelab: EngageLab, engagelab_server: ApiServer, engagelab_api: Interception) -> None:
    assert_type(engagelab_server.url, str)
    assert_type(engagelab_server.env, dict[str, str])
    assert_type(engagelab_api.url, str)
    assert_type(create_app(engagelab, token="t0ken"), ServerApp)
    with ApiServer(engagelab, port=0) as server:
        assert_type(server, ApiServer)


async def an_asynchronous_test(engagelab: EngageLab) -> None:
    assert_type(await engagelab.asend("+6591234567"), Run)


def a_receiver() -> Receiver:
    return Receiver.http("http://127.0.0.1:5000/engagelab", username="acme", secret="s3cret", limit=0.5)


def the_protocol(body: bytes, header: str | None) -> None:
    assert_type(decode(body), Envelope)
    assert_type(decode(body).rows, tuple[Event, ...])
    event = Message(id="1", to="+6591234567").event("plan", at=1)
    assert_type(event, StatusEvent)
    assert_type(event.status.status_data.msg_time, int)
    assert_type(encode([event]), bytes)
    assert_type(sign("acme", "s3cret", timestamp=1, nonce="1"), Signature)
    assert_type(parse(header), Signature | Verdict)
    assert_type(verify(header, username="acme", secret="s3cret", now=1), Verdict)


def the_clock(error: NotAcknowledged) -> None:
    assert_type(VirtualClock(0).advance(minutes=5), float)
    assert_type(error.delivery, Delivery)


def what_a_type_checker_refuses(engagelab: EngageLab) -> None:
    engagelab.send(6591234567)  # type: ignore[arg-type]
    engagelab.send("+6591234567", scenaro="verified")  # type: ignore[call-arg]
    Scenario("mine").then("plan", after="2")  # type: ignore[arg-type]
    Message("1", "+6591234567")  # type: ignore[call-arg]
    Receiver.http("http://127.0.0.1", user="acme")  # type: ignore[call-arg]
    VirtualClock(0).advance(weeks=1)  # type: ignore[call-arg]
