"""A receiver for loads: Flask in front, SQLite behind, as gunicorn serves it.

With `LOAD_DROPS`, it forgets `verified` of one message in so many, after its 200, and writes the id to a file.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request

from engagelab_mock import StatusEvent, decode, verify

DATABASE = Path(os.environ.get("LOAD_DATABASE", "load.sqlite"))
DROPS = int(os.environ.get("LOAD_DROPS", "0"))
_TABLES = """
CREATE TABLE IF NOT EXISTS events (message_id, status, itime, UNIQUE (message_id, status, itime));
CREATE TABLE IF NOT EXISTS messages (message_id PRIMARY KEY, status, itime, credits);
"""

app = Flask(__name__)


def connect() -> sqlite3.Connection:
    db = sqlite3.connect(DATABASE, timeout=10, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    return db


def create() -> None:
    """Make the tables, before the workers start."""
    with closing(connect()) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_TABLES)


@app.post("/engagelab")
def callback() -> str:
    import time

    header = request.headers.get("X-CALLBACK-ID")
    if not verify(header, username="acme", secret="s3cret", now=time.time()):
        abort(401)
    with closing(connect()) as db:
        for event in decode(request.get_data()).rows:
            if isinstance(event, StatusEvent):
                db.execute("BEGIN IMMEDIATE")
                apply(db, event)
                db.execute("COMMIT")
    return ""


def apply(db: sqlite3.Connection, event: StatusEvent) -> None:
    """Have the effect of an event, once; the latest by its `itime` is the status."""
    if DROPS and event.name == "verified" and int(event.message_id) // 2 % DROPS == 0:
        with DATABASE.with_name("dropped").open("a") as file:
            file.write(f"{event.message_id}\n")
        return
    key = (event.message_id, event.name, event.itime)
    if not db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", key).rowcount:
        return
    db.execute("INSERT OR IGNORE INTO messages VALUES (?, '', 0, 0)", key[:1])
    if event.name == "verified":
        db.execute("UPDATE messages SET credits = credits + 1 WHERE message_id = ?", key[:1])
    db.execute("UPDATE messages SET status = ?2, itime = ?3 WHERE message_id = ?1 AND itime <= ?3", key)


@app.get("/state/<message_id>")
def state(message_id: str) -> Response:
    with closing(connect()) as db:
        found = db.execute("SELECT status, credits FROM messages WHERE message_id = ?", [message_id]).fetchone()
    if found is None:
        abort(404)
    return jsonify(status=found[0], credits=found[1])


if __name__ == "__main__":
    create()
