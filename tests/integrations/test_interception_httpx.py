"""An app that uses `httpx`, sync and async, with other mocks of it in the same test."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Any

import fastapi
import httpx
import httpx2
import pytest
import requests
import respx
import trio
from fastapi.testclient import TestClient

from engagelab_mock import ApiServer, EngageLab, Interception, Receiver, Recorder
from engagelab_mock.delivery.recorder import Received
from engagelab_mock.integrations.interception import API_URL
from engagelab_mock.server.loopback import LoopbackServer
from tests.integrations.test_interception import AUTH, MESSAGE, MESSAGES, OURS


@pytest.fixture
def api(engagelab: EngageLab) -> Iterator[Interception]:
    with Interception(engagelab) as interception:
        yield interception


Ask = Callable[..., httpx.Response]


#: Making one takes longer than most of these tests.
TLS = ssl.create_default_context()


def ask_sync(method: str, url: str, **options: Any) -> httpx.Response:
    return httpx.request(method, url, verify=TLS, **options)


def ask_async(method: str, url: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(verify=TLS) as client:
            return await client.request(method, url, **options)

    return asyncio.run(ask())


def ask_trio(method: str, url: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(verify=TLS) as client:
            return await client.request(method, url, **options)

    return trio.run(ask)


def ask_httpx2(method: str, url: str, **options: Any) -> Any:
    return httpx2.request(method, url, verify=TLS, **options)


def ask_httpx2_async(method: str, url: str, **options: Any) -> Any:
    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(verify=TLS) as client:
            return await client.request(method, url, **options)

    return asyncio.run(ask())


CLIENTS = [ask_sync, ask_async, ask_trio, ask_httpx2, ask_httpx2_async]


@pytest.fixture(params=CLIENTS, ids=["sync", "asyncio", "trio", "httpx2", "httpx2 async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    given: Ask = request.param
    return given


@pytest.mark.parametrize("url", OURS)
def test_it_answers_by_host_and_port_however_they_are_spelt(
    engagelab: EngageLab, api: Interception, ask: Ask, url: str
) -> None:
    answer = ask("POST", url, json=MESSAGE, **({} if "@" in url else {"auth": AUTH}))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json()) == ["message_id", "send_channel"]
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
    assert engagelab.inbox("+6591234567").code
    [call] = api.calls
    assert (call.request.url, call.response) == (answer.request.url, answer)
    assert answer.elapsed.total_seconds() >= 0


@pytest.mark.usefixtures("api")
def test_every_method_and_path_is_ours(ask: Ask) -> None:
    assert ask("GET", f"{API_URL}/v1/template-configs?page=1", auth=AUTH).status_code == 200
    assert ask("DELETE", MESSAGES, auth=AUTH).headers["Allow"] == "POST"
    assert ask("ODD", MESSAGES, auth=AUTH).status_code == 405
    assert ask("HEAD", f"{API_URL}/v1/nothing", auth=AUTH).status_code == 404
    assert ask("POST", MESSAGES, json=MESSAGE).json()["code"] == 2001


@pytest.mark.parametrize(
    "content", [json.dumps(MESSAGE).encode(), json.dumps(MESSAGE), "parts"], ids=["bytes", "text", "parts"]
)
def test_a_body_may_be_given_in_any_way(api: Interception, content: Any) -> None:
    if content == "parts":
        content = iter([json.dumps(MESSAGE).encode()])
    assert httpx.post(MESSAGES, content=content, auth=AUTH).status_code == 200


@pytest.mark.usefixtures("api")
def test_an_async_body_is_read() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield json.dumps(MESSAGE).encode()

    assert ask_async("POST", MESSAGES, content=parts(), auth=AUTH).status_code == 200


def test_callbacks_wait_until_the_app_has_its_answer(engagelab: EngageLab, ask: Ask) -> None:
    with Interception(engagelab):
        assert ask("POST", MESSAGES, json=MESSAGE, auth=AUTH).status_code == 200
        assert engagelab.receiver.recorder is not None
        assert engagelab.receiver.recorder.received == []
        engagelab.settle()
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


@pytest.mark.parametrize("client", [*CLIENTS, requests.request])
def test_a_worker_sends_the_callbacks_once_the_app_has_its_answer(client: Callable[..., Any]) -> None:
    arrived: SimpleQueue[Received] = SimpleQueue()
    recorder = Recorder(on_received=arrived.put)
    with LoopbackServer(recorder) as elsewhere:
        receiver = Receiver.http(elsewhere.url, username=recorder.username, secret=recorder.secret)
        with EngageLab(receiver) as engagelab, ApiServer(engagelab), Interception(engagelab):
            client("POST", MESSAGES, json=MESSAGE, auth=AUTH)
            assert [arrived.get(timeout=10).statuses for _ in range(3)] == [["plan"], ["sent"], ["delivered"]]


class Signing(httpx.Auth):
    """Ask for a token first, and send it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        answer = yield httpx.Request("POST", self.url)
        assert answer.status_code == 200
        request.headers["Authorization"] = "Basic a2V5OnNlY3JldA=="
        yield request


