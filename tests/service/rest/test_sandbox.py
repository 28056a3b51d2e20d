"""The vendor's sandbox: its recipients behave as its table says, with its templates and without any."""

from __future__ import annotations

import pytest

from engagelab_mock import MAGIC, ApiSettings, EngageLab
from tests.service.rest.client import Client, basic

DELIVERED = [("plan", "", 0), ("sent", "sms", 0), ("delivered", "sms", 0)]

REFUSED = {"+10000000001": 5011, "+10000000011": 5013, "+10000000012": 5019, "+10000000099": 3004}

#: What each of the others is told of: status, channel, error code.
TABLE: dict[str, list[tuple[str, str, int]]] = {
    "+10000000000": DELIVERED,
    "+10000000005": DELIVERED,
    "+10000000010": DELIVERED,
    "sandbox@example.com": [("plan", "", 0), ("sent", "email", 0), ("delivered", "email", 0)],
    "+10000000002": [("plan", "", 0), ("sent", "sms", 0), ("delivered_failed", "sms", 5012)],
    "+10000000018": [("plan", "", 0), ("sent", "sms", 0), ("delivered_failed", "sms", 5018)],
    "+10000000003": [],
    "+10000000004": [
        ("plan", "", 0),
        ("sent", "whatsapp", 0),
        ("delivered_failed", "whatsapp", 5012),
        ("sent", "sms", 0),
        ("delivered", "sms", 0),
    ],
    "+10000000014": [
        ("plan", "", 0),
        ("sent", "whatsapp", 0),
        ("delivered_failed", "whatsapp", 5012),
        ("sent", "sms", 0),
        ("delivered_failed", "sms", 5012),
        ("sent", "voice", 0),
        ("delivered_failed", "voice", 5012),
    ],
    "+10000000024": [("plan", "", 0), ("sent", "whatsapp", 0), ("delivered", "whatsapp", 0)],
}


def told(engagelab: EngageLab) -> list[tuple[str, str, int]]:
    return [
        (event.name, event.status.status_data.current_send_channel, event.status.error_code)  # type: ignore[attr-defined]
        for event in engagelab.journal.events
    ]


def test_the_table_is_whole() -> None:
    assert {*REFUSED, *TABLE} == set(MAGIC)


@pytest.mark.parametrize("to", REFUSED)
def test_a_recipient_that_is_refused(client: Client, to: str) -> None:
    for answer in (client.send(to), client.send_code("1234", to), client.send_custom(to, code="1")):
        assert (answer.status, answer.code) == (400, REFUSED[to])


@pytest.mark.parametrize("to", TABLE)
def test_a_recipient_that_is_accepted(client: Client, to: str) -> None:
    assert client.send(to).status == 200
    assert told(client.engagelab) == TABLE[to]
    # The sandbox has no rate limit.
    assert client.send(to).status == 200


@pytest.mark.parametrize("to", ["+10000000004", "+10000000014", "+10000000024", "sandbox@example.com"])
def test_over_the_sandbox_s_own_template_it_is_the_same(client: Client, to: str) -> None:
    client.sent(to, "sandbox-otp-tpl")
    assert told(client.engagelab) == TABLE[to]


def test_its_templates_are_ones_that_the_api_accepts(client: Client) -> None:
    for summary in client.get("/v1/template-configs").content:
        template = client.get(f"/v1/template-configs/{summary['template_id']}").content
        kept = ("send_channel_strategy", "description", "brand_name", "verify_code_config")
        configs = ("whatsapp_config", "sms_config", "voice_config", "email_config", "pwa_config")
        body = {name: template[name] for name in (*kept, *configs) if template.get(name)}
        assert client.post("/v1/template-configs", {"template_id": "copy", **body}).status == 200, template
        client.delete("/v1/template-configs/copy")


def test_its_address_gets_an_e_mail_with_any_of_its_templates(client: Client) -> None:
    client.sent("sandbox@example.com", "sandbox-otp-tpl-wa")
    assert client.send_custom("sandbox@example.com", "sandbox-custom-tpl", code="1").status == 200
    assert [message.channel for message in client.engagelab.inbox("sandbox@example.com")] == ["email", "email"]


def test_a_template_for_whatsapp_alone_has_nothing_to_fall_back_on(client: Client) -> None:
    client.sent("+10000000004", "sandbox-otp-tpl-wa")
    assert told(client.engagelab) == TABLE["+10000000004"][:3]


@pytest.mark.parametrize(("to", "seconds"), [("+10000000000", 2), ("+10000000010", 0)])
def test_how_long_it_takes(client: Client, to: str, seconds: int) -> None:
    start = client.engagelab.clock.time()
    client.sent(to)
    client.engagelab.settle()
    assert client.engagelab.clock.time() - start == seconds


def test_the_right_code_is_123456(client: Client) -> None:
    message_id = client.sent("+10000000005")
    assert client.verify(message_id, "654321").content["verified"] is False
    assert client.verify(message_id, "123456").content["verified"] is True
    assert client.verify(message_id, "123456").code == 3003
    late = client.sent("+10000000005")
    client.engagelab.clock.advance(minutes=5)
    assert client.verify(late, "123456").code == 3003


@pytest.mark.parametrize(
    "pair", [("engagelab_sandbox_demo", "engagelab_sandbox_secret"), ("sandbox_demo", "sandbox_secret")]
)
def test_its_credentials_are_let_in(engagelab: EngageLab, pair: tuple[str, str]) -> None:
    assert Client(engagelab, basic(*pair)).get("/v1/template-configs").status == 200


def test_without_the_sandbox_its_recipients_are_like_any_other() -> None:
    with EngageLab(api=ApiSettings(sandbox=False)) as engagelab:
        client = Client(engagelab)
        assert client.send("+10000000001").status == 200
        assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
        assert client.get("/v1/template-configs").content == []
