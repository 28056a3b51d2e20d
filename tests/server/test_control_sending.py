"""The calls that send without the app, and the rules for the calls of the app."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    LiveClock,
    NotAcknowledged,
    Receiver,
)
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.server import ApiServer
from engagelab_mock.server.schemas import SentDelivery
from tests.patience import PATIENCE
from tests.server.conftest import Talk, message


def test_a_rule_is_added_applies_is_listed_and_removed(talk: Talk, engagelab: EngageLab) -> None:
    added = talk("POST", "/_mock/rules", {"to": "+6591234567", "error": 5013})
    assert added.status == 201
    assert talk("GET", "/_mock/rules").json["rules"] == [added.json]
    assert len(engagelab.rules) == 1
    assert talk("POST", "/v1/messages", message()).error == (400, 5013)
    assert talk("POST", "/v1/messages", message("+6500000001")).status == 200

    assert talk("DELETE", f"/_mock/rules/{added.json['id']}").status == 200
    assert talk("DELETE", f"/_mock/rules/{added.json['id']}").error == (404, 4001)
    assert talk("POST", "/v1/messages", message()).status == 200


def test_a_rule_plays_a_scenario(talk: Talk, engagelab: EngageLab) -> None:
    talk("POST", "/_mock/rules", {"template": "my-template", "scenario": "sent_failed", "times": 1})
    talk("POST", "/v1/messages", message())
    assert engagelab.journal.statuses == ["plan", "sent_failed"]


def test_all_rules_can_be_removed(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.rule(error=5013)
    engagelab.rule(error=5014)
    assert talk("DELETE", "/_mock/rules").json == {"rules": []}
    assert list(engagelab.rules) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"scenario": "verfied"}, "did you mean 'verified'?"),
        ({"eror": 5013}, "did you mean 'error'?"),
        ({"error": 4711}, "4711"),
        ({"call": "mesages", "error": 5013}, "did you mean 'messages'?"),
        ({"error": "5013"}, "error is a string, and must be an integer"),
    ],
)
def test_an_unusable_rule_is_refused(talk: Talk, engagelab: EngageLab, body: Any, said: str) -> None:
    answer = talk("POST", "/_mock/rules", body)
    assert answer.error == (400, 3002)
    assert said in answer.json["message"]
    assert list(engagelab.rules) == []


def test_a_scenario_is_played(talk: Talk, engagelab: EngageLab) -> None:
    sent = talk("POST", "/_mock/send", {"to": "+6591234567", "scenario": "fallback"}).json
    assert (sent["to"], sent["scenario"]) == ("+6591234567", "fallback")
    assert sent["statuses"] == CATALOGUE["fallback"].statuses
    assert {delivery["outcome"] for delivery in sent["deliveries"]} == {"acknowledged"}
    assert engagelab.journal.statuses == CATALOGUE["fallback"].statuses


def test_a_scenario_is_played_with_every_option(talk: Talk) -> None:
    options = {
        "scenario": ["plan", "sent"],
        "template": "t",
        "channel": "voice",
        "custom_args": {"order": 7},
        "batch": "all",
        "retry": [60],
        "fault": ["duplicate"],
    }
    sent = talk("POST", "/_mock/send", options).json
    assert [delivery["statuses"] for delivery in sent["deliveries"]] == [["plan", "sent"]]
    assert talk("POST", "/_mock/send").json["scenario"] == "verified"


def test_a_send_reports_the_sent_and_the_unacknowledged_statuses(talk: Talk, engagelab: EngageLab) -> None:
    assert engagelab.receiver.recorder is not None
    sent = talk("POST", "/_mock/send", {"scenario": "delivered"}).json
    assert (sent["sent"], sent["pending"], sent["not_sent"], sent["problem"]) == (sent["statuses"], [], [], None)
    first = sent["deliveries"][0]
    assert (first["receiver"], first["http_status"]) == (engagelab.receiver.address, 200)
    assert (first["error"], first["hint"], first["retry_at"]) == (None, None, None)

    engagelab.receiver.recorder.answer = 404
    sent = talk("POST", "/_mock/send", {"scenario": "delivered"}).json
    assert (sent["statuses"], sent["sent"], sent["pending"]) == (["plan", "sent", "delivered"], ["plan"], [])
    assert sent["not_sent"] == ["sent", "delivered"]
    error = "answered 404 Not Found; only 200 acknowledges"
    assert sent["problem"] == f"plan was not acknowledged: {error}; not sent: sent, delivered"
    [failed] = sent["deliveries"]
    assert (failed["outcome"], failed["http_status"], failed["error"]) == ("not_200", 404, error)
    assert failed["hint"].startswith("no route matches")
    with pytest.raises(NotAcknowledged):
        engagelab.settle()


def test_a_send_reports_the_pending_statuses() -> None:
    with EngageLab(clock=LiveClock()) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        talk("POST", "/_mock/clock/freeze")
        sent = talk("POST", "/_mock/send", {"scenario": "delivered"}).json
    assert (sent["sent"] + sent["pending"], sent["not_sent"], sent["problem"]) == (sent["statuses"], [], None)
    assert sent["pending"][-2:] == ["sent", "delivered"]


@pytest.mark.parametrize("receivers", ["none", "of other events"])
def test_a_send_without_a_receiver_says_so(receivers: str) -> None:
    with EngageLab(Receiver.recording(events=["delivered"])) as engagelab, ApiServer(engagelab) as server:
        if receivers == "none":
            engagelab.receivers.clear()
        answer = Talk(server)("POST", "/_mock/send", {"scenario": ["plan", "sent"]}).json
        assert (answer["sent"], answer["not_sent"], answer["deliveries"]) == ([], ["plan", "sent"], [])
        assert answer["problem"].startswith("not sent: plan, sent: no receiver wants it")
        event = Talk(server)("POST", "/_mock/events", {"event": "insufficient_balance"}).json
        assert (event["deliveries"], event["problem"][:31]) == ([], "not sent: insufficient_balance:")


def test_statuses_of_an_unusual_order_are_sent_on_demand(talk: Talk, engagelab: EngageLab) -> None:
    unusual = {"scenario": ["plan", "sent", "sent", "delivered"]}
    for path in ("/_mock/send", "/_mock/rules"):
        answer = talk("POST", path, unusual)
        assert answer.error == (400, 3002)
        assert answer.json["message"] == (
            "'sent' cannot follow 'sent' in the inferred graph; after 'sent' comes delivered, delivered_failed, "
            'verified, verified_failed, verified_timeout; POST /_mock/send with "any_order": true sends it anyway'
        )
    assert talk("POST", "/_mock/send", {**unusual, "any_order": True}).json["sent"] == unusual["scenario"]
    assert talk("POST", "/_mock/send", {"any_order": True}).json["scenario"] == "verified"
    assert engagelab.journal.statuses[:4] == unusual["scenario"]


@pytest.mark.parametrize("name", ["insufficient_balance", "account_login", "template_audit_result"])
def test_an_event_about_the_account_is_sent(talk: Talk, engagelab: EngageLab, name: str) -> None:
    answer = talk("POST", "/_mock/events", {"event": name}).json
    assert (answer["event"], answer["problem"]) == (name, None)
    assert [(each["statuses"], each["outcome"]) for each in answer["deliveries"]] == [([name], "acknowledged")]
    assert engagelab.journal.statuses == [name]


def test_an_event_has_the_given_fields_and_options(talk: Talk, engagelab: EngageLab) -> None:
    reply = {"event": "uplink_message", "fields": {"sender": "+6591234567", "body": "STOP"}}
    talk("POST", "/_mock/events", reply)
    low = {"event": "insufficient_balance", "fields": {"remain_balance": -7}, "total": 5, "fault": ["duplicate"]}
    talk("POST", "/_mock/events", low)
    login = {"event": "account_login", "fields": {"action": "login_failed", "email": "a@example.com"}}
    talk("POST", "/_mock/events", login)
    stop, balance, *_, failed = [json.loads(each.callback.body) for each in engagelab.journal.deliveries]
    data = stop["rows"][0]["response"]["response_data"]
    assert (data["from"], data["body"]) == ("+6591234567", "STOP")
    assert balance["total"] == 5
    assert balance["rows"][0]["notification"]["notification_data"]["remain_balance"] == -7
    assert failed["rows"][0]["system_event"]["data"]["account_login"]["action"] == "login_failed"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "event is required"),
        ({"event": "insufficient_balanc"}, "did you mean 'insufficient_balance'?"),
        ({"event": "sent"}, "It is a status"),
        ({"event": 5}, "event is a number, and must be a string"),
        ({"event": "uplink_message"}, "sender is required"),
        ({"event": "uplink_message", "fields": {"sender": "+6591234567"}}, "body is required"),
        ({"event": "uplink_message", "fields": {"sender": "91234567", "body": "STOP"}}, "E.164"),
        ({"event": "uplink_message", "fields": {"sender": "+6591234567", "body": 5}}, "body is a string"),
        ({"event": "insufficient_balance", "fields": {"remain_balance": "1"}}, "remain_balance is a number"),
        ({"event": "insufficient_balance", "fields": {"remain_balanc": 1}}, "did you mean 'remain_balance'?"),
        ({"event": "insufficient_balance", "fields": {"at": 1}}, "it has no at"),
        ({"event": "insufficient_balance", "fields": {"event": "x"}}, "it has no event"),
        ({"event": "insufficient_balance", "fields": {"self": 1}}, "it has no self"),
        ({"event": "insufficient_balance", "fields": []}, "fields is an array, and must be an object"),
        ({"event": "insufficient_balance", "fault": "duplicat"}, "did you mean 'duplicate'?"),
        ({"event": "insufficient_balance", "remain_balance": 1}, "unknown field 'remain_balance'"),
    ],
)
def test_an_unusable_event_is_refused(talk: Talk, engagelab: EngageLab, body: Any, said: str) -> None:
    answer = talk("POST", "/_mock/events", body)
    assert answer.error == (400, 3002)
    assert said in answer.json["message"]
    assert engagelab.journal.statuses == []


def test_an_event_that_a_live_server_cannot_deliver_is_answered_at_once() -> None:
    gone = Receiver.http("http://127.0.0.1:1/")
    live = EngageLab(gone, clock=LiveClock(), defaults={"check": False, "retry": [3600]})
    with live as engagelab, ApiServer(engagelab) as server:
        answer = Talk(server)("POST", "/_mock/events", {"event": "insufficient_balance"})
        assert (answer.status, answer.json["event"]) == (200, "insufficient_balance")
        [delivery] = await_retry(engagelab)
        described = SentDelivery.of(delivery)
        assert (described.outcome, described.http_status, described.attempts) == ("refused", None, 1)
        assert described.retry_at == pytest.approx(engagelab.clock.time() + 3600, abs=60)
        assert Talk(server)("POST", "/_mock/reset").status == 200
        assert engagelab.pending == []


def test_account_events_that_wait_are_bounded_like_messages() -> None:
    gone = Receiver.http("http://127.0.0.1:1/")
    live = EngageLab(gone, clock=LiveClock(), defaults={"check": False, "retry": [3600]}, keep=5)
    with live as engagelab, ApiServer(engagelab) as server:
        engagelab._engine.messages.most_pending = 5
        for _ in range(50):
            assert Talk(server)("POST", "/_mock/events", {"event": "insufficient_balance"}).status == 200
            await_retry(engagelab)
        condition = engagelab._engine.scheduler.condition
        # The last of them may still be tried for the first time.
        assert condition.wait_for(lambda: 5 <= len(engagelab.pending) <= 6, PATIENCE)


def await_retry(engagelab: EngageLab) -> list[Delivery]:
    """Wait until a callback waits for its next attempt, and return the deliveries."""
    arrived = engagelab._engine.scheduler.condition.wait_for(lambda: any(map(_waits, _deliveries(engagelab))), PATIENCE)
    assert arrived
    return _deliveries(engagelab)


def _deliveries(engagelab: EngageLab) -> list[Delivery]:
    return list(engagelab._engine.journal.deliveries)


def _waits(delivery: Delivery) -> bool:
    return SentDelivery.of(delivery).retry_at is not None


@pytest.mark.parametrize("body", [None, {}, {"to": "+6591234567"}, {"scenario": "verified", "error": 5013}])
def test_a_rule_without_its_effect_names_the_missing_fields(talk: Talk, body: Any) -> None:
    answer = talk("POST", "/_mock/rules", body)
    assert answer.error == (400, 3002)
    said = 'either scenario or error is required, such as {"scenario": "sent_failed"} or {"error": 5013}'
    assert answer.json["message"] == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"to": "+65 9123"}, "E.164"),
        ({"scenario": "verfied"}, "did you mean 'verified'?"),
        ({"fault": "duplicat"}, "did you mean 'duplicate'?"),
        ({"channel": "sns"}, "did you mean 'sms'?"),
        ({"batch": 0}, "batch"),
        ({"chanel": "sms"}, "did you mean 'channel'?"),
    ],
)
def test_an_unusable_send_is_refused(talk: Talk, body: Any, said: str) -> None:
    answer = talk("POST", "/_mock/send", body)
    assert answer.error == (400, 3002)
    assert said in answer.json["message"]
