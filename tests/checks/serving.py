"""Check a receiver in process, and over a socket."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from engagelab_mock import Dialect, EngageLab, Judgement, Receiver, Report
from tests.checks.receivers import downstream
from tests.checks.receivers.correct import (
    PATH,
    SETTINGS,
    CorrectReceiver,
    observe,
    observe_account,
)
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.servers import on_werkzeug
from tests.checks.receivers.store import Store
from tests.truth.receivers.in_memory import InMemory, receiver_of

CORRECT = Mutant("", CorrectReceiver)


def check(receiver: Receiver, *, dialect: Dialect | str = "2023-03", **options: Any) -> Report:
    """Check a receiver and close it."""
    with EngageLab(receiver, dialect=dialect) as engagelab:
        return engagelab.check(**options)


def check_in_memory(app: InMemory, *only: str, patience: float = 0.3, **options: Any) -> Report:
    """Check a receiver that has its effects before it answers, or a few milliseconds after it."""
    return check(receiver_of(app, **options), only=[*only], patience=patience)


def verdicts(report: Report) -> dict[str, str]:
    """Return the verdict of each check that ran."""
    return {finding.id: str(finding.verdict) for finding in report.findings if not finding.left_out}


def failed(report: Report) -> list[str]:
    """Return the checks that failed."""
    return [finding.id for finding in report.of(Judgement.FAIL)]


def check_in_process(mutant: Mutant, directory: Path, *, hooks: dict[str, Any] | None = None, **choice: Any) -> Report:
    """Check a receiver in process (default of `hooks`: all of them)."""
    store = Store(directory / "receiver.sqlite")
    receiver = Receiver.wsgi(mutant.app(mutant.kind(store)), PATH, **SETTINGS | mutant.options)
    return check(receiver, **_hooks(mutant, store) if hooks is None else hooks, **choice)


def check_over_a_socket(mutant: Mutant, directory: Path, **choice: Any) -> Report:
    """Check a receiver over a real socket, with all hooks."""
    store = Store(directory / "receiver.sqlite")
    serve = mutant.serve or on_werkzeug
    app = mutant.kind(store)
    with serve(app) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS | mutant.options)
        return check(receiver, **_hooks(mutant, store), restart=app.restart, **choice)


def hooks_of(
    store: Store, observing: Any = observe, account: Any = observe_account, *, patience: float = 0.05
) -> dict[str, Any]:
    """Return the hooks for a receiver that has its effects before it answers."""
    return {
        "observe": partial(observing, store),
        "observe_account": partial(account, store),
        "prepare": lambda message: store.issue(message.id),
        "set_time": store.set_time,
        "patience": patience,
    }


def _hooks(mutant: Mutant, store: Store) -> dict[str, Any]:
    hooks = hooks_of(store, mutant.observe, mutant.observe_account)
    if not mutant.id:
        # A mutant has its effects before it answers, so a short wait is enough. The correct receiver is checked with
        # the default.
        del hooks["patience"]
    return {**hooks, "stall": downstream.stall}
