"""The control API: the same state as the engine's, over HTTP."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    LiveClock,
    NotAcknowledged,
    Receiver,
    Recorder,
    __version__,
)
from engagelab_mock.delivery.model import Delivery, Refusal
from engagelab_mock.server import ApiServer, create_app
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.server.schemas import SentDelivery
from engagelab_mock.service.rest.exchange import ApiSettings
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.server.conftest import PATIENCE, Talk, message


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line]


def test_it_is_ready(talk: Talk) -> None:
    assert talk("GET", "/_mock/readyz").json == {"status": "ready", "version": __version__}
    assert talk("HEAD", "/_mock/readyz").status == 200


def test_the_journal_has_the_engine_s_callbacks(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered")
    answer = talk("GET", "/_mock/journal")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    first, *rest = lines(answer.body)
    assert [record["statuses"] for record in (first, *rest)] == [["plan"], ["sent"], ["delivered"]]
    assert first["message_id"] == run.message_id
    assert first["body"] == run.deliveries[0].callback.body.decode()
    assert first["headers"]["X-CALLBACK-ID"] == run.deliveries[0].callback.headers["X-CALLBACK-ID"]
    assert (first["type"], first["to"], first["number"], first["http_status"], first["outcome"], first["hint"]) == (
        *("attempt", "+6591234567", 1, 200, "acknowledged"),
        None,
    )


@pytest.mark.parametrize("query", ["", "?follow=0.01"])
def test_the_journal_does_not_show_the_authorization(query: str) -> None:
    receiver = Receiver.recording(authorization="Bearer of-news")
    with EngageLab(receiver) as engagelab, ApiServer(engagelab) as server:
        engagelab.send("+6591234567", scenario=["plan"])
        answer = Talk(server)("GET", f"/_mock/journal{query}")
    [record] = lines(answer.body)
    assert record["headers"]["Authorization"] == "(as configured)"
    assert b"of-news" not in answer.body


def test_a_restored_journal_does_not_show_the_authorization_of_then(tmp_path: Path) -> None:
    with LoopbackServer(Recorder()) as app:
        for authorization in ("Bearer of-old", "Bearer of-new"):
            receiver = Receiver.http(app.url, authorization=authorization)
            with (
                SqliteStore(tmp_path / "db") as store,
                EngageLab(receiver) as engagelab,
                ApiServer(engagelab) as server,
            ):
                restore(engagelab, store)
                engagelab.send("+6591234567", scenario=["plan"], check=False)
                answer = Talk(server)("GET", "/_mock/journal")
    assert [record["headers"]["Authorization"] for record in lines(answer.body)] == ["(as configured)"] * 2
    assert b"of-" not in answer.body


def test_the_journal_has_refusals_and_failures(talk: Talk, engagelab: EngageLab) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        engagelab.send("+65 9123")
    assert engagelab.receiver.recorder is not None
    engagelab.receiver.recorder.answer = 500
    engagelab.validate_address(check=False)
    refusal, validation = lines(talk("GET", "/_mock/journal").body)
    assert (refusal["type"], refusal["error"]) == ("refusal", "InvalidRecipient")
    assert (validation["type"], validation["http_status"], validation["acknowledged"]) == ("validation", 500, False)
    assert validation["hint"]


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("status=sent", ["sent"]),
        ("to=%2B6591234567", ["plan", "sent", "delivered"]),
        ("to=%2B6500000000", []),
        ("outcome=acknowledged&kind=status", ["plan", "sent", "delivered"]),
        ("outcome=not_200", []),
        ("limit=2", ["sent", "delivered"]),
        ("follow=0", ["plan", "sent", "delivered"]),
        ("follow=0&limit=1", ["delivered"]),
    ],
)
def test_the_journal_can_be_filtered(talk: Talk, engagelab: EngageLab, query: str, statuses: list[str]) -> None:
    engagelab.send("+6591234567", scenario="delivered")
    records = lines(talk("GET", f"/_mock/journal?{query}").body)
    assert [record["statuses"] for record in records] == [[status] for status in statuses]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("staus=sent", "did you mean 'status'?"),
        ("status=delivred", "did you mean 'delivered'?"),
        ("outcome=acknowleged", "did you mean 'acknowledged'?"),
        ("limit=0", "limit is '0', and must be an integer from 1 to 1000000"),
        ("limit=many", "limit is 'many', and must be an integer from 1 to 1000000"),
        ("follow=-1", "follow is '-1', and must be a number from 0 to 86400 or '' or 'true'"),
        ("follow=nan", "follow is 'nan', and must be a number from 0 to 86400 or '' or 'true'"),
        ("to=a&to=b", "to is given more than once"),
    ],
)
def test_an_unusable_query_is_refused(talk: Talk, query: str, said: str) -> None:
    answer = talk("GET", f"/_mock/journal?{query}")
    assert answer.error == (400, 3002)
    assert said in answer.json["message"]


def test_the_journal_can_be_followed_until_the_server_stops(engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    with ApiServer(engagelab) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        connection.request("GET", "/_mock/journal?follow")
        response = connection.getresponse()
        assert json.loads(response.readline())["statuses"] == ["plan"]
        engagelab.send("+6591234567", scenario=["plan", "sent"])
        assert [json.loads(_next(response))["statuses"] for _ in range(2)] == [["plan"], ["sent"]]
    assert response.read().strip() == b""
    connection.close()


def test_a_follower_gets_every_attempt_once_when_the_journal_forgets() -> None:
    with EngageLab(keep=20) as engagelab, ApiServer(engagelab) as server:
        sent = [engagelab.send(scenario=["plan", "sent"]).message_id for _ in range(5)]
        with following(server) as response:
            told = [json.loads(_next(response)) for _ in range(10)]
            for _ in range(100):
                sent.append(engagelab.send(scenario=["plan", "sent"]).message_id)
                told += [json.loads(_next(response)) for _ in range(2)]
    expected = [(message_id, [status]) for message_id in sent for status in ("plan", "sent")]
    assert [(record["message_id"], record["statuses"]) for record in told] == expected


def test_a_follower_gets_an_attempt_once_that_completes_as_it_begins(engagelab: EngageLab) -> None:
    class Late:
        """Keep nothing; begin to follow when an attempt is completed and the listeners have not been told."""

        def begun(self, delivery: Delivery) -> None:
            pass

        def completed(self, delivery: Delivery) -> None:
            if not told:
                responses.append(stack.enter_context(following(server)))
                told.append(json.loads(_next(responses[0])))

        def refused(self, refusal: Refusal) -> bool:
            return True

    told: list[dict[str, Any]] = []
    responses: list[http.client.HTTPResponse] = []
    with ApiServer(engagelab) as server, ExitStack() as stack:
        engagelab.journal.keeper = Late()
        engagelab.send(scenario=["plan", "sent"])
        told.append(json.loads(_next(responses[0])))
    assert [record["statuses"] for record in told] == [["plan"], ["sent"]]


def test_a_follower_of_a_closed_app_gets_only_past_lines(engagelab: EngageLab) -> None:
    app = create_app(engagelab)
    app.close()
    engagelab.send("+6591234567", scenario=["plan"])
    with LoopbackServer(app) as server, following(server) as response:
        assert json.loads(response.readline())["statuses"] == ["plan"]
        assert response.readline() == b""


@contextmanager
def following(server: ApiServer | LoopbackServer) -> Iterator[http.client.HTTPResponse]:
    """Follow the journal."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=PATIENCE)) as connection:
        connection.request("GET", "/_mock/journal?follow")
        yield connection.getresponse()


