"""An exploration as an HTML page: the verdict, the counts, the graph of the states, and each failure in full."""

from __future__ import annotations

from collections.abc import Iterator

from engagelab_mock.delivery.page import block, page, prose, table, text, tiles, wide
from engagelab_mock.explore.columns import WEAK, side_by_side
from engagelab_mock.explore.exploration import (
    Exploration,
    Failure,
    attempts_rows,
    how_to_replay,
    origin,
    what_failed,
)

#: How many failures are shown in full, and how many more by their tokens.
_IN_FULL, _BY_TOKEN = 5, 100
_ENDED = {"time_budget": "out of time", "interrupted": "interrupted", "error": "ended by an error"}


def exploration_html(exploration: Exploration, *, receiver: str = "") -> str:
    """Return an HTML page about an exploration: one file, which needs no script and no other file.

    >>> exploration_html(Exploration(total=24, schedules=24, deliveries=96))[:15]
    '<!doctype html>'
    """
    if not receiver and exploration.failures:
        receiver = exploration.failures[0].played.receiver.address
    title = " ".join(filter(None, ["engagelab-mock explore:", receiver or exploration.about]))
    return page(title, exploration_parts(exploration, receiver=receiver))


def exploration_parts(exploration: Exploration, *, receiver: str = "", level: int = 1) -> Iterator[str]:
    """Yield the parts of that page; `level` is the level of the first heading.

    >>> next(exploration_parts(Exploration(total=24, schedules=24, deliveries=96)))
    '<h1>No failure <span class="pass">in 24 schedules</span></h1>'
    """
    yield f"<h{level}>{_verdict(exploration)}</h{level}>"
    about = [f"<code>{text(receiver)}</code>"] * bool(receiver) + [text(exploration.about)] * bool(exploration.about)
    if about:
        yield f'<p class="soft">{", ".join(about)}</p>'
    yield from tiles(_counts(exploration))
    yield from (f'<p class="warn">{text(note)}</p>' for note in _notes(exploration))
    yield f"<h{level + 1}>The states</h{level + 1}>"
    if exploration.observed:
        yield wide(exploration.graph("svg"), "The states")
    else:
        yield "<p>This receiver has no <code>observe</code>: only its answers were judged, and no state was seen.</p>"
    full, others = _chosen(exploration)
    for number, failure in enumerate(full, 1):
        yield from _failure(failure, number if len(full) > 1 else 0, level + 1)
    if others:
        yield f"<h{level + 1}>More failures ({len(others)})</h{level + 1}>"
        rows = [(failure.violation.invariant, failure.token) for failure in others[:_BY_TOKEN]]
        yield table(("invariant", "schedule"), rows)
        if len(others) > _BY_TOKEN:
            yield f'<p class="warn">{len(others) - _BY_TOKEN} more are not shown.</p>'


def _verdict(exploration: Exploration) -> str:
    schedules = f"{exploration.schedules} schedule{'s' * (exploration.schedules != 1)}"
    if exploration.failures:
        first = what_failed(exploration.failures[0]).splitlines()[0]
        more = len(exploration.failures) - 1
        others = f" (and {more} more failure{'s' * (more > 1)})" if more else ""
        return f'This receiver <span class="fail">fails: {prose(first)}</span>{others}'
    if not exploration.deliveries:
        return '<span class="warn">Nothing was judged:</span> no callback was sent'
    if exploration.schedules < exploration.total:
        return f'No failure <span class="warn">in {schedules} of {exploration.total}</span>'
    return f'No failure <span class="pass">in {schedules}</span>'


def _counts(exploration: Exploration) -> Iterator[tuple[str, object, str]]:
    merging, failures = exploration.merging, len(exploration.failures)
    yield "fail" if failures else "pass", failures, "failure" if failures == 1 else "failures"
    yield "soft", exploration.schedules, f"of {exploration.total} schedules judged"
    if merging is not None:
        yield "soft", merging.played, "of them played"
        if merging.audited:
            yield "soft", merging.audited, "played as an audit"
        yield "soft", merging.merged, "times states merged"
    yield "soft", exploration.deliveries, "callbacks sent"
    if exploration.observed:
        yield "soft", exploration.states, "states"


def _notes(exploration: Exploration) -> Iterator[str]:
    ended = _ENDED.get(exploration.stopped)
    if ended:
        yield f"{ended}: {exploration.total - exploration.schedules} schedules were not judged"
    yield from exploration.notes


def _chosen(exploration: Exploration) -> tuple[list[Failure], list[Failure]]:
    """Return the failures to show in full, which are the first of each invariant, and the others."""
    firsts: dict[str, Failure] = {}
    for failure in exploration.failures:
        firsts.setdefault(failure.violation.invariant, failure)
    full = list(firsts.values())[:_IN_FULL]
    return full, [failure for failure in exploration.failures if all(failure is not each for each in full)]


def _failure(failure: Failure, number: int, level: int) -> Iterator[str]:
    played, blamed = failure.played, failure.violation.record
    title = f"Failure {number}" if number else "The failure"
    yield f"<h{level}>{title}: {text(failure.violation.invariant)}</h{level}>"
    first, *rest = what_failed(failure).splitlines()
    yield f'<p class="fail">{prose(first)}</p>'
    if any(rest):
        yield block(rest)
    heads, *rows = [row[:-1] for row in attempts_rows(played, blamed)]
    places = [place for place, record in enumerate(played.records) if record is blamed]
    yield table(heads, rows, marked=places[0] if places else -1)
    if len(played.records) > len(rows):
        yield f'<p class="warn">{len(played.records) - len(rows)} more attempts are not shown.</p>'
    for record in played.records[: len(rows)]:
        if record.attempt.error:
            yield f"<p><code>{text(record.label)}</code>: {text(record.attempt.error)}</p>"
    yield from _handlers(failure, level + 1)
    yield f"<h{level + 1}>Again</h{level + 1}>"
    yield from (f"<p>{text(line)}</p>" for line in origin(failure))
    yield block(line.strip() for line in how_to_replay(failure))


def _handlers(failure: Failure, level: int) -> Iterator[str]:
    """Yield the steps of handlers that ran at the same time or crashed, one column for each handler."""
    played = failure.played
    steps = [step for step in played.schedule.steps if step.beside or step.crash]
    for step, trace in zip(steps, played.traces, strict=False):
        title = "The handler, until it crashes" if step.crash else "The handlers, side by side"
        yield f"<h{level}>{title}</h{level}>"
        heads, *rows = side_by_side(trace, step.callbacks, played.messages)
        yield table(heads, rows, marked=len(rows) - 1 if trace.crashed else -1)
        if trace.weak:
            yield f"<p>The crash was {text(WEAK)}.</p>"
