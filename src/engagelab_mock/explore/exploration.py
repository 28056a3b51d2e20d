"""The result of an exploration: violations, failures, its progress, and a failed schedule as text."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from engagelab_mock.delivery.outcome import hint_for
from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import NothingObserved, ScheduleFailed, UsageError, reduce_struct
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.graph import StateGraph
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.protocol.settings import credentials_export


class Violation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Hold the invariant that failed, the reason, and the attempt after which it failed.

    >>> Violation(invariant="eventually", what="the state is 'sent'").record is None
    True
    """

    invariant: str
    what: str
    #: The attempt after which the violation was seen; None if no attempt caused it.
    record: Record | None = None
    #: The state to compare with, and the wrong state.
    before: Any = None
    after: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "before", "after")


#: The name of the invariant that every callback is acknowledged in the end. It is always checked.
ACKNOWLEDGED = "acknowledged"


def given_up(record: Record, *, in_threads: bool = False) -> Violation:
    """Return the violation by a callback that was not acknowledged and will not be sent again."""
    what = f"the callback was given up: {record.attempt.error}"
    what += " (each handler ran in its own thread: did it use what belongs to another one?)" if in_threads else ""
    return Violation(invariant=ACKNOWLEDGED, what=what, record=record, before=record.before, after=record.after)


