"""The requests and answers of EngageLab's own API, as types from which the OpenAPI document is generated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engagelab_mock.messages.template import LANGUAGES
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.status import Channel
from engagelab_mock.server.app import Operation
from engagelab_mock.server.schemas import SavedWebhook, To, Webhook

_CODES = ", ".join(f"{entry.code} {entry.message}" for entry in ERROR_CODES.values())
_CHANNELS = "|".join(Channel)
Text = Annotated[str, Meta(min_length=1)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
CustomArgs = Annotated[dict[str, Any] | None, Meta(description="Repeated in each row of the callbacks.")]
Language = Annotated[str, Meta(extra_json_schema={"enum": [*LANGUAGES]})]


class Error(msgspec.Struct):
    """The answer to every call that is not accepted."""

    code: Annotated[int, Meta(description=f"The error: {_CODES}.")]
    message: str


class Success(msgspec.Struct):
    """The call was accepted."""

    code: Literal[0]
    message: Literal["success"]


class Template(msgspec.Struct):
    """The template to send, and the values to fill in."""

    id: Id
    language: Annotated[
        Annotated[str, Meta(extra_json_schema={"enum": [*LANGUAGES, ""]})] | None,
        Meta(description="The language of an e-mail."),
    ] = "default"
    params: Annotated[dict[str, str] | None, Meta(description="Values of the template's own variables.")] = None


class NewMessage(msgspec.Struct):
    """A message with a code that EngageLab makes."""

    to: To
    template: Template
    custom_args: CustomArgs = None


class NewCode(msgspec.Struct):
    """A message with a code of your own."""

    to: To
    code: Annotated[str, Meta(min_length=1, max_length=64)]
    template: Template
    custom_args: CustomArgs = None


class NewCustomMessage(msgspec.Struct):
    """A message without a code of EngageLab's. `template.params.code` is required for a verification template."""

    to: To | Annotated[list[To], Meta(min_length=1, max_length=1000)]
    template: Template
    custom_args: CustomArgs = None


class Accepted(msgspec.Struct):
    """The accepted message."""

    message_id: Annotated[str, Meta(pattern="^[0-9]{1,19}$")]
    send_channel: Annotated[Channel, Meta(description="The channel that is tried first.")]


class NewVerification(msgspec.Struct):
    """A code that a user entered."""

    message_id: Text
    verify_code: Text


class Verification(msgspec.Struct):
    """Whether the code is right."""

    message_id: str
    verify_code: str
    verified: bool


class VerifyCodeConfig(msgspec.Struct):
    """How a template's codes are made."""

    verify_code_type: Annotated[
        int,
        Meta(ge=1, le=7, description="The characters, as a sum: 1 digits, 2 lower-case letters, 4 upper-case letters."),
    ]
    verify_code_len: Annotated[int, Meta(ge=4, le=10)]
    verify_code_ttl: Annotated[
        int, Meta(ge=1, le=10, description="Minutes; 1, 5 or 10 if WhatsApp is in the strategy.")
    ]


class DefaultConfig(msgspec.Struct):
    """The parts of a ready-made text."""

    contain_security: bool
    contain_expire: bool


class ReadyMade(msgspec.Struct, tag_field="template_type", tag=1):
    """A ready-made text."""

    template_default_config: DefaultConfig


class CustomConfig(msgspec.Struct):
    """A text of your own."""

    custom_sub_type: Literal["authentication", "marketing", "utility"]
    custom_content: Annotated[str, Meta(min_length=1, description="With {{code}} if it is for authentication.")]
    custom_country_codes: str | None = None


class Custom(msgspec.Struct, tag_field="template_type", tag=2):
    """A text of your own, for SMS."""

    template_custom_config: CustomConfig


class Mail(msgspec.Struct):
    """An e-mail in one language."""

    language: Language
    pre_from_mail: Text
    pre_subject: Text
    template_content: Text
    pre_from_name: str | None = None
    pre_param_map: dict[str, str] | None = None


class MailConfig(msgspec.Struct):
    """The e-mails of a template."""

    template_name: Text
    template_custom_configs: list[Mail] | None = None


class PwaConfig(msgspec.Struct):
    """The app that shows a template's codes."""

    pwa_platform: str | None = None
    pwa_code: str | None = None


class TemplateConfig(msgspec.Struct):
    """A template."""

    template_id: Id
    send_channel_strategy: Annotated[
        str,
        Meta(
            pattern=f"^({_CHANNELS})(\\|({_CHANNELS}))*$",
            description="The channels, in the order in which they are tried.",
            examples=["whatsapp|sms|voice"],
        ),
    ]
    description: Annotated[str, Meta(max_length=255)] | None = None
    brand_name: (
        Annotated[str, Meta(extra_json_schema={"anyOf": [{"minLength": 2, "maxLength": 10}, {"enum": [""]}]})] | None
    ) = None
    verify_code_config: Annotated[
        VerifyCodeConfig | None, Meta(description="Required if the template contains a code.")
    ] = None
    whatsapp_config: Annotated[ReadyMade | None, Meta(description="Required if whatsapp is in the strategy.")] = None
    sms_config: Annotated[ReadyMade | Custom | None, Meta(description="Required if sms is in the strategy.")] = None
    voice_config: Annotated[ReadyMade | None, Meta(description="Required if voice is in the strategy.")] = None
    email_config: Annotated[MailConfig | None, Meta(description="Required if email is in the strategy.")] = None
    pwa_config: Annotated[PwaConfig | None, Meta(description="Required if pwa is in the strategy.")] = None


