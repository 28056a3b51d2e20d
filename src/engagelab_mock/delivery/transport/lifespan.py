"""Start and stop an ASGI app as its servers do, through the lifespan protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.eventloop import Start, mailbox

Message = MutableMapping[str, Any]
#: An ASGI app. Each framework types scope, receive and send in a way of its own, so no closer type takes them all.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class Lifespan:
    """Hold the running part of an app; an app that knows no lifespan is used without one.

    `state` is what the app's start-up left for its requests.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._ended = False
        self._raised: Exception | None = None

    async def startup(self, start: Start) -> None:
        """Start the app, in what `start` runs; raise `TransportFailure` when it says that it could not start.

        Whoever gives `start` cancels what runs in it.
        """
        self._tell, hear = mailbox()
        self._answer, self._listen = mailbox()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        start(self._run(scope, hear))
        message = await self._say("lifespan.startup")
        if message is not None and message["type"] == "lifespan.startup.failed":
            # Frameworks put the whole traceback there; its last line says what happened.
            reason = (message.get("message") or "").strip().rpartition("\n")[2] or "it gave no reason"
            # What could not start is not asked to stop.
            self._ended = True
            raise TransportFailure(
                Outcome.APP_RAISED, f"the app's lifespan start-up failed: {reason}"
            ) from self._raised

    async def shutdown(self) -> None:
        """Stop the app, if it is running."""
        await self._say("lifespan.shutdown")

    async def _run(self, scope: Message, hear: Callable[[], Awaitable[Message]]) -> None:
        async def receive() -> Message:
            return await hear()

        async def send(message: Message) -> None:
            self._answer(message)

        try:
            await self._app(scope, receive, send)
        except Exception as error:
            # An app without lifespan raises at once; the specification says to carry on without.
            self._raised = error
        finally:
            self._ended = True
            self._answer(None)

    async def _say(self, event: str) -> Message | None:
        """Tell the app something; return its answer, or None when it has ended without one."""
        if self._ended:
            return None
        self._tell({"type": event})
        answer: Message | None = await self._listen()
        return answer
