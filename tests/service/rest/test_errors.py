"""Every error code: for its real reason, if it has one, and set by a rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engagelab_mock import ERROR_CODES, ApiError, ApiSettings, EngageLab, UnknownName, UsageError
from tests.service.rest.client import TO, Client, Said, basic, said

TEN_MINUTES = 600


def wrong_credentials(client: Client) -> Said:
    return Client(client.engagelab, "Basic eHg=").send()


def not_json(client: Client) -> Said:
    return said(client.request("POST", "/v1/messages", b"{"))


def bad_parameters(client: Client) -> Said:
    return client.post("/v1/messages", {"to": TO})


def used_code(client: Client) -> Said:
    message_id = client.sent()
    code = client.engagelab.inbox(TO).code
    assert client.verify(message_id, code).content["verified"] is True
    return client.verify(message_id, code)


def expired_code(client: Client) -> Said:
    message_id = client.sent()
    code = client.engagelab.inbox(TO).code
    client.engagelab.clock.advance(TEN_MINUTES)
    return client.verify(message_id, code)


def no_channel(client: Client) -> Said:
    return client.post("/v1/template-configs", {"template_id": "x", "send_channel_strategy": "sms"})


def a_channel_that_does_not_reach(client: Client) -> Said:
    return client.send("user@example.com", "sandbox-otp-tpl-wa")


def rate_limited(client: Client) -> Said:
    client.sent()
    return client.send()


def pending_template(client: Client) -> Said:
    client.engagelab.audit_template("sandbox-otp-tpl", "pending")
    return client.send(template="sandbox-otp-tpl")


def unknown_message(client: Client) -> Said:
    return client.verify("1742442805608914944", "123456")


def unknown_template(client: Client) -> Said:
    return client.get("/v1/template-configs/nowhere")


def invalid_number(client: Client) -> Said:
    return client.send("6591234567")


def blacklisted(client: Client) -> Said:
    return client.send("+10000000011")


def unsubscribed(client: Client) -> Said:
    return client.send("+10000000012")


REAL: list[tuple[int, Callable[[Client], Said]]] = [
    (2001, wrong_credentials),
    (3001, not_json),
    (3002, bad_parameters),
    (3003, used_code),
    (3003, expired_code),
    (3003, no_channel),
    (3003, a_channel_that_does_not_reach),
    (3004, rate_limited),
    (3013, pending_template),
    (4001, unknown_message),
    (4001, unknown_template),
    (5011, invalid_number),
    (5013, blacklisted),
    (5019, unsubscribed),
]


@pytest.mark.parametrize(("code", "provoke"), REAL, ids=lambda value: getattr(value, "__name__", value))
def test_a_code_is_answered_for_its_real_reason(client: Client, code: int, provoke: Callable[[Client], Said]) -> None:
    answer = provoke(client)
    assert (answer.status, answer.code) == (ERROR_CODES[code].http_status, code)
    assert sorted(answer.content) == ["code", "message"]
    assert len(client.engagelab.journal.refusals) == 1


@pytest.mark.parametrize("code", ERROR_CODES)
@pytest.mark.parametrize("call", ["messages", "codes", "custom-messages", "verifications", "template-configs"])
def test_every_code_can_be_forced_on_every_call(client: Client, call: str, code: int) -> None:
    calls: dict[str, Callable[[], Said]] = {
        "messages": client.send,
        "codes": lambda: client.send_code("1234"),
        "custom-messages": client.send_custom,
        "verifications": lambda: client.verify("1", "1"),
        "template-configs": lambda: client.get("/v1/template-configs"),
    }
    rule = client.engagelab.rule(call=call, error=code)
    answer = calls[call]()
    assert (answer.status, answer.content) == (
        ERROR_CODES[code].http_status,
        {"code": code, "message": ERROR_CODES[code].message},
    )
    assert client.engagelab.journal.deliveries == []
    rule.cancel()
    assert calls[call]().content != answer.content


def test_every_code_of_the_table_is_tried() -> None:
    # The rest has no reason here: accounts, money, networks and people, of which there are none.
    assert sorted({code for code, _ in REAL}) == [2001, 3001, 3002, 3003, 3004, 3013, 4001, 5011, 5013, 5019]


def test_a_forced_error_can_have_any_text(client: Client) -> None:
    client.engagelab.rule(error=5001, message="sender config is invalid: unpaid")
    assert client.send().content == {"code": 5001, "message": "sender config is invalid: unpaid"}


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic ???",
        "Basic a2V5",
        "Basic OnNlY3JldA==",
        "Basic a2V5Og==",
        "Bearer a2V5OnNlY3JldA==",
        "Basic a2V5OnNlY3JldA==x",
        "Basic /////w==",
        "Basic \N{SNOWMAN}",
        "a2V5OnNlY3JldA==",
    ],
)
def test_invalid_credentials_are_2001(engagelab: EngageLab, authorization: str) -> None:
    answer = Client(engagelab, authorization).request("GET", "/v1/template-configs")
    assert (answer.status, said(answer).code) == (401, 2001)
    assert dict(answer.headers)["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("authorization", [basic(), basic("a", "b:c"), "basic a2V5OnNlY3JldA==", basic("Jürgen", "ß")])
def test_any_pair_is_let_in_by_default(engagelab: EngageLab, authorization: str) -> None:
    assert Client(engagelab, authorization).get("/v1/template-configs").status == 200


def test_a_pinned_pair_is_the_only_one() -> None:
    with EngageLab(api=ApiSettings(dev_key="key", dev_secret="secret")) as engagelab:
        engagelab.api.authenticate(basic())
        for pair in [("key", "Secret"), ("yek", "secret"), ("sandbox_demo", "sandbox_secret")]:
            with pytest.raises(ApiError) as caught:
                engagelab.api.authenticate(basic(*pair))
            assert (caught.value.code, caught.value.http_status) == (2001, 401)


@pytest.mark.parametrize(
    "settings", [{"dev_key": "key"}, {"dev_secret": "secret"}, {"dev_key": "a:b", "dev_secret": "c"}, {"dev_key": None}]
)
def test_credentials_that_cannot_be_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="ApiSettings"):
        ApiSettings(**settings)  # type: ignore[arg-type]


def test_an_invalid_template_status_is_refused() -> None:
    with pytest.raises(UnknownName, match="approved"):
        ApiSettings(template_status="aproved")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/mesages", "/v1/messages/", "/v2/messages", "", "/v1/codes/1"]
)
def test_an_unknown_path_is_404(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.code) == (404, 4001)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/messages", "POST"),
        ("PUT", "/v1/template-configs", "POST, GET"),
        ("POST", "/v1/template-configs/login", "GET, DELETE"),
        ("post", "/v1/messages", "POST"),
    ],
)
def test_a_method_that_is_not_allowed_is_405(client: Client, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert (answer.status, said(answer).code, dict(answer.headers)["Allow"]) == (405, 3002, allowed)


def test_an_internal_error_is_1000_without_its_text_and_fails_the_test(client: Client) -> None:
    client.engagelab.defaults["fault"] = "no_such_fault"
    answer = client.send()
    assert (answer.status, answer.content) == (500, {"code": 1000, "message": "internal error"})
    assert client.engagelab.accepted.latest("login", TO) is None
    with pytest.raises(Exception, match=r"POST /v1/messages: UnknownName: .*unknown fault 'no_such_fault'"):
        client.engagelab.settle()
    client.engagelab.settle()
