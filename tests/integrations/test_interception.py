"""An app that uses `requests`, with other mocks of it in the same test."""

from __future__ import annotations

import http.client
import io
import itertools
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPMethod
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import requests_mock
import responses
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.util.retry import Retry

from engagelab_mock import EngageLab, Receiver, Recorder, UsageError
from engagelab_mock.integrations.interception import API_URL, Interception
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
    with Interception(engagelab):
        assert requests.Session.get_adapter is not GET_ADAPTER
        assert send().status_code == 200
    assert requests.Session.get_adapter is GET_ADAPTER


OURS = [
    "https://otp.api.engagelab.cc/v1/messages",
    "https://otp.api.engagelab.cc:443/v1/messages",
    "https://OTP.api.EngageLab.CC/v1/messages",
    "HTTPS://otp.api.engagelab.cc./v1/messages",
    "https://otp.api.engagelab.cc.:443/v1/messages?page=1#top",
    "http://otp.api.engagelab.cc/v1/messages",
    "http://otp.api.engagelab.cc:80/v1/messages",
    "http://otp.api.engagelab.cc:443/v1/messages",
    "https://key:secret@otp.api.engagelab.cc/v1/messages",
    "https://key:s%40cret@OTP.API.engagelab.cc.:443/v1/messages",
]


@pytest.mark.parametrize("url", OURS)
def test_it_answers_by_host_and_port_however_they_are_spelt(api: Interception, url: str) -> None:
    auth = None if "@" in url else AUTH
    assert requests.post(url, json=MESSAGE, auth=auth, timeout=10).status_code == 200
    assert len(api.calls) == 1


@pytest.mark.parametrize("method", [*HTTPMethod, "get", "Post"])
def test_it_answers_every_method(api: Interception, method: str) -> None:
    assert requests.request(method, f"{API_URL}/v1/nothing", auth=AUTH, timeout=10).status_code == 404


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "url", ["https://otp.api.engagelab.cc:8443/v1/messages", "https://push.api.engagelab.cc/v1/messages"]
)
def test_other_ports_and_hosts_of_engagelab_are_refused(engagelab: EngageLab, url: str) -> None:
    with pytest.raises(UsageError, match="engagelab_server"):
        requests.post(url, json=MESSAGE, auth=AUTH, timeout=10)
    [refusal] = engagelab.journal.refusals
    assert "was not called" in str(refusal)


