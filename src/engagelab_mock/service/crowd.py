"""Many messages at once: each with a clock and a seed of its own, all in one journal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count as counting
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import Clock, VirtualClock
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Run
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import gather
from engagelab_mock.protocol.recipient import check_recipient

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab
    from engagelab_mock.service.options import SendOptions


class Crowd:
    """Send a number of messages concurrently; how they interleave is left to the machine, what they say is not.

    After the first that fails no further one is started; those under way finish.
    """

    def __init__(
        self, engagelab: EngageLab, count: int, to: Sequence[str] | None, concurrency: int, *, seed: str
    ) -> None:
        bounds: list[tuple[str, Any, int]] = [("count", count, 0), ("concurrency", concurrency, 1)]
        for name, number, least in bounds:
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise UsageError(f"{name} is a number from {least}, not {number!r}", where="send_many")
        given: Any = to
        if to is not None and (isinstance(given, str) or not isinstance(given, Sequence) or not given):
            raise UsageError(f"to is a list of recipients, not {to!r}", where="send_many")
        for index, recipient in enumerate(to or ()):
            check_recipient(recipient, where=f"send_many, to[{index}]")
        if engagelab.batching is not None:
            raise UsageError("one callback cannot be sent concurrently", where="send_many, in a batch")
        self._engagelab = engagelab
        self._count = count
        self._to = to
        self._seed = seed
        #: How many are sent at once.
        self._abreast = min(concurrency, count)
        self._turns = counting()
        self._stopped = False
        self._runs: dict[int, Run] = {}
        self._errors: dict[int, Exception] = {}
        #: Members that have something left to send, such as the expiry of a code.
        self._staying: dict[int, EngageLab] = {}

    def send(self, options: SendOptions) -> list[Run]:
        """Send from threads; an in-process ASGI app is called concurrently in its own loop instead."""
        __tracebackhide__ = True
        apps: list[Any] = [
            receiver.transport for receiver in self._engagelab.receivers if receiver.transport.name == "asgi"
        ]
        if apps:
            if any(app is not apps[0] for app in apps):
                raise UsageError(
                    "two ASGI apps in process have a loop each, which cannot run at once",
                    where="send_many",
                    hint="in an async test use `await engagelab.asend_many(...)`: there both run in the test's loop",
                )
            runs: list[Run] = apps[0].run(self.asend(options))
            return runs
        latest = self._send_from_threads(options)
        clock = self._rejoin()
        try:
            if isinstance(clock, VirtualClock):
                clock.advance_to(max(latest, clock.time()))
        finally:
            self._raise_first()
        return [self._runs[index] for index in range(self._count)]

    async def asend(self, options: SendOptions) -> list[Run]:
        """Send from tasks of the running event loop."""
        __tracebackhide__ = True
        times = await gather(self._work(ASYNC, options) for _ in range(self._abreast))
        clock = self._rejoin()
        try:
            if isinstance(clock, VirtualClock):
                await clock.aadvance_to(max([clock.time(), *times]))
        finally:
            self._raise_first()
        return [self._runs[index] for index in range(self._count)]

    def member(self, index: int) -> EngageLab:
        """Make an EngageLab of the same account, towards the same receivers, that shares the journal."""
        whole = self._engagelab
        member = type(whole)(
            whole.receivers,
            clock=whole.clock.branch(),
            seed=f"{self._seed}:{index}",
            dialect=whole.dialect,
            code_ttl=whole.code_ttl,
            abnormal=whole.abnormal,
            defaults=whole.defaults,
            journal=whole.journal_as_it_is,
        )
        member.account = whole.account
        member.sent = whole.sent
        return member

    def recipient(self, index: int) -> str | None:
        """Return who gets a message; None is somebody made up."""
        return self._to[index % len(self._to)] if self._to else None

    def _send_from_threads(self, options: SendOptions) -> float:
        from concurrent.futures import ThreadPoolExecutor  # only crowds need it

        with ThreadPoolExecutor(self._abreast or 1, thread_name_prefix="engagelab") as pool:
            workers = [pool.submit(lambda: run_sync(self._work(SYNC, options))) for _ in range(self._abreast)]
            try:
                return max((worker.result() for worker in workers), default=0.0)
            finally:
                # An interrupted test does not want the rest.
                self._stopped = True

    async def _work(self, io: Io, options: SendOptions) -> float:
        """Send a message when it is this worker's turn, as long as there are any; return the latest of their times."""
        latest = 0.0
        while not self._stopped and (index := next(self._turns)) < self._count:
            member = self.member(index)
            try:
                self._runs[index] = await member.see_send_through(io, self.recipient(index), options)
            except Exception as error:
                self._stopped = True
                error.add_note(f"in message {index + 1} of {self._count}")
                self._errors[index] = error
            latest = max(latest, member.clock.time())
            if member.pending:
                self._staying[index] = member
        return latest

    def _rejoin(self) -> Clock:
        """Have the whole's clock run what its members have left, in their order."""
        clock: Clock = self._engagelab.clock
        for _, member in sorted(self._staying.items()):
            member.move_to(clock)
        return clock

    def _raise_first(self) -> None:
        """Raise the error of the earliest message that failed; all before it were started, so it is always the same."""
        __tracebackhide__ = True
        if self._errors:
            raise self._errors[min(self._errors)]
