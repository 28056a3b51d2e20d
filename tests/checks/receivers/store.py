"""What a receiver keeps, in an SQLite file that several processes can share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS nonces (nonce TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS effects (message_id TEXT NOT NULL, status TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_message ON effects (message_id);
CREATE TABLE IF NOT EXISTS issued (message_id TEXT PRIMARY KEY);
"""


class Store:
    """Open the database anew for each use, as threads and processes need it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self.transaction() as db:
            for table in _TABLES.strip().split("\n"):
                db.execute(table)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Take the database for writing; what happens in the block is kept if it ends well, and undone if not."""
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            # Nobody's power fails during a test, and a journal on the disk costs more than all else.
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA journal_mode = MEMORY")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()

    def issue(self, message_id: str) -> None:
        """Enter a message that the app has sent, as it does once the API has answered."""
        with self.transaction() as db:
            db.execute("INSERT INTO issued VALUES (?)", [message_id])

    def effects(self, message_id: str) -> list[tuple[str, str]]:
        """Return every effect of a message, in order."""
        query = "SELECT status, detail FROM effects WHERE message_id = ? ORDER BY rowid"
        with closing(sqlite3.connect(self._path, timeout=10)) as db:
            return db.execute(query, [message_id]).fetchall()

    def message_ids(self) -> set[str]:
        """Return the messages that there was an effect of."""
        with self.transaction() as db:
            return {message_id for (message_id,) in db.execute("SELECT message_id FROM effects")}
