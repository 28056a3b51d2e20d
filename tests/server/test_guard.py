"""Which clients may use the control API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from werkzeug import Request
from werkzeug.test import Client

from engagelab_mock import EngageLab
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.server import ApiServer, create_app
from engagelab_mock.server.guard import Guard
from engagelab_mock.service.rest.exchange import ApiError, ApiSettings
from tests.server.conftest import BASIC, Talk, message


def asked(host: str = "127.0.0.1:8420", *, peer: str = "127.0.0.1", **headers: str | None) -> Request:
    given = {f"HTTP_{name.upper()}": value for name, value in headers.items() if value is not None}
    return Request(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/_mock/clock", "HTTP_HOST": host, "REMOTE_ADDR": peer, **given}
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost", "LOCALHOST:1", "[::1]:80", "127.9.9.9", ""])
def test_without_a_token_this_machine_by_its_own_names(host: str) -> None:
    Guard().check(asked(host=host))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8420", "10.0.0.1", "0.0.0.0", "[::1", "a@b"],
)
def test_a_name_that_leads_here_from_elsewhere_is_refused(host: str) -> None:
    with pytest.raises(ApiError, match="is not a name of this machine") as caught:
        Guard().check(asked(host=host))
    assert (caught.value.code, caught.value.http_status) == (2004, 403)


def test_another_machine_is_refused() -> None:
    with pytest.raises(ApiError, match="only this machine"):
        Guard().check(asked(peer="10.0.0.7"))


@pytest.mark.parametrize("token", ["", "t0ken"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9", "http://localhost:8420", "http://["]
)
def test_a_web_page_of_another_origin_is_refused(origin: str, token: str) -> None:
    with pytest.raises(ApiError, match="web page"):
        Guard(token).check(asked(origin=origin, authorization="Bearer t0ken"))


def test_a_web_page_of_the_server_s_own_is_not() -> None:
    Guard().check(asked(origin="http://127.0.0.1:8420"))


def test_a_client_with_the_token_may_be_on_any_machine() -> None:
    Guard("t0ken").check(asked(host="mock.example", peer="10.0.0.7", authorization="Bearer t0ken"))
    Guard("t0ken").check(asked(authorization="bearer t0ken"))


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer t0ken2", "Basic t0ken", "t0ken", "Bearer \xff"]
)
def test_without_the_right_token_a_client_is_refused(authorization: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        Guard("t0ken").check(asked(authorization=authorization))
    assert (caught.value.code, caught.value.http_status) == (2001, 401)
    assert caught.value.headers == (("WWW-Authenticate", "Bearer"),)
    assert isinstance(caught.value, EngageLabMockError)


@pytest.fixture
def guarded(engagelab: EngageLab) -> Iterator[Talk]:
    with ApiServer(engagelab, token="t0ken") as server:
        yield Talk(server)


def test_the_token_is_for_all_of_the_control_api_and_for_nothing_else(guarded: Talk) -> None:
    for path in ("/_mock/clock", "/_mock/journal", "/_mock", "/_mock/nothing", "/_mock/readyz/", "/_mock/readyz2"):
        assert guarded("GET", path).error == (401, 2001)
    assert guarded("GET", "/_mock/clock", headers={"Authorization": "Bearer t0ken"}).status == 200
    assert guarded("GET", "/openapi.json").status == 200
    assert guarded("GET", "/v1/template-configs").status == 200


@pytest.mark.parametrize("headers", [{}, {"Host": "10.0.0.5:8420"}, {"Authorization": "Bearer wrong"}])
def test_a_health_check_needs_neither_token_nor_name(guarded: Talk, talk: Talk, headers: dict[str, str]) -> None:
    for server in (guarded, talk):
        assert server("GET", "/_mock/readyz", headers=headers).json["status"] == "ready"


def test_over_a_socket_a_foreign_host_and_a_foreign_page_are_refused(talk: Talk) -> None:
    assert talk("POST", "/_mock/reset", {}, headers={"Host": "rebound.example"}).error == (403, 2004)
    assert talk("POST", "/_mock/reset", {}, headers={"Origin": "https://evil.example"}).error == (403, 2004)
    assert talk("POST", "/_mock/reset", {}).status == 200


def test_a_web_page_cannot_use_the_api_either_without_a_dev_key(talk: Talk, engagelab: EngageLab) -> None:
    before = engagelab.receiver
    webhook = {"url": "http://127.0.0.1:1/evil"}
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert talk("PUT", "/v1/sandbox/webhook", webhook, headers=headers).error == (403, 2004)
        assert talk("POST", "/v1/messages", message(), headers=headers).error == (403, 2004)
        assert talk("GET", "/v1/template-configs", headers=headers).error == (403, 2004)
    assert engagelab.receiver is before
    assert len(engagelab.accepted) == 0
    assert talk("POST", "/v1/messages", message()).status == 200


#: What a web page would do: send itself the callbacks and the codes, read the codes, break the tests of others.
BY_A_PAGE = {
    "PUT /v1/sandbox/webhook": {"url": "http://127.0.0.1:1/evil"},
    "POST /v1/messages": message(),
    "POST /v1/codes": {**message(), "code": "123456"},
    "POST /v1/verifications": {"message_id": "1", "verify_code": "123456"},
    "GET /v1/template-configs": None,
    "GET /_mock/inbox": None,
    "GET /_mock/journal": None,
    "POST /_mock/send": {},
    "POST /_mock/events": {"event": "insufficient_balance"},
    "POST /_mock/reset": {},
    "POST /_mock/rules": {"error": 5013},
}


@pytest.mark.parametrize("call", BY_A_PAGE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "rebound.example", "Origin": "http://rebound.example"},
        {"Host": "127.0.0.1:8420", "Origin": "https://evil.example"},
        {"Host": "127.0.0.1:8420", "Origin": "null"},
    ],
)
def test_the_app_alone_under_any_server_refuses_a_web_page(
    call: str, headers: dict[str, str], engagelab: EngageLab
) -> None:
    before = engagelab.receiver
    method, path = call.split()
    client = Client(create_app(engagelab))
    given = {"Authorization": BASIC, "Content-Type": "text/plain", **headers}
    answer = client.open(path, method=method, data=json.dumps(BY_A_PAGE[call]), headers=given)
    assert (answer.status_code, answer.get_json()["code"]) == (403, 2004)
    assert engagelab.receiver is before
    assert (len(engagelab.accepted), len(engagelab.rules), engagelab.journal.statuses) == (0, 0, [])
    assert client.open("/v1/template-configs", headers={"Authorization": BASIC}).status_code == 200


def test_with_a_dev_key_the_api_may_have_any_name() -> None:
    settings = ApiSettings(dev_key="key", dev_secret="secret")
    with EngageLab(api=settings) as engagelab, ApiServer(engagelab) as server:
        for headers in ({"Host": "mock.example"}, {"Origin": "https://shop.example"}):
            assert Talk(server)("GET", "/v1/template-configs", headers=headers).status == 200


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("127.0.0.1:8420", "127.0.0.1"),
        ("localhost", "172.17.0.1"),
        ("[::1]:80", "::1"),
        ("testserver", ""),
        ("engagelab_mock:8420", "172.18.0.3"),
        ("host.docker.internal:8420", "172.17.0.1"),
        ("mock.localhost", "127.0.0.1"),
        ("10.0.0.1:8420", "10.0.0.7"),
        ("[fd00::1]:8420", "fd00::7"),
    ],
)
def test_apps_may_use_the_api_by_addresses_and_local_names(host: str, peer: str) -> None:
    Guard().check_page(asked(host=host, peer=peer))


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("rebound.example", "10.0.0.7"),
        ("127.0.0.1.evil.example", "127.0.0.1"),
        ("localhost.evil.example:8420", "127.0.0.1"),
        ("internal.evil.example", "127.0.0.1"),
        ("0.0.0.0:8420", "127.0.0.1"),
        ("10.0.0.1", ""),
        ("[::1", "127.0.0.1"),
        ("a@b.example", "127.0.0.1"),
    ],
)
def test_names_that_a_web_page_can_have_are_refused_for_the_api(host: str, peer: str) -> None:
    with pytest.raises(ApiError, match="may be a name of another machine"):
        Guard().check_page(asked(host=host, peer=peer))


@pytest.mark.parametrize("host", ["engagelab.example.test:8420", "ENGAGELAB.example.test"])
def test_a_name_that_is_allowed_passes(host: str) -> None:
    guard = Guard(hosts=["other.example", "EngageLab.example.test"])
    guard.check(asked(host))
    guard.check_page(asked(host))
    guard.check_file(asked(host))


def test_a_name_that_is_allowed_does_not_let_another_machine_in() -> None:
    with pytest.raises(ApiError, match="only this machine"):
        Guard(hosts=["engagelab.example.test"]).check(asked("engagelab.example.test", peer="10.0.0.7"))


@pytest.mark.parametrize("host", ["evil.example", "a.engagelab.example.test", "engagelab.example.test.evil.example"])
def test_a_name_that_is_not_allowed_is_refused_and_the_hint_says_how_to_allow_it(host: str) -> None:
    guard = Guard(hosts=["engagelab.example.test"])
    for check in (guard.check, guard.check_page):
        with pytest.raises(ApiError, match="--allow-host"):
            check(asked(host))


@pytest.mark.parametrize("name", ["", "http://engagelab", "engagelab:8420", "a/b", "*", "a b"])
def test_a_name_that_is_not_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="not the name of a host") as caught:
        create_app(EngageLab(), allow_hosts=[name])
    assert caught.value.where == "allow_hosts"
