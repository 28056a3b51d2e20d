"""The app's clock: the user's `set_time` keeps it at the time of a judge, and it is right again at the end."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.eventloop import in_trio, stopwatch

T = TypeVar("T")

#: The app's clock may run on while the judge's stands still. It is set again after so many real seconds.
_RUN_ON = 5.0


class AppClock:
    """Set the app's clock with the probe's `set_time`. Without `set_time`, do nothing.

    >>> from engagelab_mock.delivery.io import SYNC, run_sync
    >>> times = []
    >>> clock = AppClock(Probe(set_time=times.append))
    >>> run_sync(clock.keep(SYNC, 60.0)), run_sync(clock.keep(SYNC, 60.0)), run_sync(clock.release(SYNC))
    (None, None, None)
    >>> times
    [60.0, None]
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        #: The time that was set last, and when, by the stopwatch. None: the clock is right.
        self._shown: float | None = None
        self._set_at = 0.0

    @property
    def can_be_set(self) -> bool:
        """Tell whether there is a `set_time`."""
        return self._probe.set_time is not None

    async def keep(self, io: Io, now: float) -> None:
        """Set the app's clock to a Unix time, unless it shows that time. Called before each callback."""
        if not self.can_be_set or (now == self._shown and stopwatch() - self._set_at < _RUN_ON):
            return
        # First, because a function that fails may have set the clock.
        self._shown, self._set_at = now, stopwatch()
        await self._probe.set_app_time(io, now)

    async def release(self, io: Io, ended_by: BaseException | None = None) -> None:
        """Make the app's clock right again if it was set; a failure is noted on the exception that ended the run."""
        if self._shown is None:
            return
        self._shown = None
        try:
            await _to_the_end(self._probe.set_app_time(io, None), io)
        except EngageLabMockError as error:
            if ended_by is None:
                raise
            ended_by.add_note(f"and: {error}")

    async def during(self, io: Io, run: Coroutine[Any, Any, T]) -> T:
        """Await a run, and make the app's clock right again, also if the run fails or is interrupted."""
        __tracebackhide__ = True
        try:
            done = await run
        except BaseException as error:
            await self.release(io, error)
            raise
        await self.release(io)
        return done


async def _to_the_end(program: Coroutine[Any, Any, None], io: Io) -> None:
    """Await a coroutine even if the caller's task is cancelled. asyncio delivers a cancellation only once."""
    if io is not ASYNC or not in_trio():
        return await program
    import trio

    with trio.CancelScope(shield=True):
        return await program
