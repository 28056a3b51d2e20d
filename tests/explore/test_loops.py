"""Races and crashes in ASGI apps: handlers in one event loop, switched at each await, and views in worker threads."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from fastapi import FastAPI, Request

from engagelab_mock import EngageLab, NothingObserved, Receiver, ScheduleFailed, UsageError
from engagelab_mock.explore.crash import can_fork
from tests.receivers import racing
from tests.receivers.racing import Handle, Store

Apply = Callable[[str, str], Coroutine[Any, Any, None]]


class Orders:
    """Keep orders in memory; each kind of handling awaits something between its steps, as an async driver does."""

    def __init__(self) -> None:
        self.credits: dict[str, int] = {}
        self.seen: set[str] = set()
        self.lock = asyncio.Lock()
        self.tasks: list[asyncio.Task[Any]] = []

    def reset(self) -> None:
        self.credits.clear()
        self.seen.clear()
        self.lock = asyncio.Lock()

    def receiver(self, apply: Apply) -> Receiver:
        return asgi(apply, observe=self.credits.get, reset=self.reset)

    async def check_then_act(self, message_id: str, status: str) -> None:
        known = message_id + status in self.seen
        await asyncio.sleep(0)
        if not known:
            self.seen.add(message_id + status)
            self.credits[message_id] = self.credits.get(message_id, 0) + 1

    async def lost_update(self, message_id: str, status: str) -> None:
        credits = self.credits.get(message_id, 0)
        await asyncio.sleep(0)
        self.credits[message_id] = credits + 1

    async def claims_first(self, message_id: str, status: str) -> None:
        if message_id + status not in self.seen:
            self.seen.add(message_id + status)
            await asyncio.sleep(0)
            self.credits[message_id] = self.credits.get(message_id, 0) + 1

    async def locks(self, message_id: str, status: str) -> None:
        async with self.lock:
            await self.check_then_act(message_id, status)

    async def in_a_task(self, message_id: str, status: str) -> None:
        """Work after the answer."""
        self.tasks.append(asyncio.create_task(self.check_then_act(message_id, status)))

    async def with_a_task_that_never_ends(self, message_id: str, status: str) -> None:
        self.tasks.append(asyncio.create_task(asyncio.Event().wait()))
        await self.claims_first(message_id, status)

    async def never_awaits(self, message_id: str, status: str) -> None:
        self.credits[message_id] = self.credits.get(message_id, 0) + 1

    async def keeps_the_lock(self, message_id: str, status: str) -> None:
        await self.lock.acquire()
        await self.check_then_act(message_id, status)

    async def sleeps(self, message_id: str, status: str) -> None:
        await asyncio.sleep(1000)


def asgi(apply: Apply, **probe: Any) -> Receiver:
    app = FastAPI()

    @app.post("/")
    async def engagelab_callback(request: Request) -> None:
        for message_id, status in racing.statuses(await request.json()):
            await apply(message_id, status)

    return Receiver.asgi(app, **probe)


def in_worker(store: Store, handle: Handle) -> Receiver:
    """Serve a synchronous view, which FastAPI calls in a worker thread."""
    app = FastAPI()

    @app.post("/")
    def engagelab_callback(body: dict[str, Any]) -> None:
        with store.opened() as db:
            for message_id, status in racing.statuses(body):
                handle(db, message_id, status)

    return Receiver.asgi(app, observe=store.observe, reset=store.reset)


class AsyncDriver:
    """Await SQLite as an async driver does: one connection for each request, whose calls run in another thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def receiver(self, handle: Callable[[Any, str, str], Coroutine[Any, Any, None]]) -> Receiver:
        async def apply(message_id: str, status: str) -> None:
            async with self.connection() as db:
                await handle(db, message_id, status)

        return asgi(apply, observe=self._store.observe, reset=self._store.reset)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncDriver]:
        loop = asyncio.get_running_loop()
        self._db = sqlite3.connect(self._store.path, check_same_thread=False)
        driver = AsyncDriver(self._store)
        driver._db, driver._loop = self._db, loop  # type: ignore[attr-defined]
        try:
            yield driver
        finally:
            driver._db.close()

    async def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return await asyncio.to_thread(self._db.execute, sql, values)

    async def commit(self) -> None:
        await asyncio.to_thread(self._db.commit)


