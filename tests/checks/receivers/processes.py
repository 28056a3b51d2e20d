"""Receivers that are killed and started again, or have several workers; and mutants that keep too much in memory.

They run in the test's process: a kill closes the server's connections and drops the receiver's data in memory.
"""

from __future__ import annotations

import itertools
import queue
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.checks.receivers.correct import ALONG, CorrectReceiver, Incoming, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.servers import Handler, Threaded
from tests.checks.receivers.store import Store

Answer = tuple[int, str, dict[str, str]]


class _Server(Threaded):
    """Serve several receivers, each connection by the next one, and end all connections at once when it is killed."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, receivers: list[CorrectReceiver]) -> None:
        self.receivers = receivers
        self.begin()
        self._open: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def begin(self) -> None:
        """Begin with the first receiver."""
        self._turns = itertools.cycle(self.receivers)

    def turn(self) -> CorrectReceiver:
        return next(self._turns)

    def kill(self) -> None:
        for receiver in self.receivers:
            receiver.kill()
        self.shutdown()
        self.server_close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


class _Handler(Handler):
    """Serve one connection, with the receiver whose turn it is."""

    receiver: CorrectReceiver | None = None  # type: ignore[assignment]

    def answer(self) -> None:
        server: Any = self.server
        if self.receiver not in server.receivers:
            self.receiver = server.turn()
        super().answer()


class Process:
    """The process of an app, or several: `restart` kills it and starts it again with the same port and database."""

    def __init__(self, receivers: list[CorrectReceiver]) -> None:
        self.server = _Server(0, receivers)
        self.port = self.server.server_port

    def restart(self) -> None:
        self.server.kill()
        self.start()

    def start(self) -> None:
        self.server = _Server(self.port, self.renewed())

    def renewed(self) -> list[CorrectReceiver]:
        """Return receivers that have nothing in memory."""
        return [type(each)(each.store) for each in self.server.receivers]


def by_workers(number: int, process: type[Process] = Process) -> Callable[[CorrectReceiver], Any]:
    """Serve with that many workers, each with the same database and with its own memory."""

    @contextmanager
    def serve(receiver: CorrectReceiver) -> Iterator[str]:
        served = process([type(receiver)(receiver.store) for _ in range(number)])
        receiver.restart = served.restart
        try:
            yield f"http://127.0.0.1:{served.port}"
        finally:
            served.server.kill()

    return serve


restartable = by_workers(1)


class NamesItsWorker(CorrectReceiver):
    """Name the worker in each answer."""

    _numbers = itertools.count(1)

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.number = next(self._numbers)

    def answer(self, incoming: Incoming) -> Answer:
        status, text, headers = super().answer(incoming)
        return status, text, {**headers, "X-Worker-Id": str(self.number)}


class KnowsEventsInMemory(NamesItsWorker):
    """Look for an event in a set of this process instead of the database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._known: set[tuple[str, str, str]] = set()

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        event = (message_id, status, detail)
        if event not in self._known:  # the transaction holds a lock
            self._known.add(event)
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", event)


class KnowsNoncesInMemory(CorrectReceiver):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._nonces: dict[str, bytes] = {}

    def remember(self, db: sqlite3.Connection, nonce: str, body: bytes) -> None:
        if self._nonces.setdefault(nonce, body) != body:
            raise Refused(401)


class QueuesInMemory(CorrectReceiver):
    """Acknowledge first, and work afterwards, one callback after the other, in a thread."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._jobs: queue.SimpleQueue[tuple[str, bytes, dict[str, Any]]] = queue.SimpleQueue()
        self._killed = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._jobs.put((nonce, body, envelope))

    def _work(self) -> None:
        while not self._killed.is_set():
            with suppress(queue.Empty):
                job = self._jobs.get(timeout=0.2)
                if not self._killed.wait(0.02):
                    with suppress(Refused):
                        super().commit(*job)

    def kill(self) -> None:
        self._killed.set()


class KeepsTheRankInMemory(NamesItsWorker):
    """Write a status unless this worker knows a higher one, over what another worker has written."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._ranks: dict[str, int] = {}

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG and self._ranks.get(message_id, -1) < ALONG[status]:
            self._ranks[message_id] = ALONG[status]
            db.execute("DELETE FROM effects WHERE message_id = ?", [message_id])
            super().keep(db, message_id, status, detail)


#: All other checks: their result depends on the worker that a connection reaches, or they wait for each effect.
_OTHERS = ("A*", "B*", "C0*", "C1*", "C2[0-5]", "D*", "E*", "F*")

MUTANTS = [
    Mutant("B27", KnowsNoncesInMemory, over=("http",), serve=restartable),
    # The same request again is the same event again. The other checks of family C see no restart.
    Mutant("C25", KnowsEventsInMemory, also=("B27",), not_asked=("C1*",), over=("http",), serve=restartable),
    Mutant("C26", QueuesInMemory, not_asked=_OTHERS, over=("http",), serve=restartable),
    Mutant("C27", KnowsEventsInMemory, not_asked=_OTHERS, over=("http",), serve=by_workers(2)),
    Mutant("C27", KeepsTheRankInMemory, not_asked=_OTHERS, over=("http",), serve=by_workers(2)),
]


def main(port: str, store: str, kind: str) -> None:
    """Serve a receiver at a port, as a process that can be killed."""
    receiver: CorrectReceiver = globals()[kind](Store(Path(store)))
    _Server(int(port), [receiver])
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
