"""The control API: the same state as the engine's, over HTTP."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    LiveClock,
    __version__,
)
from engagelab_mock.server import ApiServer
from tests.patience import PATIENCE
from tests.server.conftest import Talk, message


def test_it_is_ready(talk: Talk) -> None:
    assert talk("GET", "/_mock/readyz").json == {"status": "ready", "version": __version__}
    assert talk("HEAD", "/_mock/readyz").status == 200


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
        *("DELETE /_mock/rule", "DELETE /_mock/rule/1", "DELETE /_mock/journals", "POST /_mock/clear"),
    ],
)
def test_no_call_is_suggested_that_forgets_something(talk: Talk, call: str) -> None:
    answer = talk(*call.split())
    assert answer.error == (404, 4001)
    path = call.split()[1]
    assert answer.json["message"] == f"there is no '{path}'; GET /_mock lists all calls"
    assert "GET /_mock/journal" in answer.json["calls"]
    assert not [each for each in answer.json["calls"] if "reset" in each or each.startswith("DELETE")]


@pytest.mark.parametrize("path", ["/_mock", "/_mock/"])
def test_the_root_lists_all_calls(talk: Talk, path: str) -> None:
    listed = talk("GET", path).json
    paths = talk("GET", listed["document"]).json["paths"]
    described = {(each["method"], each["path"]): each["summary"] for each in listed["calls"]}
    assert described == {
        (method.upper(), path): call["summary"]
        for path, calls in paths.items()
        if path.startswith("/_mock")
        for method, call in calls.items()
    }
    assert all(described.values())


@pytest.mark.parametrize("path", ["/_mock", "/_mock/"])
def test_another_method_of_the_root_is_answered_with_the_calls(talk: Talk, path: str) -> None:
    answer = talk("POST", path, {})
    assert answer.error == (405, 3002)
    assert answer.headers["Allow"] == "GET"
    assert (answer.json["message"], "POST /_mock/send" in answer.json["calls"]) == (f"{path} takes GET, not POST", True)
