"""What a receiver keeps, in SQLite: tests judge it by that and not by its answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TABLES = """
CREATE TABLE nonces (nonce TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE messages (message_id TEXT PRIMARY KEY, recipient TEXT NOT NULL);
CREATE TABLE effects (message_id TEXT NOT NULL, status TEXT NOT NULL);
CREATE TABLE handled (message_id TEXT NOT NULL, status TEXT NOT NULL, PRIMARY KEY (message_id, status));
CREATE TABLE bodies (body TEXT NOT NULL);
"""


class Store:
    """Open the database for each use, as threads and processes need it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self.transaction() as db:
            for table in _TABLES.split(";"):
                db.execute(table)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Take the database for writing; commit the changes of the block if it ends well, undo them if not."""
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()

    @property
    def effects(self) -> list[str]:
        """Return the status of every effect, in order: the user of the app notices these."""
        return [status for _, status in self.rows("SELECT message_id, status FROM effects ORDER BY rowid")]

    @property
    def recipients(self) -> set[str]:
        """Return who the app believes its messages went to."""
        return {recipient for (recipient,) in self.rows("SELECT recipient FROM messages")}

    @property
    def message_ids(self) -> set[str]:
        """Return the messages the app has effects of."""
        return {message_id for (message_id,) in self.rows("SELECT message_id FROM effects")}

    @property
    def largest_body(self) -> int:
        """Return the size, in bytes, of the largest body kept."""
        return max((len(body) for (body,) in self.rows("SELECT body FROM bodies")), default=0)

    @property
    def unreadable_bodies(self) -> int:
        """Return how many of the bodies kept are no JSON to the database."""
        return len(self.rows("SELECT 1 FROM bodies WHERE NOT json_valid(body)"))

    def rows(self, query: str) -> list[tuple[str, ...]]:
        """Return the rows of a query."""
        with self.transaction() as db:
            return db.execute(query).fetchall()
