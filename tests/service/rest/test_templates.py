"""/v1/template-configs: every rule of validation, and what becomes of a template."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engagelab_mock import ApiSettings, EngageLab, Receiver
from tests.eventloops import answering
from tests.service.rest.client import DEFAULT_CONFIG, TO, Client, custom_sms, email, template

DONE = {"code": 0, "message": "success"}
CODE = {"verify_code_type": 1, "verify_code_len": 6, "verify_code_ttl": 5}


def code(**more: Any) -> dict[str, Any]:
    return {**CODE, **more}


def test_a_template_is_created_listed_shown_and_deleted(client: Client) -> None:
    before = client.get("/v1/template-configs").content
    content = custom_sms("Your code is {{code}}")
    assert client.create(description="Log in", sms_config=content).content == DONE
    *rest, listed = client.get("/v1/template-configs").content
    assert rest == before
    shown = client.get("/v1/template-configs/login").content
    assert shown == {
        **template(description="Log in"),
        "sms_config": {**content, "template_parts": 1},
        "created_time": int(client.engagelab.clock.time()),
        "status": 2,
        "audit_remark": "",
    }
    assert listed == {**shown, "sms_config": {"template_type": 2, "template_parts": 1}}
    assert client.delete("/v1/template-configs/login").content == DONE
    for answer in (client.get("/v1/template-configs/login"), client.delete("/v1/template-configs/login")):
        assert (answer.status, answer.content) == (400, {"code": 4001, "message": "config not exist"})
    assert client.get("/v1/template-configs").content == before


def test_an_email_is_listed_by_its_name_alone(client: Client) -> None:
    content = email(("default", "{{code}}"))
    assert client.create(send_channel_strategy="email", sms_config=None, email_config=content).content == DONE
    assert client.get("/v1/template-configs").content[-1]["email_config"] == {"template_name": "login"}
    assert client.get("/v1/template-configs/login").content["email_config"] == content


GOOD: list[dict[str, Any]] = [
    {"template_id": "x" * 128},
    {"template_id": "with/slash and ü"},
    {"description": "x" * 255},
    {"brand_name": "ab"},
    {"brand_name": "x" * 10},
    {"brand_name": None},
    {"unknown": {"field": [1, 2, 3]}},
    {"verify_code_config": code(verify_code_type=7, verify_code_len=10, verify_code_ttl=10)},
    {"verify_code_config": code(verify_code_len=4, verify_code_ttl=1)},
    {"send_channel_strategy": "whatsapp|sms", "whatsapp_config": DEFAULT_CONFIG},
    {"send_channel_strategy": "sms|whatsapp|voice", "whatsapp_config": DEFAULT_CONFIG, "voice_config": DEFAULT_CONFIG},
    {"verify_code_config": None, "sms_config": custom_sms("hello", "utility")},
    {"verify_code_config": None, "sms_config": custom_sms("hello", "marketing")},
    {"pwa_config": {"pwa_platform": "x", "pwa_code": "y"}},
    {"send_channel_strategy": "email", "email_config": {"template_name": "plain"}},
]


@pytest.mark.parametrize("more", GOOD, ids=map(str, range(len(GOOD))))
def test_documented_values_are_accepted(client: Client, more: dict[str, Any]) -> None:
    answer = client.create(more.pop("template_id", "login"), **more)
    assert (answer.status, answer.content) == (200, DONE)


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"template_id": ""}, 3002, "template_id is empty"),
    ({"template_id": 7}, 3002, "template_id is a number, and must be a string"),
    ({"template_id": "x" * 129}, 3002, "template_id has more than 128 characters"),
    ({"description": "x" * 256}, 3002, "description has more than 255 characters"),
    ({"brand_name": "x"}, 3002, "brand_name has less than 2 characters"),
    ({"brand_name": "x" * 11}, 3002, "brand_name has more than 10 characters"),
    ({"send_channel_strategy": None}, 3002, "send_channel_strategy is required"),
    ({"send_channel_strategy": "fax"}, 3002, "has the unknown channel 'fax'"),
    ({"send_channel_strategy": "sms|"}, 3002, "has the unknown channel ''"),
    ({"send_channel_strategy": "sms|sms"}, 3002, "has a channel twice"),
    ({"send_channel_strategy": "sms|email"}, 3002, "combines email"),
    ({"sms_config": None}, 3003, "not contains any channel config"),
    ({"send_channel_strategy": "sms|voice"}, 3003, "not contains voice_config"),
    ({"sms_config": []}, 3002, "sms_config is an array, and must be an object"),
    ({"sms_config": {}}, 3002, "sms_config.template_type is required"),
    ({"sms_config": {"template_type": 3}}, 3002, "sms_config.template_type is 3, and must be from 1 to 2"),
    ({"sms_config": {"template_type": True}}, 3002, "template_type is a boolean"),
    ({"sms_config": {"template_type": 1}}, 3002, "sms_config.template_default_config is required"),
    (
        {"sms_config": {"template_type": 1, "template_default_config": {"contain_security": 1}}},
        3002,
        "sms_config.template_default_config.contain_security is a number, and must be a boolean",
    ),
    ({"sms_config": {"template_type": 2}}, 3002, "sms_config.template_custom_config is required"),
    ({"sms_config": custom_sms("hello")}, 3002, "has no {{code}}, which authentication needs"),
    ({"sms_config": custom_sms("hello", "spam")}, 3002, "custom_sub_type is 'spam', and must be one of"),
    ({"send_channel_strategy": "voice", "voice_config": custom_sms("{{code}}")}, 3002, "must be from 1 to 1"),
    ({"verify_code_config": None}, 3002, "verify_code_config is required"),
    ({"verify_code_config": {}}, 3002, "verify_code_config.verify_code_type is required"),
    ({"verify_code_config": code(verify_code_type=0)}, 3002, "verify_code_type is 0, and must be from 1 to 7"),
    ({"verify_code_config": code(verify_code_type=8)}, 3002, "verify_code_type is 8"),
    ({"verify_code_config": code(verify_code_type=1.5)}, 3002, "must be an integer"),
    ({"verify_code_config": code(verify_code_len=3)}, 3002, "verify_code_len is 3, and must be from 4 to 10"),
    ({"verify_code_config": code(verify_code_len=11)}, 3002, "verify_code_len is 11"),
    ({"verify_code_config": code(verify_code_ttl=0)}, 3002, "verify_code_ttl is 0"),
    ({"verify_code_config": code(verify_code_ttl=11)}, 3002, "verify_code_ttl is 11"),
    (
        {
            "send_channel_strategy": "whatsapp|sms",
            "whatsapp_config": DEFAULT_CONFIG,
            "verify_code_config": code(verify_code_ttl=2),
        },
        3002,
        "verify_code_ttl is 2, and with whatsapp must be 1, 5 or 10",
    ),
    ({"send_channel_strategy": "email", "email_config": {}}, 3002, "email_config.template_name is required"),
    ({"send_channel_strategy": "email", "email_config": email(("de", "x"))}, 3002, "language is 'de'"),
    ({"send_channel_strategy": "email", "email_config": email(("en", ""))}, 3002, "template_content is empty"),
    (
        {"send_channel_strategy": "email", "email_config": email(("en", "x"), ("en", "y"))},
        3002,
        "has a language twice",
    ),
    (
        {"send_channel_strategy": "email", "email_config": email(("en", "x"), pre_param_map={"name": 7})},
        3002,
        "email_config.template_custom_configs[0].pre_param_map.name is a number, and must be a string",
    ),
    (
        {"send_channel_strategy": "email", "email_config": {"template_name": "x", "template_custom_configs": [7]}},
        3002,
        "email_config.template_custom_configs[0] is a number, and must be an object",
    ),
    (
        {
            "send_channel_strategy": "email",
            "email_config": email(("en", "{{code}}")),
            "verify_code_config": None,
        },
        3002,
        "verify_code_config is required, as",
    ),
    ({"pwa_config": {"pwa_code": 7}}, 3002, "pwa_config.pwa_code is a number"),
]


@pytest.mark.parametrize(("more", "code", "message"), BAD, ids=[message for _, _, message in BAD])
def test_undocumented_values_are_refused_with_their_place(
    client: Client, more: dict[str, Any], code: int, message: str
) -> None:
    answer = client.post("/v1/template-configs", {**template(), **more})
    assert (answer.status, answer.code) == (400, code), answer
    assert message in answer.content["message"]
    assert client.get("/v1/template-configs/login").code == 4001


def test_an_id_is_taken_once(client: Client) -> None:
    client.create()
    assert client.create().code == 3003


@pytest.mark.parametrize(
    ("bits", "pattern"),
    [(1, "[0-9]"), (2, "[a-z]"), (4, "[A-Z]"), (3, "[0-9a-z]"), (5, "[0-9A-Z]"), (6, "[A-Za-z]"), (7, "[0-9A-Za-z]")],
)
def test_a_code_is_made_as_its_template_says(client: Client, bits: int, pattern: str) -> None:
    client.create(verify_code_config=code(verify_code_type=bits, verify_code_len=10))
    codes = []
    for number in range(20):
        client.sent(f"+65912345{number:02d}")
        codes.append(client.engagelab.inbox(f"+65912345{number:02d}").code)
    assert all(re.fullmatch(f"{pattern}{{10}}", drawn) for drawn in codes)
    kinds = {kind for kind in ("[0-9]", "[a-z]", "[A-Z]") if re.search(kind, "".join(codes))}
    assert len(kinds) == bits.bit_count()
    assert len(set(codes)) == 20


CONTENTS: list[tuple[str, dict[str, str], str]] = [
    ("{{code}}|{{brand_name}}|{{ttl}}", {}, "CODE|Acme|5"),
    ("{{code}} {{pwa_url}}", {}, "CODE https://pwa.example/shop"),
    ("{{code}} {{name}} {{other}}", {"name": "Ann"}, "CODE Ann {{other}}"),
    ("{{code}} {{a}}", {"a": "{{code}}"}, "CODE {{code}}"),
    ("{{code}} {{ code }} {code} {{}}", {}, "CODE {{ code }} {code} {{}}"),
    ("{{code}}", {"code": "mine"}, "CODE"),
    ("{{code}} {{brand_name}}", {"brand_name": "Evil"}, "CODE Acme"),
    ("{{code}} {{gruß}}", {"gruß": "こんにちは"}, "CODE こんにちは"),
]


@pytest.mark.parametrize(("content", "params", "text"), CONTENTS)
def test_variables_are_filled(client: Client, content: str, params: dict[str, str], text: str) -> None:
    client.create(sms_config=custom_sms(content), pwa_config={"pwa_code": "shop"})
    client.sent(params=params)
    message = client.engagelab.inbox(TO)[0]
    assert message.text == text.replace("CODE", message.code)


def test_a_ready_made_content_names_its_parts(client: Client) -> None:
    full = {"template_type": 1, "template_default_config": {"contain_security": True, "contain_expire": True}}
    client.create(sms_config=full)
    client.create("short")
    client.sent()
    client.sent(template="short")
    first, second = client.engagelab.inbox(TO)
    assert first.text == f"[Acme] Your verification code is {first.code}. Do not share it with anyone." + (
        " It expires in 5 minutes."
    )
    assert second.text == f"[Acme] Your verification code is {second.code}."


def test_an_email_has_its_own_presets(client: Client) -> None:
    content = email(
        ("default", "Hi {{name}}, {{greeting}}: {{code}}"), pre_param_map={"name": "you", "greeting": "hey"}
    )
    client.create(send_channel_strategy="email", sms_config=None, email_config=content)
    client.sent("user@example.com", params={"name": "Ann"})
    message = client.engagelab.inbox("user@example.com")[0]
    assert message.text == f"Hi Ann, hey: {message.code}"
    assert message.sender == "noreply@acme.example"


def test_a_template_that_waits_for_its_audit_sends_nothing() -> None:
    with EngageLab(api=ApiSettings(template_status="pending")) as engagelab:
        client = Client(engagelab)
        client.create()
        assert client.get("/v1/template-configs/login").content["status"] == 1
        assert client.send().code == 3013
        engagelab.audit_template("login", "rejected", reason="too short")
        shown = client.get("/v1/template-configs/login").content
        assert (shown["status"], shown["audit_remark"]) == (3, "too short")
        assert client.send().code == 3013
        engagelab.audit_template("login", "approved")
        assert client.send().status == 200
        assert engagelab.journal.statuses == ["template_audit_result"] * 2 + ["plan", "sent", "delivered"]


@pytest.mark.anyio
async def test_an_audit_is_awaited_in_the_event_loop_of_the_app() -> None:
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        [delivery] = await engagelab.aaudit_template("sandbox-otp-tpl", "rejected", reason="too short")
        assert (delivery.acknowledged, delivery.statuses) == (True, ["template_audit_result"])
        assert (await engagelab.aaudit_template("sandbox-otp-tpl", "approved"))[0].acknowledged


@pytest.mark.parametrize(("name", "status"), [("sandbox-otp-tp", "approved"), ("sandbox-otp-tpl", "aproved")])
def test_an_audit_of_nothing_or_with_no_result_is_refused(client: Client, name: str, status: str) -> None:
    with pytest.raises(ValueError, match="did you mean"):
        client.engagelab.audit_template(name, status)


@pytest.mark.parametrize(("content", "parts"), [("x" * 160, 1), ("x" * 161, 2), ("ü" * 70, 1), ("ü" * 71, 2)])
def test_a_long_sms_has_several_parts(client: Client, content: str, parts: int) -> None:
    client.create(verify_code_config=None, sms_config=custom_sms(content, "utility"))
    assert client.get("/v1/template-configs/login").content["sms_config"]["template_parts"] == parts
