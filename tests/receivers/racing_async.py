"""The receivers of `racing` on FastAPI, with an async driver: aiosqlite, or psycopg's AsyncConnection."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request

from engagelab_mock import Receiver
from tests.receivers.racing import ADD_CREDIT, CLAIM, SET_CREDITS, Store, resetting, statuses

Handle = Callable[[Any, str, str], Coroutine[Any, Any, None]]
#: Opens a connection.
Connect = Callable[[], AbstractAsyncContextManager[Any]]


async def is_marked(db: Any, key: str) -> bool:
    found = await db.execute("SELECT 1 FROM marks WHERE key = ?", (key,))
    return await found.fetchone() is not None


async def mark(db: Any, key: str) -> None:
    await db.execute("INSERT INTO marks VALUES (?)", (key,))


async def add_credit(db: Any, message_id: str) -> None:
    await db.execute(ADD_CREDIT, (message_id,))


async def select_then_insert(db: Any, message_id: str, status: str) -> None:
    if not await is_marked(db, message_id + status):
        await mark(db, message_id + status)
        await add_credit(db, message_id)
    await db.commit()


async def lost_update(db: Any, message_id: str, status: str) -> None:
    found = await (await db.execute("SELECT credits FROM orders WHERE id = ?", (message_id,))).fetchone()
    await db.execute(SET_CREDITS, (message_id, (found[0] if found else 0) + 1))
    await db.commit()


async def mark_commit_effect(db: Any, message_id: str, status: str) -> None:
    if (await db.execute(CLAIM, (message_id + status,))).rowcount:
        await db.commit()
        await add_credit(db, message_id)
        await db.commit()


async def effect_commit_mark(db: Any, message_id: str, status: str) -> None:
    if not await is_marked(db, message_id + status):
        await add_credit(db, message_id)
        await db.commit()
        await mark(db, message_id + status)
        await db.commit()


class Cached:
    """Look into a cache before the transaction begins."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    async def __call__(self, db: Any, message_id: str, status: str) -> None:
        if message_id + status not in self.keys:
            await add_credit(db, message_id)
            await db.commit()
            self.keys.add(message_id + status)

    def reset(self) -> None:
        self.keys.clear()


class OverAnAwait(Cached):
    """Look into a cache, await something else, and act on what the cache said."""

    async def __call__(self, db: Any, message_id: str, status: str) -> None:
        known = message_id + status in self.keys
        await is_marked(db, "whatever")
        if not known:
            self.keys.add(message_id + status)
            await add_credit(db, message_id)
        await db.commit()


async def correct(db: Any, message_id: str, status: str) -> None:
    if (await db.execute(CLAIM, (message_id + status,))).rowcount:
        await add_credit(db, message_id)
    await db.commit()


async def locks_at_once(db: Any, message_id: str, status: str) -> None:
    await db.execute("BEGIN IMMEDIATE")
    await select_then_insert(db, message_id, status)


async def locks_the_row(db: Any, message_id: str, status: str) -> None:
    await db.execute("INSERT INTO orders VALUES (?, 0) ON CONFLICT DO NOTHING", (message_id,))
    await db.execute("SELECT 1 FROM orders WHERE id = ? FOR UPDATE", (message_id,))
    await select_then_insert(db, message_id, status)


async def locks_by_advice(db: Any, message_id: str, status: str) -> None:
    await db.execute("SELECT pg_advisory_xact_lock(hashtext(?))", (message_id,))
    await select_then_insert(db, message_id, status)


async def serializable(db: Any, message_id: str, status: str) -> None:
    import psycopg

    await db.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
    try:
        await select_then_insert(db, message_id, status)
    except psycopg.errors.SerializationFailure:
        raise HTTPException(503) from None


def fastapi_receiver(store: Store, connect: Connect, handle: Handle, *, after_answer: bool = False) -> Receiver:
    app = FastAPI()

    @app.post("/engagelab")
    async def engagelab_callback(request: Request, later: BackgroundTasks) -> None:
        rows = [*statuses(await request.json())]

        async def work() -> None:
            async with connect() as db:
                for message_id, status in rows:
                    await handle(db, message_id, status)

        if after_answer:
            later.add_task(work)
        else:
            await work()

    return Receiver.asgi(app, "/engagelab", observe=store.observe, reset=resetting(store, handle))
