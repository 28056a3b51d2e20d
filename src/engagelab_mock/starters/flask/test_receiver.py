import sqlite3
from contextlib import closing

import pytest
from receiver import create_app

from engagelab_mock import Outcome, Receiver, converges, exactly_once

# --- Fixtures


class Shop:
    def __init__(self, database):
        self.database = database
        self.app = create_app(database, username="acme", secret="s3cret")
        self.app.testing = True

    def state(self, message_id):
        with closing(sqlite3.connect(self.database)) as db:
            query = "SELECT status, credits FROM messages WHERE id = ?"
            row = db.execute(query, [message_id]).fetchone()
        return None if row is None else {"status": row[0], "credits": row[1]}


@pytest.fixture
def shop(tmp_path):
    return Shop(str(tmp_path / "shop.sqlite"))


@pytest.fixture
def engagelab_receiver(shop):
    return Receiver.wsgi(shop.app, path="/engagelab", username="acme", secret="s3cret", observe=shop.state)


# --- Tests


def test_verified(engagelab, shop):
    run = engagelab.send("+6591234567")
    assert shop.state(run.message_id) == {"status": "verified", "credits": 1}


@pytest.mark.engagelab(scenario="sent_failed")
def test_refused_by_the_channel(engagelab, shop):
    run = engagelab.send("+6591234567")
    assert shop.state(run.message_id) == {"status": "sent_failed", "credits": 0}


@pytest.mark.engagelab(secret="not the secret", check=False)
def test_a_wrong_signature_changes_nothing(engagelab, shop):
    run = engagelab.send("+6591234567")
    assert run.deliveries[0].outcome is Outcome.NOT_200
    assert shop.state(run.message_id) is None


def test_the_address_is_valid(engagelab):
    engagelab.validate_address()


# --- Ready


def test_every_order_leads_to_one_state(engagelab):
    engagelab.explore("verified", duplicates=0, invariants=[converges(), exactly_once("credits", when="verified")])


def test_it_is_ready_for_production(engagelab):
    engagelab.check(patience=0.05).assert_none("major")
