"""An app that logs users in with codes: it calls EngageLab with the official SDK and takes its callbacks, verified.

As a program it is told by environment variables where EngageLab is, prints its own URL, and serves until killed.
"""

from __future__ import annotations

import os
from typing import Any

from engagelab_otp import EngagelabError, MessageStatusEvent, OTPClient, WebhookSignatureError, WebhookVerifier
from flask import Flask, request

USERNAME, SECRET = "acme", "s3cret"
#: What the code of the sandbox's recipient +10000000005 is.
KNOWN = "123456"


def create_app(base_url: str, *, verify_at: str = "") -> Flask:
    """Make the app; `verify_at` is the status on which it enters the sandbox's code by itself, in its own handler."""
    app = Flask("shop")
    app.testing = True
    events: list[MessageStatusEvent] = []
    answers: list[dict[str, Any]] = []
    app.extensions.update(events=events, answers=answers)
    client = OTPClient("key", "secret")
    client.BASE_URL = base_url
    verifier = WebhookVerifier(USERNAME, SECRET)

    @app.post("/login")
    def login() -> tuple[dict[str, Any], int]:
        try:
            return client.send(request.form["phone"], "shop-login"), 200
        except EngagelabError as error:
            return {"code": error.code, "retryable": error.retryable}, 502

    @app.post("/code")
    def code() -> dict[str, Any]:
        return client.verify(request.form["message_id"], request.form["code"])

    @app.get("/statuses")
    def statuses() -> list[str]:
        return [event.status for event in events]

    @app.post("/engagelab")
    def engagelab() -> tuple[str, int]:
        try:
            verifier.verify(request.headers.get("X-CALLBACK-ID", ""))
        except WebhookSignatureError:
            return "", 401
        for event in verifier.parse_events(request.get_data()):
            assert isinstance(event, MessageStatusEvent)
            events.append(event)
            if event.status == verify_at:
                answers.append(client.verify(event.message_id, KNOWN))
        return "", 200

    return app


if __name__ == "__main__":
    from engagelab_mock.server.loopback import LoopbackServer

    app = create_app(os.environ["ENGAGELAB_BASE_URL"], verify_at=os.environ.get("VERIFY_AT", ""))
    with LoopbackServer(app) as server:
        print(server.url, flush=True)
        input()
