"""Receivers on common servers: `python -m tests.checks.receivers.stacks DESCRIPTOR STACK STORE [NAME…]`.

With names, it serves the mutants of these names, each at its own path and with its own store, in the directory STORE.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.checks.receivers.concurrent import Together, Unannounced
from tests.checks.receivers.correct import CorrectReceiver, Incoming, Refused
from tests.checks.receivers.frameworks import on_asgi, on_django, on_fastapi, on_flask
from tests.checks.receivers.mutants import MUTANTS
from tests.checks.receivers.processes import KnowsEventsInMemory
from tests.checks.receivers.store import Store
from tests.real.stacks.servers import Serve, gunicorn, serve_with_parent, uvicorn


class RefusesChunks(CorrectReceiver):
    """Refuse chunks, which is all that an app can do if its server does not read them."""

    def read(self, incoming: Incoming) -> bytes:
        if incoming.headers.get("transfer-encoding"):
            raise Refused(411)
        return super().read(incoming)


class NamesItsProcess(CorrectReceiver):
    """Name the worker process in each answer."""

    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        status, text, headers = super().answer(incoming)
        return status, text, {**headers, "X-Worker-Id": str(os.getpid())}


class KnowsItsOwnEvents(NamesItsProcess, KnowsEventsInMemory):
    """Look for an event in the memory of the worker process."""


#: Every stack by name: the receiver, the framework, and the server.
STACKS: dict[str, tuple[type[CorrectReceiver], Callable[[Any], Any], Serve]] = {
    "gunicorn and Flask": (CorrectReceiver, on_flask, gunicorn(worker_class="sync")),
    "gunicorn and Django": (CorrectReceiver, on_django, gunicorn(worker_class="sync")),
    "uvicorn and FastAPI": (CorrectReceiver, on_fastapi, uvicorn("auto")),
    "uvicorn and bare ASGI": (CorrectReceiver, on_asgi, uvicorn("auto")),
    # Several workers.
    "two workers": (NamesItsProcess, on_flask, gunicorn(worker_class="sync", workers=2)),
    "two workers, with a cache each": (KnowsItsOwnEvents, on_flask, gunicorn(worker_class="sync", workers=2)),
    "two workers with threads, with a cache each": (
        *(KnowsItsOwnEvents, on_flask),
        gunicorn(worker_class="gthread", threads=4, workers=2),
    ),
    # The remedies.
    "gunicorn with threads and Flask": (CorrectReceiver, on_flask, gunicorn(worker_class="gthread", threads=4)),
    "gunicorn with threads and Django": (CorrectReceiver, on_django, gunicorn(worker_class="gthread", threads=4)),
    "gunicorn and Django, refusing chunks": (RefusesChunks, on_django, gunicorn(worker_class="sync")),
}


def store_of(directory: Path, name: str) -> Store:
    """Return the store of a mutant."""
    return Store(directory / f"{name}.sqlite")


def main(descriptor: str, stack: str, store: str, *names: str) -> None:
    kind, make, serve = STACKS[stack]
    Together.now = Unannounced()
    chosen = {each.name: each.kind(store_of(Path(store), each.name)) for each in MUTANTS if each.name in names}
    serve_with_parent(serve, make(chosen or kind(Store(Path(store)))), descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
