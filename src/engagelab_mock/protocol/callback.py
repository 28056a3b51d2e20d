"""A callback: its headers, its body, and the JSON schema of the body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.events import KINDS, Event, UnknownEvent

#: Stands for an Authorization in every output: reports, logs and test results are stored where secrets should not be.
AS_CONFIGURED = "(as configured)"


class Headers(Mapping[str, str]):
    """Hold headers as ordered pairs; look one up by name in any case.

    >>> Headers([("X-CALLBACK-ID", "timestamp=1")])["x-callback-id"]
    'timestamp=1'

    For a repeated name, `[]` returns the first value and `get_all` returns all.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        #: Every header as it was sent, in order.
        self.pairs = tuple(pairs)

    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self.pairs:
            if key.lower() == wanted:
                return value
        raise KeyError(name)

    def get_all(self, name: str) -> list[str]:
        """Return every value sent under a name.

        >>> Headers([("A", "1"), ("a", "2")]).get_all("A")
        ['1', '2']
        """
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for key, _ in self.pairs:
            if key.lower() not in seen:
                seen.add(key.lower())
                yield key

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.pairs})

    def __eq__(self, other: object) -> bool:
        return self.pairs == other.pairs if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __repr__(self) -> str:
        shown = [(name, AS_CONFIGURED if name.lower() == "authorization" else value) for name, value in self.pairs]
        return f"Headers({shown!r})"


class Callback(msgspec.Struct, frozen=True, eq=False):
    """Hold one callback as it is sent: its headers, its body, and the events in the body.

    An address-validation ping is a callback without events.

    >>> Callback(Headers(), b"").events
    ()
    """

    headers: Headers
    body: bytes
    events: tuple[Event, ...] = ()

    @property
    def statuses(self) -> list[str]:
        """Return the events' names, in the order of `rows`."""
        return [event.name for event in self.events]


class Envelope(msgspec.Struct, frozen=True):
    """Hold a decoded body: `total` as it was sent, `rows` as events.

    >>> decode(b'{"total": 0, "rows": []}')
    Envelope(total=0, rows=())
    """

    total: int
    rows: tuple[Event, ...]


class _Wire(msgspec.Struct):
    total: int
    rows: Sequence[Event | dict[str, Any]]


class _RawEnvelope(msgspec.Struct):
    rows: list[msgspec.Raw]
    total: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_RawEnvelope)
_row_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode(events: Sequence[Event], *, total: int | None = None) -> bytes:
    """Return the body that carries these events; `total` is by default their number.

    >>> encode([])
    b'{"total":0,"rows":[]}'
    """
    rows: Sequence[Event | dict[str, Any]] = tuple(events)
    for event in events:
        if type(event) is UnknownEvent:
            # A row of an unknown kind goes out as it came in, not wrapped in the record that keeps it.
            rows = [each.row if type(each) is UnknownEvent else each for each in events]
            break
    return _encoder.encode(_Wire(len(rows) if total is None else total, rows))


def decode(body: bytes | str) -> Envelope:
    """Decode a body; ignore unknown fields, and return an unknown kind of row as an `UnknownEvent`.

    Raises `InvalidBody`, naming the place, if it is not an envelope.

    >>> decode(b'{"rows": [{"itime": 1, "notification": {"event": "insufficient_balance"}}]}').rows[0].kind
    'notification'
    """
    try:
        envelope = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidBody(str(error), where="body", hint='an envelope is {"total": N, "rows": [...]}') from error
    rows = tuple(_decode_row(raw, index) for index, raw in enumerate(envelope.rows))
    return Envelope(envelope.total, rows)


@cache
def _kind_decoder(key: str) -> msgspec.json.Decoder[Event]:
    """Return the decoder of one kind, made when it is first needed: most tests only send."""
    return msgspec.json.Decoder(KINDS[key])


def _decode_row(raw: msgspec.Raw, index: int) -> Event:
    where = f"body.rows[{index}]"
    try:
        row = _row_decoder.decode(raw)
        for key in KINDS:
            if key in row:
                return _kind_decoder(key).decode(raw)
        known: dict[str, Any] = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidBody(str(error), where=where) from error
    return UnknownEvent(row=known)


#: The shipped schema of a body. Next to it are the schemas of the four kinds of row.
SCHEMA_FILE = Path(__file__).with_name("callback.schema.json")


def event_schemas(template: str = "#/$defs/{name}") -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the reference to the schema of each kind of row, and the definitions that they need.

    >>> event_schemas()[0]["status"]
    {'$ref': '#/$defs/StatusEvent'}
    """
    references, definitions = msgspec.json.schema_components(KINDS.values(), ref_template=template)
    for definition in definitions.values():
        # The docstring's first sentence, without its Python example.
        definition["description"] = definition.get("description", "").partition("\n\n")[0]
    return dict(zip(KINDS, references, strict=True)), definitions


def envelope_schema(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of a body whose rows are one of these.

    >>> envelope_schema([{"type": "object"}])["required"]
    ['total', 'rows']
    """
    return {
        "type": "object",
        "properties": {
            "total": {"type": "integer", "description": "number of rows [S]"},
            "rows": {"type": "array", "items": {"oneOf": list(rows)}},
        },
        "required": ["total", "rows"],
    }


def callback_schema() -> dict[str, Any]:
    """Generate the JSON Schema (2020-12) of a callback body with its four kinds of row.

    >>> [row["$ref"] for row in callback_schema()["properties"]["rows"]["items"]["oneOf"]][0]
    '#/$defs/StatusEvent'
    """
    references, definitions = event_schemas()
    envelope = envelope_schema(references.values())
    return {"$schema": _DIALECT, "title": "EngageLab OTP callback", **envelope, "$defs": definitions}


_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def row_schema(kind: str) -> dict[str, Any]:
    """Generate the JSON Schema (2020-12) of one kind of row.

    >>> row_schema("status")["title"], "Notification" in row_schema("status")["$defs"]
    ('EngageLab OTP status row', False)
    """
    references, definitions = event_schemas()
    wanted: dict[str, Any] = {}
    pending = [references[kind]]
    for part in pending:  # it grows while it is read
        for name in re.findall(r"#/\$defs/(\w+)", json.dumps(part)):
            if name not in wanted:
                wanted[name] = definitions[name]
                pending.append(definitions[name])
    return {"$schema": _DIALECT, "title": f"EngageLab OTP {kind} row", **references[kind], "$defs": wanted}


def schema_files() -> dict[Path, str]:
    """Return the text of each shipped file.

    >>> all(text == path.read_text(encoding="utf-8") for path, text in schema_files().items())
    True
    """
    schemas = {"callback": callback_schema()} | {kind: row_schema(kind) for kind in KINDS}
    return {
        SCHEMA_FILE.with_name(f"{name}.schema.json"): json.dumps(each, indent=2, ensure_ascii=False) + "\n"
        for name, each in schemas.items()
    }


if __name__ == "__main__":
    for file, text in schema_files().items():
        file.write_text(text, encoding="utf-8")
