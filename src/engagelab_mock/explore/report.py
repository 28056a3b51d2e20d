"""A failed schedule as text: what is wrong, after which delivery, and how to have it again."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import ScheduleFailed
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.explore.token import short_fault

if TYPE_CHECKING:
    from engagelab_mock.explore.exploration import Failure

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
