"""Meaning: which statuses have which effect, and which of them end a message."""

from __future__ import annotations

import time

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, Receiver, verify

RANKS = ["plan", "sent", "delivered", "verified_failed", "verified"]


class Accounts:
    """An app that gives a credit for each number that is verified."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, object]] = {}
        self.flask = Flask("accounts")

        @self.flask.post("/engagelab")
        def engagelab_callbacks() -> tuple[str, int]:
            if request.get_data() in (b"", b"{}"):
                return "", 200
            if not verify(request.headers.get("X-CALLBACK-ID"), username="acme", secret="s3cret", now=time.time()):
                return "", 401
            for row in request.get_json()["rows"]:
                if isinstance(row.get("status"), dict):
                    self.apply(row["message_id"], row["status"]["message_status"])
            return "", 200

    def apply(self, message_id: str, status: str) -> None:
        message = self.messages.setdefault(message_id, {"status": None, "credits": 0})
        if status in RANKS and (message["status"] is None or RANKS.index(status) > RANKS.index(str(message["status"]))):
            message["status"] = status
            message["credits"] = int(status == "verified")


# [meaning]
@pytest.fixture
def engagelab_receiver() -> Receiver:
    accounts = Accounts()
    return Receiver.wsgi(
        accounts.flask,
        "/engagelab",
        username="acme",
        secret="s3cret",
        observe=accounts.messages.get,
        effects={"credits": "verified"},
        terminal="verified",
    )


def test_a_credit_is_given_once_and_only_to_the_verified(engagelab: EngageLab) -> None:
    engagelab.check(only=["F*"]).assert_none("major")


def test_in_every_order(engagelab: EngageLab) -> None:
    engagelab.explore("verified", duplicates=1, limit=100)