def _next(response: http.client.HTTPResponse) -> bytes:
    """Return the next line that is not empty; a server that has nothing to tell sends an empty one each second."""
    for _ in range(int(PATIENCE)):
        line = response.readline()
        assert line, "the answer has ended"
        if line.strip():
            return line
    raise AssertionError("nothing was told")


def test_the_message_of_an_api_call_is_in_the_inbox(talk: Talk) -> None:
    sent = talk("POST", "/v1/messages", message()).json
    inbox = talk("GET", "/_mock/inbox/+6591234567").json
    [received] = inbox["messages"]
    assert received["message_id"] == sent["message_id"]
    assert (inbox["to"], inbox["code"], inbox["text"]) == ("+6591234567", received["code"], received["text"])
    assert received["code"] in received["text"]
    assert talk("GET", "/_mock/inbox").json == {"messages": [received]}
    verification = {"message_id": sent["message_id"], "verify_code": inbox["code"]}
    assert talk("POST", "/v1/verifications", verification).json["verified"] is True


def test_an_empty_inbox_is_not_an_error(talk: Talk) -> None:
    assert talk("GET", "/_mock/inbox/+6591234567").json == {
        "to": "+6591234567",
        "code": None,
        "text": None,
        "messages": [],
    }


def test_the_inbox_can_be_waited_for(talk: Talk, engagelab: EngageLab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert talk("GET", "/_mock/inbox/+6591234567?wait=0.01").json["messages"] == []
    looked = threading.Event()
    engine = engagelab._engine
    settle = engine.outbox.settle_quietly

    def look() -> None:
        settle()
        looked.set()

    monkeypatch.setattr(engine.outbox, "settle_quietly", look)
    with ThreadPoolExecutor() as clients:
        waiting = clients.submit(talk, "GET", "/_mock/inbox/+6591234567?wait=9")
        assert looked.wait(PATIENCE)
        engagelab.send("+6591234567")
        assert waiting.result(PATIENCE).json["code"]


def test_a_virtual_clock_is_advanced_and_callbacks_follow(talk: Talk, engagelab: EngageLab) -> None:
    talk("POST", "/v1/messages", message())
    talk("GET", "/_mock/inbox")
    before = talk("GET", "/_mock/clock").json
    assert (before["kind"], before["frozen"], before["speed"], before["pending"]) == ("virtual", True, None, 1)
    assert before["next"][0]["what"].startswith("verified_timeout")

    after = talk("POST", "/_mock/clock/advance", {"minutes": 5, "seconds": 1}).json

    assert after["time"] == pytest.approx(before["time"] + 301)
    assert after["pending"] == 0
    assert engagelab.journal.statuses[-1] == "verified_timeout"


#: Bodies of the wrong type, or out of limits, and the errors.
MISFITS: dict[str, list[tuple[Any, str]]] = {
    "POST /_mock/clock/advance": [
        ({"minutes": "5"}, "minutes is a string, and must be a number from 0 to 1000000000"),
        ({"minutes": True}, "minutes is a boolean, and must be a number from 0 to 1000000000"),
        ({"minutes": None}, "minutes is null, and must be a number from 0 to 1000000000"),
        ({"minutes": -1}, "minutes is -1, and must be a number from 0 to 1000000000"),
        ({"days": 1e10}, "days is 10000000000.0, and must be a number from 0 to 1000000000"),
        ([], "the body is an array, and must be an object"),
        ("null", "the body is null, and must be an object"),
    ],
    "POST /_mock/clock/speed": [
        (None, "speed is required"),
        ({}, "speed is required"),
        ({"speed": 0}, "speed is 0, and must be a number above 0, and up to 1000000000"),
    ],
    "POST /_mock/rules": [
        ({"to": 5}, "to is a number, and must be a string"),
        ({"scenario": {}}, "scenario is an object, and must be a string or an array"),
        ({"scenario": ["plan", 5]}, "scenario[1] is a number, and must be a string"),
        ({"times": 0}, "times is 0, and must be an integer from 1"),
        ({"times": 1.5}, "times is 1.5, and must be an integer from 1"),
    ],
    "POST /_mock/send": [
        ({"batch": "each"}, "batch is 'each', and must be an integer from 1 or 'all'"),
        ({"batch": []}, "batch is an array, and must be an integer from 1 or 'all'"),
        ({"retry": 5}, "retry is a number, and must be an array"),
        ({"retry": [60, "x"]}, "retry[1] is a string, and must be a number from 0"),
        ({"custom_args": "x"}, "custom_args is a string, and must be an object"),
    ],
    "PUT /v1/sandbox/webhook": [
        (None, "url is required"),
        ({"url": 5}, "url is a number, and must be a string"),
    ],
    # What they have in common.
    "POST /v1/messages": [
        ({"to": 5}, "to is a number, and must be a string"),
        ({}, "to is required"),
        ([], "the body is an array, and must be an object"),
    ],
}


@pytest.mark.parametrize(
    ("call", "body", "said"), [(call, *each) for call, several in MISFITS.items() for each in several]
)
def test_a_misfit_is_named_in_the_same_words_by_every_call(talk: Talk, call: str, body: Any, said: str) -> None:
    method, path = call.split()
    answer = talk(method, path, body)
    assert (answer.error, answer.json["message"]) == ((400, 3002), said)


@pytest.mark.parametrize("body", [None, "", {}])
def test_an_advance_by_nothing_names_the_missing_field(talk: Talk, body: Any) -> None:
    answer = talk("POST", "/_mock/clock/advance", body)
    assert answer.error == (400, 3002)
    assert answer.json["message"] == 'seconds, minutes, hours or days is required, such as {"minutes": 5}'
    assert talk("POST", "/_mock/clock/advance", {"seconds": 0}).status == 200


@pytest.mark.parametrize("path", ["/_mock/reset", "/_mock/clock/freeze", "/_mock/send"])
def test_a_call_that_needs_no_body_works_without(talk: Talk, path: str) -> None:
    assert talk("POST", path).status == 200


@pytest.mark.parametrize("body", [{"minutes": -1}, {"seconds": "5"}, {"minuts": 5}, [], {"days": 1e400}])
def test_an_unusable_advance_is_refused(talk: Talk, body: Any) -> None:
    status, code = talk("POST", "/_mock/clock/advance", body).error
    assert (status, code) in {(400, 3002), (400, 3001)}


def test_a_virtual_clock_neither_resumes_nor_hurries(talk: Talk) -> None:
    assert talk("POST", "/_mock/clock/freeze").json["frozen"] is True
    assert talk("POST", "/_mock/clock/resume").error == (409, 3003)
    assert talk("POST", "/_mock/clock/speed", {"speed": 2}).error == (409, 3003)


def test_a_live_clock_is_frozen_resumed_hurried_and_advanced() -> None:
    with EngageLab(clock=LiveClock()) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        frozen = talk("POST", "/_mock/clock/freeze").json
        assert (frozen["kind"], frozen["frozen"], frozen["speed"]) == ("live", True, 1.0)
        assert talk("POST", "/_mock/clock/advance", {"hours": 1}).json["time"] == pytest.approx(frozen["time"] + 3600)
        assert talk("POST", "/_mock/clock/resume").json["frozen"] is False
        assert talk("POST", "/_mock/clock/speed", {"speed": 60}).json["speed"] == 60
        assert talk("POST", "/_mock/clock/speed", {"speed": 0}).error == (400, 3002)


def test_the_scenarios_are_listed(talk: Talk) -> None:
    listed = talk("GET", "/_mock/scenarios").json
    assert {scenario["name"]: scenario["statuses"] for scenario in listed} == {
        scenario.name: scenario.statuses for scenario in CATALOGUE.values()
    }


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


def test_a_reset_keeps_only_the_receivers_and_the_clock(talk: Talk, engagelab: EngageLab) -> None:
    receiver = engagelab.receiver
    engagelab.rule(error=5013, call="codes")
    talk("POST", "/v1/messages", message())
    assert talk("POST", "/_mock/reset").status == 200
    assert talk("GET", "/_mock/journal").body == b""
    assert talk("GET", "/_mock/inbox").json == {"messages": []}
    assert talk("GET", "/_mock/rules").json == {"rules": []}
    assert talk("GET", "/_mock/clock").json["pending"] == 0
    assert engagelab.receiver is receiver
    assert talk("POST", "/v1/messages", message()).status == 200


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        ("GET /_mock/jurnal", "/_mock/journal"),
        ("GET /_mock/inboxes", "/_mock/inbox"),
        ("GET /_mock/rule", "/_mock/rules"),
        ("POST /_mock/sned", "/_mock/send"),
        ("POST /_mock/advance", "/_mock/clock/advance"),
    ],
)
def test_an_unknown_path_names_the_nearest(talk: Talk, call: str, nearest: str) -> None:
    answer = talk(*call.split())
    assert answer.error == (404, 4001)
    assert f"did you mean '{nearest}'?" in answer.json["message"]


