"""A receiver for loads, as an ASGI app: it keeps the status and the credits of each message. It can have a bug."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from engagelab_mock import Receiver, StatusEvent, decode, verify
from tests.real.uvicorn_server import UvicornServer

USERNAME, SECRET = "acme", "s3cret"
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Shop:
    """Verify, and apply each event once; the latest by its `itime` is the status. A mutant overrides one step."""

    #: One message in so many shows the bug.
    every = 20

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.applied: set[tuple[str, str, int]] = set()
        #: The ids of the messages that showed the bug.
        self.wrong: set[str] = set()
        self.requests = 0

    def observe(self, message_id: str) -> dict[str, Any] | None:
        state = self.states.get(message_id)
        return None if state is None else {name: value for name, value in state.items() if name != "itime"}

    def shows_bug(self, message_id: str) -> bool:
        return int(message_id) // 2 % self.every == 0

    def apply(self, event: StatusEvent) -> None:
        if self.is_new(event):
            self.effect(event)

    def is_new(self, event: StatusEvent) -> bool:
        key = (event.message_id, event.name, event.itime)
        new = key not in self.applied
        self.applied.add(key)
        return new

    def effect(self, event: StatusEvent) -> None:
        state = self.states.setdefault(event.message_id, {"status": "", "credits": 0, "itime": 0})
        if event.name == "verified":
            state["credits"] += 1
        if self.is_later(event, state):
            state["status"], state["itime"] = event.name, event.itime

    def is_later(self, event: StatusEvent, state: dict[str, Any]) -> bool:
        return bool(event.itime >= state["itime"])

    async def answer(self, send: Send, status: int = 200, body: bytes = b"{}") -> None:
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def handle(self, event: StatusEvent, send: Send) -> None:
        self.apply(event)
        await self.answer(send)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["method"] == "GET":
            state = self.observe(scope["path"].rpartition("/")[2])
            await self.answer(send, 404 if state is None else 200, json.dumps(state).encode())
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        self.requests += 1
        header = dict(scope["headers"]).get(b"x-callback-id", b"").decode()
        if not verify(header, username=USERNAME, secret=SECRET, now=time.time()):
            await self.answer(send, 401)
            return
        [event] = decode(body).rows
        assert isinstance(event, StatusEvent)
        await self.handle(event, send)


class Drops(Shop):
    """Answer 200 to `verified` of some messages, and forget it."""

    def effect(self, event: StatusEvent) -> None:
        if event.name == "verified" and self.shows_bug(event.message_id):
            self.wrong.add(event.message_id)
        else:
            super().effect(event)


class Forgets(Shop):
    """Answer 200 for some messages, and keep nothing of them."""

    def effect(self, event: StatusEvent) -> None:
        if self.shows_bug(event.message_id):
            self.wrong.add(event.message_id)
        else:
            super().effect(event)


class Doubles(Shop):
    """Credit a duplicate of `verified` again."""

    def is_new(self, event: StatusEvent) -> bool:
        new = super().is_new(event)
        if not new and event.name == "verified":
            self.wrong.add(event.message_id)
        return new or event.name == "verified"


class Regresses(Shop):
    """Let the callback that comes last win."""

    def is_later(self, event: StatusEvent, state: dict[str, Any]) -> bool:
        if event.itime < state["itime"]:
            self.wrong.add(event.message_id)
        return True


class Refuses(Shop):
    """Answer 500 to `verified` of some messages."""

    async def handle(self, event: StatusEvent, send: Send) -> None:
        if event.name == "verified" and self.shows_bug(event.message_id):
            self.wrong.add(event.message_id)
            await self.answer(send, 500)
        else:
            await super().handle(event, send)


class Stalls(Shop):
    """Never answer `verified` of some messages, and apply it."""

    async def handle(self, event: StatusEvent, send: Send) -> None:
        if event.name == "verified" and self.shows_bug(event.message_id):
            self.wrong.add(event.message_id)
            self.apply(event)
            await asyncio.sleep(4)
        await super().handle(event, send)


class WorksLater(Shop):
    """Answer first, and apply the event afterwards: that is right."""

    async def handle(self, event: StatusEvent, send: Send) -> None:
        await self.answer(send)
        asyncio.get_running_loop().call_later(0.3, self.apply, event)


class CountsRequests(Shop):
    """Count the callbacks of each message, duplicates included: that is right."""

    def apply(self, event: StatusEvent) -> None:
        super().apply(event)
        state = self.states[event.message_id]
        state["callbacks"] = state.get("callbacks", 0) + 1


class KeepsNothing(Shop):
    """Answer 200 and do nothing."""

    def apply(self, event: StatusEvent) -> None:
        pass


class Breaks(Shop):
    """Answer 503 to more callbacks in a second than it can take."""

    most = 150

    def __init__(self) -> None:
        super().__init__()
        self.second, self.taken = 0, 0

    async def handle(self, event: StatusEvent, send: Send) -> None:
        second = int(time.time())
        self.taken = self.taken + 1 if second == self.second else 1
        self.second = second
        if self.taken > self.most:
            await self.answer(send, 503)
        else:
            await super().handle(event, send)


@contextmanager
def serving(shop: Shop, **options: Any) -> Iterator[Receiver]:
    """Serve an app on 127.0.0.1."""
    with UvicornServer(shop) as server:
        given: dict[str, Any] = {"username": USERNAME, "secret": SECRET, "observe": shop.observe, **options}
        receiver = Receiver.http(f"{server.url}/engagelab", **given)
        try:
            yield receiver
        finally:
            receiver.close()
