"""FastAPI: the endpoint is called in process, from a plain test and from an async one."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from fastapi import FastAPI, Header, Request, Response

from engagelab_mock import EngageLab, Receiver


# [app]
def signed_by_engagelab(header: str, username: str, secret: str) -> bool:
    parts = dict(part.strip().split("=", 1) for part in header.split(";") if "=" in part)
    timestamp = parts.get("timestamp", "")
    if not timestamp.isascii() or not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = f"{timestamp}{parts.get('nonce', '')}{username}".encode()
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    given = parts.get("signature", "")
    return parts.get("username") == username and hmac.compare_digest(expected.encode(), given.encode())


def create_app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.states = {}
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/engagelab")
    async def engagelab_callbacks(request: Request, x_callback_id: Annotated[str, Header()] = "") -> Response:
        body = await request.body()
        if body in {b"", b"{}"}:
            return Response(status_code=200)
        if not signed_by_engagelab(x_callback_id, "acme", "s3cret"):
            return Response(status_code=401)
        for row in json.loads(body)["rows"]:
            if "status" in row:
                app.state.states[row["message_id"]] = row["status"]["message_status"]
        return Response(status_code=200)

    return app


# [fixtures]
@pytest.fixture
def app() -> FastAPI:
    return create_app()


@pytest.fixture
def engagelab_receiver(app: FastAPI) -> Receiver:
    return Receiver.asgi(app, path="/engagelab", username="acme", secret="s3cret")


# [tests]
def test_verified(engagelab: EngageLab, app: FastAPI) -> None:
    run = engagelab.send("+6591234567")
    assert app.state.states == {run.message_id: "verified"}


def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()


# [async]
@pytest.mark.asyncio
async def test_verified_in_the_tests_own_loop(engagelab: EngageLab, app: FastAPI) -> None:
    async with app.router.lifespan_context(app):
        run = await engagelab.asend("+6591234567")
        assert app.state.states == {run.message_id: "verified"}
