"""One line of a tape: a callback as the receiver got it, when it came, and what it was answered."""

from __future__ import annotations

import base64
from functools import cached_property
from typing import Any

import msgspec

from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.callback import decode
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.headers import Headers
from engagelab_mock.protocol.signature import HEADER

#: The version of the format, which the first line of a tape names.
VERSION = 1
#: What the first line says it is.
KIND = "engagelab-tape"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the first line of a tape; `started` is in Unix seconds.

    >>> msgspec.json.encode(Head(started=1712458844.5, sanitised=True))
    b'{"type":"engagelab-tape","version":1,"started":1712458844.5,"sanitised":true}'
    """

    type: str = KIND
    version: int = VERSION
    started: float
    sanitised: bool


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what the receiver answered; `elapsed` is in seconds."""

    status: int
    elapsed: float


class TapeEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """Hold one request on a tape; `at`, when it came, is in Unix seconds.

    >>> TapeEntry(at=0.0, method="POST", path="/", headers=(("Content-Type", "application/json"),), body="{}").content
    b'{}'
    """

    at: float
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    #: The body; None where it was dropped, or stands in `base64` because it is not text.
    body: str | None = None
    base64: str | None = None
    #: What the receiver answered; None where it did not.
    answer: Answer | None = None
    #: Why there is no answer, or why the body was dropped.
    note: str = ""

    @property
    def content(self) -> bytes | None:
        """Return the body's bytes; None where they were dropped."""
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        return None if self.body is None else self.body.encode()

    @property
    def signed(self) -> bool:
        """Tell whether the request came with a signature."""
        return HEADER in Headers(self.headers)

    @property
    def content_type(self) -> str:
        """Return the content type the request came with."""
        return Headers(self.headers).get("Content-Type", "application/json")

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Return the rows; none of a ping, or of a body that is no envelope."""
        content = self.content
        try:
            return decode(content or b"").rows
        except InvalidBody:
            return ()


def written(line: Head | TapeEntry) -> bytes:
    """Return a line of a tape, with its line break; ASCII, so that no tool spoils it.

    >>> written(Head(started=0.0, sanitised=False))[-2:]
    b'}\\n'
    """
    import json

    plain: Any = msgspec.to_builtins(line)
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"
