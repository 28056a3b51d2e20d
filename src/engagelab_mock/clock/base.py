"""What every clock can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable

from engagelab_mock.clock.timer import Timer


@runtime_checkable
class Clock(Protocol):
    """Tell the time in Unix seconds, let it pass, and run what is due; `SystemClock` and `VirtualClock` do.

    >>> from engagelab_mock import VirtualClock
    >>> isinstance(VirtualClock(), Clock)
    True
    """

    def time(self) -> float:
        """Return the time in Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Let that many seconds of this clock pass."""

    def call_at(
        self,
        when: float,
        action: Callable[[], object],
        *,
        label: str = "",
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> Timer:
        """Run `action` when the clock reaches a Unix time."""

    def run_next(self) -> bool:
        """Let time pass to the next action and run it; say whether there was one."""

    async def arun_next(self) -> bool:
        """Do what `run_next` does, in the running event loop."""

    @property
    def pending(self) -> list[Timer]:
        """Return what is still to come, earliest first."""

    def take_over(self, timers: Iterable[Timer]) -> None:
        """Run what another clock would have run."""

    def branch(self) -> Clock:
        """Return another clock that shows the same time, and has nothing to run."""
