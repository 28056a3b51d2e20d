"""A fault as data, and the draft of an attempt that it works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from engagelab_mock.delivery.model import HeaderChanges
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import UnknownName, UsageError, reduce_struct
from engagelab_mock.protocol.events import DIALECTS
from engagelab_mock.protocol.settings import ACCOUNT_EVENTS
from engagelab_mock.protocol.status import Status

Family = Literal["signature", "body", "wire", "exchange"]
#: The stages of making an attempt. A fault works at one of them. Faults of the same stage work in the given order.
STAGES = ("rows", "body", "signing", "headers", "wire", "exchange")
Stage = Literal["rows", "body", "signing", "headers", "wire", "exchange"]

ANYWHERE = frozenset({"http", "wsgi", "asgi"})
OVER_HTTP = frozenset({"http"})


class Draft:
    """Hold an attempt that is being made; a fault changes a part of it."""

    def __init__(
        self,
        *,
        body: bytes,
        content_type: str,
        username: str,
        secret: str,
        timestamp: int,
        nonce: str,
        headers: list[tuple[str, str]],
        authorization: str,
        random: Random,
        earlier: str | None,
        changes: HeaderChanges = (),
    ) -> None:
        self.body = body
        #: The body's rows and total as plain data, for faults of the stage "rows"; encoded after that stage.
        self.rows: list[Any] = []
        self.total: Any = 0
        self.content_type = content_type
        self.username = username
        self.secret = secret
        self.timestamp = timestamp
        self.nonce = nonce
        self.authorization = authorization
        #: The headers, complete from the stage "headers" on.
        self.headers = headers
        self.wire = Wire()
        #: How many times the request goes out at the same time.
        self.copies = 1
        #: Whether the answer is dropped after it arrived.
        self.lose_answer = False
        #: The status that replaces the receiver's 200, as a proxy can do; None keeps the answer.
        self.answer_with: int | None = None
        self.random = random
        #: The last genuine signature header that this receiver acknowledged, to replay; None before the first.
        self.earlier = earlier
        #: Made to the headers once they are complete, before the faults of the stage "headers".
        self.changes = changes


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one fault: its name, its effect, and the function that applies it.

    >>> from engagelab_mock import fault
    >>> fault("stale", by=900).options
    {'by': 900}

    `on` limits it to callbacks with one of these statuses or events; `attempts` to a delivery's first attempts.
    """

    name: str
    family: Family
    stage: Stage
    #: Its effect, in a few words.
    description: str
    work: Callable[..., None]
    #: Its options; the signature of `work` has their types.
    options: Mapping[str, Any] = {}
    #: The transports that can send it.
    transports: frozenset[str] = ANYWHERE
    #: Whether it changes the signature, which only a receiver with a username and a secret gets.
    needs_signature: bool = False
    on: tuple[str, ...] = ()
    attempts: int | None = None

    def applies(self, statuses: Sequence[str], number: int) -> bool:
        """Tell whether the fault applies to this attempt of a delivery with these statuses."""
        early = self.attempts is None or number <= self.attempts
        return early and (not self.on or any(status in self.on for status in statuses))

    def apply(self, draft: Draft) -> None:
        """Apply the fault to an attempt that is being made."""
        self.work(draft, **self.options)

    def check_receiver(self, *, transport: str, signs: bool) -> None:
        """Raise `UsageError` if the fault is not possible with this transport, or without a signature."""
        if transport not in self.transports:
            able = ", ".join(f"Receiver.{name}(…)" for name in sorted(self.transports))
            raise UsageError(
                f"the {transport} transport cannot send the fault {self.name!r}",
                where="fault",
                hint=f"use {able}: a call in process uses no connection",
            )
        if self.needs_signature and not signs:
            raise UsageError(
                f"the fault {self.name!r} changes the signature, but this receiver's callbacks are not signed",
                where="fault",
                hint="give the receiver a username and a secret",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "work")

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({given})" if given else self.name


#: Seconds by which a clock is wrong, up to a hundred years.
Age = Annotated[float, msgspec.Meta(ge=0, le=100 * 365 * 86400)]
#: Seconds of real time, up to a minute.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]
#: A number from 1, limited so that the request fits into memory.
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 28)]
#: A number of simultaneous copies, from 2.
Copies = Annotated[int, msgspec.Meta(ge=2, le=100)]
#: An HTTP status of a server error.
ServerError = Annotated[int, msgspec.Meta(ge=500, le=599)]
#: A number of digits of a signature, which has 64.
Digits = Annotated[int, msgspec.Meta(ge=0, le=63)]
#: Text that a header can hold, without outer blanks and line breaks.
HeaderText = Annotated[str, msgspec.Meta(pattern=r"\A[!-~\xa0-\xff]([ -~\xa0-\xff]*[!-~\xa0-\xff])?\Z")]
#: A key or a value of a row.
Name = Annotated[str, msgspec.Meta(min_length=1)]

#: Every name that an event can have, for the option `on`.
EVENT_NAMES = (
    *map(str, Status),
    *(known.sent_failed for known in DIALECTS.values() if known.sent_failed not in list(Status)),
    *(name for names in ACCOUNT_EVENTS.values() for name in names),
)


def with_options(fault: Fault, options: Mapping[str, Any], *, on: str | Sequence[str], attempts: object) -> Fault:
    """Return the fault with other options, limited to some callbacks and attempts.

    Raises `UnknownName` for a misspelt option or event, `UsageError` for an invalid value of an option.
    """
    where = f"fault {fault.name!r}"
    types = get_type_hints(fault.work, include_extras=True)
    for name, value in options.items():
        if name not in fault.options:
            raise UnknownName("option", name, [*fault.options, "on", "attempts"], where=where)
        try:
            msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            raise UsageError(f"{name} cannot be {value!r}: {error}", where=where) from None
    if attempts is not None and not (type(attempts) is int and attempts >= 1):
        raise UsageError(f"attempts is a number from 1, not {attempts!r}", where=where)
    names = (on,) if isinstance(on, str) else tuple(on)
    for name in names:
        if name not in EVENT_NAMES:
            raise UnknownName("status or event", name, EVENT_NAMES, where=f"{where}, on")
    return msgspec.structs.replace(fault, options={**fault.options, **options}, on=names, attempts=attempts)
