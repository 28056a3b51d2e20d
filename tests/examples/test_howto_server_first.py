"""An app that wants EngageLab's address when it is made: the server first, then the app, then the receiver."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import requests
from engagelab_otp import MessageStatusEvent, WebhookVerifier
from flask import Flask, request

from engagelab_mock import ApiServer, EngageLab, Receiver


# [app]
def create_app(settings: Mapping[str, str]) -> Flask:
    app = Flask("shop")
    app.extensions["states"] = {}
    session = requests.Session()
    session.auth = settings["ENGAGELAB_DEV_KEY"], settings["ENGAGELAB_DEV_SECRET"]
    verifier = WebhookVerifier(settings["ENGAGELAB_WEBHOOK_USERNAME"], settings["ENGAGELAB_WEBHOOK_SECRET"])

    @app.post("/login")
    def login() -> tuple[str, int]:
        message = {"to": request.form["phone"], "template": {"id": "shop-login"}}
        answer = session.post(f"{settings['ENGAGELAB_BASE_URL']}/messages", json=message, timeout=10)
        return answer.text, answer.status_code

    @app.post("/engagelab")
    def engagelab() -> str:
        body = request.get_data()
        if body not in {b"", b"{}"}:
            verifier.verify(request.headers.get("X-CALLBACK-ID", ""))
            for event in verifier.parse_events(body):
                if isinstance(event, MessageStatusEvent):
                    app.extensions["states"][event.message_id] = event.status
        return ""

    return app


# [fixtures]
@pytest.fixture
def app(engagelab: EngageLab, engagelab_server: ApiServer) -> Flask:
    settings = engagelab_server.env
    app = create_app(settings)
    username, secret = settings["ENGAGELAB_WEBHOOK_USERNAME"], settings["ENGAGELAB_WEBHOOK_SECRET"]
    engagelab.receiver = Receiver.wsgi(app, path="/engagelab", username=username, secret=secret)
    return app


# [tests]
def test_a_user_gets_a_code(app: Flask, engagelab: EngageLab) -> None:
    answer = app.test_client().post("/login", data={"phone": "+6591234567"})

    assert engagelab.inbox("+6591234567").code
    assert app.extensions["states"] == {answer.get_json(force=True)["message_id"]: "delivered"}


# [end]
@pytest.mark.engagelab(username="acme", secret="s3cret", dev_key="key", dev_secret="another")
def test_the_marker_s_settings_are_the_app_s(app: Flask, engagelab: EngageLab) -> None:
    app.test_client().post("/login", data={"phone": "+6591234567"})
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
    assert engagelab.receiver.settings.username == "acme"