class TemplateSummary(msgspec.Struct):
    """A template; in lists, its channels' configurations without their contents."""

    template_id: str
    send_channel_strategy: str
    created_time: Annotated[int, Meta(description="Unix seconds.")]
    status: Annotated[Literal[1, 2, 3], Meta(description="1 pending, 2 approved, 3 rejected.")]
    description: str | UnsetType = UNSET
    brand_name: str | UnsetType = UNSET
    verify_code_config: VerifyCodeConfig | UnsetType = UNSET
    whatsapp_config: dict[str, Any] | UnsetType = UNSET
    sms_config: dict[str, Any] | UnsetType = UNSET
    voice_config: dict[str, Any] | UnsetType = UNSET
    email_config: dict[str, Any] | UnsetType = UNSET
    pwa_config: dict[str, Any] | UnsetType = UNSET
    audit_remark: str | UnsetType = UNSET


_SENDING = {
    400: "3001 not JSON, 3002 bad parameters, 3003 business rules, 3004 again within the code's validity, 4001 no such "
    "template, 5001 and above: it cannot be sent."
}
_TEMPLATES = "/v1/template-configs"
#: The calls of EngageLab's own API [D]; `service.rest` answers them.
REST = (
    Operation(
        "POST",
        "/v1/messages",
        "sendMessage",
        "Send a code that EngageLab makes",
        "Accepted: callbacks follow.",
        Accepted,
        body=NewMessage,
        example={"to": "+6591234567", "template": {"id": "my-template", "language": "default", "params": {}}},
        refused=_SENDING,
    ),
    Operation(
        "POST",
        "/v1/codes",
        "sendCode",
        "Send a code of your own; EngageLab does not verify it",
        "Accepted: callbacks follow.",
        Accepted,
        body=NewCode,
        example={"to": "+6591234567", "code": "398210", "template": {"id": "my-template"}},
        refused=_SENDING,
    ),
    Operation(
        "POST",
        "/v1/custom-messages",
        "sendCustomMessage",
        "Send a template with values of your own",
        "Accepted: callbacks follow.",
        Accepted,
        body=NewCustomMessage,
        example={"to": "+6591234567", "template": {"id": "my-template", "params": {"code": "398210"}}},
        refused=_SENDING,
    ),
    Operation(
        "POST",
        "/v1/verifications",
        "verifyCode",
        "Verify a code that a user entered",
        "Whether it is the right one.",
        Verification,
        body=NewVerification,
        example={"message_id": "1725407449772531712", "verify_code": "398210"},
        refused={400: "3001 not JSON, 3002 bad parameters, 3003 verified already or expired, 4001 no such message."},
    ),
    Operation(
        "GET",
        _TEMPLATES,
        "listTemplates",
        "List the templates",
        "Every template, in short.",
        list[TemplateSummary],
        refused={400: "3002: bad parameters."},
    ),
    Operation(
        "POST",
        _TEMPLATES,
        "createTemplate",
        "Create a template",
        "Created.",
        Success,
        body=TemplateConfig,
        example={
            "template_id": "my-template",
            "send_channel_strategy": "sms",
            "brand_name": "Acme",
            "verify_code_config": {"verify_code_type": 1, "verify_code_len": 6, "verify_code_ttl": 5},
            "sms_config": {
                "template_type": 1,
                "template_default_config": {"contain_security": True, "contain_expire": True},
            },
        },
        refused={400: "3001 not JSON, 3002 bad parameters, 3003 no configuration for a channel of the strategy."},
    ),
    Operation(
        "GET",
        f"{_TEMPLATES}/{{templateId}}",
        "getTemplate",
        "Get a template",
        "The template in full.",
        TemplateSummary,
        refused={400: "4001: the template is unknown."},
    ),
    Operation(
        "DELETE",
        f"{_TEMPLATES}/{{templateId}}",
        "deleteTemplate",
        "Delete a template",
        "Deleted.",
        Success,
        refused={400: "4001: the template is unknown."},
    ),
    Operation(
        "PUT",
        "/v1/sandbox/webhook",
        "setWebhook",
        "Set where callbacks go, as in the vendor's sandbox",
        "Saved, and its address validated.",
        SavedWebhook,
        body=Webhook,
        example={"url": "http://127.0.0.1:5000/engagelab", "username": "acme", "secret": "s3cret"},
        refused={400: "3001 not JSON, 3002 bad parameters."},
    ),
)
