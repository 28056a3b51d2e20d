"""The schemas of EngageLab's REST API."""

from __future__ import annotations

from typing import Any

from engagelab_mock.messages.template import LANGUAGES
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.status import Channel
from engagelab_mock.server.openapi.parts import Json, opened, optional, ref, strict
from engagelab_mock.server.openapi.templates import TEMPLATE_SCHEMAS

_TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}
_TEXT: Json = {"type": "string", "minLength": 1}
_ID: Json = {"type": "string", "minLength": 1, "maxLength": 128}


def _codes() -> str:
    return ", ".join(f"{entry.code} {entry.message}" for entry in ERROR_CODES.values())


_TEMPLATE: Json = {
    "id": _ID,
    "language": {
        **optional({"enum": [*LANGUAGES]}, empty=True),
        "default": "default",
        "description": "Of an e-mail's content.",
    },
    "params": {**optional(_TEXTS), "description": "Values of the template's own variables."},
}
_CUSTOM_ARGS: Json = {**optional({"type": "object"}), "description": "Echoed in each row of the callbacks."}

SCHEMAS: dict[str, Any] = {
    "Error": opened(
        {
            "code": {"type": "integer", "description": f"What went wrong: {_codes()}."},
            "message": {"type": "string"},
        },
        "code",
        "message",
        description="What every call answers that is not accepted.",
    ),
    "Success": opened({"code": {"const": 0}, "message": {"const": "success"}}, "code", "message"),
    "Recipient": {
        "type": "string",
        "anyOf": [{"pattern": r"^\+[1-9][0-9]{6,14}$"}, {"pattern": r"^[^@\s]+@[^@\s]+\.[A-Za-z0-9-]+$"}],
        "description": "A phone number in E.164 form, or an e-mail address.",
        "examples": ["+6591234567", "user@example.com"],
    },
    "Template": opened(_TEMPLATE, "id"),
    "NewMessage": opened(
        {"to": ref("Recipient"), "template": ref("Template"), "custom_args": _CUSTOM_ARGS}, "to", "template"
    ),
    "NewCode": opened(
        {
            "to": ref("Recipient"),
            "code": {**_TEXT, "maxLength": 64},
            "template": ref("Template"),
            "custom_args": _CUSTOM_ARGS,
        },
        "to",
        "code",
        "template",
    ),
    "NewCustomMessage": opened(
        {
            "to": {
                "anyOf": [
                    ref("Recipient"),
                    {"type": "array", "items": ref("Recipient"), "minItems": 1, "maxItems": 1000},
                ]
            },
            "template": ref("Template"),
            "custom_args": _CUSTOM_ARGS,
        },
        "to",
        "template",
        description="`template.params.code` is required if the template is one of verification.",
    ),
    "Accepted": opened(
        {
            "message_id": {"type": "string", "pattern": "^[0-9]{1,19}$"},
            "send_channel": {"enum": [*Channel], "description": "The channel that is tried first."},
        },
        "message_id",
        "send_channel",
    ),
    "NewVerification": opened({"message_id": _TEXT, "verify_code": _TEXT}, "message_id", "verify_code"),
    "Verification": opened(
        {"message_id": {"type": "string"}, "verify_code": {"type": "string"}, "verified": {"type": "boolean"}},
        "message_id",
        "verify_code",
        "verified",
    ),
    "Webhook": strict(
        {
            "url": {"type": "string", "pattern": "^https?://"},
            "username": {"type": "string"},
            "secret": {"type": "string"},
        },
        "url",
        description="Who gets the callbacks; username and secret sign them, and go together.",
    ),
    **TEMPLATE_SCHEMAS,
}
