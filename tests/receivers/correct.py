"""A receiver that gets everything right: Flask in front, SQLite behind."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
import time
from typing import Any

from flask import Flask, Request, abort, request

from tests.receivers.store import Store

USERNAME = "acme"
SECRET = "s3cret"
PATH = "/engagelab"
STATUSES = {"plan", "sent", "delivered", "verified"}

_HEADER = re.compile(r"timestamp=([0-9]{10});nonce=([^;,]+);username=([^;,]+);signature=([0-9a-f]{64})")


class CorrectReceiver:
    """Verify, decode, and apply each event once; a mutant overrides one step with a bug."""

    body_limit: int | None = 64 * 1024

    def __init__(self, store: Store) -> None:
        self.store = store
        self.app = Flask(type(self).__name__)
        self.app.config["MAX_CONTENT_LENGTH"] = self.body_limit
        self.app.add_url_rule(PATH, "engagelab", self.view, methods=["POST"])

    def view(self) -> tuple[str, int]:
        """Answer a callback; nothing is kept of one that is refused or fails."""
        body = self.read(request)
        nonce = self.verify(request.headers.get("X-CALLBACK-ID"))
        envelope = self.decode(body)
        self.commit(nonce, body, envelope)
        return "", 200

    def read(self, request: Request) -> bytes:
        if request.headers.get("Content-Encoding"):
            abort(415)
        return request.get_data()

    def verify(self, header: str | None) -> str:
        """Return the nonce of a genuine header."""
        parts = _HEADER.fullmatch(header or "")
        if parts is None:
            abort(401)
        timestamp, nonce, username, signature = parts.groups()
        genuine = username == USERNAME and hmac.compare_digest(signature, self.digest(timestamp, nonce, username))
        if not genuine or not self.is_timely(int(timestamp)):
            abort(401)
        return nonce

    def digest(self, timestamp: str, nonce: str, username: str) -> str:
        return hmac.new(SECRET.encode(), f"{timestamp}{nonce}{username}".encode(), "sha256").hexdigest()

    def is_timely(self, timestamp: int) -> bool:
        return abs(time.time() - timestamp) <= 300

    def decode(self, body: bytes) -> dict[str, Any]:
        try:
            envelope = json.loads(body, object_pairs_hook=unique, parse_constant=refuse)
        except (ValueError, RecursionError):
            abort(400)
        if not isinstance(envelope, dict) or not isinstance(envelope.get("rows"), list):
            abort(400)
        return envelope

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        """Apply the rows, and keep the nonce and the envelope, all or nothing."""
        with self.store.transaction() as db:
            self.remember(db, nonce, body)
            db.execute("INSERT INTO bodies VALUES (?)", [json.dumps(envelope)])
            self.apply(db, envelope)

    def remember(self, db: sqlite3.Connection, nonce: str, body: bytes) -> None:
        """Refuse a nonce that came with another body before; with the same body it is the same callback again."""
        digest = hashlib.sha256(body).hexdigest()
        db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?)", [nonce, digest])
        if db.execute("SELECT body FROM nonces WHERE nonce = ?", [nonce]).fetchone() != (digest,):
            abort(401)

    def apply(self, db: sqlite3.Connection, envelope: dict[str, Any]) -> None:
        for row in envelope["rows"]:
            if isinstance(row.get("status"), dict):
                self.apply_status(db, row)

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        """Have the effect of a known status, once."""
        message_id, status = str(row["message_id"]), row["status"]["message_status"]
        if status not in STATUSES:
            return
        self.check_recipient(db, message_id, row["to"])
        if self.is_first(db, message_id, status):
            db.execute("INSERT INTO effects VALUES (?, ?)", [message_id, status])

    def check_recipient(self, db: sqlite3.Connection, message_id: str, recipient: str) -> None:
        """Refuse another recipient than the one the message went to: the signature does not cover the body."""
        db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?)", [message_id, recipient])
        known = db.execute("SELECT recipient FROM messages WHERE message_id = ?", [message_id]).fetchone()
        if known != (recipient,):
            abort(400)

    def is_first(self, db: sqlite3.Connection, message_id: str, status: str) -> bool:
        added = db.execute("INSERT OR IGNORE INTO handled VALUES (?, ?)", [message_id, status])
        return added.rowcount == 1


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs, or raise if a key stands twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def refuse(constant: str) -> None:
    """Refuse a constant that Python reads and JSON does not have."""
    raise ValueError(f"{constant} is not JSON")
