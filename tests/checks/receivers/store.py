"""The data of a receiver, in an SQLite file that several processes can share."""

from __future__ import annotations

import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS nonces (nonce TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS effects (message_id TEXT NOT NULL, status TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_message ON effects (message_id);
CREATE TABLE IF NOT EXISTS issued (message_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS clock (ahead REAL NOT NULL);
"""


class Store:
    """Keep a pool of connections, one for each concurrent use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        with closing(self._connect()) as db:  # closed, because a forked process must not inherit it
            db.executescript(_TABLES)
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lock the database for writing; commit at the end of the context, or roll back after an exception."""
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def issue(self, message_id: str) -> None:
        """Store a message that the app has sent, as the app does after the API has answered."""
        with self.transaction() as db:
            db.execute("INSERT INTO issued VALUES (?)", [message_id])

    def effects(self, message_id: str) -> list[tuple[str, str]]:
        """Return every effect of a message, in order."""
        query = "SELECT status, detail FROM effects WHERE message_id = ? ORDER BY rowid"
        with self._connection() as db:
            return db.execute(query, [message_id]).fetchall()

    def totals(self) -> dict[str, int]:
        """Return how many effects of each kind there are."""
        with self._connection() as db:
            return dict(db.execute("SELECT status, count(*) FROM effects GROUP BY status").fetchall())

    def now(self) -> float:
        """Return the time of the receiver, in every process."""
        with self._connection() as db:
            (ahead,) = db.execute("SELECT coalesce(max(ahead), 0) FROM clock").fetchone()
        return time.time() + float(ahead)

    def set_time(self, now: float | None) -> None:
        """Set the time of the receiver; with None, it is right again."""
        with self.transaction() as db:
            db.execute("DELETE FROM clock")
            db.executemany("INSERT INTO clock VALUES (?)", [] if now is None else [[now - time.time()]])

    def message_ids(self) -> set[str]:
        """Return the messages that had an effect."""
        with self.transaction() as db:
            return {message_id for (message_id,) in db.execute("SELECT message_id FROM effects")}

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect()
        try:
            yield db
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._idle.append(db)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        # A test need not survive a power failure, and syncing to the disk is slow.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA journal_mode = MEMORY")
        return db


def _close(connections: list[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()