@pytest.mark.usefixtures("api")
def test_an_authentication_may_call_another_host() -> None:
    recorder = Recorder()
    with LoopbackServer(recorder) as server:
        for answer in (
            httpx.post(MESSAGES, json=MESSAGE, auth=Signing(server.url)),
            ask_async("POST", MESSAGES, json={**MESSAGE, "to": "+6591234568"}, auth=Signing(server.url)),
        ):
            assert answer.status_code == 200
    assert len(recorder.received) == 2


class Own(httpx.Client):
    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        request.headers["X-Own"] = "1"
        return super().send(request, **options)


def clients() -> list[httpx.Client]:
    never = httpx.MockTransport(lambda request: httpx.Response(599))
    return [
        httpx.Client(auth=AUTH),
        httpx.Client(auth=AUTH, base_url=f"{API_URL}/v1"),
        httpx.Client(auth=AUTH, transport=never),
        httpx.Client(auth=AUTH, mounts={API_URL: never}),
        httpx.Client(auth=AUTH, proxy="http://127.0.0.1:1"),
        Own(auth=AUTH),
    ]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("client", clients(), ids=["plain", "base", "transport", "mount", "proxy", "subclass"])
def test_it_answers_every_kind_of_client(client: httpx.Client) -> None:
    url = "/messages" if str(client.base_url) else MESSAGES
    with client:
        assert client.post(url, json=MESSAGE).status_code == 200
        with client.stream("GET", f"{API_URL}/v1/template-configs") as streamed:
            assert json.loads(b"".join(streamed.iter_bytes())) is not None
        seen: list[object] = []
        client.event_hooks = {"request": [seen.append], "response": [seen.append]}
        request = client.build_request("GET", f"{API_URL}/v1/template-configs", headers={"X-Mine": "1"})
        assert client.send(request).status_code == 200
        assert [type(each) for each in seen] == [httpx.Request, httpx.Response]
        assert request.headers["X-Mine"] == "1"
    with pytest.raises(RuntimeError, match="closed"):
        client.get(MESSAGES)


@pytest.mark.parametrize("first", ["respx", "engagelab_api"])
@pytest.mark.parametrize("using", ["httpcore", "httpx"])
@pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "asyncio"])
def test_with_respx_both_are_answered(engagelab: EngageLab, ask: Ask, first: str, using: str) -> None:
    mock, interception = respx.mock(using=using, assert_all_called=False), Interception(engagelab)
    outer, inner = (mock, interception) if first == "respx" else (interception, mock)
    with outer, inner:
        mock.get("https://rates.example/usd").respond(json={"sgd": 1.35})
        anything = mock.route(host="otp.api.engagelab.cc").respond(599)
        assert ask("GET", "https://rates.example/usd").json() == {"sgd": 1.35}
        assert ask("POST", MESSAGES, json=MESSAGE, auth=AUTH).status_code == 200
        assert not anything.called


def test_other_hosts_get_the_client_s_own_transport(api: Interception, ask: Ask) -> None:
    with LoopbackServer(Recorder()) as server:
        assert ask("POST", server.url).status_code == 200
    assert len(api.calls) == 0


@pytest.mark.usefixtures("api")
def test_a_fastapi_app_that_calls_engagelab_is_answered_in_every_loop(engagelab: EngageLab) -> None:
    app = fastapi.FastAPI()

    @app.post("/login")
    async def login(to: str) -> Any:
        async with httpx.AsyncClient(base_url=API_URL, auth=AUTH) as client:
            return (await client.post("/v1/messages", json={**MESSAGE, "to": to})).json()

    # A loop in another thread, one that runs here, and several at once.
    with TestClient(app) as browser:
        assert browser.post("/login?to=%2B6591234501").json()["message_id"]

    async def ask(to: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            return await client.post("/login", params={"to": to})

    async def together(*recipients: str) -> list[httpx.Response]:
        return await asyncio.gather(*map(ask, recipients))

    assert [each.status_code for each in asyncio.run(together("+6591234502", "+6591234503"))] == [200, 200]
    threads = [threading.Thread(target=asyncio.run, args=[ask(f"+659123451{n}")]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engagelab.inbox()) == 7
    assert engagelab.journal.statuses.count("delivered") == 7


def test_an_asgi_receiver_gets_its_callbacks_in_the_test_s_loop(engagelab: EngageLab) -> None:
    seen: list[bytes] = []

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def test(engagelab: EngageLab) -> None:
        async with httpx.AsyncClient(auth=AUTH) as client:
            message = (await client.post(MESSAGES, json=MESSAGE)).json()
            assert seen == []
            code = (await engagelab.ainbox("+6591234567")).code
            entered = {"message_id": message["message_id"], "verify_code": code}
            assert (await client.post(f"{API_URL}/v1/verifications", json=entered)).json()["verified"]
            await engagelab.asettle()

    with EngageLab(Receiver.asgi(app, lifespan=False)) as mine, Interception(mine):
        asyncio.run(test(mine))
    assert len(seen) == 4
