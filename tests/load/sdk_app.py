"""The official SDK's own Flask view, as a receiver for loads; `LOAD_BUG` chooses its handler."""

from __future__ import annotations

import os
import threading
from collections import Counter

from engagelab_otp import CallbackEvent, MessageStatusEvent, WebhookVerifier
from flask import Flask, Response, jsonify

#: The handler of the SDK's README does not check for duplicates. If a handler raises, the view answers 200.
DOUBLES, RAISES = (os.environ.get("LOAD_BUG") == bug for bug in ("doubles", "raises"))

app = Flask(__name__)
done: Counter[tuple[str, str]] = Counter()
lock = threading.Lock()


def handle(events: list[CallbackEvent]) -> None:
    for event in events:
        if not isinstance(event, MessageStatusEvent) or not event.is_terminal:
            continue
        if RAISES and event.status == "verified" and int(event.message_id) // 2 % 8 == 0:
            raise RuntimeError("database is locked")
        with lock:
            key = (event.message_id, event.status)
            done[key] += DOUBLES or not done[key]


view = WebhookVerifier(username="acme", secret="s3cret").flask_view(handle)
app.add_url_rule("/engagelab", "engagelab_webhook", view, methods=["POST"])


@app.get("/state/<message_id>")
def state(message_id: str) -> Response:
    return jsonify(delivered=done[message_id, "delivered"], verified=done[message_id, "verified"])
