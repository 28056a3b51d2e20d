"""Every request in process has its own task and context, as behind a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
import trio

from engagelab_mock import EngageLab, Receiver

#: The user that was set last, as a view sees it.
USER: ContextVar[str] = ContextVar("USER", default="nobody")


class Views:
    """A WSGI and an ASGI app that note down what their context holds, and leave something in it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.tasks: list[Any] = []

    def wsgi(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        self.seen.append(USER.get())
        USER.set("a request")
        start_response("200 OK", [])
        yield USER.get().encode()
        USER.set("the same request")

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.seen.append(USER.get())
        USER.set("a request")
        self.tasks.append(trio.lowlevel.current_task() if trio.lowlevel.in_trio_task() else asyncio.current_task())
        await send({"type": "http.response.start", "status": 200})
        await anyio.sleep(0)
        await send({"type": "http.response.body", "body": USER.get().encode()})
        USER.set("the same request")

    def receiver(self, way: str) -> Receiver:
        return Receiver.wsgi(self.wsgi) if way == "wsgi" else Receiver.asgi(self.asgi, lifespan=False)


def is_own(views: Views, requests: int) -> bool:
    assert views.seen == ["the test"] * requests
    assert USER.get() == "the test"
    assert len({*map(id, views.tasks)}) == len(views.tasks)
    return True


@pytest.fixture(autouse=True)
def user() -> Iterator[None]:
    token = USER.set("the test")
    yield
    USER.reset(token)


@pytest.mark.parametrize("way", ["wsgi", "asgi"])
def test_requests_of_synchronous_sends(way: str) -> None:
    views = Views()
    with EngageLab(views.receiver(way)) as engagelab:
        run = engagelab.send("+6591234567", scenario="verified")
        engagelab.send(scenario=["plan"], fault="duplicate")
        engagelab.send_many(3, scenario="delivered", concurrency=2)
    assert {delivery.attempts[0].response.body for delivery in run.deliveries} == {b"a request"}  # type: ignore[union-attr]
    assert is_own(views, 4 + 2 + 9)


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["wsgi", "asgi"])
async def test_requests_of_asynchronous_sends(way: str) -> None:
    views = Views()
    # A fixture's context is not the test's under trio.
    USER.set("the test")
    with EngageLab(views.receiver(way)) as engagelab:
        await engagelab.asend("+6591234567", scenario="verified")
        await engagelab.asend(scenario=["plan"], fault="duplicate")
        await engagelab.asend_many(3, scenario="delivered", concurrency=2)
        engagelab.journal  # noqa: B018
    assert is_own(views, 4 + 2 + 9)
    here = trio.lowlevel.current_task() if trio.lowlevel.in_trio_task() else asyncio.current_task()
    assert here not in views.tasks
