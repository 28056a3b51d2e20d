"""An app that uses `requests`, and whatever else stands in for it in the same test."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from engagelab_mock import EngageLab, Receiver, Recorder, UsageError
from engagelab_mock.integrations.requests import API_URL, Interception
from engagelab_mock.server.loopback import LoopbackServer

AUTH = ("key", "secret")
MESSAGES = f"{API_URL}/v1/messages"
MESSAGE = {"to": "+6591234567", "template": {"id": "my-template", "language": "default", "params": {}}}


@pytest.fixture
def api(engagelab: EngageLab) -> Iterator[Interception]:
    with Interception(engagelab) as interception:
        yield interception


def send(**options: Any) -> requests.Response:
    return requests.post(MESSAGES, **{"json": MESSAGE, "auth": AUTH, "timeout": 10, **options})


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"json": MESSAGE}, id="json"),
        pytest.param({"json": None, "data": json.dumps(MESSAGE)}, id="text"),
        pytest.param({"json": None, "data": json.dumps(MESSAGE).encode()}, id="bytes"),
        pytest.param({"json": None, "data": io.BytesIO(json.dumps(MESSAGE).encode())}, id="a file"),
        pytest.param({"json": None, "data": (part for part in [json.dumps(MESSAGE).encode()])}, id="parts"),
    ],
)
def test_a_call_is_answered_and_its_callbacks_follow(engagelab: EngageLab, body: dict[str, Any]) -> None:
    answer = send(**body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json()) == ["message_id", "send_channel"]
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
    assert engagelab.inbox("+6591234567").code


def test_every_method_and_path_is_ours(api: Interception) -> None:
    with requests.Session() as session:
        session.auth = AUTH
        assert session.get(f"{API_URL}/v1/template-configs?page=1").json() is not None
        assert session.get(f"{API_URL}/v1/nothing").status_code == 404
        assert session.get(API_URL).status_code == 404
        assert session.delete(MESSAGES).status_code == 405
        assert session.delete(MESSAGES).headers["Allow"] == "POST"
        assert session.options(f"{API_URL.upper()}/v1/messages").status_code == 405
    assert len(api.calls) == 6


def test_credentials_are_looked_at(engagelab: EngageLab, api: Interception) -> None:
    answer = send(auth=None)
    assert (answer.status_code, answer.json()["code"]) == (401, 2001)


def test_it_ends_with_its_block(engagelab: EngageLab) -> None:
    before = requests.Session.get_adapter
    with Interception(engagelab):
        assert requests.Session.get_adapter is not before
        assert send().status_code == 200
    assert requests.Session.get_adapter is before


@pytest.mark.usefixtures("api")
def test_other_hosts_are_let_alone() -> None:
    with LoopbackServer(Recorder()) as server:
        assert requests.post(server.url, timeout=10).status_code == 200
    with pytest.raises(requests.exceptions.InvalidSchema):
        requests.get("ftp://otp.api.engagelab.cc/v1/messages", timeout=10)


@pytest.mark.usefixtures("api")
@responses.activate
def test_under_the_decorator_of_responses_both_are_answered() -> None:
    responses.get("https://rates.example/usd", json={"sgd": 1.35})
    assert send().status_code == 200
    assert requests.get("https://rates.example/usd", timeout=10).json() == {"sgd": 1.35}
    with pytest.raises(requests.ConnectionError, match="Connection refused by Responses"):
        requests.get("https://elsewhere.example", timeout=10)
    # What `responses` asserts is about its own.
    assert len(responses.calls) == 2


@pytest.mark.usefixtures("api")
def test_inside_a_block_of_responses_both_are_answered() -> None:
    with responses.RequestsMock() as mock:
        mock.get("https://rates.example/usd", json={"sgd": 1.35})
        assert requests.get("https://rates.example/usd", timeout=10).json() == {"sgd": 1.35}
        assert send().status_code == 200


def test_around_it_responses_works_as_well(engagelab: EngageLab) -> None:
    with responses.RequestsMock() as mock:
        mock.get("https://rates.example/usd", json={"sgd": 1.35})
        with Interception(engagelab):
            assert requests.get("https://rates.example/usd", timeout=10).json() == {"sgd": 1.35}
            assert send().status_code == 200


@responses.activate
def test_callbacks_over_http_are_not_swallowed() -> None:
    with LoopbackServer(recorder := Recorder()) as server:
        receiver = Receiver.http(server.url, username=recorder.username, secret=recorder.secret)
        with EngageLab(receiver) as engagelab, Interception(engagelab):
            assert send().status_code == 200
            assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
    assert [received.statuses for received in recorder.received] == [["plan"], ["sent"], ["delivered"]]


def test_a_session_s_own_retries_are_made(engagelab: EngageLab, api: Interception) -> None:
    engagelab.rule(error=1000, times=2)
    with requests.Session() as session:
        retries = Retry(total=3, status_forcelist=[500], allowed_methods=None)
        session.mount("https://", HTTPAdapter(max_retries=retries))
        answer = session.post(MESSAGES, json=MESSAGE, auth=AUTH, timeout=10)
    assert answer.status_code == 200
    assert [getattr(call.response, "status_code", None) for call in api.calls] == [500, 500, 200]


def test_callbacks_wait_until_the_app_has_its_answer(engagelab: EngageLab) -> None:
    with Interception(engagelab):
        send()
        # The answer is in hand, and nothing was delivered inside the call.
        assert engagelab.receiver.recorder is not None
        assert engagelab.receiver.recorder.received == []
        engagelab.settle()
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


def test_another_address_of_the_api_can_be_given(engagelab: EngageLab) -> None:
    with Interception(engagelab, "http://otp.example:8420/"):
        assert requests.get("http://otp.example:8420/v1/nothing", auth=AUTH, timeout=10).status_code == 404


@pytest.mark.parametrize("url", ["otp.example", "ftp://otp.example", "https://otp.example/v1", ""])
def test_an_address_that_is_none_is_refused(engagelab: EngageLab, url: str) -> None:
    with pytest.raises(UsageError, match="is not an address of an API"):
        Interception(engagelab, url)
