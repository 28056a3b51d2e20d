"""A receiver on bare ASGI, correct or with the race that awaiting opens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.receivers.store import Store

Message = MutableMapping[str, Any]


class AsgiReceiver:
    """Have the effect of each event once; `racy` awaits between looking whether it is new and acting on it."""

    def __init__(self, store: Store, *, racy: bool) -> None:
        self.store = store
        self.racy = racy
        #: How many requests were under way at once, at most.
        self.most_at_once = 0
        self._under_way = 0
        self._turn = asyncio.Lock()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("there is nothing to start")
        body = (await receive())["body"]
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        for row in json.loads(body)["rows"]:
            if self.racy:
                await self._handle(row)
            else:
                async with self._turn:
                    await self._handle(row)
        self._under_way -= 1
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def _handle(self, row: dict[str, Any]) -> None:
        status = row["status"]["message_status"]
        new = status not in self.store.effects
        await asyncio.sleep(0)
        if new:
            with self.store.transaction() as db:
                db.execute("INSERT INTO effects VALUES (?, ?)", [row["message_id"], status])
