"""Events about the account: their fields, the checks of these, and extra fields, which are kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engagelab_mock import Account, Generator, UnknownName, UsageError, decode, encode


@pytest.fixture
def account() -> Account:
    return Account(Generator.seeded("account"))


def row(event: Any) -> Any:
    return msgspec.json.decode(encode([event]))["rows"][0]


def test_the_documents_notification_field_for_field(account: Account) -> None:
    event = account.notification("insufficient_balance", at=1712458844.9, remain_balance=-0.005, balance_threshold=2)
    assert row(event) == {
        "server": "otp",
        "itime": 1712458844,
        "notification": {
            "event": "insufficient_balance",
            "notification_data": {
                "business_id": account.business_id,
                "remain_balance": -0.005,
                "balance_threshold": 2,
            },
        },
    }


def test_an_uplink_message_field_for_field(account: Account) -> None:
    event = account.uplink("+6591234567", body="STOP", at=7, to="+12125550100", message_sid="SM1", account_sid="AC1")
    assert row(event) == {
        "server": "otp",
        "itime": 7,
        "message_id": "0",
        "business_id": "0",
        "response": {
            "event": "uplink_message",
            "response_data": {
                "message_sid": "SM1",
                "account_sid": "AC1",
                "from": "+6591234567",
                "to": "+12125550100",
                "body": "STOP",
            },
        },
    }


def test_a_system_event_field_for_field(account: Account) -> None:
    event = account.system_event("template_manage", at=7, action="update template", email="ann@example.com")
    assert row(event) == {
        "server": "otp",
        "itime": 7,
        "system_event": {
            "event": "template_manage",
            "data": {
                "business_id": account.business_id,
                "org_id": account.org_id,
                "operator": {"email": "ann@example.com", "ip_address": "203.0.113.7"},
                "template_manage": {
                    "action": "update template",
                    "template_id": account.template_key,
                    "template_name": "login code",
                },
            },
        },
    }


def test_an_operator_is_a_person_or_a_key(account: Account) -> None:
    person = row(account.system_event("api_call", at=0))["system_event"]["data"]["operator"]
    key = row(account.system_event("api_call", at=0, operator_api_key="5f1d"))["system_event"]["data"]["operator"]
    both = row(account.system_event("api_call", at=0, operator_api_key="5f1d", email="a@b.example"))
    assert set(person) == {"email", "ip_address"}
    assert key == {"api_key": "5f1d", "ip_address": "203.0.113.7"}
    assert set(both["system_event"]["data"]["operator"]) == {"email", "api_key", "ip_address"}


@pytest.mark.parametrize("action", ["login_success", "logout", None])
def test_only_a_failed_login_has_a_reason(account: Account, action: str | None) -> None:
    given = {} if action is None else {"action": action}
    login = row(account.system_event("account_login", at=0, **given))["system_event"]["data"]["account_login"]
    assert login == {"action": action or "login_success"}
    with pytest.raises(UsageError, match="fail_reason goes with action 'login_failed' only"):
        account.system_event("account_login", at=0, fail_reason="locked", **given)


def test_a_failed_login_has_the_reason_given_or_a_likely_one(account: Account) -> None:
    for given, reason in (({}, "wrong password"), ({"fail_reason": "locked"}, "locked")):
        login = account.system_event("account_login", at=0, action="login_failed", **given)
        assert row(login)["system_event"]["data"]["account_login"] == {"action": "login_failed", "fail_reason": reason}


def test_an_undocumented_event_has_the_fields_it_is_given(account: Account) -> None:
    data = row(account.system_event("msg_history", at=0, exported=True))["system_event"]["data"]
    assert data["msg_history"] == {"exported": True}
    assert row(account.system_event("msg_history", at=0))["system_event"]["data"]["msg_history"] == {}


def test_a_field_the_vendor_may_add_is_kept_through_decoding(account: Account) -> None:
    event = account.notification("insufficient_balance", at=0, region={"code": "SG"})
    body = encode([event])
    assert b'"balance_threshold":2,"region":{"code":"SG"}}' in body
    [decoded] = decode(body).rows
    assert (decoded.kind, decoded.name) == ("notification", "insufficient_balance")


def test_events_with_the_same_extra_fields_are_equal(account: Account) -> None:
    assert account.notification("insufficient_balance", at=0, region="SG") == account.notification(
        "insufficient_balance", at=0, region="SG"
    )
    assert account.notification("insufficient_balance", at=0, region="SG") != account.notification(
        "insufficient_balance", at=0, region="TH"
    )


def test_the_same_seed_makes_the_same_data() -> None:
    def make(seed: int) -> bytes:
        account = Account(Generator.seeded(seed))
        return encode([account.uplink("+6591234567", body="STOP", at=0), account.system_event("key_manage", at=0)])

    assert make(1) == make(1)
    assert make(1) != make(2)


NOTIFY = "insufficient_balance"
LOGIN = "account_login"
WRONG = [
    ("notification", (NOTIFY,), {"remain_balance": "1"}, UsageError, "remain_balance is a number, not '1'"),
    ("notification", (NOTIFY,), {"remain_balance": True}, UsageError, "remain_balance is a number, not True"),
    ("notification", (NOTIFY,), {"remain_balance": None}, UsageError, "remain_balance is a number, not None"),
    ("notification", (NOTIFY,), {"remain_balance": float("nan")}, UsageError, "JSON has no number for"),
    ("notification", (NOTIFY,), {"remain_balance": float("-inf")}, UsageError, "JSON has no number for"),
    ("notification", (NOTIFY,), {"business_id": 100917676394736}, UsageError, "business_id is a string, not 1009"),
    ("notification", (NOTIFY,), {"currency": 840}, UsageError, "currency is a string, not 840"),
    ("notification", ("template_audit_result",), {"status": 1.5}, UsageError, "status is a string or integer, not 1.5"),
    ("notification", (NOTIFY,), {"remain_balence": 1}, UnknownName, "did you mean 'remain_balance'?"),
    ("notification", (NOTIFY,), {"threshold": 1}, UsageError, "it is a field of insufficient_verification_rate"),
    ("notification", (NOTIFY,), {"new": object()}, UsageError, "new cannot be written as JSON"),
    ("notification", (NOTIFY,), {"new": float("nan")}, UsageError, "JSON has no number for"),
    ("notification", (NOTIFY,), {"new-field": 1}, UsageError, "'new-field' cannot be the name of a field"),
    ("notification", ("insufficient_balanse",), {}, UnknownName, "did you mean 'insufficient_balance'?"),
    ("notification", (LOGIN,), {}, UnknownName, "unknown notification 'account_login'"),
    ("notification", (["sent"],), {}, UnknownName, "unknown notification"),
    ("uplink", ("006591234567",), {"body": "STOP"}, UsageError, "did you mean '+6591234567'?"),
    ("uplink", (6591234567,), {"body": "STOP"}, UsageError, "a recipient is a string"),
    ("uplink", ("+6591234567",), {"body": b"STOP"}, UsageError, "body is a string, not b'STOP'"),
    ("uplink", ("+6591234567",), {"body": "STOP", "to": 81234}, UsageError, "to is a string, not 81234"),
    ("uplink", ("+6591234567",), {"body": "STOP", "from": "+1"}, UsageError, "'from' is the sender"),
    ("uplink", ("+6591234567",), {"body": "STOP", "mesage_sid": "1"}, UnknownName, "did you mean 'message_sid'?"),
    ("system_event", ("account_logon",), {}, UnknownName, "did you mean 'account_login'?"),
    ("system_event", (NOTIFY,), {}, UnknownName, "unknown system event 'insufficient_balance'"),
    ("system_event", (LOGIN,), {"action": "login_fail"}, UnknownName, "did you mean 'login_failed'?"),
    ("system_event", (LOGIN,), {"action": "create"}, UnknownName, "unknown action 'create'"),
    ("system_event", (LOGIN,), {"action": 1}, UsageError, "action is a string, not 1"),
    ("system_event", (LOGIN,), {"action": "login_failed", "fail_reason": 3}, UsageError, "fail_reason is a string"),
    ("system_event", (LOGIN,), {"api_path": "/v1"}, UsageError, "it is a field of api_call"),
    ("system_event", ("api_call",), {"action": "create"}, UsageError, "api_call has no action"),
    ("system_event", ("msg_history",), {"action": "create"}, UsageError, "msg_history has no action"),
    ("system_event", ("key_manage",), {"action": "delete api_kye"}, UnknownName, "did you mean 'delete api_key'?"),
    ("system_event", ("key_manage",), {"ip_adress": "1"}, UnknownName, "did you mean 'ip_address'?"),
    ("system_event", ("key_manage",), {"ip_address": 1}, UsageError, "ip_address is a string, not 1"),
]


@pytest.mark.parametrize(("maker", "arguments", "fields", "error", "told"), WRONG)
def test_a_value_that_the_vendor_does_not_have_is_refused(
    account: Account, maker: str, arguments: tuple[Any, ...], fields: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error) as caught:
        getattr(account, maker)(*arguments, at=0, **fields)
    assert told in str(caught.value)
    assert caught.value.__cause__ is None
