"""Codes, templates and the inbox: what the app sends, and what its users get."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from engagelab_mock import EngageLab, Interception, NothingReceived, Scenario

API = "https://otp.api.engagelab.cc/v1"
PHONE = "+6591234567"


# [app]
def call(method: str, path: str, content: Any = None) -> requests.Response:
    return requests.request(method, f"{API}/{path}", json=content, auth=("key", "secret"), timeout=10)


def send(to: str = PHONE, template: str = "login", **more: Any) -> requests.Response:
    return call("POST", "messages", {"to": to, "template": {"id": template, **more}})


def verify(message_id: str, code: str) -> requests.Response:
    return call("POST", "verifications", {"message_id": message_id, "verify_code": code})


# [fixture]
@pytest.fixture(autouse=True)
def api(engagelab_api: Interception) -> None:
    """Have the API answered in process."""


# [inbox]
def test_a_user_enters_the_code(engagelab: EngageLab) -> None:
    message_id = send().json()["message_id"]
    inbox = engagelab.inbox(PHONE)
    assert inbox.text == f"Your verification code is {inbox.code}."
    assert inbox[0].channel == "sms"
    assert verify(message_id, inbox.code).json()["verified"] is True
    assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]


# [nothing]
def test_nothing_arrives(engagelab: EngageLab) -> None:
    engagelab.rule(PHONE, scenario="delivered_failed")
    send()
    with pytest.raises(NothingReceived, match=r"accepted: \d+, delivered_failed \(5012\)"):
        engagelab.inbox(PHONE).code  # noqa: B018


# [codes]
def test_a_code_is_good_for_one_use_and_for_five_minutes(engagelab: EngageLab) -> None:
    message_id = send().json()["message_id"]
    code = engagelab.inbox(PHONE).code
    assert verify(message_id, "wrong").json()["verified"] is False
    assert send().json()["code"] == 3004  # not while that one is valid
    assert verify(message_id, code).json()["verified"] is True
    assert verify(message_id, code).json()["code"] == 3003

    message_id = send().json()["message_id"]
    engagelab.clock.advance(minutes=5)
    assert engagelab.journal.statuses[-1] == "verified_timeout"
    assert verify(message_id, engagelab.inbox(PHONE).code).json()["code"] == 3003


# [template]
LOGIN = {
    "template_id": "login",
    "send_channel_strategy": "whatsapp|sms",
    "brand_name": "Acme",
    "verify_code_config": {"verify_code_type": 5, "verify_code_len": 8, "verify_code_ttl": 10},
    "whatsapp_config": {
        "template_type": 1,
        "template_default_config": {"contain_security": False, "contain_expire": True},
    },
    "sms_config": {
        "template_type": 2,
        "template_custom_config": {
            "custom_sub_type": "authentication",
            "custom_content": "{{name}}, {{code}} is your {{brand_name}} code for {{ttl}} minutes. {{ps}}",
        },
    },
}


def test_what_a_template_makes_of_a_code(engagelab: EngageLab) -> None:
    call("POST", "template-configs", LOGIN).raise_for_status()
    engagelab.rule(template="login", scenario="fallback")  # WhatsApp fails, SMS is next in the strategy
    send(params={"name": "Ann"})
    message = engagelab.inbox(PHONE)[-1]
    assert message.channel == "sms"
    assert len(message.code) == 8
    # Nobody set {{ps}}, so it is sent as it is.
    assert message.text == f"Ann, {message.code} is your Acme code for 10 minutes. {{{{ps}}}}"


# [strict]
@pytest.mark.engagelab(strict_templates=True)
def test_a_template_that_does_not_exist() -> None:
    assert send().json() == {"code": 4001, "message": "config not exist"}


# [audit]
def test_a_template_is_rejected(engagelab: EngageLab) -> None:
    call("POST", "template-configs", LOGIN).raise_for_status()
    engagelab.audit_template("login", "rejected", reason="no brand")
    assert engagelab.journal.statuses == ["template_audit_result"]
    assert send().json()["code"] == 3013


# [rules]
def test_the_service_fails_twice(engagelab: EngageLab) -> None:
    engagelab.rule(call="messages", error=1000, times=2)
    assert [send().status_code for _ in range(3)] == [500, 500, 200]


def test_one_user_is_blacklisted(engagelab: EngageLab) -> None:
    rule = engagelab.rule(PHONE, error=5013)
    assert send().json()["code"] == 5013
    assert send("+6591234568").ok
    rule.cancel()
    assert send().ok


def test_a_course_of_one_s_own(engagelab: EngageLab) -> None:
    slow = Scenario("slow").then("plan").then("sent", after=2).then("delivered", after=240)
    engagelab.rule(scenario=slow)
    send()
    engagelab.settle()
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


# [early]
@pytest.mark.engagelab(callback_before_response=True)
def test_callbacks_that_come_before_the_answer(engagelab: EngageLab) -> None:
    send()
    recorder = engagelab.receiver.recorder
    assert recorder is not None
    assert [received.statuses for received in recorder.received] == [["plan"], ["sent"], ["delivered"]]


# [custom]
def test_a_custom_message_to_several(engagelab: EngageLab) -> None:
    content = {"to": [PHONE, "user@example.com"], "template": {"id": "sandbox-custom-tpl", "params": {"code": "A-17"}}}
    call("POST", "custom-messages", content).raise_for_status()
    assert [message.code for message in engagelab.inbox()] == ["A-17", "A-17"]
