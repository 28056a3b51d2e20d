"""Orders in an SQLite database, in memory or in a file, on one connection."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from tests.receivers.gallery.orders import Row, State

_TABLES = """
CREATE TABLE claims (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE messages (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, moment INTEGER NOT NULL,
    credits INTEGER NOT NULL DEFAULT 0, refunds INTEGER NOT NULL DEFAULT 0, cost INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""
_KEEP = (
    "INSERT INTO messages (id, status, moment) VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET status = excluded.status, moment = excluded.moment"
)
NOTHING: State = {"status": None, "credits": 0, "refunds": 0, "cost": 0}


class SqliteLedger:
    def __init__(self, database: str = ":memory:") -> None:
        # Servers call it from a thread of theirs, one request at a time.
        self._db = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._db.close)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_TABLES)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def claim(self, key: str) -> bool:
        return self._db.execute("INSERT OR IGNORE INTO claims VALUES (?)", [key]).rowcount == 1

    def status(self, message_id: str) -> str | None:
        found = self._db.execute("SELECT status FROM messages WHERE id = ?", [message_id]).fetchone()
        return found[0] if found else None

    def moment(self, message_id: str) -> int:
        found = self._db.execute("SELECT moment FROM messages WHERE id = ?", [message_id]).fetchone()
        return int(found[0]) if found else 0

    def keep(self, row: Row, status: str) -> None:
        self._db.execute(_KEEP, [row.message_id, status, row.at])

    def add(self, message_id: str, **amounts: int) -> None:
        changes = ", ".join(f"{name} = {name} + ?" for name in amounts)
        self._db.execute(f"UPDATE messages SET {changes} WHERE id = ?", [*amounts.values(), message_id])

    def observe(self, message_id: str) -> State:
        query = "SELECT status, credits, refunds, cost FROM messages WHERE id = ?"
        found = self._db.execute(query, [message_id]).fetchone()
        return dict(zip(NOTHING, found, strict=True)) if found else dict(NOTHING)

    def reset(self) -> None:
        self._db.execute("DELETE FROM claims")
        self._db.execute("DELETE FROM messages")

    def close(self) -> None:
        self._db.close()
