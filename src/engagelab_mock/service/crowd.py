"""Many messages at once: each with a clock and a seed of its own, all in one journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import SystemClock, VirtualClock
from engagelab_mock.delivery.model import Run
from engagelab_mock.errors import UsageError

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab
    from engagelab_mock.service.options import SendOptions


class Crowd:
    """Send a number of messages concurrently; how they interleave is left to the machine, what they say is not."""

    def __init__(
        self, engagelab: EngageLab, count: int, to: Sequence[str] | None, concurrency: int, *, seed: str
    ) -> None:
        bounds: list[tuple[str, Any, int]] = [("count", count, 0), ("concurrency", concurrency, 1)]
        for name, number, least in bounds:
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise UsageError(f"{name} is a number from {least}, not {number!r}", where="send_many")
        if to is not None and (isinstance(to, str) or not to):
            raise UsageError(f"to is a list of recipients, not {to!r}", where="send_many")
        self._engagelab = engagelab
        self._count = count
        self._to = to
        self._concurrency = concurrency
        self._members = [self._member(f"{seed}:{index}") for index in range(count)]

    def send(self, options: SendOptions) -> list[Run]:
        """Send from threads; an in-process ASGI app is called concurrently in its own loop instead."""
        __tracebackhide__ = True
        for receiver in self._engagelab.receivers:
            run_in_loop = getattr(receiver.transport, "run", None)
            if run_in_loop is not None:
                runs: list[Run] = run_in_loop(self.asend(options))
                return runs
        from concurrent.futures import ThreadPoolExecutor  # only crowds need it

        with ThreadPoolExecutor(self._concurrency) as pool:
            runs = list(
                pool.map(lambda index: self._members[index].send(self._recipient(index), **options), range(self._count))
            )
        self._rejoin()
        return runs

    async def asend(self, options: SendOptions) -> list[Run]:
        """Send from tasks of the running event loop."""
        import asyncio  # there is a running loop, so it is loaded already

        gate = asyncio.Semaphore(self._concurrency)

        async def one(index: int) -> Run:
            async with gate:
                return await self._members[index].asend(self._recipient(index), **options)

        runs = await asyncio.gather(*[one(index) for index in range(self._count)])
        self._rejoin()
        return runs

    def _member(self, seed: str) -> EngageLab:
        """Make an EngageLab of the same account, towards the same receivers, that shares the journal."""
        whole = self._engagelab
        clock = whole.clock
        member = type(whole)(
            whole.receivers,
            clock=VirtualClock(clock.time()) if isinstance(clock, VirtualClock) else SystemClock(clock.speed),
            seed=seed,
            dialect=whole.dialect,
            code_ttl=whole.code_ttl,
            abnormal=whole.abnormal,
            defaults=whole.defaults,
            journal=whole.journal,
        )
        member.account = whole.account
        return member

    def _recipient(self, index: int) -> str | None:
        return self._to[index % len(self._to)] if self._to else None

    def _rejoin(self) -> None:
        """Let the whole's clock catch up with its members', and take over what they still have to send."""
        clock = self._engagelab.clock
        latest = max((member.clock.time() for member in self._members), default=clock.time())
        for member in self._members:
            for timer in member.clock.pending:
                clock.call_at(timer.when, timer.action, label=timer.label, aaction=timer.aaction)
        if isinstance(clock, VirtualClock):
            clock.advance_to(max(latest, clock.time()))
