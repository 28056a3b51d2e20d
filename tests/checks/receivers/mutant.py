"""A mutant: a receiver that is made to fail one check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.checks.receivers.correct import CorrectReceiver, observe, observe_account
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.store import Store


class Mutant(msgspec.Struct, frozen=True):
    """Name the check that a receiver is made to fail, and the other checks that fail because of the same bug."""

    id: str
    kind: type[CorrectReceiver]
    also: tuple[str, ...] = ()
    #: The checks that it only fails over one of the transports.
    also_in_process: tuple[str, ...] = ()
    also_over_a_socket: tuple[str, ...] = ()
    #: The transports over which the bug shows.
    over: tuple[str, ...] = ("wsgi", "http")
    #: Options of the receiver, such as a limit that keeps the test short.
    options: dict[str, Any] = {}
    #: Whether each of its answers takes time, so that only its own check and a sample of the others run.
    slow: bool = False
    #: The checks that do not run for it, because their result depends on the moment, or is seen in process.
    not_asked: tuple[str, ...] = ()
    #: The server over a socket, if the bug is in the server or needs a certain one.
    serve: Callable[[Any], Any] | None = None
    #: Makes an app of it in process, if the bug is in the way it answers.
    app: Callable[[Any], Any] = on_flask
    #: Returns the state of a message.
    observe: Callable[[Store, str], Any] = observe
    #: Returns the state of the account.
    observe_account: Callable[[Store], Any] = observe_account

    @property
    def fails_in_process(self) -> list[str]:
        return sorted({self.id, *self.also, *self.also_in_process})

    @property
    def fails_over_a_socket(self) -> list[str]:
        return sorted({self.id, *self.also, *self.also_over_a_socket})

    @property
    def name(self) -> str:
        return f"{self.id}-{self.kind.__name__}"
