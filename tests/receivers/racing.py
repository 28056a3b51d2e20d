"""Receivers that a race or a crash in the handler breaks, and correct ones, on SQLite in a file and on any stack."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from flask import Flask, request

from engagelab_mock import Receiver

#: Takes a connection, a message's id and a status, and applies the status.
Handle = Callable[[sqlite3.Connection, str, str], None]

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE marks (key TEXT);
    CREATE TABLE claims (key TEXT PRIMARY KEY);
    CREATE TABLE orders (id TEXT PRIMARY KEY, credits INTEGER);
"""


class Store:
    """Keep orders in a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        with self.opened() as db:
            db.executescript(_SCHEMA)

    def opened(self) -> _Closing:
        return _Closing(self.path)

    def observe(self, message_id: str) -> dict[str, int]:
        with self.opened() as db:
            credits = db.execute("SELECT credits FROM orders WHERE id = ?", (message_id,)).fetchone()
            marks = db.execute("SELECT count(*) FROM marks WHERE key LIKE ?", (f"{message_id}%",)).fetchone()
        return {"credits": credits[0] if credits else 0, "marks": marks[0]}

    def reset(self) -> None:
        with self.opened() as db:
            db.executescript("DELETE FROM marks; DELETE FROM claims; DELETE FROM orders")


class _Closing:
    """Open a connection, and close it at the end of the block."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        self._db = sqlite3.connect(self._path)
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.close()


def add_credit(db: sqlite3.Connection, message_id: str) -> None:
    db.execute("INSERT INTO orders VALUES (?, 1) ON CONFLICT DO UPDATE SET credits = credits + 1", (message_id,))


def is_marked(db: sqlite3.Connection, key: str) -> bool:
    return db.execute("SELECT 1 FROM marks WHERE key = ?", (key,)).fetchone() is not None


def mark(db: sqlite3.Connection, key: str) -> None:
    db.execute("INSERT INTO marks VALUES (?)", (key,))


def select_then_insert(db: sqlite3.Connection, message_id: str, status: str) -> None:
    if not is_marked(db, message_id + status):
        mark(db, message_id + status)
        add_credit(db, message_id)
    db.commit()


def lost_update(db: sqlite3.Connection, message_id: str, status: str) -> None:
    """Count callbacks: read, add one, write."""
    found = db.execute("SELECT credits FROM orders WHERE id = ?", (message_id,)).fetchone()
    db.execute("INSERT OR REPLACE INTO orders VALUES (?, ?)", (message_id, (found[0] if found else 0) + 1))
    db.commit()


def mark_commit_effect(db: sqlite3.Connection, message_id: str, status: str) -> None:
    if db.execute("INSERT OR IGNORE INTO claims VALUES (?)", (message_id + status,)).rowcount:
        db.commit()
        add_credit(db, message_id)
        db.commit()


def effect_commit_mark(db: sqlite3.Connection, message_id: str, status: str) -> None:
    if not is_marked(db, message_id + status):
        add_credit(db, message_id)
        db.commit()
        mark(db, message_id + status)
        db.commit()


class Cached:
    """Look into a cache before the transaction begins."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def __call__(self, db: sqlite3.Connection, message_id: str, status: str) -> None:
        if message_id + status not in self.keys:
            add_credit(db, message_id)
            db.commit()
            self.keys.add(message_id + status)

    def reset(self) -> None:
        self.keys.clear()


def refuses_the_loser(db: sqlite3.Connection, message_id: str, status: str) -> None:
    """Fail if another handler has claimed the key meanwhile: the callback comes again."""
    if db.execute("SELECT 1 FROM claims WHERE key = ?", (message_id + status,)).fetchone() is None:
        db.execute("INSERT INTO claims VALUES (?)", (message_id + status,))
        add_credit(db, message_id)
    db.commit()


def correct(db: sqlite3.Connection, message_id: str, status: str) -> None:
    """Claim the key, and give the credit in the same transaction."""
    if db.execute("INSERT OR IGNORE INTO claims VALUES (?)", (message_id + status,)).rowcount:
        add_credit(db, message_id)
    db.commit()


def locks_at_once(db: sqlite3.Connection, message_id: str, status: str) -> None:
    """Begin with the lock for writing, so that reading first is right."""
    db.isolation_level = None
    db.execute("BEGIN IMMEDIATE")
    if not is_marked(db, message_id + status):
        mark(db, message_id + status)
        add_credit(db, message_id)
    db.execute("COMMIT")


def statuses(envelope: Any) -> Iterator[tuple[str, str]]:
    """Yield the message's id and the status of each row."""
    for row in envelope["rows"]:
        if "status" in row:
            yield row["message_id"], row["status"]["message_status"]


def flask_receiver(store: Store, handle: Handle) -> Receiver:
    app = Flask("racing")
    app.logger.disabled = True

    @app.post("/engagelab")
    def engagelab_callback() -> str:
        with store.opened() as db:
            for message_id, status in statuses(request.get_json(force=True)):
                handle(db, message_id, status)
        return ""

    return Receiver.wsgi(app, "/engagelab", observe=store.observe, reset=resetting(store, handle))


def resetting(store: Store, handle: Handle) -> Callable[[], None]:
    def reset() -> None:
        store.reset()
        getattr(handle, "reset", int)()

    return reset


def folder() -> str:
    """Return a folder in memory, if there is one: a test makes hundreds of commits."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else gettempdir()
