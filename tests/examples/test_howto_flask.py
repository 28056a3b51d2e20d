"""Flask: the official SDK verifies, the app records, and two tests look at what it did."""

from __future__ import annotations

import pytest
from engagelab_otp import MessageStatusEvent, WebhookSignatureError, WebhookVerifier
from flask import Flask, request

from engagelab_mock import EngageLab, Outcome, Receiver


# [app]
def create_app() -> Flask:
    app = Flask("shop")
    app.testing = True
    app.extensions["states"] = {}
    verifier = WebhookVerifier("acme", "s3cret")

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        body = request.get_data()
        if body in {b"", b"{}"}:
            return "", 200  # the address validation, unsigned in EngageLab's document
        try:
            verifier.verify(request.headers.get("X-CALLBACK-ID", ""))
        except WebhookSignatureError:
            return "", 401
        for event in verifier.parse_events(body):
            if isinstance(event, MessageStatusEvent):
                app.extensions["states"][event.message_id] = event.status
        return "", 200

    return app


# [fixtures]
@pytest.fixture
def app() -> Flask:
    return create_app()


@pytest.fixture
def engagelab_receiver(app: Flask) -> Receiver:
    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")


# [tests]
def test_verified(engagelab: EngageLab, app: Flask) -> None:
    run = engagelab.send("+6591234567")
    assert app.extensions["states"] == {run.message_id: "verified"}


@pytest.mark.engagelab(scenario="sent_failed")
def test_refused_by_the_channel(engagelab: EngageLab, app: Flask) -> None:
    run = engagelab.send("+6591234567")
    assert app.extensions["states"][run.message_id] == "sent_failed"


@pytest.mark.engagelab(secret="not the secret", check=False)
def test_a_wrong_signature_changes_nothing(engagelab: EngageLab, app: Flask) -> None:
    run = engagelab.send("+6591234567")
    assert run.deliveries[0].outcome is Outcome.NOT_200
    assert app.extensions["states"] == {}


def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()


# [sdk view]
def test_the_sdk_view_as_it_comes_refuses_the_ping() -> None:
    app = Flask("shop")
    view = WebhookVerifier("acme", "s3cret").flask_view(lambda events: None)
    app.add_url_rule("/engagelab", "engagelab", view, methods=["POST"])
    receiver = Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")
    with EngageLab(receiver) as engagelab:
        ping = engagelab.validate_address(check=False)
        signed = engagelab.validate_address(signed=True, check=False)
    assert ping.attempts[0].response is not None
    assert ping.attempts[0].response.status == 401
    assert signed.acknowledged
