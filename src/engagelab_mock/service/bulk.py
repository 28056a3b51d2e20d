"""Batches, which send many messages in one callback, and bulk sends, which send many messages at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from itertools import count as counting
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Run
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.eventloop import gather
from engagelab_mock.messages.message import check_recipient
from engagelab_mock.protocol.events import Event
from engagelab_mock.service import accept
from engagelab_mock.service.accept import Acceptance, schedule_expiry

if TYPE_CHECKING:
    from engagelab_mock.service.accept import DeliverOptions, SendOptions
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.sending import Sending


class Batching:
    """Collect events, and send them as one callback at the end of the block.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     with engagelab.batch():
    ...         run = engagelab.send("+6591234567", scenario="delivered")
    ...         _ = engagelab.notify("insufficient_balance")
    ...     run.deliveries[0].statuses
    ['plan', 'sent', 'delivered', 'insufficient_balance']
    """

    def __init__(self, engine: Engine, options: DeliverOptions) -> None:
        self._engine = engine
        self._options = options
        self._timed: list[tuple[float, Event]] = []
        self._sendings: list[Sending] = []
        self._accepted: list[Acceptance] = []

    def collect(
        self, timed: Sequence[tuple[float, Event]], sending: Sending, accepted: Acceptance | None = None
    ) -> None:
        """Add timed events. `sending` also gets the delivery that carries them."""
        self._timed.extend(timed)
        self._sendings.append(sending)
        if accepted is not None:
            self._accepted.append(accepted)

    def clear(self) -> None:
        """Forget the collected events."""
        self._timed, self._sendings, self._accepted = [], [], []

    async def _send(self, io: Io) -> None:
        __tracebackhide__ = True
        if not self._timed:
            return
        sending = self._engine.sending(self._options)
        for each in self._sendings:
            sending.share(each.deliveries)
        sending.schedule_callback(max(at for at, _ in self._timed), tuple(event for _, event in self._timed))
        await self._engine.scheduler.run(io, sending)
        for accepted in self._accepted:
            accepted.sending.caller_waits = False
            schedule_expiry(self._engine, accepted)

    def __enter__(self) -> Self:
        __tracebackhide__ = True
        if self._engine.batching is not None:
            hint = "remove the inner block; the outer one collects everything"
            raise self._engine.refused(UsageError("batches cannot be nested", where="batch", hint=hint))
        self._engine.batching = self
        self.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._engine.batching = None
        if error is None:
            run_sync(self._send(SYNC))

    async def __aenter__(self) -> Self:
        __tracebackhide__ = True
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._engine.batching = None
        if error is None:
            await self._send(ASYNC)


class BulkSend:
    """Send `count` messages, up to `concurrency` at once.

    The threads or tasks may interleave in any order. The content of each message depends only on the seed. After the
    first failure, no further message starts, and the messages under way finish.
    """

    def __init__(
        self,
        engine: Engine,
        count: int,
        to: Sequence[str] | None,
        concurrency: int,
        options: SendOptions,
    ) -> None:
        """Check the arguments; enter an error in the journal."""
        __tracebackhide__ = True
        self._engine = engine
        self._count = count
        self._to = to
        self._options = options
        try:
            self._check(concurrency)
            self._seed = f"{engine.seed}:crowd {engine.bulk_sends}"
            # Check the options here, so that an error is raised once and not by each message.
            branch = self._branch(0)
            request = branch.request(self._recipient(0), options)
            accept.prepare(branch, request, accept.check(branch, request))
        except EngageLabMockError as error:
            raise engine.refused(error) from None
        engine.bulk_sends += 1
        #: How many messages are sent at once.
        self._workers = min(concurrency, count)
        self._indices = counting()
        self._stopped = False
        self._runs: dict[int, Run] = {}
        self._errors: dict[int, Exception] = {}
        #: The accepted messages, each with its number.
        self._sendings: list[tuple[int, Sending]] = []

    def send(self) -> list[Run]:
        """Send from threads. Call an in-process ASGI app from tasks of the app's event loop instead."""
        __tracebackhide__ = True
        apps: list[Any] = [
            receiver.transport for receiver in self._engine.receivers if receiver.transport.name == "asgi"
        ]
        if apps:
            if any(app is not apps[0] for app in apps):
                raise UsageError(
                    "two ASGI apps in process have two event loops, which cannot run at once",
                    where="send_many",
                    hint="in an async test use `await engagelab.asend_many(...)`: both apps run in the test's loop",
                )
            try:
                runs: list[Run] = apps[0].run(self.asend())
            except SystemExit as error:
                what = "a task of the app raised SystemExit, which stops its event loop"
                raise EngageLabMockError(
                    what, where="send_many", hint="the app's own exception is the cause"
                ) from error
            return runs
        if self._workers > 1:
            for receiver in self._engine.receivers:
                try:
                    receiver.check_threads()
                except UsageError as error:
                    raise self._engine.refused(error) from None
        latest = self._send_from_threads()
        self._join()
        clock = self._engine.clock
        try:
            if isinstance(clock, VirtualClock):
                clock.advance_to(max(latest, clock.time()))
        finally:
            self._raise_first()
        return [self._runs[index] for index in range(self._count)]

    async def asend(self) -> list[Run]:
        """Send from tasks of the running event loop."""
        __tracebackhide__ = True
        times = await gather(self._work(ASYNC) for _ in range(self._workers))
        self._join()
        clock = self._engine.clock
        try:
            if isinstance(clock, VirtualClock):
                await clock.aadvance_to(max([clock.time(), *times]))
        finally:
            self._raise_first()
        return [self._runs[index] for index in range(self._count)]

    def _check(self, concurrency: int) -> None:
        bounds: list[tuple[str, Any, int]] = [("count", self._count, 0), ("concurrency", concurrency, 1)]
        for name, number, least in bounds:
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise UsageError(f"{name} is a number from {least}, not {number!r}", where="send_many")
        to: Any = self._to
        if to is not None and (isinstance(to, str) or not isinstance(to, Sequence) or not to):
            raise UsageError(f"to is a list of recipients, not {to!r}", where="send_many")
        for index, recipient in enumerate(to or ()):
            check_recipient(recipient, where=f"send_many, to[{index}]")
        if self._engine.batching is not None:
            hint = "call send_many outside of the batch"
            raise UsageError("one callback cannot be sent concurrently", where="send_many, in a batch", hint=hint)

    def _branch(self, index: int) -> Engine:
        return self._engine.branch(f"{self._seed}:{index}")

    def _recipient(self, index: int) -> str | None:
        return self._to[index % len(self._to)] if self._to else None

    def _send_from_threads(self) -> float:
        if self._workers <= 1:
            return run_sync(self._work(SYNC))
        from concurrent.futures import ThreadPoolExecutor  # slow to import, and only needed here

        def work() -> float:
            return run_sync(self._work(SYNC))

        with ThreadPoolExecutor(self._workers, thread_name_prefix="engagelab") as pool:
            workers = [pool.submit(copy_context().run, work) for _ in range(self._workers)]
            try:
                return max(worker.result() for worker in workers)
            finally:
                # If the test is interrupted, start no further message.
                self._stopped = True

    async def _work(self, io: Io) -> float:
        """Send messages until none is left, and return the latest time at which one ended."""
        latest = 0.0
        while not self._stopped and (index := next(self._indices)) < self._count:
            branch = self._branch(index)
            try:
                accepted = branch.accept(self._recipient(index), self._options)
                self._sendings.append((index, accepted.sending))
                await branch.scheduler.run(io, accepted.sending)
                self._runs[index] = accepted.run
            except Exception as error:
                self._stopped = True
                error.add_note(f"in message {index + 1} of {self._count}")
                self._errors[index] = error
            latest = max(latest, branch.clock.time())
        return latest

    def _join(self) -> None:
        """Move pending callbacks, such as the expiry of a code, to the engine's clock, in the order of messages."""
        for _, sending in sorted(self._sendings, key=lambda numbered: numbered[0]):
            sending.move_to(self._engine.scheduler)

    def _raise_first(self) -> None:
        """Raise the error of the first message that failed. Messages start in order, so it is the same in every run."""
        __tracebackhide__ = True
        if self._errors:
            raise self._errors[min(self._errors)]
