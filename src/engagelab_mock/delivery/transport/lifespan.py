"""The lifespan of an ASGI app, and the event loop in which synchronous callers run it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, MutableMapping
from concurrent.futures import Future
from typing import Any, TypeVar

from engagelab_mock.delivery.outcome import Outcome, TransportFailure, ends_the_run
from engagelab_mock.delivery.transport import Threads, connections_stay_open, in_django_transaction
from engagelab_mock.eventloop import in_loop, in_trio, is_cancellation, stopwatch

T = TypeVar("T")

Message = MutableMapping[str, Any]
#: An ASGI app. Each framework types scope, receive and send differently, so a narrower type would exclude some.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

#: Runs a coroutine next to the caller's.
Start = Callable[[Coroutine[Any, Any, None]], object]


class Lifespan:
    """Run an app's lifespan; an app that does not support the lifespan is used without it.

    `state` is the state that the app's start-up made for its requests.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._started = False
        self._ended = False
        self._raised: BaseException | None = None

    async def startup(self, start: Start) -> None:
        """Start the app with `start`; raise `TransportFailure` if the app reports that it could not start.

        The caller, which provides `start`, must cancel its tasks.
        """
        self._tell, hear = _mailbox()
        self._answer, self._listen = _mailbox()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        start(self._run(scope, hear))
        message = await self._say("lifespan.startup")
        if message is None:
            # An app without a lifespan raises an Exception at once. The specification says to continue without it.
            if self._raised is not None and not isinstance(self._raised, Exception):
                raise self._failure("start-up failed", None)
        elif message["type"] == "lifespan.startup.failed":
            # Do not ask an app to stop if it could not start.
            self._ended = True
            raise self._failure("start-up failed", message)
        else:
            self._started = True

    async def shutdown(self) -> None:
        """Stop the app, if it is running; raise `TransportFailure` if it fails, or has failed since its start."""
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
            # Frameworks put the whole traceback there. Its last line names the error.
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


#: The loops of the process from which this one was forked, and their tasks. Closing a loop here would disturb that
#: process, and a task without a reference would log a complaint.
_INHERITED: list[tuple[asyncio.AbstractEventLoop, set[asyncio.Task[Any]]]] = []


class AppLoop:
    """The event loop of an app that synchronous code calls. It stays open between calls, with the app's lifespan.

    The calling thread runs the loop, because the app may use objects of that thread, such as a database
    connection. If several threads call at once, one of them runs the loop, with the calls of all.
    """

    def __init__(self, app: AsgiApp, *, lifespan: bool) -> None:
        self._app = app
        self._wants_lifespan = lifespan
        self._threads = Threads()
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        #: A thread runs the loop, opens it or closes it.
        self._in_use = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifespan: Lifespan | None = None

    @property
    def state(self) -> dict[str, Any] | None:
        """Return the state that the start-up made for the requests in this loop; None in another loop."""
        here = self._loop is not None and asyncio._get_running_loop() is self._loop
        return self._lifespan.state if here and self._lifespan is not None else None

    def run(self, program: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, after opening the loop and starting the app if necessary."""
        if self._process != os.getpid():
            if self._loop is not None:
                _INHERITED.append((self._loop, asyncio.all_tasks(self._loop)))
            self._start_anew()
        if in_loop():  # a loop on another stack in this thread
            return self._threads.submit(self._run, program).result()
        if in_django_transaction():
            return self._run_beside_django(program)
        return self._run(program)

    def close(self) -> None:
        """Stop the app and close the loop; a later call opens them again.

        Raises `TransportFailure`, after closing all, if the app's lifespan failed at shutdown or before.
        """
        if self._loop is None or self._process != os.getpid():
            return
        try:
            if in_loop():
                self._threads.submit(self._close).result()
            else:
                self._close()
        finally:
            self._threads.close()

    def _run(self, program: Coroutine[Any, Any, T]) -> T:
        sent: Future[T] | None = None
        with self._changed:
            while self._in_use:
                if sent is None and self._loop is not None:
                    sent = asyncio.run_coroutine_threadsafe(program, self._loop)
                    sent.add_done_callback(lambda _: self._notify())
                self._changed.wait()
                if sent is not None and sent.done():
                    return sent.result()
            self._in_use = True
        try:
            try:
                loop = self._loop = self._loop or self._opened()
            except BaseException:
                program.close()
                raise
            self._notify()
            task = loop.create_task(program) if sent is None else asyncio.wrap_future(sent, loop=loop)
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt):
                # If any task or a signal raises one of these two, the loop stops. So this one may not have ended.
                _cancel(loop, {task})
                raise
        finally:
            self._release()

    def _run_beside_django(self, program: Coroutine[Any, Any, T]) -> T:
        """Run the loop in another thread, but its database code in this thread, as Django's `async_to_sync` does."""
        from asgiref.current_thread_executor import CurrentThreadExecutor
        from asgiref.sync import AsyncToSync

        outer = getattr(AsyncToSync.executors, "current", None)
        try:
            here = CurrentThreadExecutor(outer)
        except TypeError:  # before asgiref 3.9
            here = CurrentThreadExecutor()  # type: ignore[call-arg]

        async def run() -> T:
            AsyncToSync.executors.current = here
            return await program

        with connections_stay_open():
            done = self._threads.submit(self._run, run())
            try:
                here.run_until_future(done)
            except BaseException:
                if (loop := self._loop) is not None:
                    loop.call_soon_threadsafe(_interrupt)
                raise
        program.close()  # if the app could not start
        return done.result()

    def _release(self) -> None:
        with self._changed:
            self._in_use = False
            self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _opened(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        with contextlib.suppress(AttributeError):  # some loops do not accept a clock
            # The app's timers use this clock, even if the test has frozen Python's own.
            loop.time = stopwatch  # type: ignore[method-assign]
        if self._wants_lifespan:
            self._lifespan = Lifespan(self._app)
            try:
                loop.run_until_complete(self._lifespan.startup(loop.create_task))
            except BaseException:
                self._end(loop)
                raise
        return loop

    def _close(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._in_use)
            loop, self._loop = self._loop, None
            self._in_use = True
        try:
            if loop is not None:
                self._end(loop)
        finally:
            self._release()

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        lifespan, self._lifespan = self._lifespan, None
        with contextlib.closing(loop):
            try:
                if lifespan is not None:
                    loop.run_until_complete(lifespan.shutdown())
            finally:
                _cancel(loop, asyncio.all_tasks(loop))
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())


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


def _cancel(loop: asyncio.AbstractEventLoop, tasks: Iterable[asyncio.Future[Any]]) -> None:
    tasks = set(tasks)
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    ended = asyncio.gather(*tasks, return_exceptions=True)
    while not ended.done():
        running = asyncio.all_tasks(loop)
        try:
            loop.run_until_complete(ended)
        except (SystemExit, KeyboardInterrupt):
            # Each task that raises one of them stops the loop again. Otherwise, a signal has raised it: stop waiting.
            if not any(task.done() for task in running):
                raise


def _interrupt() -> None:
    raise KeyboardInterrupt
