"""Receivers that a race or a crash in the handler breaks, and correct ones, on Flask with SQLite or PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from flask import Flask, Response, abort, request

from engagelab_mock import Receiver

#: Takes a connection, a message's id and a status, and applies the status. The SQL is that of both databases, and the
#: connection to PostgreSQL understands the question marks.
Handle = Callable[[Any, str, str], None]

TABLES = (
    "CREATE TABLE marks (key TEXT)",
    "CREATE TABLE claims (key TEXT PRIMARY KEY)",
    "CREATE TABLE orders (id TEXT PRIMARY KEY, credits INTEGER)",
)


class Store:
    """Keep orders in a file."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        with self.opened() as db:
            db.execute("PRAGMA journal_mode = WAL")
            for table in TABLES:
                db.execute(table)
            db.commit()

    def opened(self) -> AbstractContextManager[Any]:
        """Open a connection, and close it at the end of the block."""
        return closing(sqlite3.connect(self.path))

    def observe(self, message_id: str) -> dict[str, int]:
        with self.opened() as db:
            credits = db.execute("SELECT credits FROM orders WHERE id = ?", (message_id,)).fetchone()
            marks = db.execute("SELECT count(*) FROM marks WHERE key LIKE ?", (f"{message_id}%",)).fetchone()
        return {"credits": credits[0] if credits else 0, "marks": marks[0]}

    def reset(self) -> None:
        with self.opened() as db:
            for table in ("marks", "claims", "orders"):
                db.execute(f"DELETE FROM {table}")
            db.commit()


ADD_CREDIT = "INSERT INTO orders VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET credits = orders.credits + 1"
SET_CREDITS = "INSERT INTO orders VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET credits = excluded.credits"
CLAIM = "INSERT INTO claims VALUES (?) ON CONFLICT DO NOTHING"


def add_credit(db: Any, message_id: str) -> None:
    db.execute(ADD_CREDIT, (message_id,))


def is_marked(db: Any, key: str) -> bool:
    return db.execute("SELECT 1 FROM marks WHERE key = ?", (key,)).fetchone() is not None


def mark(db: Any, key: str) -> None:
    db.execute("INSERT INTO marks VALUES (?)", (key,))


def select_then_insert(db: Any, message_id: str, status: str) -> None:
    if not is_marked(db, message_id + status):
        mark(db, message_id + status)
        add_credit(db, message_id)
    db.commit()


def lost_update(db: Any, message_id: str, status: str) -> None:
    """Count callbacks: read, add one, write."""
    found = db.execute("SELECT credits FROM orders WHERE id = ?", (message_id,)).fetchone()
    db.execute(SET_CREDITS, (message_id, (found[0] if found else 0) + 1))
    db.commit()


def mark_commit_effect(db: Any, message_id: str, status: str) -> None:
    if db.execute(CLAIM, (message_id + status,)).rowcount:
        db.commit()
        add_credit(db, message_id)
        db.commit()


def effect_commit_mark(db: Any, message_id: str, status: str) -> None:
    if not is_marked(db, message_id + status):
        add_credit(db, message_id)
        db.commit()
        mark(db, message_id + status)
        db.commit()


class Cached:
    """Look into a cache before the transaction begins."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def __call__(self, db: Any, message_id: str, status: str) -> None:
        if message_id + status not in self.keys:
            add_credit(db, message_id)
            db.commit()
            self.keys.add(message_id + status)

    def reset(self) -> None:
        self.keys.clear()


def refuses_the_loser(db: Any, message_id: str, status: str) -> None:
    """Fail if another handler has claimed the key meanwhile: the callback comes again."""
    if db.execute("SELECT 1 FROM claims WHERE key = ?", (message_id + status,)).fetchone() is None:
        db.execute("INSERT INTO claims VALUES (?)", (message_id + status,))
        add_credit(db, message_id)
    db.commit()


def correct(db: Any, message_id: str, status: str) -> None:
    """Claim the key, and give the credit in the same transaction."""
    if db.execute(CLAIM, (message_id + status,)).rowcount:
        add_credit(db, message_id)
    db.commit()


def locks_at_once(db: Any, message_id: str, status: str) -> None:
    """Begin with the lock for writing, so that reading first is right."""
    db.isolation_level = None
    db.execute("BEGIN IMMEDIATE")
    if not is_marked(db, message_id + status):
        mark(db, message_id + status)
        add_credit(db, message_id)
    db.execute("COMMIT")


# On PostgreSQL only.


def locks_the_row(db: Any, message_id: str, status: str) -> None:
    """Lock the order before reading what was done to it."""
    db.execute("INSERT INTO orders VALUES (?, 0) ON CONFLICT DO NOTHING", (message_id,))
    db.execute("SELECT 1 FROM orders WHERE id = ? FOR UPDATE", (message_id,))
    select_then_insert(db, message_id, status)


def locks_by_advice(db: Any, message_id: str, status: str) -> None:
    """Take a lock that PostgreSQL keeps for the app, until the end of the transaction."""
    db.execute("SELECT pg_advisory_xact_lock(hashtext(?))", (message_id,))
    select_then_insert(db, message_id, status)


def serializable(db: Any, message_id: str, status: str) -> None:
    """Let PostgreSQL find the conflict, and refuse the callback then: it comes again."""
    import psycopg

    db.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    try:
        select_then_insert(db, message_id, status)
    except psycopg.errors.SerializationFailure:
        abort(503)


def statuses(envelope: Any) -> Iterator[tuple[str, str]]:
    """Yield the message's id and the status of each row."""
    for row in envelope["rows"]:
        if "status" in row:
            yield row["message_id"], row["status"]["message_status"]


def flask_receiver(store: Store, handle: Handle, *, after_answer: bool = False) -> Receiver:
    """Return a receiver, which handles the callback before its answer or after it."""
    app = Flask("racing")
    app.logger.disabled = True

    @app.post("/engagelab")
    def engagelab_callback() -> Response:
        rows = [*statuses(request.get_json(force=True))]

        def work() -> None:
            with store.opened() as db:
                for message_id, status in rows:
                    handle(db, message_id, status)

        response = Response("")
        if after_answer:
            response.call_on_close(work)
        else:
            work()
        return response

    return Receiver.wsgi(app, "/engagelab", observe=store.observe, reset=resetting(store, handle))


def resetting(store: Store, handle: object) -> Callable[[], None]:
    def reset() -> None:
        store.reset()
        getattr(handle, "reset", int)()

    return reset


def folder() -> str:
    """Return a folder in memory, if there is one: a test makes hundreds of commits."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else gettempdir()
