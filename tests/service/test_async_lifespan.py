"""What belongs to an event loop, and the app's lifespan in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import pytest
import trio
from fastapi import FastAPI, Request

from engagelab_mock import (
    EngageLab,
    EngageLabMockError,
    NotAcknowledged,
    Receiver,
    Recorder,
    UsageError,
)
from tests.eventloops import answering, asgi

if TYPE_CHECKING:
    pass


# ---- what belongs to a loop, and the app's lifespan ----


class Pool:
    """Like a database pool, good for nothing in another loop than the one it was made in."""

    def __init__(self) -> None:
        self._home = anyio.lowlevel.current_token()
        self.closed = False

    async def fetch(self) -> int:
        await anyio.sleep(0)
        assert anyio.lowlevel.current_token() == self._home, "attached to a different loop"
        assert not self.closed
        return 1


class Shop:
    """A FastAPI app whose lifespan makes a pool for its requests."""

    def __init__(self, failing: bool = False) -> None:
        self.pool: Pool | None = None
        self.fetched = 0
        self.failing = failing
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.post("/engagelab")(self._view)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, Pool]]:
        if self.failing:
            raise ConnectionError("no database")
        pool = self.pool = Pool()
        async with anyio.create_task_group() as group:
            group.start_soon(pool.fetch)
            yield {"pool": pool}
        pool.closed = True

    async def _view(self, request: Request) -> None:
        self.fetched += await request.state.pool.fetch()


@pytest.mark.anyio
async def test_app_and_test_share_the_objects_of_the_loop() -> None:
    shop = Shop()
    receiver = asgi(shop.app)
    async with receiver.lifespan() as state:
        with EngageLab(receiver.with_settings(description="the same app")) as engagelab:
            assert (await engagelab.asend("+6591234567")).acknowledged
        assert await state["pool"].fetch() == 1
        assert state["pool"] is shop.pool
    assert shop.fetched == 4
    assert shop.pool is not None
    assert shop.pool.closed


@pytest.mark.anyio
async def test_without_its_lifespan_the_app_has_no_state() -> None:
    shop = Shop()
    with EngageLab(asgi(shop.app)) as engagelab, pytest.raises(NotAcknowledged, match="answered 500"):
        await engagelab.asend("+6591234567")


@pytest.mark.anyio
async def test_a_failing_test_stops_the_app_and_its_error_is_its_own() -> None:
    shop = Shop()
    with pytest.raises(LookupError, match="in the test"):
        async with asgi(shop.app).lifespan():
            raise LookupError("in the test")
    assert shop.pool is not None
    assert shop.pool.closed


@pytest.mark.anyio
async def test_a_start_up_that_fails_is_raised_with_its_cause() -> None:
    with pytest.raises(EngageLabMockError, match="start-up failed: ConnectionError: no database") as caught:
        async with asgi(Shop(failing=True).app).lifespan():
            pytest.fail("the app did not start")
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.anyio
async def test_an_app_that_knows_no_lifespan_is_used_without() -> None:
    receiver = asgi(answering())
    async with receiver.lifespan() as state:
        assert state == {}
        with EngageLab(receiver) as engagelab:
            assert (await engagelab.asend("+6591234567")).acknowledged


@pytest.mark.anyio
async def test_only_an_asgi_app_has_a_lifespan() -> None:
    with pytest.raises(UsageError, match="only ASGI apps have a lifespan"):
        async with Receiver.wsgi(Recorder()).lifespan():
            pytest.fail("a WSGI app has no lifespan")


def test_the_state_of_one_loop_is_not_shown_in_another() -> None:
    shop = Shop()
    receiver = asgi(shop.app)
    with EngageLab(receiver) as engagelab:
        assert engagelab.send(scenario=["plan"]).acknowledged

        async def test() -> None:
            async with receiver.lifespan():
                assert (await engagelab.asend(scenario=["plan"])).acknowledged

        asyncio.run(test())
        trio.run(test)
        shop.pool = None
        assert engagelab.send(scenario=["plan"]).acknowledged
