"""The calls of EngageLab's REST API."""

from __future__ import annotations

from typing import Any

from engagelab_mock.server.openapi.parts import Json, answers, body, errors, ref

_BASIC: list[Json] = [{"basic": []}]
#: What each call can answer besides its own.
_ERRORS = {
    "http_401": "2001 bad or missing credentials, 2002 expired or disabled ones.",
    "http_403": "2004: no permission.",
    "http_413": "3002: the body is longer than one mebibyte.",
    "http_500": "1000: internal error.",
}
_SENDING = (
    "3001 not JSON, 3002 bad parameters, 3003 business rules, 3004 again within the code's validity, 4001 no such "
    "template, 5001 and above: it cannot be sent."
)


def _call(name: str, summary: str, accepted: Json, *, refused: str, given: Json | None = None, **more: Any) -> Json:
    call: Json = {
        "operationId": name,
        "tags": ["rest"],
        "summary": summary,
        "security": _BASIC,
        "responses": {**accepted, **errors(http_400=refused, **_ERRORS)},
        **more,
    }
    if given is not None:
        call["requestBody"] = given
    return call


def _sent() -> Json:
    return answers("Accepted: callbacks follow.", ref("Accepted"))


_TEMPLATE_ID = {
    "name": "templateId",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}

REST_PATHS: dict[str, Any] = {
    "/v1/messages": {
        "post": _call(
            "sendMessage",
            "Send a code that EngageLab makes",
            _sent(),
            refused=_SENDING,
            given=body(
                ref("NewMessage"),
                example={"to": "+6591234567", "template": {"id": "my-template", "language": "default", "params": {}}},
            ),
        )
    },
    "/v1/codes": {
        "post": _call(
            "sendCode",
            "Send a code of your own; EngageLab does not verify it",
            _sent(),
            refused=_SENDING,
            given=body(
                ref("NewCode"), example={"to": "+6591234567", "code": "398210", "template": {"id": "my-template"}}
            ),
        )
    },
    "/v1/custom-messages": {
        "post": _call(
            "sendCustomMessage",
            "Send a template with values of your own",
            _sent(),
            refused=_SENDING,
            given=body(
                ref("NewCustomMessage"),
                example={"to": "+6591234567", "template": {"id": "my-template", "params": {"code": "398210"}}},
            ),
        )
    },
    "/v1/verifications": {
        "post": _call(
            "verifyCode",
            "Verify a code that a user entered",
            answers("Whether it is the right one.", ref("Verification")),
            refused="3001 not JSON, 3002 bad parameters, 3003 verified already or expired, 4001 no such message.",
            given=body(ref("NewVerification"), example={"message_id": "1725407449772531712", "verify_code": "398210"}),
        )
    },
    "/v1/template-configs": {
        "get": _call(
            "listTemplates",
            "List the templates",
            answers("Every template, in short.", {"type": "array", "items": ref("TemplateSummary")}),
            refused="3002: bad parameters.",
        ),
        "post": _call(
            "createTemplate",
            "Create a template",
            answers("Created.", ref("Success")),
            refused="3001 not JSON, 3002 bad parameters, 3003 no configuration for a channel of the strategy.",
            given=body(
                ref("TemplateConfig"),
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
            ),
        ),
    },
    "/v1/template-configs/{templateId}": {
        "parameters": [_TEMPLATE_ID],
        "get": _call(
            "getTemplate",
            "Get a template",
            answers("The template in full.", ref("TemplateSummary")),
            refused="4001: there is no such template.",
        ),
        "delete": _call(
            "deleteTemplate",
            "Delete a template",
            answers("Deleted.", ref("Success")),
            refused="4001: there is no such template.",
        ),
    },
    "/v1/sandbox/webhook": {
        "put": _call(
            "setWebhook",
            "Say who gets the callbacks, as in the vendor's sandbox",
            answers("Saved.", ref("Success")),
            refused="3001 not JSON, 3002 bad parameters.",
            given=body(
                ref("Webhook"),
                example={"url": "http://127.0.0.1:5000/engagelab", "username": "acme", "secret": "s3cret"},
            ),
        )
    },
}
