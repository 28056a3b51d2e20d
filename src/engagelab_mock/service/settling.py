"""Letting time pass for what was accepted."""

from __future__ import annotations

from collections.abc import Callable

from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.service.core import Core


class Settling(Core):
    """Deliver what was accepted, and tell of what went wrong."""

    def settle(self) -> None:
        """Deliver what the API accepted, at once in virtual time; the expiry of codes waits for `clock.advance`.

        Raises `NotAcknowledged` for what was given up, here or on another thread since. The journal, the inbox, `send`
        and `clock.advance` settle by themselves. A receiver that is being delivered to settles nothing.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.begin_send("+6591234567", scenario="delivered")
        ...     engagelab.settle()
        >>> run.statuses
        ['plan', 'sent', 'delivered']
        """
        __tracebackhide__ = True
        run_sync(self.settle_first(SYNC))

    async def asettle(self) -> None:
        """Do what `settle` does, in the running event loop."""
        __tracebackhide__ = True
        await self.settle_first(ASYNC)

    def raise_late(self) -> None:
        """Raise what was given up since somebody settled last, and let nothing happen.

        >>> from engagelab_mock import EngageLab
        >>> EngageLab().raise_late()
        """
        __tracebackhide__ = True
        self.deferred.raise_late()

    def work_off(self) -> None:
        """Settle, and keep what goes wrong for whoever settles next: for threads that have nobody to tell.

        >>> from engagelab_mock import EngageLab, NotAcknowledged, Receiver
        >>> with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
        ...     run = engagelab.begin_send("+6591234567")
        ...     engagelab.work_off()
        ...     try:
        ...         engagelab.raise_late()
        ...     except NotAcknowledged as error:
        ...         print(str(error).splitlines()[0])
        plan was not acknowledged: connection refused: nothing listens on 127.0.0.1:1
        """
        self.deferred.work_off()

    def let_pass(self, seconds: float) -> float:
        """Advance the clock, keep what goes wrong as `work_off` does, and return the new time in Unix seconds.

        >>> from engagelab_mock import EngageLab, VirtualClock
        >>> EngageLab(clock=VirtualClock(0)).let_pass(60)
        60.0
        """
        try:
            self.clock.advance(seconds)
        except EngageLabMockError as error:
            if isinstance(error, UsageError):
                raise
            self.deferred.keep(error)
        now: float = self.clock.time()
        return now

    @property
    def on_release(self) -> list[Callable[[], object]]:
        """Return who is called, from any thread, when something that was accepted is put on the clock."""
        return self.deferred.on_release
