"""Ways to check a receiver: in process, and over a socket."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engagelab_mock import Receiver, Report
from engagelab_mock.checks.bounds import PATIENCE
from engagelab_mock.checks.context import Hooks
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.selection import Selection
from tests.checks.receivers import downstream
from tests.checks.receivers.correct import AUTHORIZATION, PATH, SECRET, USERNAME, CorrectReceiver
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.servers import on_werkzeug
from tests.checks.receivers.store import Store

SETTINGS: Any = {"username": USERNAME, "secret": SECRET, "authorization": AUTHORIZATION}
CORRECT = Mutant("", CorrectReceiver)


def check_in_process(
    mutant: Mutant,
    directory: Path,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Report:
    """Run checks against a receiver, called in process; unless `hooks` are given it is observed and can be stalled."""
    store = Store(directory / "receiver.sqlite")
    receiver = Receiver.wsgi(mutant.app(mutant.kind(store)), PATH, **SETTINGS | mutant.options)
    return Runner(receiver, hooks or _hooks(mutant, store), selection=Selection(only=only, skip=skip)).run()


def check_over_a_socket(
    mutant: Mutant,
    directory: Path,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Report:
    """Run checks against a receiver, over a real socket."""
    store = Store(directory / "receiver.sqlite")
    serve = mutant.serve or on_werkzeug
    with serve(mutant.kind(store)) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS | mutant.options)
        try:
            return Runner(receiver, hooks or _hooks(mutant, store), selection=Selection(only=only, skip=skip)).run()
        finally:
            receiver.close()


def _hooks(mutant: Mutant, store: Store) -> Hooks:
    return Hooks(
        observe=partial(mutant.observe, store),
        prepare=lambda message: store.issue(message.id),
        stall=downstream.stall,
        # What is kept is there when it is acknowledged, so a mutant is not waited for, and a correct receiver need not.
        patience=0.05 if mutant.id else PATIENCE,
    )
