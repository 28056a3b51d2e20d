"""The OpenAPI 3.1 document of everything the server answers, written by this project."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from engagelab_mock import __version__
from engagelab_mock.server.openapi.control import CONTROL_PATHS, CONTROL_SCHEMAS
from engagelab_mock.server.openapi.rest import REST_PATHS
from engagelab_mock.server.openapi.schemas import SCHEMAS

_DESCRIPTION = """\
EngageLab OTP's REST API on your own machine, and what the real service has no API for.

`/v1` follows EngageLab's public documentation. Where that is silent, this server does what seems likely, and its \
documentation says so on the page "Known and unknown". `/_mock` is this project's own.
"""


@cache
def document() -> bytes:
    """Return the document as JSON.

    >>> document()[:19]
    b'{"openapi":"3.1.0",'
    """
    return msgspec.json.encode(openapi())


def openapi() -> dict[str, Any]:
    """Return the document.

    >>> openapi()["info"]["title"]
    'EngageLab OTP (engagelab-mock)'
    """
    return {
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
        ],
        "paths": {**REST_PATHS, **CONTROL_PATHS},
        "components": {
            "schemas": {**SCHEMAS, **CONTROL_SCHEMAS},
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "dev_key and dev_secret. Any pair does, unless the server was started with one.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the server was started with. Without one, none is needed.",
                },
            },
        },
    }
