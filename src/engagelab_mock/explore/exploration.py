"""What an exploration found, and a failed schedule as text."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import ScheduleFailed
from engagelab_mock.explore.invariants import Violation
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.token import short_fault


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


#: How much of a state one cell of the table shows, and how many attempts the table shows.
_STATE_CHARACTERS = 48
_SHOWN = 100


def schedule_failed(failure: Failure) -> ScheduleFailed:
    """Make the error that shows a failure: the invariant, a table of the attempts, and the token."""
    violation = failure.violation
    detail = [attempts_table(failure.played, violation.record), "", *_origin(failure), *how_to_replay(failure.token)]
    error = ScheduleFailed(
        f"{violation.invariant}: {_after(failure)}{violation.what}", failure=failure, detail="\n".join(detail)
    )
    blamed = violation.record
    error.__cause__ = blamed.attempt.exception if blamed is not None and not blamed.attempt.faults else None
    return error


def how_to_replay(token: str) -> list[str]:
    """Return the lines that say how a schedule is played again.

    >>> how_to_replay("eg1:plan")[1]
    '  pytest --engagelab-replay eg1:plan'
    """
    quoted = shlex.quote(token)
    return [
        f"replay: {token}",
        f"  pytest --engagelab-replay {quoted}",
        f"  engagelab-mock send --replay {quoted}",
        f"  engagelab.replay({token!r}, …)",
    ]


def attempts_table(played: Played, blamed: Record | None = None) -> str:
    """Draw a table of what a schedule did, one attempt a line, with the state before and after it.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     print(attempts_table(engagelab.play("eg1:plan")))
    #  delivery  http  before  after
    1  plan      200   None    None
    """
    rows = [("#", "delivery", "http", "before", "after", "")]
    show = _shower(played)
    for number, record in enumerate(played.records[:_SHOWN], 1):
        mark = "<-- here" if record is blamed else ""
        rows.append((str(number), _what(record), _answer(record), show(record.before), show(record.after), mark))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    more = len(played.records) - _SHOWN
    return "\n".join(lines if more <= 0 else [*lines, f"… {more} more"])


def _after(failure: Failure) -> str:
    record = failure.violation.record
    return "" if record is None else f"after {_what(record)}, "


def _what(record: Record) -> str:
    again = " again" if record.attempt.number > 1 else ""
    faults = "".join(f"!{short_fault(fault.name)}" for fault in record.attempt.faults)
    return f"{'+'.join(record.events)}{faults}{again}"


def _answer(record: Record) -> str:
    response = record.attempt.response
    return "-" if response is None else str(response.status)


def _shower(played: Played) -> Callable[[Any], str]:
    """Return what writes a state into a cell; of mappings it writes the keys whose values change at all."""
    flat = [_flat(state, len(played.messages)) for state in played.states]
    known = [state for state in flat if state is not None]
    if not known or not all(isinstance(state, Mapping) for state in known):
        return _short
    keys = list(dict.fromkeys(key for state in known for key in state))
    changing = [key for key in keys if any(state.get(key) != known[0].get(key) for state in known)] or keys

    def show(state: Any) -> str:
        entries = _flat(state, len(played.messages))
        if entries is None:
            return "None"
        return _shorten(" ".join(f"{key}={entries[key]!r}" for key in changing if key in entries))

    return show


def _flat(state: Any, messages: int) -> Any:
    """Return one mapping of the states of several messages, if they are mappings."""
    if messages == 1 or state is None or not all(isinstance(each, (Mapping, type(None))) for each in state):
        return state
    return {f"{key}#{number}": each[key] for number, each in enumerate(state, 1) for key in each or ()}


def _short(state: Any) -> str:
    return _shorten(repr(state))


def _shorten(text: str) -> str:
    return textwrap.shorten(printable(text), _STATE_CHARACTERS, placeholder=" …")


def _origin(failure: Failure) -> list[str]:
    lines = []
    if failure.number:
        lines.append(f"found by schedule {failure.number} of {failure.total}")
        if failure.found != failure.schedule:
            lines[0] += f", {failure.found.token}, and reduced"
    if not failure.repeatable:
        lines.append("played once more, it did not fail: what happens depends on more than the schedule")
    return lines
