"""The vendor's sandbox: recipients with a known behaviour, templates, credentials [X]."""

from __future__ import annotations

import msgspec

from engagelab_mock.messages.scenario import Scenario
from engagelab_mock.messages.template import CodeConfig, Template

#: The credentials of the sandbox; the documents name two pairs.
CREDENTIALS = (
    ("engagelab_sandbox_demo", "engagelab_sandbox_secret"),
    ("sandbox_demo", "sandbox_secret"),
)


class Magic(msgspec.Struct, frozen=True, kw_only=True):
    """Describe the behaviour of a sandbox recipient: the API error of sending to it, or its scenario.

    >>> MAGIC["+10000000005"].code
    '123456'
    """

    behaviour: str
    #: The API's error code; 0 if the message is accepted.
    error: int = 0
    scenario: Scenario | None = None
    #: The right code, if it is always the same.
    code: str = ""


def _course(name: str) -> Scenario:
    return Scenario(name).then("plan")


_WHATSAPP_FAILED = (
    _course("sandbox").then("sent", channel="whatsapp").then("delivered_failed", after=8, channel="whatsapp")
)
_THEN_SMS = _WHATSAPP_FAILED.then("sent", after=2, channel="sms")

#: The sandbox's recipients [X].
MAGIC: dict[str, Magic] = {
    "+10000000000": Magic(
        behaviour="delivered after 2 s", scenario=_course("sandbox").then("sent").then("delivered", after=2)
    ),
    "+10000000005": Magic(
        behaviour="delivered; the right code is 123456",
        scenario=_course("sandbox").then("sent").then("delivered", after=2),
        code="123456",
    ),
    "+10000000010": Magic(behaviour="delivered at once", scenario=_course("sandbox").then("sent").then("delivered")),
    "sandbox@example.com": Magic(
        behaviour="delivered by e-mail", scenario=_course("sandbox").then("sent").then("delivered", after=2)
    ),
    "+10000000001": Magic(behaviour="refused with 5011", error=5011),
    "+10000000011": Magic(behaviour="refused with 5013", error=5013),
    "+10000000012": Magic(behaviour="refused with 5019", error=5019),
    "+10000000099": Magic(behaviour="refused with 3004", error=3004),
    "+10000000002": Magic(
        behaviour="accepted, then delivered_failed with 5012",
        scenario=_course("sandbox").then("sent", after=2).then("delivered_failed", after=8, error=5012),
    ),
    "+10000000018": Magic(
        behaviour="accepted, then delivered_failed with 5018",
        scenario=_course("sandbox").then("sent", after=2).then("delivered_failed", after=8, error=5018),
    ),
    "+10000000003": Magic(behaviour="accepted, but there is never a callback", scenario=Scenario("sandbox")),
    "+10000000004": Magic(
        behaviour="WhatsApp delivered_failed, SMS sent, SMS delivered",
        scenario=_THEN_SMS.then("delivered", after=5, channel="sms"),
    ),
    "+10000000014": Magic(
        behaviour="WhatsApp, SMS, voice: all fail",
        scenario=_THEN_SMS.then("delivered_failed", after=5, channel="sms")
        .then("sent", after=2, channel="voice")
        .then("delivered_failed", after=30, channel="voice"),
    ),
    "+10000000024": Magic(
        behaviour="WhatsApp sent, delivered, no fallback",
        scenario=_course("sandbox").then("sent", channel="whatsapp").then("delivered", after=2, channel="whatsapp"),
    ),
}

_PLAIN = {"template_type": 1, "template_default_config": {"contain_security": False, "contain_expire": False}}


def sandbox_templates(at: float) -> tuple[Template, ...]:
    """Return the sandbox's templates [X]; their channels are inferred from their names [?].

    None of them has e-mail, which cannot be combined with phone channels [D]. The sandbox's address gets e-mail
    with each template.

    >>> [template.template_id for template in sandbox_templates(0)]
    ['sandbox-otp-tpl', 'sandbox-otp-tpl-wa', 'sandbox-custom-tpl']
    """
    return (
        Template(
            template_id="sandbox-otp-tpl",
            description="WhatsApp, then SMS, then voice",
            send_channel_strategy="whatsapp|sms|voice",
            brand_name="Sandbox",
            verify_code_config=CodeConfig(),
            whatsapp_config=_PLAIN,
            sms_config=_PLAIN,
            voice_config=_PLAIN,
            created_time=int(at),
        ),
        Template(
            template_id="sandbox-otp-tpl-wa",
            description="WhatsApp only",
            send_channel_strategy="whatsapp",
            brand_name="Sandbox",
            verify_code_config=CodeConfig(),
            whatsapp_config=_PLAIN,
            created_time=int(at),
        ),
        Template(
            template_id="sandbox-custom-tpl",
            description="for custom messages",
            send_channel_strategy="sms",
            brand_name="Sandbox",
            sms_config={
                "template_type": 2,
                "template_custom_config": {
                    "custom_sub_type": "utility",
                    "custom_content": "Message from {{brand_name}}: {{code}}",
                },
            },
            created_time=int(at),
        ),
    )
