"""Send the deliveries of a plan at their times, whatever the receiver does, and enter each in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import time

from engagelab_mock.clock import SystemClock
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.io import ASYNC
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.sender import USER_AGENT, Sender
from engagelab_mock.delivery.transport.http import HttpTransport
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.generate import Generator
from engagelab_mock.load.connection import Pool
from engagelab_mock.load.ledger import Entry, LedgerWriter
from engagelab_mock.load.plan import Plan, Planned
from engagelab_mock.protocol.callback import Headers, decode
from engagelab_mock.protocol.signature import HEADER

#: How many connections are open at once, at most. Most systems allow a process about 1,000 open files.
CONNECTIONS = 500
#: How often answers are waited for, progress is reported and the ledger is written, in seconds.
_TICK = 0.05
#: How many deliveries are started before the loop looks for answers.
_AT_ONCE = 16
_ACKNOWLEDGED = Outcome.ACKNOWLEDGED.value


@dataclass(slots=True)
class Counts:
    """Hold what a sender has done so far."""

    #: How many deliveries were started, and how many have ended.
    sent: int = 0
    ended: int = 0
    #: How many of those without a fault were not acknowledged.
    failed: int = 0
    #: The greatest lateness so far, and how many deliveries were later than the bound, in seconds.
    lateness: float = 0.0
    too_late: int = 0


class LoadSender:
    """Send plans to one receiver over its HTTP transport. `started` is the `stopwatch()` of the ledger's start.

    Ordinary deliveries go out on the connections of a `Pool`. A delivery with a fault goes through the `Sender` of all
    other parts of this package, in a thread.
    """

    def __init__(
        self,
        receiver: Receiver,
        transport: HttpTransport,
        ledger: LedgerWriter,
        *,
        nonces: Generator,
        started: float,
        max_lateness: float,
        connections: int = CONNECTIONS,
    ) -> None:
        self._receiver = receiver
        self._ledger = ledger
        self._nonce = nonces.nonce
        self._started = started
        self._max_lateness = max_lateness
        #: When the plan that is sent began, in seconds since the ledger's start.
        self._offset = 0.0
        self._pool = Pool(transport, receiver.limit, connections, self._ended)
        self._signer = receiver.signer
        #: The timestamp of the signatures. It is renewed with each tick, because a text of it takes time.
        self._timestamp = ""
        settings = receiver.settings
        headers = [("Content-Type", "application/json"), USER_AGENT]
        #: The request up to the signature, and from there to the length of the body.
        self._head = transport.render(Headers(headers)) + (f"{HEADER}: " if self._signer is not None else "")
        self._tail = "\r\n" if self._signer is not None else ""
        if settings.authorization:
            self._tail += f"Authorization: {settings.authorization}\r\n"
        self._tail += "Content-Length: "
        self._faulty = Sender(journal=Journal(1), clock=SystemClock(), generate=nonces)
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts = Counts()
        #: The error that ends the run: the ledger cannot be written, a fault cannot be sent, or `progress` raised it.
        self.error: BaseException | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Start no more deliveries. Those under way are completed."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Tell whether the sender was stopped, or stopped because of an error."""
        return self._stopping.is_set()

    @property
    def reasons(self) -> dict[str, str]:
        """Return the last reason of each outcome without an answer."""
        return {str(outcome): reason for outcome, reason in self._pool.reasons.items()}

    async def send(
        self, plan: Plan, *, start: float = 0.0, progress: Callable[[float, Counts], object] | None = None
    ) -> int:
        """Send a plan that begins `start` seconds after the ledger's start, and wait for its last answer.

        Returns how many deliveries the plan had until now. If `progress` raises, that is the `error` that ends the run.
        """
        self._timestamp = self._now()
        ticker = asyncio.ensure_future(self._tick(progress))
        asked = 0
        try:
            asked = await self._send(plan, start)
            await self._drain()
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            self._flush()
        return asked

    async def _send(self, plan: Plan, start: float) -> int:
        self._offset = start
        started = self._started + start
        # If the generator cannot keep the rate, the rest of the plan is not sent.
        end = started + plan.duration + self._max_lateness
        stopping, begin = self._stopping, self._begin
        asked = waited = 0
        with_faults = {name: fault(name) for name in plan.faults}
        for planned in plan:
            intended, now = started + planned.at, stopwatch()
            if intended > now:
                waited = asked
                if await self._pause(intended - now):
                    return asked
                now = stopwatch()
            elif asked - waited >= _AT_ONCE:
                waited = asked
                await asyncio.sleep(0)
                if stopping.is_set():
                    return asked
                now = stopwatch()
                if now > end:
                    return plan.total
            asked += 1
            begin(planned, intended, now, with_faults)
        return asked

    def _now(self) -> str:
        return str(int(time() + self._receiver.skew))

    async def _pause(self, seconds: float) -> bool:
        """Wait, and return whether the sender was stopped."""
        if seconds < _TICK:
            await asyncio.sleep(seconds)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _begin(self, planned: Planned, intended: float, now: float, with_faults: Mapping[str, Fault]) -> None:
        counts = self.counts
        counts.sent += 1
        late = now - intended
        if late > counts.lateness:
            counts.lateness = late
        if late > self._max_lateness:
            counts.too_late += 1
        planned.started = now
        message, step = planned.message, planned.step
        lifecycle, accepted = message.lifecycle, message.accepted
        if not accepted:
            message.accepted = accepted = int(time()) - lifecycle.age
        at = accepted + lifecycle.offsets[step]
        body = lifecycle.bodies[step].fill(message.id, message.to, accepted, at, message.cost)
        if planned.fault:
            sent = self._send_faulty(planned, body.encode("latin-1"), with_faults[planned.fault])
            task = asyncio.ensure_future(sent)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        signature = ""
        if self._signer is not None:
            signature = self._signer.header(self._timestamp, self._nonce())
        request = f"{self._head}{signature}{self._tail}{len(body)}\r\n\r\n{body}"
        self._pool.send(planned, request.encode("latin-1"))

    async def _send_faulty(self, planned: Planned, body: bytes, applied: Fault) -> None:
        planned.started = stopwatch()
        delivery = Delivery(self._receiver, decode(body).rows, body, planned.message.id, faults=(applied,))
        try:
            attempt = await self._faulty.attempt(ASYNC, delivery)
        except EngageLabMockError as error:
            self._fail(error)
            return
        planned.outcome, planned.elapsed = attempt.outcome, attempt.elapsed
        planned.answer = attempt.response.status if attempt.response is not None else 0
        self._ended(planned)

    def _ended(self, planned: Planned) -> None:
        """Count a delivery and enter it in the ledger."""
        counts, outcome, message, step = self.counts, planned.outcome, planned.message, planned.step
        assert outcome is not None, "it has ended"
        lifecycle = message.lifecycle
        counts.ended += 1
        if outcome is Outcome.ACKNOWLEDGED:
            # A plain text takes much less time to count and to write than a member of an enumeration.
            name = _ACKNOWLEDGED
        else:
            name = outcome.value
            if not planned.fault:
                counts.failed += 1
        entry = Entry(
            message.id,
            message.to,
            lifecycle.name,
            step,
            message.planned,
            lifecycle.statuses[step],
            planned.copy,
            # This rounds to 6 places, in a third of the time that `round` takes.
            ((self._offset + planned.at) * 1e6 + 0.5) // 1.0 / 1e6,
            ((planned.started - self._started) * 1e6 + 0.5) // 1.0 / 1e6,
            (planned.elapsed * 1e6 + 0.5) // 1.0 / 1e6,
            name,
            planned.answer,
            planned.fault,
        )
        try:
            self._ledger.add(entry)
        except EngageLabMockError as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.stop()

    def _flush(self) -> None:
        try:
            self._ledger.flush()
        except EngageLabMockError as error:
            self._fail(error)

    async def _tick(self, progress: Callable[[float, Counts], object] | None) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self._timestamp = self._now()
            self._pool.expire()
            self._flush()
            if progress is not None and self.error is None:
                try:
                    progress(stopwatch() - self._started, self.counts)
                except BaseException as error:  # not only `Exception`: pytest's own are none
                    self._fail(error)

    async def _drain(self) -> None:
        """Wait until all that was started has ended."""
        while self._pool.open or self._tasks:
            await asyncio.sleep(_TICK / 10)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
