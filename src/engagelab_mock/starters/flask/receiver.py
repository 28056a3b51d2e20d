"""A safe receiver of EngageLab's callbacks. Run it with `flask --app receiver run`.

Its guide is docs/howto/flask.md of engagelab-mock.
"""

import json
import os
import sqlite3
from contextlib import closing

from engagelab_otp import WebhookSignatureError, WebhookVerifier
from flask import Flask, request

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS signatures (header TEXT PRIMARY KEY, body BLOB, at INTEGER);
CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, status TEXT, rank INTEGER, credits INTEGER DEFAULT 0);
"""
# A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
RANK = {"plan": 0, "target_valid": 1, "target_invalid": 2, "sent_failed": 3, "sent": 4, "delivered_failed": 5}
RANK |= {"delivered": 6, "verified_timeout": 7, "verified_failed": 8, "verified": 9}
# One statement, so that no other callback can come in between.
RAISE_STATUS = """
INSERT INTO messages (id, status, rank) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, rank = excluded.rank WHERE excluded.rank > messages.rank
"""


def create_app(database="callbacks.sqlite", username=None, secret=None):
    """Make the app. The credentials of the callback settings come from the environment, unless they are given."""
    username = username or os.environ["ENGAGELAB_WEBHOOK_USERNAME"]
    secret = secret or os.environ["ENGAGELAB_WEBHOOK_SECRET"]
    if not (username and secret):
        raise ValueError("set ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET")
    app = Flask("shop")
    verifier = WebhookVerifier(username, secret)
    with closing(sqlite3.connect(database)) as db:
        db.executescript(SCHEMA)

    @app.post("/engagelab")
    def engagelab_callbacks():
        body, header = request.get_data(), request.headers.get("X-CALLBACK-ID", "")
        if body in {b"", b"{}"}:
            return "", 200  # the address validation, unsigned in EngageLab's document
        if "," in header or not header.isascii():
            return "", 401  # two headers, or a signature that verify() cannot compare
        try:
            verifier.verify(header)
        except WebhookSignatureError:
            return "", 401
        try:
            rows = list(json.loads(body)["rows"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return "", 400
        with closing(sqlite3.connect(database)) as db, db:  # one transaction: the whole callback, or nothing
            if not is_first_body(db, header, body):
                return "", 401
            for row in rows:
                keep(db, row)
        return "", 200

    return app


def is_first_body(db, header, body):
    """Tell whether a signature came with no other body before: EngageLab does not sign the body."""
    db.execute("DELETE FROM signatures WHERE at < unixepoch() - 600")  # verify() refuses them by now
    db.execute("INSERT OR IGNORE INTO signatures VALUES (?, ?, unixepoch())", [header, body])
    known = db.execute("SELECT body FROM signatures WHERE header = ?", [header]).fetchone()
    return known == (body,)


def keep(db, row):
    """Keep the status of a row. Ignore a row of another kind, or with a status that is not known."""
    match row:
        case {"message_id": str() | int() as message_id, "status": {"message_status": str() as status}}:
            status = "sent_failed" if status == "sent_fail" else status  # how newer documents spell it
            raised = status in RANK and db.execute(RAISE_STATUS, [str(message_id), status, RANK[status]]).rowcount
            if raised and status == "verified":  # a status is only raised to `verified` once
                db.execute("UPDATE messages SET credits = credits + 1 WHERE id = ?", [str(message_id)])
