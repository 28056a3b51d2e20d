"""The schemas of templates."""

from __future__ import annotations

from typing import Any

from engagelab_mock.messages.template import LANGUAGES
from engagelab_mock.protocol.status import Channel
from engagelab_mock.server.openapi.parts import Json, opened, optional, ref

_TEXT: Json = {"type": "string", "minLength": 1}
_CHANNELS = "|".join(Channel)
_DEFAULT: Json = {
    "template_type": {"const": 1},
    "template_default_config": opened(
        {"contain_security": {"type": "boolean"}, "contain_expire": {"type": "boolean"}},
        "contain_security",
        "contain_expire",
    ),
}
_CUSTOM: Json = {
    "template_type": {"const": 2},
    "template_custom_config": opened(
        {
            "custom_sub_type": {"enum": ["authentication", "marketing", "utility"]},
            "custom_content": {**_TEXT, "description": "With {{code}} if it is one of authentication."},
            "custom_country_codes": optional({"type": "string"}),
        },
        "custom_sub_type",
        "custom_content",
    ),
}
_READY_MADE = opened(_DEFAULT, "template_type", "template_default_config")
_MAIL = opened(
    {
        "language": {"enum": [*LANGUAGES]},
        "pre_from_mail": _TEXT,
        "pre_from_name": optional({"type": "string"}),
        "pre_subject": _TEXT,
        "template_content": _TEXT,
        "pre_param_map": optional({"type": "object", "additionalProperties": {"type": "string"}}),
    },
    "language",
    "pre_from_mail",
    "pre_subject",
    "template_content",
)
_STATUS: Json = {
    "created_time": {"type": "integer", "description": "Unix seconds."},
    "status": {"enum": [1, 2, 3], "description": "1 pending, 2 approved, 3 rejected."},
    "audit_remark": {"type": "string"},
}


def _described(schema: Json, channel: str) -> Json:
    return {**optional(schema), "description": f"Required if {channel} is in the strategy."}


TEMPLATE_SCHEMAS: dict[str, Any] = {
    "VerifyCodeConfig": opened(
        {
            "verify_code_type": {
                "type": "integer",
                "minimum": 1,
                "maximum": 7,
                "description": "What codes are made of, as a sum: 1 digits, 2 lower-case, 4 upper-case letters.",
            },
            "verify_code_len": {"type": "integer", "minimum": 4, "maximum": 10},
            "verify_code_ttl": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10,
                "description": "Minutes; 1, 5 or 10 if WhatsApp is in the strategy.",
            },
        },
        "verify_code_type",
        "verify_code_len",
        "verify_code_ttl",
    ),
    "TemplateConfig": opened(
        {
            "template_id": {**_TEXT, "maxLength": 128},
            "description": optional({"type": "string", "maxLength": 255}),
            "send_channel_strategy": {
                "type": "string",
                "pattern": f"^({_CHANNELS})(\\|({_CHANNELS}))*$",
                "description": "The channels, in the order in which they are tried.",
                "examples": ["whatsapp|sms|voice"],
            },
            "brand_name": optional({"type": "string", "minLength": 2, "maxLength": 10}, empty=True),
            "verify_code_config": {
                **optional(ref("VerifyCodeConfig")),
                "description": "Required if the template contains a code.",
            },
            "whatsapp_config": _described(_READY_MADE, "whatsapp"),
            "sms_config": _described(
                {"anyOf": [_READY_MADE, opened(_CUSTOM, "template_type", "template_custom_config")]}, "sms"
            ),
            "voice_config": _described(_READY_MADE, "voice"),
            "email_config": _described(
                opened(
                    {"template_name": _TEXT, "template_custom_configs": optional({"type": "array", "items": _MAIL})},
                    "template_name",
                ),
                "email",
            ),
            "pwa_config": _described(
                opened({"pwa_platform": optional({"type": "string"}), "pwa_code": optional({"type": "string"})}), "pwa"
            ),
        },
        "template_id",
        "send_channel_strategy",
    ),
    "TemplateSummary": opened(
        {
            "template_id": {"type": "string"},
            "description": {"type": "string"},
            "send_channel_strategy": {"type": "string"},
            "brand_name": {"type": "string"},
            "verify_code_config": ref("VerifyCodeConfig"),
            **{f"{channel}_config": {"type": "object"} for channel in ("whatsapp", "sms", "voice", "email", "pwa")},
            **_STATUS,
        },
        "template_id",
        "send_channel_strategy",
        "created_time",
        "status",
        description="A template; in lists, its channels' configurations without their contents.",
    ),
}
