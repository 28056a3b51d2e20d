"""The outbox: accepted messages that are not sent yet, and failures that no caller has seen."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.service.scheduler import PATIENCE

if TYPE_CHECKING:
    from engagelab_mock.service.scheduler import Scheduler
    from engagelab_mock.service.sending import Sending

#: If another thread advances and delivers nothing for this long, in seconds, `settle` raises a `UsageError`.
_SETTLE_PATIENCE = 30.0
#: How long `settle` waits for API responses that are being written, in seconds.
_WRITE_PATIENCE = 1.0
#: How long a response waits for callbacks that must go out before it, in seconds: a receiver's time limit [S].
_CALLBACK_PATIENCE = 3.0
#: How many failures are kept for the next caller that settles.
_KEPT = 100

#: The call to use instead in an event loop, for each synchronous reader.
_TWINS = {
    "journal": "`await engagelab.asettle()` sends them; then read engagelab.journal",
    "inbox": "`await engagelab.ainbox(…)` sends them and returns the inbox",
    "inbox, wait": "`inbox = await engagelab.ainbox(…)` sends them; then `await inbox.await_(…)`",
    "pending": "`await engagelab.asettle()` sends them; engagelab.clock.pending lists them as they are",
    "with EngageLab(…)": "`await engagelab.asettle()` at the end of the block sends them, and raises the first failure",
}


class Outbox:
    """Send accepted messages when a caller settles, and keep failures until a caller can get them.

    On a `VirtualClock`, they are sent only when a caller settles. On any other clock, a `DeliveryWorker` sends them
    when they are due.
    """

    def __init__(self, scheduler: Scheduler, receivers: Callable[[], Sequence[Receiver]]) -> None:
        self._scheduler = scheduler
        self._receivers = receivers
        #: The accepted sendings that may be unfinished, oldest first.
        self._open: deque[Sending] = deque()
        self._failures: deque[EngageLabMockError] = deque(maxlen=_KEPT)
        #: The API responses that are being written, and the thread that writes each.
        self._unwritten: dict[object, int] = {}
        #: Called, from any thread, when callbacks of an accepted message are scheduled.
        self.on_release: list[Callable[[], object]] = []
        # Moving a virtual clock also needs the right to advance.
        companions = getattr(scheduler.clock, "companions", None)
        if companions is not None:
            companions.append(self)

    @property
    def waiting(self) -> bool:
        """Tell whether any accepted sending is unfinished."""
        return bool(self._open or self._failures)

    @property
    def _unsent(self) -> list[Sending]:
        """Return the accepted sendings that are unfinished."""
        return [sending for sending in tuple(self._open) if sending.remaining]

    def check_reader(self, reader: str) -> None:
        """Raise `UsageError` if callbacks are pending that only a caller that awaits can send.

        Otherwise the reader would see an empty list only because no callback could be sent. A receiver's handler may
        always read. `pending` may list callbacks that are due later, and those that another task is sending.
        """
        __tracebackhide__ = True
        scheduler, unsent = self._scheduler, self._unsent
        if reader == "pending":
            now = scheduler.clock.time()
            unsent = [] if scheduler.in_use else [sending for sending in unsent if sending.is_due(now)]
        if not unsent or scheduler.is_advancing or not scheduler.virtual:
            return
        try:
            self._check(SYNC)
        except UsageError:
            raise UsageError(
                "callbacks are waiting to be sent, and from inside a running event loop they must be awaited",
                where=reader,
                hint=_TWINS[reader],
            ) from None

    def accept(self, sending: Sending) -> None:
        """Add a sending whose callbacks are held."""
        sending.on_failure = self._failures.append
        sending.stops_at_failure = False
        if self._scheduler.virtual:
            self._open.append(sending)

    def hold(self, sendings: Sequence[Sending]) -> Callable[[], object]:
        """Hold the callbacks until the returned function reports that the API response was written."""
        response = object()
        self._unwritten[response] = threading.get_ident()

        def written() -> None:
            with self._scheduler.lock:
                self._unwritten.pop(response, None)
                self._scheduler.condition.notify()
            self.release(sendings)

        return written

    def release(self, sendings: Sequence[Sending]) -> None:
        """Schedule the callbacks that were held."""
        for sending in sendings:
            sending.release()
        with self._scheduler.lock:
            self._scheduler.condition.notify()
        for tell in tuple(self.on_release):
            tell()

    def keep_failure(self, *errors: EngageLabMockError) -> None:
        """Keep errors for the next caller that settles."""
        self._failures.extend(errors)

    async def settle(self, io: Io, *, required: bool = True) -> None:
        """Send pending callbacks, and raise the failures. If a receiver's handler calls it, do nothing.

        If another thread keeps the right to advance, raise `UsageError`; return if settling is not `required`.
        """
        __tracebackhide__ = True
        if self.waiting and not self._scheduler.is_advancing and await self._send_waiting(io, required=required):
            self.raise_failures()

    def settle_quietly(self) -> None:
        """Send pending callbacks in a thread without a caller; keep the failures for the next caller that settles."""
        if self._scheduler.is_advancing:
            return
        try:
            run_sync(self._send_waiting(SYNC, required=True))
        except EngageLabMockError as error:
            self.keep_failure(error)

    async def _send_waiting(self, io: Io, *, required: bool) -> bool:
        """Send pending callbacks; return False if another thread keeps the right to advance and `required` is False."""
        __tracebackhide__ = True
        scheduler = self._scheduler
        if self._open and scheduler.virtual:
            if self._unsent:
                self._check(io)
            await self._wait_for_responses(io)
            if not await scheduler.enter(io, _SETTLE_PATIENCE if required else PATIENCE):
                if not required:
                    return False
                raise UsageError(
                    f"another thread is sending, but delivered nothing for {_SETTLE_PATIENCE:g} s",
                    where="settle",
                    hint="a handler of your app seems to hang: look at the stack of that thread",
                )
            try:
                await self._send_open(io)
            finally:
                scheduler.leave()
        return True

    def settle_soon(self, reader: str) -> None:
        """Settle, waiting at most a second for another thread. Used by properties that only read.

        In an event loop that must await the receivers, raise `UsageError`; return if another task is sending.
        """
        __tracebackhide__ = True
        scheduler = self._scheduler
        if not self.waiting or scheduler.is_advancing or not scheduler.virtual:
            return
        if self._open:
            try:
                self.check_reader(reader)
            except UsageError:
                if scheduler.in_use:
                    return
                raise
            run_sync(self._wait_for_responses(SYNC))
            if not run_sync(scheduler.enter(SYNC, PATIENCE)):
                return
            try:
                run_sync(self._send_open(SYNC))
            finally:
                scheduler.leave()
        self.raise_failures()

    def send_now(self, sendings: Sequence[Sending]) -> None:
        """Send the callbacks that were just released, unless another thread is sending; keep failures."""
        scheduler = self._scheduler
        if not scheduler.virtual:
            # A worker sends it; a working receiver answers within its own time limit
            scheduler.condition.wait_for(lambda: all(sending.begun for sending in sendings), _CALLBACK_PATIENCE)
        elif not scheduler.is_advancing and run_sync(scheduler.enter(SYNC, 0.0)):
            try:
                self._check(SYNC)
                run_sync(self._send_open(SYNC))
            except EngageLabMockError as error:
                self.keep_failure(error)
            finally:
                scheduler.leave()

    def take_failures(self) -> list[EngageLabMockError]:
        """Remove and return the failures that are kept."""
        taken: list[EngageLabMockError] = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._failures.popleft())
        return taken

    def raise_failures(self) -> None:
        """Raise the first failure that is kept; the others are added as its notes."""
        __tracebackhide__ = True
        kept = self.take_failures()
        if not kept:
            return
        first, *others = kept
        for other in others:
            first.add_note(f"and: {str(other).splitlines()[0]}")
        raise first

    def end(self, error: BaseException | None, close: Callable[[], None], *, sends: bool) -> None:
        """Settle and close at the end of a `with` block.

        Unless it `sends`, because a store keeps the callbacks for the next process, only raise the kept failures. If an
        exception leaves the block, only close. Nothing hides the first error: later errors are added as its notes.
        """
        __tracebackhide__ = True
        try:
            if error is None and sends:
                self.check_reader("with EngageLab(…)")
                run_sync(self.settle(SYNC))
            elif error is None:
                self.raise_failures()
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                close()
            except Exception as failure:
                if error is None:
                    raise
                error.add_note(f"and: {failure}")

    def clear(self) -> None:
        """Withdraw all accepted sendings, and forget the failures."""
        while self._open:
            self._open.popleft().withdraw()
        self._failures.clear()

    async def _send_open(self, io: Io) -> None:
        """Advance until every accepted sending is finished; the caller has the right to advance."""
        __tracebackhide__ = True
        while self._open:
            sending = self._open[0]
            sending.release()
            await self._scheduler.advance(io, sending)
            # Other tasks of this event loop may have finished it in the meantime.
            with contextlib.suppress(ValueError):
                self._open.remove(sending)

    def _check(self, io: Io) -> None:
        """Raise `UsageError`, before anything is sent, for a receiver that cannot be called in this way."""
        for receiver in self._receivers():
            io.check(receiver.transport)

    async def _wait_for_responses(self, io: Io) -> None:
        """Wait for the API responses that other threads are writing, because callbacks go out after them."""
        if not self._unwritten:
            return
        here = threading.get_ident()

        def others() -> list[object]:
            return [response for response, thread in list(self._unwritten.items()) if thread != here]

        if not await io.wait_for(self._scheduler.condition, lambda: not others(), _WRITE_PATIENCE):
            # The threads that should write them have ended.
            for response in others():
                self._unwritten.pop(response, None)

    # Around `clock.advance`: earlier callbacks go out before the move; those accepted during the move go out after it.

    def around(self, move: Callable[[], float]) -> float:
        """Settle before and after a move of the clock; during it, no other thread advances."""
        __tracebackhide__ = True

        async def moved() -> float:
            __tracebackhide__ = True
            return move()

        return run_sync(self._around(SYNC, moved))

    async def aaround(self, move: Callable[[], Awaitable[float]]) -> float:
        """Do what `around` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._around(ASYNC, move)

    async def _around(self, io: Io, move: Callable[[], Awaitable[float]]) -> float:
        __tracebackhide__ = True
        scheduler = self._scheduler
        if scheduler.is_advancing:
            return await move()
        await self.settle(io)
        entered = await scheduler.enter(io, PATIENCE)
        token = scheduler.mark()
        try:
            moved = await move()
        finally:
            scheduler.unmark(token)
            if entered:
                scheduler.leave()
        if not self.waiting:
            return moved
        await self.settle(io)
        return scheduler.clock.time()
