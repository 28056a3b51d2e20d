"""No callback went out, or no test heard of its failure."""

from __future__ import annotations

import asyncio
from typing import Any

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, ReceiverFellShort, ScheduleFailed, UsageError
from tests.truth.blind.case import Cases, Reach, explore

blind = Cases()


@blind(
    "journal",
    "an async test reads the journal before anything is sent",
    UsageError,
    "await engagelab.asettle()",
    socket=False,
)
def _journal_too_early(reach: Reach) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def test() -> None:
        with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
            engagelab.begin_send("+6591234567")
            assert engagelab.journal.statuses == []

    asyncio.run(test())


@blind("with", "an app answers 500 to callbacks that its own calls caused", NotAcknowledged, "answered 500")
def _with_block(reach: Reach) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return [b""]

    with EngageLab(reach(app)) as engagelab:
        engagelab.begin_send("+6591234567")


@blind(
    "send",
    "an app lets `CancelledError` out in a task group",
    NotAcknowledged,
    "the app raised CancelledError",
    socket=False,
)
def _cancelled(reach: Reach) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    async def test() -> None:
        with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(engagelab.asend("+6591234567"))
            except* NotAcknowledged as several:
                raise several.exceptions[0] from None

    asyncio.run(test())


@blind("explore", "the receiver refuses every callback", ScheduleFailed, "acknowledged")
def _refuses(reach: Reach) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    explore(reach(app, observe=dict[str, str]().get))


@blind("check", "the receiver refuses every callback", ReceiverFellShort, "A01")
def _check_refuses(reach: Reach) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    with EngageLab(reach(app, observe=dict[str, str]().get)) as engagelab:
        engagelab.check(only=["A01", "B01", "C06"], patience=0.1).assert_none("major")