async def async_select_then_insert(db: AsyncDriver, message_id: str, status: str) -> None:
    key = message_id + status
    if (await db.execute("SELECT 1 FROM marks WHERE key = ?", key)).fetchone() is None:
        await db.execute("INSERT INTO marks VALUES (?)", key)
    await db.commit()


async def async_correct(db: AsyncDriver, message_id: str, status: str) -> None:
    if (await db.execute("INSERT OR IGNORE INTO claims VALUES (?)", message_id + status)).rowcount:
        await db.execute("INSERT INTO marks VALUES (?)", message_id + status)
    await db.commit()


async def async_mark_commit_effect(db: AsyncDriver, message_id: str, status: str) -> None:
    if (await db.execute("INSERT OR IGNORE INTO claims VALUES (?)", message_id + status)).rowcount:
        await db.commit()
        await db.execute("INSERT INTO marks VALUES (?)", message_id + status)
        await db.commit()


def failure(receiver: Receiver, *chosen: Any, **options: Any) -> ScheduleFailed:
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore(*(chosen or ("verified",)), **(options or {"concurrent": 2}))
    return caught.value


@pytest.mark.parametrize("name", ["check_then_act", "lost_update", "in_a_task"])
def test_a_race_over_an_await_is_found(name: str) -> None:
    orders = Orders()
    receiver = orders.receiver(getattr(orders, name))
    error = failure(receiver)
    assert error.failure.schedule.deliveries == 2
    assert error.failure.violation.invariant == "serializable"
    assert "await asyncio.sleep(0)" in str(error)
    with EngageLab(receiver) as engagelab:
        for _ in range(100):
            with pytest.raises(ScheduleFailed):
                engagelab.replay(error.failure.token)


@pytest.mark.parametrize("name", ["claims_first", "locks"])
def test_a_correct_receiver_is_clean_in_every_order(name: str) -> None:
    orders = Orders()
    with EngageLab(orders.receiver(getattr(orders, name))) as engagelab:
        found = engagelab.explore("verified", concurrent=2)
    assert found.ok
    assert found.schedules == found.total > 10


@pytest.mark.slow
def test_a_task_that_never_ends_is_not_waited_for() -> None:
    orders = Orders()
    with EngageLab(orders.receiver(orders.with_a_task_that_never_ends)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=0).ok


def test_a_race_in_the_loop_of_the_caller() -> None:
    async def test() -> str:
        orders = Orders()
        receiver = orders.receiver(orders.check_then_act)
        engagelab = EngageLab(receiver)
        async with receiver.lifespan():
            with pytest.raises(ScheduleFailed) as caught:
                await engagelab.aexplore("verified", concurrent=2)
            with pytest.raises(ScheduleFailed):
                await engagelab.areplay(caught.value.failure.token)
        return caught.value.failure.token

    assert asyncio.run(test()) == "eg1:verified|verified@a1b"


def test_a_view_in_a_worker_thread_is_switched_at_its_calls_of_the_database(store: Store) -> None:
    error = failure(in_worker(store, racing.select_then_insert))
    assert error.failure.token == "eg1:verified|verified@a2b"
    assert "SELECT 1 FROM marks WHERE key = 'IDverified'" in str(error)
    with EngageLab(in_worker(store, racing.correct)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2).ok


@pytest.mark.slow
def test_an_async_driver(store: Store) -> None:
    error = failure(AsyncDriver(store).receiver(async_select_then_insert), "plan-sent", concurrent=2)
    assert error.failure.violation.invariant == "serializable"
    assert error.failure.number <= 50
    with EngageLab(AsyncDriver(store).receiver(async_correct)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=1).ok


