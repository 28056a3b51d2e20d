"""What an exploration found."""

from __future__ import annotations

from typing import Literal

import msgspec

from engagelab_mock.errors import ScheduleFailed
from engagelab_mock.explore.played import Played
from engagelab_mock.explore.report import schedule_failed
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.violation import Violation


class Failure(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Hold a schedule that failed: as it was found, and the smallest that fails in the same way.

    `schedule` is that smallest one, `played` what it did and `violation` what is wrong with that.
    """

    schedule: Schedule
    found: Schedule
    violation: Violation
    played: Played
    #: Which of the schedules it was, counted from 1, and how many there were to be; 0 of a schedule played by itself.
    number: int = 0
    total: int = 0
    #: Whether it failed when it was played once more; what does not may depend on more than the schedule.
    repeatable: bool = True

    @property
    def token(self) -> str:
        """Return the token of the smallest schedule."""
        return self.schedule.token

    def error(self) -> ScheduleFailed:
        """Return the error that reports the failure."""
        return schedule_failed(self)

    def __repr__(self) -> str:
        return f"<Failure of {self.violation.invariant}: {self.token}>"


class Exploration(msgspec.Struct, eq=False):
    """Hold what an exploration did: how many schedules it played, with how many callbacks, and which failed.

    >>> Exploration(total=24).ok
    True
    """

    #: How many schedules there were to be played.
    total: int
    #: How many were played.
    schedules: int = 0
    #: How many callbacks were sent in them, repeated ones included.
    deliveries: int = 0
    #: The failures, in the order in which they were found; the first of each invariant is reduced.
    failures: list[Failure] = []
    #: Why it ended before its time; empty if it did not.
    stopped: Literal["", "time_budget", "failure"] = ""

    @property
    def ok(self) -> bool:
        """Tell whether nothing failed."""
        return not self.failures

    def assert_ok(self) -> None:
        """Raise `ScheduleFailed` for the first failure, if there is one.

        >>> Exploration(total=24).assert_ok()
        """
        __tracebackhide__ = True
        if self.failures:
            raise self.failures[0].error()

    def __repr__(self) -> str:
        found = f"{len(self.failures)} failures" if len(self.failures) > 1 else "1 failure"
        ended = {"": "", "time_budget": ", out of time", "failure": ""}[self.stopped]
        return (
            f"<Exploration: {self.schedules} of {self.total} schedules, {self.deliveries} deliveries, "
            f"{found if self.failures else 'no failure'}{ended}>"
        )
