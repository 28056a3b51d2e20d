"""An ASGI app's lifespan: started before the first callback, stopped at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request

from engagelab_mock import EngageLab, EngageLabMockError, Outcome, Receiver
from tests.failures import failure_of


class Shop:
    """A FastAPI app with a lifespan that counts, and leaves state for its requests."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.seen: list[str] = []
        self.app = FastAPI(lifespan=self.lifespan)
        self.app.post("/engagelab")(self.view)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, str]]:
        self.events.append("started")
        yield {"pool": f"pool {len(self.events)}"}
        self.events.append("stopped")

    async def view(self, request: Request) -> None:
        self.seen.append(request.state.pool)


def test_it_is_started_once_and_stopped_at_the_end() -> None:
    shop = Shop()
    with EngageLab(Receiver.asgi(shop.app, "/engagelab")) as engagelab:
        assert shop.events == []
        assert engagelab.send("+6591234567").acknowledged
        assert engagelab.send("+6591234567", scenario="delivered").acknowledged
        assert shop.events == ["started"]
    assert shop.events == ["started", "stopped"]
    assert shop.seen == ["pool 1"] * 7


def test_it_is_started_again_after_a_close() -> None:
    shop = Shop()
    with EngageLab(Receiver.asgi(shop.app, "/engagelab")) as engagelab:
        engagelab.send(scenario=["plan"])
        engagelab.close()
        engagelab.send(scenario=["plan"])
    assert shop.events == ["started", "stopped", "started", "stopped"]
    assert shop.seen == ["pool 1", "pool 3"]


def test_it_can_be_left_out() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append(scope["type"])
        assert "state" not in scope
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
        assert engagelab.send(scenario=["plan"]).acknowledged
    assert events == ["http"]


