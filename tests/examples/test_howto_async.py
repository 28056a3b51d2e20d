"""Async: awaiting instead of blocking, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request

from engagelab_mock import EngageLab, Receiver, UsageError


class Database:
    """Stands for a pool of connections, which belongs to the event loop it was opened in."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.rows: list[str] = []

    async def insert(self, row: str) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.rows.append(row)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Database]]:
    yield {"database": Database()}


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.post("/engagelab")
    async def engagelab_callbacks(request: Request) -> None:
        for row in (await request.json())["rows"]:
            await request.state.database.insert(next(iter(row.get("status", {}).values()), "about the account"))

    return app


@pytest.fixture
def engagelab_receiver(app: FastAPI) -> Receiver:
    return Receiver.asgi(app, path="/engagelab", username="acme", secret="s3cret")


# [asend]
@pytest.mark.asyncio
async def test_verified(engagelab: EngageLab) -> None:
    async with engagelab.receiver.lifespan():
        run = await engagelab.asend("+6591234567")
    assert run.statuses == ["plan", "sent", "delivered", "verified"]


# [lifespan]
@pytest.mark.asyncio
async def test_the_app_and_the_test_share_the_database(engagelab: EngageLab) -> None:
    async with engagelab.receiver.lifespan() as state:
        await engagelab.asend("+6591234567", scenario="delivered")
        assert state["database"].rows == ["plan", "sent", "delivered"]


# [twins]
@pytest.mark.asyncio
async def test_every_verb_has_a_twin(engagelab: EngageLab) -> None:
    async with engagelab.receiver.lifespan() as state:
        await engagelab.asend("+6591234567", scenario="delivered")
        await engagelab.anotify("insufficient_balance")
        await engagelab.clock.aadvance(minutes=5)
        await engagelab.journal.await_for(status="verified_timeout")
        assert state["database"].rows[-1] == "verified_timeout"


# [asettle]
@pytest.mark.asyncio
async def test_what_waits_is_awaited(engagelab: EngageLab) -> None:
    async with engagelab.receiver.lifespan():
        engagelab.begin_send("+6591234567", scenario="delivered")
        with pytest.raises(UsageError, match=r"await engagelab\.asettle"):
            _ = engagelab.journal
        await engagelab.asettle()
        assert engagelab.journal.statuses == ["plan", "sent", "delivered"]


# [gather]
@pytest.mark.asyncio
async def test_two_at_once(engagelab: EngageLab) -> None:
    async with engagelab.receiver.lifespan():
        first, second = await asyncio.gather(
            engagelab.asend("+6591234561", scenario="delivered"),
            engagelab.asend("+6591234562", scenario="sent_failed"),
        )
    assert first.statuses == ["plan", "sent", "delivered"]
    assert second.statuses == ["plan", "sent_failed"]


# [trio]
@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.mark.anyio
async def test_under_trio() -> None:
    with EngageLab() as engagelab:
        assert (await engagelab.asend("+6591234567")).acknowledged
