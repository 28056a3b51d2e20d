"""The whole loop over a real socket: the app calls EngageLab with the official SDK, and EngageLab calls the app."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from engagelab_otp import EngagelabError, MessageStatusEvent, OTPClient, WebhookSignatureError, WebhookVerifier
from flask import Flask, request
from flask.testing import FlaskClient

from engagelab_mock import ApiServer, EngageLab, Receiver


# [app]
def create_app() -> Flask:
    app = Flask("shop")
    app.testing = True
    app.extensions["states"] = {}
    client = OTPClient(os.environ["ENGAGELAB_DEV_KEY"], os.environ["ENGAGELAB_DEV_SECRET"])
    verifier = WebhookVerifier("acme", "s3cret")

    @app.post("/login")
    def login() -> tuple[dict[str, Any], int]:
        try:
            return client.send(request.form["phone"], "shop-login"), 200
        except EngagelabError as error:
            return {"error": str(error)}, 503 if error.retryable else 400

    @app.post("/code")
    def code() -> dict[str, Any]:
        try:
            return client.verify(request.form["message_id"], request.form["code"])
        except EngagelabError as error:
            return {"error": str(error)}

    @app.post("/engagelab")
    def engagelab() -> tuple[str, int]:
        body = request.get_data()
        if body in {b"", b"{}"}:
            return "", 200
        try:
            verifier.verify(request.headers.get("X-CALLBACK-ID", ""))
        except WebhookSignatureError:
            return "", 401
        for event in verifier.parse_events(body):
            assert isinstance(event, MessageStatusEvent)
            app.extensions["states"][event.message_id] = event.status
        return "", 200

    return app


# [fixtures]
@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGELAB_DEV_KEY", "key")
    monkeypatch.setenv("ENGAGELAB_DEV_SECRET", "secret")


@pytest.fixture
def app(settings: None) -> Flask:
    return create_app()


@pytest.fixture
def engagelab_receiver(app: Flask) -> Receiver:
    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")


@pytest.fixture
def browser(app: Flask, engagelab_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr(OTPClient, "BASE_URL", engagelab_server.base_url)
    return Browser(app.test_client())


class Browser:
    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def post(self, path: str, **fields: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.client.post(path, data=fields).data)
        return answer


# [tests]
def test_a_user_logs_in(browser: Browser, app: Flask, engagelab: EngageLab) -> None:
    message_id = browser.post("/login", phone="+6591234567")["message_id"]
    code = engagelab.inbox("+6591234567").code
    assert app.extensions["states"][message_id] == "delivered"

    assert browser.post("/code", message_id=message_id, code=code)["verified"]
    assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]
    assert app.extensions["states"][message_id] == "verified"


def test_a_code_expires(browser: Browser, app: Flask, engagelab: EngageLab) -> None:
    message_id = browser.post("/login", phone="+6591234567")["message_id"]
    code = engagelab.inbox("+6591234567").code

    engagelab.clock.advance(minutes=5)

    assert app.extensions["states"][message_id] == "verified_timeout"
    assert "error" in browser.post("/code", message_id=message_id, code=code)


def test_a_number_that_engagelab_refuses(browser: Browser, engagelab: EngageLab) -> None:
    engagelab.rule(to="+6591234567", error=5013)

    assert browser.post("/login", phone="+6591234567") == {"error": "blacklisted"}
    assert not engagelab.inbox()


def test_an_sms_that_does_not_arrive(browser: Browser, app: Flask, engagelab: EngageLab) -> None:
    engagelab.rule(to="+6591234567", scenario="delivered_failed")

    message_id = browser.post("/login", phone="+6591234567")["message_id"]

    assert engagelab.journal.statuses == ["plan", "sent", "delivered_failed"]
    assert app.extensions["states"][message_id] == "delivered_failed"


# [other process]
@pytest.mark.skipif(shutil.which("node") is None, reason="this example is for Node")
def test_an_app_in_another_language(engagelab: EngageLab, engagelab_server: ApiServer) -> None:
    program = Path(__file__).with_name("login.mjs")
    told = {**os.environ, **engagelab_server.env}
    finished = subprocess.run(["node", program], env=told, capture_output=True, text=True, timeout=30, check=True)

    assert finished.stdout == "verified\n"
    assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]
