"""Receivers that the command `check` judges, with addresses that show their states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flask

from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.correct import (
    AUTHORIZATION,
    PATH,
    SECRET,
    USERNAME,
    CorrectReceiver,
    observe,
    observe_account,
)
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.store import Store

SIGNED = ("--username", USERNAME, "--secret", SECRET)


FULLY = (*SIGNED, "--authorization", AUTHORIZATION)


@dataclass(frozen=True)
class Served:
    url: str
    state: str
    database: Path

    @property
    def account(self) -> str:
        """Return the address at which the totals of the account are seen."""
        return self.state.replace("{message_id}", "") + "totals"


def serve(
    kind: type[CorrectReceiver],
    directory: Path,
    observe: Callable[..., Any] = observe,
    account: Callable[..., Any] = observe_account,
) -> Iterator[Served]:
    """Serve a receiver together with addresses at which the states of a message and of the account are seen."""
    store = Store(directory / "receiver.sqlite")
    app = flask.Flask("state")
    app.add_url_rule("/state/<message_id>", "state", partial(observe, store))
    app.add_url_rule("/state/totals", "totals", partial(account, store))
    receiving = on_flask(kind(store))

    def both(environ, start_response):  # type: ignore[no-untyped-def]
        return (receiving if environ["PATH_INFO"] == PATH else app)(environ, start_response)

    with LoopbackServer(both) as server:
        yield Served(server.url + PATH, f"{server.url}/state/{{message_id}}", directory / "receiver.sqlite")
