import sqlite3
from contextlib import closing

import pytest
from receiver import create_app

from engagelab_mock import Receiver

# --- Fixtures


class Shop:
    def __init__(self, database):
        self.database = database
        self.app = create_app(database, username="acme", secret="s3cret")

    def state(self, message_id):
        with closing(sqlite3.connect(self.database)) as db:
            return db.execute("SELECT status, credits FROM messages WHERE id = ?", [message_id]).fetchone()


@pytest.fixture
def shop(tmp_path):
    return Shop(str(tmp_path / "shop.sqlite"))


@pytest.fixture
def engagelab_receiver(shop):
    return Receiver.asgi(shop.app, path="/engagelab", username="acme", secret="s3cret", observe=shop.state)


# --- Tests


def test_verified(engagelab, shop):
    run = engagelab.send("+6591234567")
    assert shop.state(run.message_id) == ("verified", 1)


def test_the_address_is_valid(engagelab):
    engagelab.validate_address()


# --- Ready


def test_it_is_ready_for_production(engagelab):
    engagelab.check(patience=0.05).assert_none("major")
