"""The vendor's own SDK receives every built-in scenario, in process and over a socket."""

from __future__ import annotations

import pytest
from engagelab_otp import MessageStatusEvent, WebhookSignatureError, WebhookVerifier

from engagelab_mock import CATALOGUE, EngageLab, NotAcknowledged, Receiver
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.real.conftest import SCENARIOS
from tests.real.flask_receiver import FlaskReceiver
from tests.real.refusals import assert_refused_as_unsigned

#: Of each event: status, channel, error code, whether the SDK calls it terminal.
PARSED = {
    "verified": [
        ("plan", "", 0, False),
        ("sent", "sms", 0, False),
        ("delivered", "sms", 0, True),
        ("verified", "sms", 0, True),
    ],
    "delivered": [("plan", "", 0, False), ("sent", "sms", 0, False), ("delivered", "sms", 0, True)],
    "sent_failed": [("plan", "", 0, False), ("sent_failed", "sms", 5001, True)],
    "delivered_failed": [("plan", "", 0, False), ("sent", "sms", 0, False), ("delivered_failed", "sms", 5012, True)],
    "verified_failed": [
        ("plan", "", 0, False),
        ("sent", "sms", 0, False),
        ("delivered", "sms", 0, True),
        ("verified_failed", "sms", 0, True),
    ],
    "verified_timeout": [
        ("plan", "", 0, False),
        ("sent", "sms", 0, False),
        ("delivered", "sms", 0, True),
        ("verified_timeout", "sms", 0, True),
    ],
    "target_invalid": [("plan", "", 0, False), ("target_invalid", "", 5011, True)],
    "fallback": [
        ("plan", "", 0, False),
        ("sent", "whatsapp", 0, False),
        ("delivered_failed", "whatsapp", 5012, True),
        ("sent", "sms", 0, False),
        ("delivered", "sms", 0, True),
        ("verified", "sms", 0, True),
    ],
    "fallback_exhausted": [
        ("plan", "", 0, False),
        ("sent", "whatsapp", 0, False),
        ("delivered_failed", "whatsapp", 5012, True),
        ("sent", "sms", 0, False),
        ("delivered_failed", "sms", 5012, True),
        ("sent", "voice", 0, False),
        ("delivered_failed", "voice", 5012, True),
    ],
    "read": [
        ("plan", "", 0, False),
        ("sent", "whatsapp", 0, False),
        ("delivered", "whatsapp", 0, True),
        ("read", "whatsapp", 0, False),
    ],
    "lost": [],
}


def receiver_for(flask: FlaskReceiver, secret: str = "s3cret") -> Receiver:
    return Receiver.wsgi(flask.app, "/engagelab", username="acme", secret=secret)


def test_every_built_in_scenario_is_sent() -> None:
    assert set(CATALOGUE) == set(SCENARIOS) == set(PARSED)


def test_the_sdk_parses_every_event(scenario: str, statuses: list[str]) -> None:
    flask = FlaskReceiver()
    with EngageLab(receiver_for(flask)) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario, custom_args={"order": 7})
    assert run.acknowledged
    assert run.statuses == engagelab.journal.statuses == flask.statuses == statuses
    seen = []
    for event, sent in zip(flask.events, run.events, strict=True):
        assert isinstance(event, MessageStatusEvent)
        seen.append((event.status, event.current_send_channel, event.error_code, event.is_terminal))
        assert (event.message_id, event.to) == (run.message_id, "+6591234567")
        assert (event.server, event.channel) == ("otp", "otp")
        assert (event.timestamp, event.msg_time) == (sent.itime, int(run.message.accepted))
        assert event.template_key == engagelab.account.template_key
        assert event.business_id == engagelab.account.business_id
        assert event.custom_args == {"order": 7}
        assert bool(event.error_message) is bool(event.error_code)
        assert bool(event.billing) is (event.status == "sent")
    assert seen == PARSED[scenario]


def test_over_a_socket_it_records_the_same(scenario: str, statuses: list[str]) -> None:
    flask = FlaskReceiver()
    with LoopbackServer(flask.app) as server:
        receiver = Receiver.http(f"{server.url}/engagelab", username="acme", secret="s3cret", limit=PATIENCE)
        with EngageLab(receiver) as engagelab:
            run = engagelab.send("+6591234567", scenario=scenario)
    assert run.acknowledged
    assert run.statuses == flask.statuses == statuses


def test_another_secret_is_refused_in_process() -> None:
    flask = FlaskReceiver()
    assert_refused_as_unsigned(receiver_for(flask, "another"))
    assert flask.events == []


def test_another_secret_is_refused_over_a_socket() -> None:
    flask = FlaskReceiver()
    with LoopbackServer(flask.app) as server:
        assert_refused_as_unsigned(Receiver.http(f"{server.url}/engagelab", username="acme", secret="another"))
    assert flask.events == []


def test_a_secret_need_not_be_ascii() -> None:
    flask = FlaskReceiver(secret="sécret ☃ 秘密")
    with EngageLab(receiver_for(flask, "sécret ☃ 秘密")) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
    assert flask.statuses == SCENARIOS["verified"]
    assert_refused_as_unsigned(receiver_for(flask, "secret ☃ 秘密"))


def test_the_sdk_knows_the_newer_dialects_spelling() -> None:
    flask = FlaskReceiver()
    with EngageLab(receiver_for(flask), dialect="newer") as engagelab:
        engagelab.send("+6591234567", scenario="sent_failed")
    event = flask.events[-1]
    assert isinstance(event, MessageStatusEvent)
    assert (event.status, event.is_terminal, event.server, event.channel) == ("sent_fail", True, "sms", "sms")


def test_the_sdks_view_refuses_the_documents_unsigned_ping() -> None:
    flask = FlaskReceiver()
    with EngageLab(receiver_for(flask)) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.validate_address()
        lines = str(caught.value).splitlines()
        assert (
            lines[0] == "the address validation was not acknowledged: answered 401 UNAUTHORIZED; only 200 acknowledges"
        )
        assert caught.value.hint.startswith("the ping of EngageLab's document is unsigned [S]")
        assert engagelab.validate_address(signed=True).acknowledged
        assert engagelab.validate_address("json", signed=True).acknowledged


def test_the_signatures_clock_is_the_wall_clock_however_far_virtual_time_has_run() -> None:
    flask = FlaskReceiver()
    with EngageLab(receiver_for(flask)) as engagelab:
        engagelab.clock.advance(days=1)
        assert engagelab.send("+6591234567").acknowledged


def test_a_virtual_signature_clock_is_for_receivers_in_virtual_time() -> None:
    flask = FlaskReceiver()
    receiver = Receiver.wsgi(flask.app, "/engagelab", username="acme", secret="s3cret", signature_clock="virtual")
    with EngageLab(receiver) as engagelab:
        engagelab.clock.advance(days=1)
        run = engagelab.send("+6591234567", scenario=["plan"], check=False)
        now = int(engagelab.clock.time())
    assert not run.acknowledged
    header = run.deliveries[0].callback.headers["X-CALLBACK-ID"]
    verifier = WebhookVerifier("acme", "s3cret")
    assert verifier.verify(header, now=now)
    with pytest.raises(WebhookSignatureError, match="timestamp outside tolerance window"):
        verifier.verify(header)
