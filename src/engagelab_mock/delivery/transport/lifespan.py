"""The lifespan of an ASGI app: start it before the first callback, and stop it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from engagelab_mock.delivery.outcome import Outcome, TransportFailure, ends_the_run
from engagelab_mock.eventloop import in_trio, is_cancellation

Message = MutableMapping[str, Any]
#: An ASGI app. Each framework types scope, receive and send differently, so a closer type would exclude some.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

#: Runs a coroutine next to the caller's.
Start = Callable[[Coroutine[Any, Any, None]], object]


class Lifespan:
    """Run an app's lifespan; an app without one is used without it.

    `state` is what the app's start-up left for its requests.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._started = False
        self._ended = False
        self._raised: BaseException | None = None

    async def startup(self, start: Start) -> None:
        """Start the app with `start`; raise `TransportFailure` if the app reports that it could not start.

        The caller, which provides `start`, cancels its tasks.
        """
        self._tell, hear = _mailbox()
        self._answer, self._listen = _mailbox()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        start(self._run(scope, hear))
        message = await self._say("lifespan.startup")
        if message is None:
            # An app without lifespan raises an Exception at once; the specification says to continue without it.
            if self._raised is not None and not isinstance(self._raised, Exception):
                raise self._failure("start-up failed", None)
        elif message["type"] == "lifespan.startup.failed":
            # An app that could not start must not be asked to stop.
            self._ended = True
            raise self._failure("start-up failed", message)
        else:
            self._started = True

    async def shutdown(self) -> None:
        """Stop the app, if it is running; raise `TransportFailure` if it fails, or has failed since it started."""
        what = "failed before its shutdown" if self._ended else "shutdown failed"
        message = await self._say("lifespan.shutdown")
        if message is not None and message["type"] != "lifespan.shutdown.failed":
            message = None
        if self._started and (message is not None or self._raised is not None):
            raise self._failure(what, message)

    async def _run(self, scope: Message, hear: Callable[[], Awaitable[Message]]) -> None:
        async def receive() -> Message:
            return await hear()

        async def send(message: Message) -> None:
            self._answer(message)

        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            self._raised = error
            if is_cancellation(error) or ends_the_run(error):
                raise
        finally:
            self._ended = True
            self._answer(None)

    def _failure(self, what: str, message: Message | None) -> TransportFailure:
        if message is None:
            reason = f"{type(self._raised).__name__}: {self._raised}".removesuffix(": ")
        else:
            # Frameworks put the whole traceback there; its last line names the error.
            reason = (message.get("message") or "").strip().rpartition("\n")[2] or "it gave no reason"
        failure = TransportFailure(Outcome.APP_RAISED, f"the app's lifespan {what}: {reason}")
        failure.__cause__ = self._raised
        return failure

    async def _say(self, event: str) -> Message | None:
        """Send the app an event; return its answer, or None if it ended without one."""
        if self._ended:
            return None
        self._tell({"type": event})
        answer: Message | None = await self._listen()
        return answer


@contextlib.asynccontextmanager
async def running(app: AsgiApp) -> AsyncIterator[dict[str, Any]]:
    """Start an app in the running loop, yield its state, and stop it at the end of the `async with` block."""
    async with _background() as start:
        lifespan = Lifespan(app)
        await lifespan.startup(start)
        try:
            yield lifespan.state
        except BaseException as error:
            try:
                await lifespan.shutdown()
            except TransportFailure as failure:
                error.add_note(f"and: {failure.reason}")
            raise
        await lifespan.shutdown()


@contextlib.asynccontextmanager
async def _background() -> AsyncIterator[Start]:
    """Start coroutines that run next to an `async with` block and are cancelled at its end."""
    if not in_trio():
        tasks: list[asyncio.Task[None]] = []
        try:
            yield lambda program: tasks.append(asyncio.create_task(program))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return
    import trio

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield lambda program: nursery.start_soon(lambda: program)
        except Exception as error:
            failure = error  # which the nursery would wrap in a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _mailbox() -> tuple[Callable[[Any], None], Callable[[], Awaitable[Any]]]:
    """Return a queue of the running loop as two functions: one puts, the other waits and gets."""
    if in_trio():
        import trio

        send, receive = trio.open_memory_channel[Any](math.inf)
        return send.send_nowait, receive.receive
    queue = asyncio.Queue[Any]()
    return queue.put_nowait, queue.get
