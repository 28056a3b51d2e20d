"""Receivers that are as correct as the correct one, in other styles."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import Any

from tests.checks.receivers.correct import ALONG, CorrectReceiver, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.ordering import KeepsOneStatus
from tests.checks.receivers.store import Store

#: The app's own names for the statuses.
CODES = {"sent": 10, "delivered": 20, "delivered_failed": 15, "verified": 40, "verified_failed": 30}

_ROWS = """
CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE, status TEXT,
    version INTEGER NOT NULL DEFAULT 0, updated REAL, sent_at INTEGER, delivered_at INTEGER, failed INTEGER DEFAULT 0)
"""


class KeepsARow(CorrectReceiver):
    """Store the highest status in a row, with a version and times; ignore late statuses."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status not in ALONG:
            super().keep(db, message_id, status, detail)
            return
        db.execute(_ROWS)
        db.execute("INSERT OR IGNORE INTO rows (message_id) VALUES (?)", [message_id])
        (old,) = db.execute("SELECT status FROM rows WHERE message_id = ?", [message_id]).fetchone()
        db.execute("UPDATE rows SET updated = ? WHERE message_id = ?", [time.time(), message_id])
        if old is not None and ALONG[status] <= ALONG[old]:
            return
        query = "UPDATE rows SET status = ?, version = version + 1, failed = failed + ? WHERE message_id = ?"
        db.execute(query, [status, status == "verified_failed", message_id])
        if status in {"sent", "delivered"}:
            db.execute(f"UPDATE rows SET {status}_at = ? WHERE message_id = ?", [time.time(), message_id])


class Row:
    """A row as an object of an object-relational mapper."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._state = object()
        self.__dict__.update(columns)


def row(store: Store, message_id: str) -> Row | None:
    columns = _columns(store, message_id)
    if columns is None:
        return None
    updated = datetime.fromtimestamp(columns.pop("updated"), UTC)
    return Row({**columns, "updated_at": updated})


def code(store: Store, message_id: str) -> dict[str, int] | None:
    columns = _columns(store, message_id)
    known = columns is not None and columns["status"] in CODES
    return {"state": CODES[columns["status"]], "failed_attempts": columns["failed"]} if columns and known else None


def _columns(store: Store, message_id: str) -> dict[str, Any] | None:
    with store.transaction() as db:
        db.execute(_ROWS)
        cursor = db.cursor()
        cursor.row_factory = sqlite3.Row
        found = cursor.execute("SELECT * FROM rows WHERE message_id = ?", [message_id]).fetchone()
    return None if found is None else dict(found)


def arrived(store: Store, message_id: str) -> list[str]:
    """Return every status in the order in which it came."""
    return [status for status, _ in store.effects(message_id)]


def derived(store: Store, message_id: str) -> str:
    """Return the status that follows from all events, or raise if there are none."""
    statuses = arrived(store, message_id)
    if not statuses:
        raise LookupError(f"no message {message_id}")
    return max(statuses, key=ALONG.__getitem__).upper()


def audited(store: Store, message_id: str) -> dict[str, Any]:
    """Return the status, and the log that it follows from."""
    log = [{"n": number, "status": status} for number, status in enumerate(arrived(store, message_id))]
    return {"status": derived(store, message_id) if log else None, "log": log}


class AnswersFirst(KeepsOneStatus):
    """Answer first, and do the work in another thread."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._jobs: queue.Queue[tuple[str, bytes, dict[str, Any]]] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._jobs.put((nonce, body, envelope))

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            time.sleep(0.002)
            with contextlib.suppress(Refused):
                super().commit(*job)


STYLES = {
    "a row by rank": Mutant("", KeepsARow, observe=row),
    "numbers for statuses": Mutant("", KeepsARow, observe=code),
    "a list of statuses": Mutant("", CorrectReceiver, observe=arrived),
    "a status derived from a log": Mutant("", CorrectReceiver, observe=derived),
    "a log beside the status": Mutant("", CorrectReceiver, observe=audited),
    "answers first": Mutant("", AnswersFirst),
}
