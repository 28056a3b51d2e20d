"""The steps of handlers that ran at the same time, or crashed: one column for each handler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagelab_mock.explore.orders import Trace, letter

if TYPE_CHECKING:
    from engagelab_mock.explore.played import Played
    from engagelab_mock.messages.message import Message

#: Why a crash was not that of a process.
WEAK = (
    "an exception at the switch point, because the app's state is in memory or this system cannot fork; "
    "this is weaker than the end of a process, because finally blocks and rollbacks ran"
)
_WIDTH = 56
_WAITS, _CRASHES = " (waits)", " <-- crashes before this"


def side_by_side(
    trace: Trace, callbacks: Sequence[tuple[str, ...]], messages: Sequence[Message] = ()
) -> list[list[str]]:
    """Return the steps of handlers as rows, the heads first: one column for each handler, one row for each step."""
    heads = [f"{letter(number)}: {'+'.join(events)}" for number, events in enumerate(callbacks)]
    rows = [heads]
    for moment in trace.moments:
        if not moment.point:
            continue
        told = moment.text or moment.call
        for message in messages:
            told = told.replace(message.id, "ID")
        row = [""] * len(heads)
        told = told if trace.requests else f"{moment.point} {told}"
        crashes = trace.crashed and moment is trace.moments[-1]
        row[moment.handler] = f"{told}{_WAITS * moment.waited}{_CRASHES * crashes}"
        rows.append(row)
    return rows


def columns(trace: Trace, callbacks: Sequence[tuple[str, ...]], messages: Sequence[Message] = ()) -> str:
    """Return the steps of handlers side by side, one column for each handler, in the order in which they were made."""
    rows = [[_fitting(cell) for cell in row] for row in side_by_side(trace, callbacks, messages)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _fitting(cell: str) -> str:
    """Return a step that is short enough for a column; its marks stay."""
    marks = "".join(mark for mark in (_WAITS, _CRASHES) if mark in cell)
    told = cell.removesuffix(marks)
    return (told if len(told) <= _WIDTH else f"{told[: _WIDTH - 1]}…") + marks


def interleavings(played: Played) -> list[str]:
    """Return the lines that show the steps of handlers that ran at the same time, or crashed."""
    steps = [step for step in played.schedule.steps if step.beside or step.crash]
    lines: list[str] = []
    for step, trace in zip(steps, played.traces, strict=False):
        handlers, sent = "handlers, from switch point to switch point", "requests, as they were sent and answered"
        lines += [f"the steps of the {sent if trace.requests else handlers}:"]
        lines += [*columns(trace, step.callbacks, played.messages).splitlines()]
        lines += [f"the crash was {WEAK}"] if trace.weak else []
        lines += [""]
    return lines
