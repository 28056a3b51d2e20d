"""FastAPI: the endpoint is called in process, from a plain test and from an async one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.examples.fastapi_shop import create_app

from engagelab_mock import EngageLab, Receiver


# [fixtures]
class Shop:
    def __init__(self, database: str) -> None:
        self.database = database
        self.app = create_app(database)

    def state(self, message_id: str) -> object:
        with closing(sqlite3.connect(self.database)) as db:
            return db.execute("SELECT status, credits FROM messages WHERE id = ?", [message_id]).fetchone()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(str(tmp_path / "shop.sqlite"))


@pytest.fixture
def engagelab_receiver(shop: Shop) -> Receiver:
    return Receiver.asgi(shop.app, path="/engagelab", username="acme", secret="s3cret", observe=shop.state)


# [tests]
def test_verified(engagelab: EngageLab, shop: Shop) -> None:
    run = engagelab.send("+6591234567")
    assert shop.state(run.message_id) == ("verified", 1)


def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()


# [ready]
@pytest.mark.slow
def test_it_is_ready_for_production(engagelab: EngageLab) -> None:
    engagelab.check(patience=0.05).assert_none("major")


# [async]
@pytest.mark.asyncio
async def test_verified_in_the_tests_own_loop(engagelab: EngageLab, shop: Shop) -> None:
    async with engagelab.receiver.lifespan():
        run = await engagelab.asend("+6591234567")
        assert shop.state(run.message_id) == ("verified", 1)
