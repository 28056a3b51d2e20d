"""A Flask app that writes each event it receives to its own SQLite table, as gunicorn loads it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from engagelab_otp import MessageStatusEvent, WebhookVerifier
from flask import Flask, request

app = Flask(__name__)
verifier = WebhookVerifier("acme", "s3cret")


def connect() -> sqlite3.Connection:
    """Open the table; each request has its own connection, because each may run in another thread."""
    connection = sqlite3.connect(os.environ["EVENTS_DATABASE"], timeout=30)
    # What a power cut would lose does not matter here, and a thousand times waiting for a disk does.
    connection.execute("PRAGMA synchronous = OFF")
    return connection


@app.post("/engagelab")
def engagelab() -> tuple[str, int]:
    """Verify with the vendor's own SDK, and keep every status."""
    verifier.verify(request.headers["X-CALLBACK-ID"])
    rows = [
        (event.message_id, event.to, event.status)
        for event in verifier.parse_events(request.get_json())
        if isinstance(event, MessageStatusEvent)
    ]
    with closing(connect()) as connection, connection:
        connection.executemany("INSERT INTO events (message_id, recipient, status) VALUES (?, ?, ?)", rows)
    return "", 200
