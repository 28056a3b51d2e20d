"""Flask: the tests look at what the app did with the callbacks, and ask whether its receiver is ready."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from engagelab_otp import WebhookVerifier
from flask import Flask
from tests.examples import flask_shop
from tests.examples.flask_shop import create_app

from engagelab_mock import EngageLab, Outcome, Receiver, converges, exactly_once


# [fixtures]
class Shop:
    def __init__(self, database: str) -> None:
        self.database = database
        self.app = create_app(database)
        self.app.testing = True

    def state(self, message_id: str) -> dict[str, object] | None:
        with closing(sqlite3.connect(self.database)) as db:
            query = "SELECT status, credits FROM messages WHERE id = ?"
            row = db.execute(query, [message_id]).fetchone()
        return None if row is None else {"status": row[0], "credits": row[1]}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(str(tmp_path / "shop.sqlite"))


@pytest.fixture
def engagelab_receiver(shop: Shop) -> Receiver:
    return Receiver.wsgi(shop.app, path="/engagelab", username="acme", secret="s3cret", observe=shop.state)


# [tests]
def test_verified(engagelab: EngageLab, shop: Shop) -> None:
    run = engagelab.send("+6591234567")
    assert shop.state(run.message_id) == {"status": "verified", "credits": 1}


@pytest.mark.engagelab(scenario="sent_failed")
def test_refused_by_the_channel(engagelab: EngageLab, shop: Shop) -> None:
    run = engagelab.send("+6591234567")
    assert shop.state(run.message_id) == {"status": "sent_failed", "credits": 0}


@pytest.mark.engagelab(secret="not the secret", check=False)
def test_a_wrong_signature_changes_nothing(engagelab: EngageLab, shop: Shop) -> None:
    run = engagelab.send("+6591234567")
    assert run.deliveries[0].outcome is Outcome.NOT_200
    assert shop.state(run.message_id) is None


def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()


# [ready]
def test_every_order_leads_to_one_state(engagelab: EngageLab) -> None:
    engagelab.explore("verified", duplicates=0, invariants=[converges(), exactly_once("credits", when="verified")])


@pytest.mark.slow
def test_it_is_ready_for_production(engagelab: EngageLab) -> None:
    report = engagelab.check(patience=0.05)
    report.assert_none("major")
    # [end ready]
    orders = ["C01", "C02", "C03", "C05", "C06", "C07", "C08", "C09", "C10", "C11", "C14", "C15"]
    assert {report.finding(id).verdict for id in orders} == {"pass"}


def last_write_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = flask_shop.RAISE_STATUS.replace("excluded.rank > messages.rank", "true")
    monkeypatch.setattr(flask_shop, "RAISE_STATUS", statement)


def any_body_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flask_shop, "is_first_body", lambda db, header, body: True)


def every_signature_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebhookVerifier, "verify", lambda verifier, header: True)


@pytest.mark.parametrize(
    ("without", "fails"),
    [
        # The status falls back to `delivered`, and rises to `verified` again.
        (last_write_wins, ["C01", "C06", "C09"]),
        (any_body_goes, ["B17"]),
        (every_signature_goes, ["B02"]),
    ],
)
def test_each_line_that_makes_it_safe_is_needed(
    without: Callable[[pytest.MonkeyPatch], None],
    fails: list[str],
    engagelab: EngageLab,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = ["B02", "B17", "C01", "C06", "C09"]
    assert engagelab.check(patience=0.05, only=only).at_least("major") == []
    without(monkeypatch)
    assert [finding.id for finding in engagelab.check(patience=0.05, only=only).at_least("major")] == fails


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
