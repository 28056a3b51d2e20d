"""The AsyncAPI 3 document of the callbacks that EngageLab sends to a receiver."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from engagelab_mock import __version__
from engagelab_mock.protocol.callback import envelope_schema, event_schemas
from engagelab_mock.protocol.signature import HEADER
from engagelab_mock.server.webhooks import (
    ACKNOWLEDGED,
    AUTHORIZATION_TEXT,
    CALLBACKS,
    SIGNATURE,
    VALIDATION,
    VALIDATION_SUMMARY,
    VALIDATION_TEXT,
    body_schema,
    example,
)

_DESCRIPTION = """\
The callbacks that EngageLab OTP sends to a receiver, over HTTP. A tag in brackets names the source of a fact: \
[S] the callback settings, [D] newer documents, [K] the official SDK, [X] integration guides, [?] inferred.
"""
_REF = "#/components/schemas/{name}"
_BINDING = "0.3.0"


@cache
def document() -> bytes:
    """Return the document as JSON.

    >>> document()[:20]
    b'{"asyncapi":"3.0.0",'
    """
    rows, events = event_schemas(_REF)
    body = {"description": "The body of a callback.", **envelope_schema(rows.values())}
    messages = {kind: _callback(kind, rows[kind]) for kind in CALLBACKS} | {VALIDATION: _validation()}
    whole = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Callbacks of EngageLab OTP (engagelab-mock)",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "receiver": {
                "host": "{host}",
                "protocol": "https",
                "description": "Your receiver, at the address in the callback settings.",
                "variables": {"host": {"default": "shop.example"}},
            }
        },
        "channels": {
            "callbacks": {
                "address": "{path}",
                "description": "The path of the receiver's address.",
                "parameters": {"path": {"default": "/engagelab"}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            },
            "answers": {
                "address": None,
                "description": "The receiver's answers to the requests.",
                "messages": {"acknowledged": {"$ref": "#/components/messages/acknowledged"}},
            },
        },
        "operations": {
            f"send_{name}": {
                "action": "send",
                "channel": {"$ref": "#/channels/callbacks"},
                "messages": [{"$ref": f"#/channels/callbacks/messages/{name}"}],
                "bindings": {"http": {"method": "POST", "bindingVersion": _BINDING}},
                "reply": {
                    "channel": {"$ref": "#/channels/answers"},
                    "messages": [{"$ref": "#/channels/answers/messages/acknowledged"}],
                },
            }
            for name in messages
        },
        "components": {
            "messages": {**messages, "acknowledged": _ACKNOWLEDGED},
            "schemas": {**events, "Body": body, "Headers": _HEADERS},
        },
    }
    return msgspec.json.encode(whole)


_HEADERS = {
    "type": "object",
    "description": "The headers that depend on the callback settings. Each is absent if the settings do not need it.",
    "properties": {HEADER: SIGNATURE, "Authorization": {"type": "string", "description": AUTHORIZATION_TEXT}},
}
_ACKNOWLEDGED = {
    "summary": "The callback is acknowledged.",
    "description": ACKNOWLEDGED,
    "payload": {"description": "Not read."},
    "bindings": {"http": {"statusCode": 200, "bindingVersion": _BINDING}},
}


def _callback(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    known = CALLBACKS[kind]
    return {
        "summary": known.summary,
        "description": known.description,
        "headers": {"$ref": _REF.format(name="Headers")},
        "payload": body_schema(row, {"$ref": _REF.format(name="Body")}),
        "examples": [{"headers": {HEADER: SIGNATURE["examples"][0]}, "payload": example(kind)}],
    }


def _validation() -> dict[str, Any]:
    return {
        "summary": VALIDATION_SUMMARY,
        "description": VALIDATION_TEXT,
        "payload": {"type": "object"},
        "examples": [{"payload": {}}],
    }
