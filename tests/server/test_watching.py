"""What a person sees of messages, callbacks and receivers, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, LiveClock, Receiver, Recorder, fault
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.server.conftest import Talk, message


def found(talk: Talk, query: str = "") -> list[str]:
    return [each["to"] for each in talk("GET", f"/_mock/messages{query}").json["messages"]]


def callbacks(talk: Talk, query: str = "") -> list[list[str]]:
    return [each["statuses"] for each in talk("GET", f"/_mock/callbacks{query}").json["callbacks"]]


def test_a_message_shows_its_code_once_it_has_arrived(talk: Talk, engagelab: EngageLab) -> None:
    sent = talk("POST", "/v1/messages", message()).json
    [shown] = talk("GET", "/_mock/messages").json["messages"]
    assert (shown["message_id"], shown["to"], shown["call"]) == (sent["message_id"], "+6591234567", "messages")
    assert (shown["statuses"], shown["verified"], shown["not_acknowledged"]) == (
        ["plan", "sent", "delivered"],
        False,
        0,
    )
    assert shown["code"] in shown["text"]
    assert shown["code"] == engagelab.inbox("+6591234567").code


def test_before_it_arrives_its_text_is_not_shown(frozen_clock: LiveClock) -> None:
    with EngageLab(clock=frozen_clock) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        name = talk("POST", "/v1/messages", message()).json["message_id"]
        shown = talk("GET", f"/_mock/messages/{name}").json
        assert (shown["arrived"], shown["text"]) == (None, "")
        assert [each["statuses"] for each in shown["due"] if each["kind"] == "event"][-1] == ["delivered"]


@pytest.mark.parametrize(
    ("query", "recipients"),
    [
        ("", ["+6591234569", "+6591234568", "+6591234567"]),
        ("?limit=1", ["+6591234569"]),
        ("?to=%2B6591234568", ["+6591234568"]),
        ("?template=LOGIN", []),
        ("?template=login", ["+6591234567"]),
        ("?search=LOGin", ["+6591234567"]),
        ("?search=4568", ["+6591234568"]),
        ("?status=sent_failed", ["+6591234569"]),
        ("?status=sent&search=xyz", []),
    ],
)
def test_messages_are_found(query: str, recipients: list[str], talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", template="login")
    engagelab.send("+6591234568", scenario="delivered")
    engagelab.send("+6591234569", scenario="sent_failed")
    assert found(talk, query) == recipients


def test_older_messages_are_read_after_the_newer_ones(talk: Talk, engagelab: EngageLab) -> None:
    runs = [engagelab.send(f"+659123456{number}", scenario=["plan"]) for number in range(3)]
    newest = talk("GET", "/_mock/messages?limit=2").json
    assert (newest["more"], newest["total"]) == (True, 3)
    last = newest["messages"][-1]["message_id"]
    assert last == runs[1].message_id
    oldest = talk("GET", f"/_mock/messages?limit=2&before={last}").json
    assert ([each["message_id"] for each in oldest["messages"]], oldest["more"]) == ([runs[0].message_id], False)


def test_a_message_has_its_callbacks_and_what_may_follow(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered", custom_args={"order": 7})
    shown = talk("GET", f"/_mock/messages/{run.message_id}").json
    assert [each["statuses"] for each in shown["callbacks"]] == [["plan"], ["sent"], ["delivered"]]
    assert (shown["custom_args"], shown["due"][0]["kind"]) == ({"order": 7}, "expiry")
    assert shown["may_follow"] == ["verified", "verified_failed", "verified_timeout", "read"]
    assert talk("GET", "/_mock/messages/7").error == (404, 4001)


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("", [["delivered"], ["sent"], ["plan"]]),
        ("?limit=1", [["delivered"]]),
        ("?status=sent", [["sent"]]),
        ("?outcome=not_200", [["sent"]]),
        ("?outcome=acknowledged&to=%2B6591234567", [["delivered"], ["plan"]]),
        ("?search=unauthorized", [["sent"]]),
        ("?search=401", [["sent"]]),
        ("?search=nowhere", []),
    ],
)
def test_callbacks_are_found(query: str, statuses: list[list[str]], talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario="delivered", fault=fault("wrong_secret", on="sent"))
    assert callbacks(talk, query) == statuses


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("callbacks?outcome=acknowledgd", "acknowledged"),
        ("messages?status=snt", "sent"),
        ("messages?sarch=x", "search"),
    ],
)
def test_a_misspelt_filter_is_refused(path: str, meant: str, talk: Talk) -> None:
    answer = talk("GET", f"/_mock/{path}")
    assert answer.error == (400, 3002)
    assert f"did you mean '{meant}'?" in answer.json["message"]


def test_a_refused_call_is_among_the_callbacks(talk: Talk) -> None:
    talk("POST", "/v1/messages", message(to="+65"))
    [shown] = talk("GET", "/_mock/callbacks").json["callbacks"]
    assert (shown["type"], shown["id"], shown["outcome"]) == ("refusal", "", None)
    assert "invalid number format" in shown["error"]
    assert talk("GET", "/_mock/callbacks?outcome=acknowledged").json["callbacks"] == []


def test_a_retry_to_come_is_shown_with_its_time(engagelab: EngageLab, frozen_clock: LiveClock) -> None:
    with EngageLab(clock=frozen_clock, defaults={"retry": [60], "check": False}) as engagelab:
        assert engagelab.receiver.recorder is not None
        engagelab.receiver.recorder.answer = 500
        with ApiServer(engagelab) as server:
            run = engagelab.begin_send("+6591234567", scenario=["plan"])
            engagelab.journal.wait_for(outcome="not_200")
            shown: Any = Talk(server)("GET", f"/_mock/messages/{run.message_id}").json
    [callback] = shown["callbacks"]
    assert callback["retry_at"] == frozen_clock.time() + 60
    assert [(each["kind"], each["number"], each["at"]) for each in shown["due"]] == [
        ("retry", 2, frozen_clock.time() + 60)
    ]
    assert "500" in callback["error"]
    assert callback["hint"]


def segments(talk: Talk) -> dict[str, bool | None]:
    name = talk("GET", "/_mock/callbacks?limit=1").json["callbacks"][0]["id"]
    [attempt] = talk("GET", f"/_mock/callbacks/{name}").json["tries"]
    signature = attempt["signature"]
    return {"": signature["reason"] == "valid", **{each["name"]: each["right"] for each in signature["segments"]}}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (None, set()),
        ("wrong_secret", {"", "signature"}),
        ("other_username", {"", "username", "signature"}),
        ("missing_signature", {"", "timestamp", "nonce", "username", "signature"}),
        ("truncated_signature", {"", "signature"}),
        ("stale", {"", "timestamp"}),
        ("future", {"", "timestamp"}),
    ],
)
def test_a_signature_is_taken_apart(name: str | None, wrong: set[str]) -> None:
    with LoopbackServer(Recorder()) as app:
        receiver = Receiver.http(app.url, username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
        with EngageLab(receiver, defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
            engagelab.send("+6591234567", scenario=["plan"], fault=name)
            found = segments(Talk(server))
    assert {part for part, right in found.items() if right is False} == wrong


def test_an_attempt_shows_request_and_answer_without_the_configured_authorization() -> None:
    receiver = Receiver.recording(authorization="Bearer of-news")
    with EngageLab(receiver) as engagelab, ApiServer(engagelab) as server:
        engagelab.send("+6591234567", scenario=["plan"])
        talk = Talk(server)
        name = talk("GET", "/_mock/callbacks").json["callbacks"][0]["id"]
        answer = talk("GET", f"/_mock/callbacks/{name}")
    [attempt] = answer.json["tries"]
    assert ["Authorization", "(as configured)"] in attempt["headers"]
    assert b"of-news" not in answer.body
    assert receiver.settings.secret.encode() not in answer.body
    assert (attempt["method"], attempt["http_status"], attempt["outcome"]) == ("POST", 200, "acknowledged")
    assert '"message_status":"plan"' in attempt["body"]


def test_the_address_of_a_callback_is_the_same_after_a_restart(tmp_path: Path) -> None:
    names = []
    for first in (True, False):
        with SqliteStore(tmp_path / "db") as store, EngageLab(store=store, clock=LiveClock()) as engagelab:
            restore(engagelab, store)
            if first:
                engagelab.send("+6591234567", scenario=["plan"])
            with ApiServer(engagelab) as server:
                [shown] = Talk(server)("GET", "/_mock/callbacks").json["callbacks"]
                names.append(shown["id"])
                assert Talk(server)("GET", f"/_mock/callbacks/{names[0]}").status == 200
    assert names[0] == names[1]


def test_receivers_show_how_they_have_answered(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan", "sent"], fault=fault("wrong_secret", on="sent"), check=False)
    [shown] = talk("GET", "/_mock/receivers").json["receivers"]
    assert (shown["number"], shown["state"], shown["username"]) == (1, "unvalidated", "sandbox_demo")
    assert (shown["acknowledged"], shown["failed"]) == (1, 1)
    assert [each["http_status"] for each in shown["recent"]] == [200, 401]
    ping = talk("POST", "/_mock/receivers/1/ping").json
    assert (ping["state"], ping["outcome"], ping["error"]) == ("normal", "acknowledged", None)
    assert talk("GET", f"/_mock/callbacks/{ping['callback']}").json["type"] == "validation"
    assert talk("GET", "/_mock/receivers").json["receivers"][0]["state"] == "normal"


@pytest.mark.parametrize("number", ["0", "2", "x", "-1", "1" * 30])
def test_a_receiver_that_is_not_there_cannot_be_pinged(number: str, talk: Talk) -> None:
    assert talk("POST", f"/_mock/receivers/{number}/ping").error == (404, 4001)


def test_many_messages_are_searched_at_the_server(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send_many(300, to=[f"+65912{number:05}" for number in range(300)], scenario=["plan"])
    assert found(talk, "?search=591200007") == ["+6591200007"]
    assert len(found(talk)) == 50
