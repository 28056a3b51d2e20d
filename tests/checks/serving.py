"""Ways to check a receiver: in process, and over a socket."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engagelab_mock import Receiver, Report
from engagelab_mock.checks.context import Hooks
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.selection import Selection
from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.correct import AUTHORIZATION, PATH, SECRET, USERNAME, CorrectReceiver, observe
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.store import Store

SETTINGS: Any = {"username": USERNAME, "secret": SECRET, "authorization": AUTHORIZATION}


def check_in_process(
    kind: type[CorrectReceiver],
    directory: Path,
    *,
    only: Sequence[str] = (),
    observed: bool = True,
    hooks: Any = None,
    **options: Any,
) -> Report:
    """Run checks against a receiver of one kind, called in process."""
    store = Store(directory / f"{kind.__name__}.sqlite")
    receiver = Receiver.wsgi(on_flask(kind(store)), PATH, **SETTINGS | options)
    given = Hooks(observe=partial(observe, store) if observed else None, **hooks or {})
    return Runner(receiver, given, selection=Selection(only=only)).run()


def check_over_a_socket(
    kind: type[CorrectReceiver],
    directory: Path,
    *,
    only: Sequence[str] = (),
    observed: bool = True,
    hooks: Any = None,
    **options: Any,
) -> Report:
    """Run checks against a receiver of one kind, over a real socket."""
    store = Store(directory / f"{kind.__name__}.sqlite")
    given = Hooks(observe=partial(observe, store) if observed else None, **hooks or {})
    with LoopbackServer(on_flask(kind(store))) as server:
        receiver = Receiver.http(server.url + PATH, **SETTINGS | options)
        report = Runner(receiver, given, selection=Selection(only=only)).run()
        receiver.close()
    return report