class Own(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        request.headers["X-Own"] = "1"
        return super().send(request, *args, **options)


class WithBase(requests.Session):
    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        return super().request(method, f"{API_URL}{url}", *args, **options)


class WithAdapter(requests.Session):
    def get_adapter(self, url: str | bytes) -> BaseAdapter:
        return Own()


class WithSend(requests.Session):
    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        request.headers["X-Own"] = "1"
        return super().send(request, **options)


def mounted() -> requests.Session:
    session = requests.Session()
    session.mount(API_URL, Own())
    return session


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("make", [requests.Session, WithBase, WithAdapter, WithSend, mounted])
def test_it_answers_every_kind_of_session(make: Callable[[], requests.Session], engagelab: EngageLab) -> None:
    with make() as session:
        url = "/v1/messages" if make is WithBase else MESSAGES
        assert session.post(url, json=MESSAGE, auth=AUTH).status_code == 200
        prepared = session.prepare_request(requests.Request("GET", f"{API_URL}/v1/template-configs", auth=AUTH))
        assert session.send(prepared).status_code == 200
    assert engagelab.inbox("+6591234567").code


@pytest.mark.usefixtures("api")
def test_it_answers_an_adapter_that_is_called_directly() -> None:
    prepared = requests.Request("GET", f"{API_URL}/v1/template-configs", auth=AUTH).prepare()
    assert HTTPAdapter().send(prepared, False, 10).status_code == 200


@pytest.mark.parametrize("first", ["requests_mock", "engagelab_api"])
@pytest.mark.parametrize("last", ["requests_mock", "engagelab_api"])
@pytest.mark.parametrize("real_http", [False, True])
@pytest.mark.parametrize("session", [None, requests.Session()], ids=["global", "one session"])
def test_with_requests_mock_both_are_answered_in_any_nesting(
    engagelab: EngageLab, first: str, last: str, real_http: bool, session: requests.Session | None
) -> None:
    mock, interception = requests_mock.Mocker(session=session, real_http=real_http), Interception(engagelab)
    client = session or requests.Session()

    def ask_both() -> None:
        assert client.get("https://rates.example/usd", timeout=10).json() == {"sgd": 1.35}
        assert client.post(MESSAGES, json=MESSAGE, auth=AUTH, timeout=10).status_code in {200, 400}

    mock.get("https://rates.example/usd", json={"sgd": 1.35})
    enter: list[Callable[[], object]] = [mock.start, interception.__enter__]
    leave: list[Callable[[], object]] = [mock.stop, lambda: interception.__exit__(None, None, None)]
    for call in enter if first == "requests_mock" else reversed(enter):
        call()
    ask_both()
    ask_both()
    leave = leave if last == "engagelab_api" else leave[::-1]
    leave[0]()
    if last == "engagelab_api":
        assert client.get(f"{API_URL}/v1/template-configs", auth=AUTH, timeout=10).status_code == 200
    else:
        assert client.get("https://rates.example/usd", timeout=10).json() == {"sgd": 1.35}
    leave[1]()
    with LoopbackServer(Recorder()) as server:  # nothing is left that answers, or that loops
        assert client.post(server.url, timeout=10).status_code == 200
    assert requests.Session.get_adapter is GET_ADAPTER


def test_a_session_that_a_mock_has_changed_before_is_answered(engagelab: EngageLab) -> None:
    with requests.Session() as session:
        with requests_mock.Mocker() as mock:
            mock.get("https://rates.example/usd")
            session.get("https://rates.example/usd")
        with Interception(engagelab):
            assert session.post(MESSAGES, json=MESSAGE, auth=AUTH).status_code == 200


GET_ADAPTER = requests.Session.get_adapter
PATCHED = [
    (requests.Session, "get_adapter"),
    (HTTPAdapter, "send"),
    (httpx.Client, "send"),
    (httpx.AsyncClient, "send"),
    (httpx2.Client, "send"),
    (httpx2.AsyncClient, "send"),
    *[(socket, name) for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex")],
    *[(socket.socket, name) for name in ("connect", "connect_ex")],
    *[(ssl.SSLContext, name) for name in ("wrap_socket", "wrap_bio")],
    *[(http.client.HTTPConnection, name) for name in ("set_tunnel", "putrequest")],
    (aiohttp.BaseConnector, "connect"),
]


def state_of(patched: list[tuple[Any, str]]) -> list[object]:
    return [vars(owner).get(name) for owner, name in patched]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_interceptions_nest_and_end_in_any_order(order: tuple[int, ...]) -> None:
    before = state_of(PATCHED)
    engines = [EngageLab() for _ in range(3)]
    interceptions = [Interception(engine) for engine in engines]
    for interception in interceptions:
        interception.__enter__()
    replaced = [now is not then for now, then in zip(state_of(PATCHED), before, strict=True)]
    assert replaced == [True] * len(PATCHED)
    left = list(interceptions)
    for index in order:
        assert send().status_code == 200
        answered = left[-1]
        assert answered.engagelab.inbox("+6591234567").code
        answered.engagelab.reset()
        interceptions[index].__exit__(None, None, None)
        left.remove(interceptions[index])
    assert all(now is then for now, then in zip(state_of(PATCHED), before, strict=True))
    for engine in engines:
        engine.close()


def test_a_replacement_by_others_meanwhile_is_kept(engagelab: EngageLab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    with Interception(engagelab):
        ours = socket.getaddrinfo

        def theirs(*args: Any, **options: Any) -> Any:
            seen.append(args[0])
            return ours(*args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", theirs)
    assert socket.getaddrinfo is theirs
    with LoopbackServer(Recorder()) as server, Interception(engagelab):
        assert requests.post(server.url, timeout=10).status_code == 200
        assert send().status_code == 200
    assert seen == ["127.0.0.1"]


def test_threads_are_answered_each_with_its_own_callbacks(engagelab: EngageLab) -> None:
    def log_in(number: int) -> str:
        to = f"+65912345{number:02}"
        return str(send(json={**MESSAGE, "to": to}).json()["message_id"])

    with Interception(engagelab) as api, ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(log_in, range(40)))
        assert len(api.calls) == len(set(ids)) == 40
        assert sorted(message.message_id for message in engagelab.inbox()) == sorted(ids)


@pytest.mark.usefixtures("api")
def test_other_hosts_are_let_alone() -> None:
    session = requests.Session()
    assert session.get_adapter("https://engagelab.example") is session.adapters["https://"]
    assert session.get_adapter("https://notengagelab.cc") is session.adapters["https://"]
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
        # The app has the answer. Nothing was delivered inside the call.
        assert engagelab.receiver.recorder is not None
        assert engagelab.receiver.recorder.received == []
        engagelab.settle()
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


def test_another_address_of_the_api_can_be_given(engagelab: EngageLab) -> None:
    with Interception(engagelab, "http://otp.example:8420/"):
        assert requests.get("http://otp.example:8420/v1/nothing", auth=AUTH, timeout=10).status_code == 404


@pytest.mark.parametrize("url", ["otp.example", "ftp://otp.example", "https://otp.example/v1", ""])
def test_an_invalid_address_is_refused(engagelab: EngageLab, url: str) -> None:
    with pytest.raises(UsageError, match="is not an address of an API"):
        Interception(engagelab, url)
