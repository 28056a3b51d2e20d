"""Receivers for bulk sends: some wait until enough callbacks are there at once, and some refuse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: More than the default number of an event loop's threads on a small machine.
MANY = 40


class Gate:
    """A WSGI app that answers only once it is called by `parties` requests at the same time."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        try:
            self._barrier.wait(PATIENCE)
        finally:
            with self._lock:
                self._inside -= 1
        start_response("200 OK", [("Content-Length", "0")])
        return []


class AsyncGate:
    """The same as an ASGI app; it also records its lifespan."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._barrier: asyncio.Barrier | None = None
        self._inside = 0
        self.most = 0
        self.lifespan: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                self.lifespan.append(stage)
                await send({"type": f"lifespan.{stage}.complete"})
            return
        self._barrier = self._barrier or asyncio.Barrier(self._parties)
        self._inside += 1
        self.most = max(self.most, self._inside)
        await self._barrier.wait()
        self._inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
