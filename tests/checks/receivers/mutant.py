"""What a mutant is: a receiver made to fail one check."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.checks.receivers.correct import CorrectReceiver


class Mutant(msgspec.Struct, frozen=True):
    """Name the check that a receiver is made to fail, and those that it cannot but fail as well, by the same bug."""

    id: str
    kind: type[CorrectReceiver]
    also: tuple[str, ...] = ()
    #: The transport over which the bug shows, where it does not over both.
    over: tuple[str, ...] = ("wsgi", "http")
    #: Options of the receiver, such as a limit that keeps the test short.
    options: dict[str, Any] = {}
    #: The hook that the check asks for.
    hooks: dict[str, Any] = {}

    @property
    def fails(self) -> list[str]:
        return sorted({self.id, *self.also})

    @property
    def name(self) -> str:
        return f"{self.id}-{self.kind.__name__}"
