"""What a mutant is: a receiver made to fail one check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.checks.receivers.correct import CorrectReceiver, observe
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.store import Store


class Mutant(msgspec.Struct, frozen=True):
    """Name the check that a receiver is made to fail, and those that it cannot but fail as well, by the same bug."""

    id: str
    kind: type[CorrectReceiver]
    also: tuple[str, ...] = ()
    #: Those it fails over one of the transports alone.
    also_in_process: tuple[str, ...] = ()
    also_over_a_socket: tuple[str, ...] = ()
    #: The transports over which the bug shows.
    over: tuple[str, ...] = ("wsgi", "http")
    #: Options of the receiver, such as a limit that keeps the test short.
    options: dict[str, Any] = {}
    #: Whether each of its answers takes time, so that it is put through a sample of the checks beside its own.
    slow: bool = False
    #: What it is not put through, as that depends on the moment with it, or is seen in process.
    not_asked: tuple[str, ...] = ()
    #: What serves it over a socket, where the bug is the server's or needs one.
    serve: Callable[[Any], Any] | None = None
    #: What makes an app of it in process, where the bug is in the way it answers.
    app: Callable[[Any], Any] = on_flask
    #: What it holds of a message.
    observe: Callable[[Store, str], Any] = observe

    @property
    def fails_in_process(self) -> list[str]:
        return sorted({self.id, *self.also, *self.also_in_process})

    @property
    def fails_over_a_socket(self) -> list[str]:
        return sorted({self.id, *self.also, *self.also_over_a_socket})

    @property
    def name(self) -> str:
        return f"{self.id}-{self.kind.__name__}"