# Crashes.


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
def test_a_crash_of_a_view_in_a_worker_thread(store: Store) -> None:
    error = failure(in_worker(store, racing.mark_commit_effect), crashes="handler")
    assert error.failure.token == "eg1:verified!crash@3"
    with EngageLab(in_worker(store, racing.correct)) as engagelab:
        found = engagelab.explore("plan-sent", crashes="handler")
    assert found.ok
    assert not found.notes


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
def test_a_crash_at_an_await(store: Store) -> None:
    error = failure(AsyncDriver(store).receiver(async_mark_commit_effect), "plan-sent", crashes="handler")
    assert error.failure.violation.invariant == "crash_safe"
    with EngageLab(AsyncDriver(store).receiver(async_correct)) as engagelab:
        assert engagelab.explore("plan-sent", crashes="handler").ok


def test_a_crash_in_memory_at_an_await() -> None:
    orders = Orders()
    error = failure(orders.receiver(orders.claims_first), "plan-sent", crashes="handler")
    assert error.failure.token == "eg1:plan-sent:sent!crash@1"
    assert "this is weaker" in str(error)


@pytest.mark.skipif(not can_fork(), reason="this system cannot fork")
def test_a_crash_in_the_loop_of_the_caller(store: Store) -> None:
    async def test() -> str:
        receiver = in_worker(store, racing.mark_commit_effect)
        engagelab = EngageLab(receiver)
        async with receiver.lifespan():
            with pytest.raises(ScheduleFailed) as caught:
                await engagelab.aexplore("verified", crashes="handler")
        return caught.value.failure.token

    assert asyncio.run(test()) == "eg1:verified!crash@3"


# What cannot be explored.


def test_a_lock_that_is_held_across_requests_is_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.explore.loops.PATIENCE", 0.2)
    orders = Orders()
    error = failure(orders.receiver(orders.keeps_the_lock), "plan-sent", concurrent=2)
    assert error.failure.violation.invariant == "deadlock"
    assert "await self.lock.acquire()" in str(error)


def test_a_handler_that_sleeps_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.explore.loops.PATIENCE", 0.2)
    orders = Orders()
    with (
        EngageLab(orders.receiver(orders.sleeps)) as engagelab,
        pytest.raises(UsageError, match="sleeps for more than"),
    ):
        engagelab.explore("plan-sent", concurrent=2)


def test_handlers_that_never_await_are_refused() -> None:
    orders = Orders()
    receiver = orders.receiver(orders.never_awaits)
    with EngageLab(receiver) as engagelab, pytest.raises(NothingObserved, match="no handler came to a switch point"):
        engagelab.explore("plan-sent", concurrent=2)


def test_trio_is_refused() -> None:
    async def test() -> None:
        orders = Orders()
        with pytest.raises(UsageError, match="in the event loop of asyncio only"):
            await EngageLab(orders.receiver(orders.claims_first)).aexplore("plan-sent", concurrent=2)

    trio.run(test)


@pytest.mark.slow
def test_a_task_of_an_earlier_request_goes_on_while_a_later_one_is_ordered() -> None:
    """It is not a step of the later handlers, which may wait for it."""
    kept: dict[str, int] = {}
    events: list[asyncio.Event] = []
    tasks: list[asyncio.Task[None]] = []

    async def later(go: asyncio.Event, done: asyncio.Event) -> None:
        await go.wait()
        await asyncio.sleep(0)
        done.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message_id, status in racing.statuses(json.loads((await receive())["body"])):
            if status == "plan" and not events:
                events.extend((asyncio.Event(), asyncio.Event()))
                tasks.append(asyncio.create_task(later(*events)))
            elif status == "sent":
                events[0].set()
                await events[1].wait()
            kept[message_id] = kept.get(message_id, 0) + 1
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    with EngageLab(Receiver.asgi(app, lifespan=False, observe=kept.get)) as engagelab:
        played = engagelab.play("eg1:plan-sent:plan|plan,sent|sent")
    assert played.acknowledged
    assert played.final == 4