@pytest.mark.asyncio
async def test_in_a_running_loop_it_is_the_callers() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append(scope["type"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    with EngageLab(Receiver.asgi(app)) as engagelab:
        assert (await engagelab.asend(scenario=["plan"])).acknowledged
    assert events == ["http"]


@pytest.mark.parametrize("refusal", ["raise", "return", "raise later"])
def test_an_app_without_lifespan_is_used_without(refusal: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            if refusal == "return":
                return
            if refusal == "raise later":
                await receive()
            raise NotImplementedError("only http")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    with EngageLab(Receiver.asgi(app)) as engagelab:
        assert engagelab.send(scenario=["plan"]).acknowledged
    gc.collect()  # now asyncio would complain about an exception that was never retrieved
    assert not caplog.records


def failing_first(failures: list[Exception]) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Make a lifespan that raises these, one at each start, before it works."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if failures:
            raise failures.pop()
        yield

    return lifespan


def test_a_start_up_that_fails_is_shown_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI(lifespan=failing_first([ConnectionError("no database")]))
    with caplog.at_level(logging.DEBUG, "asyncio"):
        error = failure_of(Receiver.asgi(app, "/engagelab"))
    attempt = error.delivery.attempts[0]
    assert attempt.outcome is Outcome.APP_RAISED
    assert attempt.error == "the app's lifespan start-up failed: ConnectionError: no database"
    assert type(error.__cause__) is ConnectionError
    assert error.hint == "the app's own exception is the cause shown with this failure"
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_start_up_that_fails_without_a_reason() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        await asyncio.Event().wait()

    error = failure_of(Receiver.asgi(app))
    assert error.what.endswith("the app's lifespan start-up failed: it gave no reason")
    assert error.__cause__ is None


def test_a_start_up_that_failed_is_tried_again_by_the_next_callback() -> None:
    app = FastAPI(lifespan=failing_first([ConnectionError("not yet")]))
    app.post("/engagelab")(lambda: None)
    with EngageLab(Receiver.asgi(app, "/engagelab")) as engagelab:
        assert not engagelab.send(scenario=["plan"], check=False).acknowledged
        assert engagelab.send(scenario=["plan"]).acknowledged


class Broken:
    """An ASGI app whose lifespan goes wrong after it has started, in one of several ways."""

    def __init__(self, way: str) -> None:
        self.way = way

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            if self.way == "ends while it runs":
                raise RuntimeError("sorry")
            if self.way == "is cancelled while it runs":
                raise asyncio.CancelledError("sorry")
            assert await receive() == {"type": "lifespan.shutdown"}
            if self.way == "exits":
                raise SystemExit("sorry")
            if self.way == "says so":
                await send({"type": "lifespan.shutdown.failed", "message": "Traceback\n  …\nsorry\n"})
            elif self.way == "says so without a reason":
                await send({"type": "lifespan.shutdown.failed"})
            elif self.way == "raises after its end":
                await send({"type": "lifespan.shutdown.complete"})
            if self.way.startswith("raises"):
                raise RuntimeError("sorry")
            return
        await anyio.sleep(0)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})


WAYS = {
    "raises": "the app's lifespan shutdown failed: RuntimeError: sorry",
    "raises after its end": "the app's lifespan shutdown failed: RuntimeError: sorry",
    "exits": "the app's lifespan shutdown failed: SystemExit: sorry",
    "says so": "the app's lifespan shutdown failed: sorry",
    "says so without a reason": "the app's lifespan shutdown failed: it gave no reason",
    "ends while it runs": "the app's lifespan failed before its shutdown: RuntimeError: sorry",
    "is cancelled while it runs": "the app's lifespan failed before its shutdown: CancelledError: sorry",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_lifespan_that_fails_after_its_start_is_raised_at_close(way: str) -> None:
    engagelab = EngageLab(Receiver.asgi(Broken(way), "/engagelab"))
    assert engagelab.send(scenario=["plan"]).acknowledged
    with pytest.raises(EngageLabMockError) as caught:
        engagelab.close()
    assert caught.value.what == f"{WAYS[way]} (http://testserver/engagelab)"
    assert caught.value.where == "Receiver.close"
    assert caught.value.hint.startswith("correct the app's lifespan")
    assert (caught.value.__cause__ is None) == way.startswith("says")
    engagelab.close()  # it was closed all the same


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS)
async def test_a_lifespan_that_fails_after_its_start_is_raised_by_lifespan(way: str) -> None:
    receiver = Receiver.asgi(Broken(way), "/engagelab")
    engagelab = EngageLab(receiver)
    with pytest.raises(EngageLabMockError) as caught:
        async with receiver.lifespan():
            assert (await engagelab.asend(scenario=["plan"])).acknowledged
    assert caught.value.what == f"{WAYS[way]} (http://testserver/engagelab)"
    assert caught.value.where == "Receiver.lifespan"
    engagelab.close()


def test_a_lifespan_that_another_task_of_the_app_cancels_has_failed() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        tasks[0].cancel()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    engagelab = EngageLab(Receiver.asgi(app))
    engagelab.send()
    with pytest.raises(EngageLabMockError, match="lifespan failed before its shutdown: CancelledError"):
        engagelab.close()


@pytest.mark.anyio
async def test_a_lifespan_that_fails_does_not_hide_the_error_of_the_test() -> None:
    with pytest.raises(LookupError, match="in the test") as caught:
        async with Receiver.asgi(Broken("raises")).lifespan():
            raise LookupError("in the test")
    assert caught.value.__notes__ == ["and: the app's lifespan shutdown failed: RuntimeError: sorry"]


def test_a_lifespan_that_starts_and_returns_has_not_failed() -> None:
    """Some apps do not wait for their shutdown."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    with EngageLab(Receiver.asgi(app)) as engagelab:
        assert engagelab.send(scenario=["plan"]).acknowledged


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError, GeneratorExit])
def test_a_start_up_that_exits_has_failed(kind: type[BaseException]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise kind("no database")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    error = failure_of(Receiver.asgi(app))
    assert error.what.endswith(f"the app's lifespan start-up failed: {kind.__name__}: no database")
    assert type(error.__cause__) is kind


@pytest.mark.parametrize("fault", [None, "duplicate"])
def test_a_start_up_that_fails_ends_the_attempts(fault: str | None) -> None:
    app = FastAPI(lifespan=failing_first([ConnectionError("no database")]))
    with EngageLab(Receiver.asgi(app, "/engagelab")) as engagelab:
        engagelab.send(scenario=["plan"], check=False, fault=fault)
        assert {attempt.outcome for attempt in engagelab.journal.attempts} == {Outcome.APP_RAISED}


def test_every_receiver_is_closed_before_the_first_error_is_raised() -> None:
    shop = Shop()
    receivers = [
        Receiver.asgi(Broken("raises"), "/first"),
        Receiver.asgi(shop.app, "/engagelab"),
        Receiver.asgi(Broken("says so"), "/last"),
    ]
    engagelab = EngageLab(receivers)
    engagelab.send(scenario=["plan"])
    with pytest.raises(EngageLabMockError, match="/first") as caught:
        engagelab.close()
    assert shop.events == ["started", "stopped"]
    [note] = caught.value.__notes__
    assert note.startswith("and: Receiver.close: the app's lifespan shutdown failed: sorry (http://testserver/last)")
