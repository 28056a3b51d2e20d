"""A shop that sends codes through EngageLab, and the tests of the way its callbacks are handled."""

from __future__ import annotations

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, Receiver

app = Flask(__name__)
states: dict[str, str] = {}


@app.post("/engagelab")
def engagelab_callbacks() -> tuple[str, int]:
    body = request.get_json(force=True, silent=True) or {}
    for row in body.get("rows", []):
        if "status" in row:
            states[row["to"]] = row["status"]["message_status"]
    return "", 200


# [receiver]
@pytest.fixture
def engagelab_receiver() -> Receiver:
    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")


# [tests]
def test_a_code_that_is_entered(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567")
    assert run.statuses == ["plan", "sent", "delivered", "verified"]
    assert states["+6591234567"] == "verified"


def test_a_phone_that_cannot_be_reached(engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario="delivered_failed")
    assert states["+6591234567"] == "delivered_failed"


# [address]
def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()
