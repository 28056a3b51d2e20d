"""A fault, and the draft of an attempt that faults work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Literal

import msgspec

from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import UsageError

Family = Literal["signature", "body", "wire", "exchange"]
#: When, in the making of an attempt, a fault does its work; faults of one stage work in the order they are given.
STAGES = ("rows", "body", "signing", "headers", "wire", "exchange")
Stage = Literal["rows", "body", "signing", "headers", "wire", "exchange"]

ANYWHERE = frozenset({"http", "wsgi", "asgi"})
OVER_HTTP = frozenset({"http"})


class Draft:
    """Hold an attempt in the making; a fault changes what it is about and leaves the rest alone."""

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
    ) -> None:
        self.body = body
        #: The body's rows and total as plain data, for faults of the stage "rows"; encoded when that stage is over.
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
        #: How many times the request goes out at once.
        self.copies = 1
        #: Whether the answer is thrown away after it came.
        self.lose_answer = False
        #: The status that a proxy in between answers with, in place of the receiver's 200; None leaves the answer.
        self.answer_with: int | None = None
        self.random = random
        #: The genuine signature header that this receiver acknowledged last, to replay; None when there is none.
        self.earlier = earlier


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one thing that goes wrong: what it is called, what it does, how it is done.

    >>> from engagelab_mock import fault
    >>> fault("stale", by=900).options
    {'by': 900}

    `on` limits it to callbacks that carry one of these statuses or events, `attempts` to a delivery's first attempts.
    """

    name: str
    family: Family
    stage: Stage
    #: What it does, in a few words.
    description: str
    work: Callable[..., None]
    #: What can be varied about it; each option's type stands in the signature of `work`.
    options: Mapping[str, Any] = {}
    #: The transports that can express it.
    transports: frozenset[str] = ANYWHERE
    #: Whether it is about the signature, which only a receiver with username and secret gets.
    needs_signature: bool = False
    on: tuple[str, ...] = ()
    attempts: int | None = None

    def applies(self, statuses: Sequence[str], number: int) -> bool:
        """Tell whether the fault strikes the delivery of these statuses at its attempt of that number."""
        early = self.attempts is None or number <= self.attempts
        return early and (not self.on or any(status in self.on for status in statuses))

    def apply(self, draft: Draft) -> None:
        """Do the fault's work on an attempt in the making."""
        self.work(draft, **self.options)

    def check_receiver(self, *, transport: str, signs: bool) -> None:
        """Raise `UsageError` if the fault cannot strike over this transport, or without a signature."""
        if transport not in self.transports:
            able = ", ".join(f"Receiver.{name}(…)" for name in sorted(self.transports))
            raise UsageError(
                f"the {transport} transport cannot express the fault {self.name!r}",
                where="fault",
                hint=f"use {able}: there is no wire in process",
            )
        if self.needs_signature and not signs:
            raise UsageError(
                f"the fault {self.name!r} is about the signature, and this receiver gets none",
                where="fault",
                hint="give the receiver a username and a secret",
            )

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({given})" if given else self.name
