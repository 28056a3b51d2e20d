"""Start and stop an ASGI app as its servers do, through the lifespan protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from engagelab_mock.delivery.outcome import Outcome, TransportFailure

Message = MutableMapping[str, Any]
#: An ASGI app. Each framework types scope, receive and send in a way of its own, so no closer type takes them all.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class Lifespan:
    """Hold an app's lifespan task; an app that knows no lifespan is used without one.

    `state` is what the app's start-up left for its requests.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the app; raise `TransportFailure` when it says that it could not start."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._run(scope))
        message = await self._say("lifespan.startup")
        if message is not None and message["type"] == "lifespan.startup.failed":
            # Frameworks put the whole traceback there; its last line says what happened.
            reason = (message.get("message") or "").strip().rpartition("\n")[2] or "it gave no reason"
            await asyncio.wait({self._task}, timeout=0)
            raised = self._raised()
            self._task.cancel()  # what could not start is not asked to stop
            raise TransportFailure(Outcome.APP_RAISED, f"the app's lifespan start-up failed: {reason}") from raised

    async def shutdown(self) -> None:
        """Stop the app, if it is running."""
        await self._say("lifespan.shutdown")
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._raised()

    def _raised(self) -> BaseException | None:
        """Return what ended the app's task, if it has ended so; asked for, asyncio does not complain of it later."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def _run(self, scope: Message) -> None:
        await self._app(scope, self._to_app.get, self._from_app.put)

    async def _say(self, event: str) -> Message | None:
        """Tell the app something; return its answer, or None when its task has ended without one."""
        if self._task is None or self._task.done():
            return None
        await self._to_app.put({"type": event})
        answer = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        # An app without lifespan raises or returns at once; the specification says to carry on without.
        return None
