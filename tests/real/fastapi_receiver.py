"""A FastAPI app that checks the signature with the standard library alone."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request, Response

_HEADER = re.compile(r"timestamp=(\d+);nonce=([^;]+);username=([^;]+);signature=([0-9a-f]{64})")


class FastAPIReceiver:
    """Keep the rows of every genuine callback, and how often the app was started and stopped."""

    def __init__(self, username: str = "acme", secret: str = "s3cret") -> None:
        self.rows: list[dict[str, Any]] = []
        self.lifespans: list[str] = []
        self._username = username
        self._secret = secret.encode()
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.post("/engagelab")(self._engagelab)

    @property
    def statuses(self) -> list[str]:
        """Return the statuses received, in order."""
        return [row["status"]["message_status"] for row in self.rows]

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.lifespans.append("started")
        yield
        self.lifespans.append("stopped")

    async def _engagelab(self, request: Request, x_callback_id: Annotated[str, Header()] = "") -> Response:
        body = await request.body()
        if body in {b"", b"{}"}:
            return Response()
        if not self._genuine(x_callback_id):
            raise HTTPException(401, "not signed by EngageLab")
        self.rows.extend((await request.json())["rows"])
        return Response()

    def _genuine(self, header: str) -> bool:
        parts = _HEADER.fullmatch(header)
        if parts is None or parts[3] != self._username or abs(time.time() - int(parts[1])) > 300:
            return False
        expected = hmac.new(self._secret, (parts[1] + parts[2] + parts[3]).encode(), hashlib.sha256)
        return hmac.compare_digest(expected.hexdigest(), parts[4])
