"""Check a receiver with functions that look into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engagelab_mock import EngageLab, Receiver, Report
from engagelab_mock.checks.context import Context
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.store import Store
from tests.truth.receivers.in_memory import InMemory, receiver_of


def in_process(store: Store, kind: type[CorrectReceiver] = CorrectReceiver, **options: Any) -> Receiver:
    return Receiver.wsgi(on_flask(kind(store)), PATH, **SETTINGS | options)


def check(receiver: Receiver, only: str, **options: Any) -> Report:
    with EngageLab(receiver) as engagelab:
        return engagelab.check(only=only.split(), **{"patience": 0.05, **options})


def recording(into: list[str], name: str, call: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        into.append(name)
        return call(*arguments)

    return called


#: The receivers of this file work before they answer, or a few milliseconds after it.
PATIENCE = 0.3


def context_of(app: InMemory, **options: Any) -> Context:
    return Context(receiver_of(app, **options), patience=PATIENCE)
