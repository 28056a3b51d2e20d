"""One signed HTTP message, and the envelope in its body: `{"total": N, "rows": [...]}` [S]."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.events import KINDS, Event, UnknownEvent
from engagelab_mock.protocol.headers import Headers


class Callback(msgspec.Struct, frozen=True, eq=False):
    """Hold one callback as it goes out: its headers, its body, and the events the body spells.

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
    """Write the body that carries these events; `total` is their number unless given.

    >>> encode([])
    b'{"total":0,"rows":[]}'
    """
    # A row of an unknown kind goes out as it came in, not wrapped in the record that keeps it.
    rows = [event.row if type(event) is UnknownEvent else event for event in events]
    return _encoder.encode(_Wire(len(events) if total is None else total, rows))


def decode(body: bytes | str) -> Envelope:
    """Read a body; unknown fields are passed over, an unknown kind of row becomes an `UnknownEvent`.

    Raises `InvalidBody`, naming the place, for what is no envelope.

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
    """Return the decoder of one kind, made when it is first needed: who only sends needs none."""
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
