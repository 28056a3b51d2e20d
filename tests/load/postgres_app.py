"""A receiver for loads: Flask in front, PostgreSQL behind, as gunicorn serves it.

With `LOAD_BUG=doubles`, it has the effect of `verified` again for each duplicate.
"""

from __future__ import annotations

import os
import time
from typing import Any

import psycopg
from flask import Flask, Response, abort, jsonify, request

from engagelab_mock import StatusEvent, decode, verify

DOUBLES = os.environ.get("LOAD_BUG") == "doubles"
_TABLES = """
CREATE TABLE events (message_id text, status text, itime bigint, PRIMARY KEY (message_id, status, itime));
CREATE TABLE messages (message_id text PRIMARY KEY, status text NOT NULL, itime bigint NOT NULL, credits int NOT NULL);
"""
_NEW = "INSERT INTO events VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_KNOWN = "INSERT INTO messages VALUES (%s, '', 0, 0) ON CONFLICT DO NOTHING"
_CREDIT = "UPDATE messages SET credits = credits + 1 WHERE message_id = %s"
_LATEST = "UPDATE messages SET status = %s, itime = %s WHERE message_id = %s AND itime <= %s"

app = Flask(__name__)


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(os.environ["LOAD_DATABASE"])


@app.post("/engagelab")
def callback() -> str:
    if not verify(request.headers.get("X-CALLBACK-ID"), username="acme", secret="s3cret", now=time.time()):
        abort(401)
    with connect() as db:
        for event in decode(request.get_data()).rows:
            if isinstance(event, StatusEvent):
                apply(db, event)
    return ""


def apply(db: psycopg.Connection[tuple[Any, ...]], event: StatusEvent) -> None:
    """Have the effect of an event, once; the latest by its `itime` is the status."""
    new = db.execute(_NEW, [event.message_id, event.name, event.itime]).rowcount
    if not new and not DOUBLES:
        return
    db.execute(_KNOWN, [event.message_id])
    if event.name == "verified":
        db.execute(_CREDIT, [event.message_id])
    db.execute(_LATEST, [event.name, event.itime, event.message_id, event.itime])


@app.get("/state/<message_id>")
def state(message_id: str) -> Response:
    with connect() as db:
        found = db.execute("SELECT status, credits FROM messages WHERE message_id = %s", [message_id]).fetchone()
    if found is None:
        abort(404)
    return jsonify(status=found[0], credits=found[1])


if __name__ == "__main__":
    with connect() as created:
        created.execute(_TABLES)
