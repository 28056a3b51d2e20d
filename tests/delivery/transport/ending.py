"""An app under ASGI whose attempts end in unusual ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from engagelab_mock import Receiver

START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}


def asgi(app: Any, **options: Any) -> Receiver:
    return Receiver.asgi(app, lifespan=False, **options)


def raising(kind: type[BaseException], moment: str = "at once") -> Callable[..., Coroutine[Any, Any, None]]:
    async def boom() -> None:
        await anyio.sleep(0)
        raise kind("why")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if moment == "after a wait":
            await anyio.sleep(0)
        elif moment == "by its own task":
            await asyncio.create_task(boom())
        raise kind("why")

    return app
