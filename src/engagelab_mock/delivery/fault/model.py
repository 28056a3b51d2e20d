"""A fault, and the draft of an attempt that faults work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Literal

import msgspec

from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.protocol.callback import Callback
from engagelab_mock.protocol.events import Event

Family = Literal["signature", "body", "wire", "exchange"]
#: When, in the making of an attempt, a fault does its work; faults of one stage work in the order they are given.
STAGES = ("rows", "body", "signing", "headers", "wire", "exchange")
Stage = Literal["rows", "body", "signing", "headers", "wire", "exchange"]

_ANYWHERE = frozenset({"http", "wsgi", "asgi"})
OVER_HTTP = frozenset({"http"})


class Draft:
    """Hold an attempt in the making; a fault changes what it is about and leaves the rest alone."""

    def __init__(
        self,
        events: Sequence[Event],
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
        earlier: Callback | None,
    ) -> None:
        self.events = tuple(events)
        #: The rows as plain data, for faults of the stage "rows"; encoded when that stage is over.
        self.rows: list[Any] = []
        self.total: Any = len(events)
        self.body = body
        self.content_type = content_type
        self.username = username
        self.secret = secret
        self.timestamp = timestamp
        self.nonce = nonce
        self.authorization = authorization
        #: The headers, complete from the stage "headers" on.
        self.headers = headers
        self.wire = Wire()
        #: How many times the request goes out at once.
        self.copies = 1
        #: Whether the answer is thrown away after it came.
        self.lose_answer = False
        self.random = random
        #: The last callback this receiver acknowledged, to replay; None when there is none.
        self.earlier = earlier


class Fault(msgspec.Struct, frozen=True):
    """Describe one thing that goes wrong: what it is called, what it does, how it is done.

    >>> from engagelab_mock import fault
    >>> fault("stale", by=900).options
    {'by': 900}

    `on` limits it to callbacks that carry one of these statuses, `attempts` to a delivery's first attempts.
    """

    name: str
    family: Family
    stage: Stage
    description: str
    work: Callable[..., None]
    options: Mapping[str, Any] = {}
    transports: frozenset[str] = _ANYWHERE
    on: tuple[str, ...] = ()
    attempts: int | None = None

    def applies(self, statuses: Sequence[str], number: int) -> bool:
        """Tell whether the fault strikes the delivery of these statuses at its attempt of that number."""
        early = self.attempts is None or number <= self.attempts
        return early and (not self.on or any(status in self.on for status in statuses))

    def apply(self, draft: Draft) -> None:
        """Do the fault's work on an attempt in the making."""
        self.work(draft, **self.options)

    def check_transport(self, transport: str) -> None:
        """Raise `UsageError` naming the transport that can, if this one cannot express the fault."""
        if transport not in self.transports:
            able = ", ".join(f"Receiver.{name}(…)" for name in sorted(self.transports))
            raise UsageError(
                f"the fault {self.name!r} cannot be expressed by the {transport} transport",
                where="fault",
                hint=f"use {able}: there is no wire in process",
            )

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({given})" if given else self.name


def with_options(fault: Fault, options: Mapping[str, Any], *, on: str | Sequence[str], attempts: object) -> Fault:
    """Return the fault with other options, or raise `UnknownName` for an option it does not have."""
    for name in options:
        if name not in fault.options:
            raise UnknownName("option", name, [*fault.options, "on", "attempts"], where=f"fault {fault.name!r}")
    if attempts is not None and not (isinstance(attempts, int) and attempts >= 1):
        raise UsageError(f"attempts is a number from 1, not {attempts!r}", where=f"fault {fault.name!r}")
    names = (on,) if isinstance(on, str) else tuple(on)
    return msgspec.structs.replace(fault, options={**fault.options, **options}, on=names, attempts=attempts)
