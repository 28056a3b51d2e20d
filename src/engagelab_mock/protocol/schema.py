"""The JSON Schema of a callback body, generated from the event Structs and shipped as `callback.schema.json`.

Write the file anew with `python -m engagelab_mock.protocol.schema`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from engagelab_mock.protocol.events import KINDS

#: Where the shipped schema lies.
SCHEMA_FILE = Path(__file__).with_name("callback.schema.json")


def callback_schema() -> dict[str, Any]:
    """Generate the JSON Schema (2020-12) of a callback body with its four kinds of row.

    >>> [row["$ref"] for row in callback_schema()["properties"]["rows"]["items"]["oneOf"]][0]
    '#/$defs/StatusEvent'
    """
    references, definitions = msgspec.json.schema_components(KINDS.values(), ref_template="#/$defs/{name}")
    for definition in definitions.values():
        # The docstring's first sentence; the Python example after it is not for readers of the schema.
        definition["description"] = definition["description"].partition("\n\n")[0]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "EngageLab OTP callback",
        "type": "object",
        "properties": {
            "total": {"type": "integer", "description": "number of rows [S]"},
            "rows": {"type": "array", "items": {"oneOf": list(references)}},
        },
        "required": ["total", "rows"],
        "$defs": definitions,
    }


def render_schema() -> str:
    """Return the schema as the text of the shipped file.

    >>> render_schema() == SCHEMA_FILE.read_text(encoding="utf-8")
    True
    """
    return json.dumps(callback_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(render_schema(), encoding="utf-8")