@pytest.mark.parametrize(
    "call",
    [
        *(
            "GET /_mock/people",
            "GET /_mock/health",
            "POST /_mock/restart",
            "POST /_mock/reset2",
            "POST /_mock/reset/",
        ),
        *("DELETE /_mock/rule", "DELETE /_mock/rule/1", "DELETE /_mock/journals", "GET /_mock", "POST /_mock/clear"),
    ],
)
def test_no_call_is_suggested_that_forgets_something(talk: Talk, call: str) -> None:
    answer = talk(*call.split())
    assert answer.error == (404, 4001)
    said = answer.json["message"].partition(";")[2]
    assert "did you mean" not in said
    assert "/_mock/reset" not in said
    assert "/_mock/journal" in said
    assert "/openapi.json" in said


def test_the_webhook_sets_the_receiver_and_pings_it(
    talk: Talk, engagelab: EngageLab, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(username="acme", secret="s3cret")
    with LoopbackServer(recorder) as there, caplog.at_level(logging.INFO, logger="engagelab_mock.server"):
        wanted = {"url": f"{there.url}/engagelab", "username": "acme", "secret": "s3cret"}
        answer = talk("PUT", "/v1/sandbox/webhook", wanted).json
        engagelab.send(scenario=["plan"])
    assert answer == {"code": 0, "message": "success", "state": "normal", "outcome": "acknowledged", "error": None}
    assert [(received.ping, bool(received.verdict)) for received in recorder.received] == [(True, True), (False, True)]
    assert [receiver.address for receiver in engagelab.receivers] == [wanted["url"]]
    assert f"callbacks go to {wanted['url']} from now on" in caplog.text


def test_a_webhook_that_does_not_answer_is_saved_as_abnormal(talk: Talk, engagelab: EngageLab) -> None:
    answer = talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/engagelab"}).json
    assert (answer["code"], answer["state"], answer["outcome"]) == (0, "abnormal", "refused")
    assert "refused" in answer["error"]
    assert (engagelab.receiver.address, engagelab.receiver.state) == ("http://127.0.0.1:1/engagelab", "abnormal")


def test_a_webhook_without_credentials_keeps_those_of_before(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.receiver = Receiver.recording(username="acme", secret="s3cret", authorization="Bearer t")
    talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/moved"})
    settings = engagelab.receiver.settings
    assert (settings.username, settings.secret, settings.authorization) == ("acme", "s3cret", "Bearer t")
    talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/other", "username": "you", "secret": "other"})
    settings = engagelab.receiver.settings
    assert (settings.username, settings.secret, settings.authorization) == ("you", "other", "")
    talk("PUT", "/v1/sandbox/webhook", {"url": "http://127.0.0.1:1/unsigned", "username": "", "secret": ""})
    assert not engagelab.receiver.settings.signs


@pytest.mark.parametrize(
    "body", [{}, {"url": "htps://x"}, {"url": "http://x", "username": "acme"}, {"url": "http://x", "secrt": "s"}, "{"]
)
def test_an_unusable_webhook_is_refused(talk: Talk, engagelab: EngageLab, body: Any) -> None:
    receiver = engagelab.receiver
    assert talk("PUT", "/v1/sandbox/webhook", body).status == 400
    assert engagelab.receiver is receiver
    assert talk("PUT", "/v1/sandbox/webhook", {"url": "http://x"}, api=False).error == (401, 2001)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("application/json; charset=utf-8", 200), ("application/x-www-form-urlencoded", 400), (None, 400)],
)
def test_a_webhook_needs_json_s_content_type_if_that_is_required(
    content_type: str | None, expected: int, engagelab: EngageLab
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    webhook = {"url": "http://127.0.0.1:1/engagelab"}
    with EngageLab(api=ApiSettings(strict_content_type=True)) as strict, ApiServer(strict) as server:
        before = strict.receiver
        answer = Talk(server)("PUT", "/v1/sandbox/webhook", webhook, headers=headers)
        assert answer.status == expected
        if expected == 400:
            assert answer.error == (400, 3001)
            assert strict.receiver is before
    with ApiServer(engagelab) as server:
        assert Talk(server)("PUT", "/v1/sandbox/webhook", webhook, headers=headers).status == 200


def leave(server: ApiServer, path: str) -> None:
    """Ask for something that takes long, and close the connection once the server works on it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        if "follow" in path:
            assert connection.recv(1)


class Watched(ApiServer):
    """A server that tells when an answer has ended."""

    def __init__(self, engagelab: EngageLab) -> None:
        super().__init__(engagelab)
        self.ended = threading.Event()
        self._app.forget = self._ended  # type: ignore[method-assign]

    def _ended(self, end: object) -> None:
        self.ended.set()


@pytest.mark.parametrize("path", ["/_mock/inbox/+6591234567?wait=600", "/_mock/journal?follow"])
def test_an_answer_that_waits_ends_when_its_client_has_gone(engagelab: EngageLab, path: str) -> None:
    with Watched(engagelab) as server:
        leave(server, path)
        assert server.ended.wait(PATIENCE)


def test_a_follower_whose_filter_fits_nothing_ends_too_while_others_are_called(engagelab: EngageLab) -> None:
    with Watched(engagelab) as server:
        leave(server, "/_mock/journal?follow&status=read")
        for _ in range(100_000):
            engagelab.send(scenario=["plan"])
            if server.ended.is_set():
                break
        assert server.ended.is_set()