class Failure(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Hold a schedule that failed: as it was found, and reduced.

    `schedule` is the smallest schedule that fails by the same invariant, `played` is its playing, and `violation` is
    the failure in that playing.
    """

    schedule: Schedule
    found: Schedule
    violation: Violation
    played: Played
    #: The number of the schedule, counted from 1, and how many were planned; both are 0 for a single schedule.
    number: int = 0
    total: int = 0
    #: Whether it failed again when it was played a second time. If not, it depends on more than the schedule.
    repeatable: bool = True
    #: How often it was played with real requests at the same time, and how often it failed; both are 0 otherwise.
    rounds: int = 0
    failed: int = 0

    @property
    def token(self) -> str:
        """Return the token of the reduced schedule."""
        return self.schedule.token

    def error(self) -> ScheduleFailed:
        """Return the error that reports the failure."""
        return schedule_failed(self)

    def __repr__(self) -> str:
        return f"<Failure of {self.violation.invariant}: {self.token}>"


class Merging(msgspec.Struct, eq=False):
    """Hold how an exploration merged equal states, so that it played few schedules and predicted the others.

    >>> Merging(played=70, audited=20)
    <Merging: 70 schedules played, 20 of them as an audit, 0 states, 0 merged>
    """

    #: How many schedules were played, and how many of them to compare their states with the predicted ones.
    played: int = 0
    audited: int = 0
    #: How many different pairs there were of the callbacks delivered and the state, and how often a callback led to one
    #: that was known.
    nodes: int = 0
    merged: int = 0
    #: How often the graph was emptied, because it had become too large. Then more schedules are played.
    emptied: int = 0
    graph: StateGraph = msgspec.field(default_factory=StateGraph)

    def __repr__(self) -> str:
        emptied = f", emptied {self.emptied} times" if self.emptied else ""
        return (
            f"<Merging: {self.played} schedules played, {self.audited} of them as an audit, {self.nodes} states, "
            f"{self.merged} merged{emptied}>"
        )


class Exploration(msgspec.Struct, eq=False):
    """Hold how many schedules an exploration judged, with how many callbacks, and which schedules failed.

    >>> Exploration(total=24, schedules=24, deliveries=96).ok
    True
    """

    #: How many schedules were planned.
    total: int
    #: How many schedules were judged: played, or predicted from those that were played.
    schedules: int = 0
    #: How many callbacks were sent, retries included.
    deliveries: int = 0
    #: Whether the receiver has an `observe`. Without it, only acknowledgements were judged.
    observed: bool = False
    #: How many different states were seen.
    states: int = 0
    #: The failures, in the order in which they were found. The first of each invariant is reduced.
    failures: list[Failure] = []
    #: Whether it has ended.
    over: bool = False
    #: Why it ended early; empty if every schedule was judged.
    stopped: Literal["", "time_budget", "failure", "interrupted", "error"] = ""
    #: How equal states were merged; None if every schedule was played.
    merging: Merging | None = None
    #: What one must know of the result, such as why no states were merged.
    notes: list[str] = []
    #: What was explored, in words.
    about: str = ""
    #: The states of the schedules that were played, if none were merged.
    seen: StateGraph = msgspec.field(default_factory=StateGraph)

    @property
    def ok(self) -> bool:
        """Tell whether callbacks were sent, every schedule that was judged passed, and no error ended it."""
        return not self.failures and self.deliveries > 0 and self.stopped != "error"

    def assert_ok(self) -> None:
        """Raise `ScheduleFailed` for the first failure, or `NothingObserved` if no callback was sent.

        >>> Exploration(total=24, schedules=24, deliveries=96).assert_ok()
        """
        __tracebackhide__ = True
        if self.failures:
            error = self.failures[0].error()
            error.exploration = self
            raise error
        if not self.deliveries:
            late = self.stopped == "time_budget"
            why = "the time was up" if late else "the schedules have no event that the receiver's settings tick"
            raise no_callback(why, where="explore")

    def graph(self, form: Literal["dot", "mermaid", "svg"] = "mermaid") -> str:
        """Return the graph of the states as text: for Graphviz, for Mermaid, or as an SVG picture.

        The states are drawn by the number of callbacks, the edges have the events. A status that goes back and ends
        that differ for the same events are red. The first failure is bold. The receiver needs an `observe`.

        >>> Exploration(total=24, observed=True).graph("mermaid")
        'flowchart TD'
        """
        if not self.observed:
            raise UsageError(
                "no graph of the states: this receiver has no observe",
                where="graph",
                hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
            )
        graph = self.seen if self.merging is None else self.merging.graph
        if self.failures:
            graph.mark(self.failures[0].played)
        return graph.text(form)

    def __repr__(self) -> str:
        found = f"{len(self.failures)} failures" if len(self.failures) > 1 else "1 failure"
        ended = {"time_budget": ", out of time", "interrupted": ", interrupted", "error": ", ended by an error"}
        basis = f"{self.states} states" if self.observed else "acknowledgements only"
        merged = ""
        if self.merging is not None:
            merged = f" ({self.merging.played} played, {self.merging.audited} of them as an audit)"
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"<Exploration: {self.schedules} of {self.total} schedules{merged}, {self.deliveries} deliveries, {basis}, "
            f"{found if self.failures else 'no failure'}{ended.get(self.stopped, '')}{notes}>"
        )


def no_callback(why: str, *, where: str) -> NothingObserved:
    """Return the error for a run that sent no callback.

    >>> no_callback("the time was up", where="explore").what
    'no callback was sent, so nothing was judged: the time was up'
    """
    return NothingObserved(f"no callback was sent, so nothing was judged: {why}", where=where)


#: Gets an exploration now and then while it runs. The second argument is True when the exploration is over.
Listener = Callable[[Exploration, bool], object]

#: Seconds between two updates of the display, and schedules between two checks of the time.
_INTERVAL = 0.1
_EVERY = 16


class Progress:
    """Report the progress of an exploration, at most ten times a second; without a listener, do nothing.

    >>> progress = Progress(lambda exploration, over: print(exploration, over))
    >>> progress.end(Exploration(total=24))
    <Exploration: 0 of 24 schedules, 0 deliveries, acknowledgements only, no failure> True
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener if listener is not None else _terminal_line()
        self._shown = stopwatch()
        self._steps = 0

    def step(self, exploration: Exploration) -> None:
        """Report that one more schedule was played."""
        self._steps += 1
        if self._listener is not None and self._steps % _EVERY == 0:
            now = stopwatch()
            if now - self._shown >= _INTERVAL:
                self._shown = now
                self._listener(exploration, False)

    def end(self, exploration: Exploration) -> None:
        """Report that the exploration is over."""
        exploration.over = True
        if self._listener is not None:
            self._listener(exploration, True)


def progress_line(exploration: Exploration) -> str:
    """Return one line with the progress of an exploration.

    >>> progress_line(Exploration(total=24, schedules=12, deliveries=48))
    'exploring: 12 of 24 schedules, 48 deliveries'
    """
    failed = f", {len(exploration.failures)} failed" if exploration.failures else ""
    played = f"{exploration.schedules} of {exploration.total} schedules"
    return f"exploring: {played}, {exploration.deliveries} deliveries{failed}"


def _terminal_line() -> Listener | None:
    """Return a listener that rewrites a line on stderr; None if stderr is not a terminal."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        return None

    def show(exploration: Exploration, over: bool) -> None:
        stream.write("\r\x1b[2K" + ("" if over else progress_line(exploration)))
        stream.flush()

    return show


#: The greatest number of characters of a state in a cell, and of attempts in the table.
_STATE_CHARACTERS = 48
_SHOWN = 100


def schedule_failed(failure: Failure) -> ScheduleFailed:
    """Return the error that shows a failure: the invariant, a table of the attempts, and the token."""
    detail = [*failure_lines(failure), *how_to_replay(failure)]
    error = ScheduleFailed(what_failed(failure), failure=failure, detail="\n".join(detail))
    blamed = failure.violation.record
    error.__cause__ = blamed.attempt.exception if blamed is not None and not blamed.attempt.faults else None
    return error


def failure_lines(failure: Failure, *, python: bool = True) -> list[str]:
    """Return the lines that show a failure: a table of the attempts, a hint, the steps of a race, and its origin."""
    from engagelab_mock.explore.columns import interleavings  # only races need it

    violation = failure.violation
    table = attempts_table(failure.played, violation.record)
    refused = violation.record if violation.invariant == ACKNOWLEDGED else None
    hint = "" if refused is None else hint_for(refused.delivery, python=python)
    hints = [f"hint: {hint}", ""] * bool(hint)
    return [*table.splitlines(), "", *hints, *interleavings(failure.played), *origin(failure)]


def how_to_replay(failure: Failure) -> list[str]:
    """Return the lines that say how to play the schedule of a failure again."""
    token = failure.token
    quoted = shlex.quote(token)
    lines = [f"replay: {token}", f"  pytest --engagelab-replay {quoted}"]
    receiver = failure.played.deliveries[0].receiver if failure.played.deliveries else None
    # Commands do not reach an app that the test calls in process.
    if receiver is not None and receiver.transport.name == "http":
        settings = receiver.settings
        export = credentials_export(settings.username, authorization=bool(settings.authorization))
        lines += [f"  {export}"] if export else []
        observe = " --observe 'http://…/{message_id}'" if failure.played.observed else ""
        lines += [f"  engagelab-mock explore {shlex.quote(receiver.address)}{observe} --replay {quoted}"]
    return [*lines, f"  engagelab.replay({token!r})  # with the same invariants"]


def attempts_table(played: Played, blamed: Record | None = None) -> str:
    """Return a table with one attempt per line: its callback, the answer, and the state before and after it.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     print(attempts_table(engagelab.play("eg1:plan")))
    #  delivery  http  before  after
    1  plan      200   None    None
    """
    rows = attempts_rows(played, blamed)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    more = len(played.records) - _SHOWN
    return "\n".join(lines if more <= 0 else [*lines, f"… {more} more"])


def attempts_rows(played: Played, blamed: Record | None = None) -> list[tuple[str, ...]]:
    """Return the rows of that table, the heads first; the last cell marks the attempt to blame."""
    show = _shower(played)
    rows: list[tuple[str, ...]] = [("#", "delivery", "http", "before", "after", "")]
    for number, record in enumerate(played.records[:_SHOWN], 1):
        mark = "<-- here" if record is blamed else ""
        rows.append((str(number), record.label, _answer(record), show(record.before), show(record.after), mark))
    return rows


def what_failed(failure: Failure) -> str:
    """Return the failure in one sentence: the invariant, the callback, and what is wrong."""
    return f"{failure.violation.invariant}: {_after(failure)}{failure.violation.what}"


def _after(failure: Failure) -> str:
    record = failure.violation.record
    return "" if record is None else f"after `{record.label}`, "


def _answer(record: Record) -> str:
    response = record.attempt.response
    return "-" if response is None else str(response.status)


def _shower(played: Played) -> Callable[[Any], str]:
    """Return the function that writes a state into a cell; of mappings it writes only the keys that change."""
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
    """Return the states of several messages as one mapping, if they are mappings."""
    if messages == 1 or state is None or not all(isinstance(each, (Mapping, type(None))) for each in state):
        return state
    return {f"{key}#{number}": each[key] for number, each in enumerate(state, 1) for key in each or ()}


def _short(state: Any) -> str:
    return _shorten(repr(state))


def _shorten(text: str) -> str:
    return textwrap.shorten(printable(text), _STATE_CHARACTERS, placeholder=" …")


def origin(failure: Failure) -> list[str]:
    """Return the lines that say which schedule failed first, and whether it fails again."""
    lines = []
    if failure.number:
        lines.append(f"found by schedule {failure.number} of {failure.total}")
        if failure.found != failure.schedule:
            lines[0] += f", {failure.found.token}, and reduced"
    if failure.rounds:
        more = " more" * bool(failure.number)
        lines.append(f"failed in {failure.failed} of {failure.rounds}{more} rounds of real requests at the same time")
    if not failure.repeatable:
        lines.append("played a second time, it did not fail: the result depends on more than the schedule")
    return lines
