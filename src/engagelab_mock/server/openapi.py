"""The OpenAPI 3.1 document of the server, generated from the types of its requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import msgspec

from engagelab_mock import __version__
from engagelab_mock.protocol.callback import envelope_schema, event_schemas
from engagelab_mock.server.app import Operation
from engagelab_mock.server.control import CONTROL
from engagelab_mock.server.rest import REST, Error
from engagelab_mock.server.webhooks import AUTHORIZATION, AUTHORIZATION_TEXT, webhooks

_DESCRIPTION = """\
EngageLab OTP's REST API on your own machine, and a control API that the real service does not have.

`/v1` follows EngageLab's public documentation. If that leaves a behaviour open, this server does the most likely \
thing: the page "Known and unknown" of its documentation lists these cases. `/_mock` is the control API.

The webhooks are the callbacks that EngageLab sends to your receiver. A tag in brackets names the source of a fact: \
[S] the callback settings, [D] newer documents, [K] the official SDK, [X] integration guides, [?] inferred.
"""
_REF = "#/components/schemas/{name}"
_RECIPIENT = {
    "type": "string",
    "anyOf": [{"pattern": r"^\+[1-9][0-9]{6,14}$"}, {"pattern": r"^[^@\s]+@[^@\s]+\.[A-Za-z0-9-]+$"}],
    "description": "A phone number in E.164 form, or an e-mail address.",
    "examples": ["+6591234567", "user@example.com"],
}

#: Reasons to refuse any call, by HTTP status.
_REST_ERRORS = {
    401: "2001 bad or missing credentials, 2002 expired or disabled ones.",
    403: "2004: no permission.",
    413: "3002: the body is longer than one mebibyte.",
    500: "1000: internal error.",
}
_CONTROL_ERRORS = {
    400: "3001 not JSON, 3002 bad parameters.",
    401: "2001: the token is missing or wrong.",
    403: "2004: the request came from elsewhere.",
}
#: The names in paths, each with its description and its schema.
_NAMED: dict[str, tuple[str, Any]] = {
    "to": ("A phone number or e-mail address.", {"$ref": _REF.format(name="Recipient")}),
    "message_id": ("The message's id.", {"type": "string", "minLength": 1}),
    "callback": ("The callback's id.", {"type": "string", "minLength": 1}),
    "number": ("Its place in the list, from 1.", {"type": "string", "pattern": "^[0-9]+$"}),
    "id": ("The rule's id.", {"type": "string", "minLength": 1}),
    "templateId": ("The template's id.", {"type": "string", "minLength": 1, "maxLength": 128}),
}


def openapi() -> dict[str, Any]:
    """Return the document.

    >>> openapi()["info"]["title"]
    'EngageLab OTP (engagelab-mock)'
    """
    return cast("dict[str, Any]", msgspec.json.decode(document()))


@cache
def document() -> bytes:
    """Return the document as JSON.

    >>> document()[:19]
    b'{"openapi":"3.1.0",'
    """
    operations = (*REST, *CONTROL)
    types = [type for each in operations for type in (each.content, each.body) if type is not None]
    schemas, components = msgspec.json.schema_components([*types, Error], ref_template=_REF)
    described = dict(zip(map(str, types), schemas, strict=False))
    rows, events = event_schemas(_REF)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, described)
    body = {"description": "The body of a callback.", **envelope_schema(rows.values())}
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "EngageLab OTP (engagelab-mock)",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "rest", "description": "EngageLab's REST API"},
            {"name": "control", "description": "Control of this server"},
            {"name": "callback", "description": "Requests that EngageLab sends to your receiver"},
        ],
        "paths": paths,
        "webhooks": webhooks(rows, {"$ref": _REF.format(name="Body")}),
        "components": {
            "schemas": {**components, "Recipient": _RECIPIENT, **events, "Body": body},
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "dev_key and dev_secret: any pair, unless the server was started with one.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the server was started with. Without one, none is needed.",
                },
                AUTHORIZATION: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": AUTHORIZATION_TEXT,
                },
            },
        },
    }
    return msgspec.json.encode(whole)


def _operation(operation: Operation, described: dict[str, Any]) -> dict[str, Any]:
    rest = operation.path.startswith("/v1")
    refused = {**(_REST_ERRORS if rest else _CONTROL_ERRORS), **operation.refused}
    if not operation.guarded:
        del refused[401], refused[403]
    call: dict[str, Any] = {
        "operationId": operation.name,
        "tags": ["rest" if rest else "control"],
        "summary": operation.summary,
        "security": [{"basic": []}] if rest else [{}, {"token": []}] if operation.guarded else [{}],
        "parameters": list(_parameters(operation)),
        "responses": {
            str(operation.status): {
                "description": operation.answer,
                "content": {operation.media_type: {"schema": described[str(operation.content)]}},
            },
            **{str(status): {"description": why, "content": _ERROR} for status, why in sorted(refused.items())},
        },
    }
    if operation.body is not None:
        content = {"schema": described[str(operation.body)]}
        if operation.example is not None:
            content["example"] = operation.example
        call["requestBody"] = {"required": operation.body_required, "content": {"application/json": content}}
    return call


_ERROR = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for part in operation.path.split("/"):
        if part.startswith("{"):
            description, schema = _NAMED[part.strip("{}")]
            yield {
                "name": part.strip("{}"),
                "in": "path",
                "description": description,
                "required": True,
                "schema": schema,
            }
    query = msgspec.json.schema(operation.query)["$defs"][operation.query.__name__]
    for name, schema in query["properties"].items():
        yield {
            "name": name,
            "in": "query",
            "description": schema.pop("description"),
            "required": False,
            "schema": schema,
        }
