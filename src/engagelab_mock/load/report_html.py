"""The HTML report of a load: its numbers, plots over time as SVG pictures, and the verdict of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from engagelab_mock.delivery.page import page, table, text, tiles, utc
from engagelab_mock.delivery.render import counted
from engagelab_mock.load.summary import KINDS, LoadSummary

#: The size of a plot, and the space for its labels, in pixels.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 200, 64, 12, 12, 28
#: How many points a line has at most, how many numbers an axis has about, and how many cases of a kind are listed.
_POINTS, _TICKS, _CASES = 400, 4, 100
#: How the lines of a plot look: with other dashes, they differ without colours, too.
_STYLES = ("", "7 4", "2 3", "10 3 2 3")
_PLOT_STYLE = (
    "<style>figure { margin: 1rem 0; } figcaption { font-weight: 600; } svg.plot { width: 100%; height: auto; "
    "background: var(--card); border: 1px solid var(--line); border-radius: .5rem; } .plot text { fill: var(--soft); "
    "font: 12px system-ui, sans-serif; } .plot .grid { stroke: var(--line); } .plot polyline { fill: none; "
    "stroke-width: 1.6; stroke: var(--soft); } .plot .a { stroke: var(--pass); } .plot .b { stroke: var(--warn); } "
    ".plot .c { stroke: var(--fail); } .plot .limit { stroke: var(--fail); stroke-dasharray: 3 3; }</style>"
)


class _Line(NamedTuple):
    """One line of a plot: its name, its colour, and a value for each second; None where there is none."""

    name: str
    colour: str
    values: Sequence[float | None]


def load_html(summary: LoadSummary) -> str:
    """Return the report of a load as one HTML page.

    >>> from engagelab_mock import LoadSummary
    >>> page = load_html(LoadSummary(url="http://127.0.0.1:5000/", asked=4, made=4, outcomes={"acknowledged": 4}))
    >>> "Nothing was lost on the way" in page
    True
    """
    return page(f"engagelab-mock: load on {summary.url}", _parts(summary))


def _parts(summary: LoadSummary) -> Iterator[str]:
    yield _PLOT_STYLE
    yield "<h1>Load</h1>"
    workers = f", {summary.workers} workers" if summary.workers > 1 else ""
    seed = text(summary.seed or "-")
    yield f'<p class="soft">{text(summary.url)}<br>{utc(summary.started)}, seed {seed}{workers}</p>'
    style, verdict = _verdict(summary)
    yield f'<p class="{style}"><b>{text(verdict)}</b></p>'
    for problem in summary.problems:
        yield f'<p class="warn">incomplete: {text(problem)}</p>'
    for remark in summary.remarks:
        yield f'<p class="soft">{text(remark)}</p>'
    yield from tiles(_counts(summary))
    if summary.seconds:
        yield from _plots(summary)
    yield from _tables(summary)
    yield from _cases(summary)


def _verdict(summary: LoadSummary) -> tuple[str, str]:
    """Return the style of the verdict, and the verdict in a sentence."""
    state = summary.state
    ended = "Interrupted. " if summary.interrupted else ""
    if state == "fell_short":
        return "fail", f"{ended}The receiver fell short: {summary.shortfall}."
    if state == "unreachable":
        return "fail", f"{ended}The receiver could not be reached."
    if state == "incomplete":
        return "warn", f"{ended}The run is incomplete, so it proves nothing."
    judged = summary.effects_judged
    seen = f"Nothing was lost, doubled or regressed{summary.part}." if judged else "Nothing was lost on the way."
    knee = f" The receiver held {summary.knee:g} callbacks a second." if summary.knee is not None else ""
    return "pass", f"{ended}{seen}{knee}" + ("" if summary.effects_judged else " Effects were not judged.")


def _counts(summary: LoadSummary) -> Iterator[tuple[str, object, str]]:
    yield "soft", f"{summary.rate_made:.0f}/s", f"made of {summary.rate_asked:.0f}/s asked"
    yield "soft", summary.made, f"callbacks of {summary.asked}"
    yield "soft", summary.messages, "messages"
    yield "fail" if summary.failed else "pass", summary.failed, "not acknowledged"
    for kind in KINDS:
        if summary.observed is not None or summary.counts.get(kind):
            found = summary.counts.get(kind, 0)
            yield "fail" if found else "pass", found, kind.replace("_", " ")
    if summary.observed is not None:
        yield "soft", summary.observed, "messages observed"


def _plots(summary: LoadSummary) -> Iterator[str]:
    seconds = summary.seconds
    timed = [second.latency if second.latency.count else None for second in seconds]

    def line(name: str, colour: str, field: str) -> _Line:
        return _Line(name, colour, [None if each is None else getattr(each, field) for each in timed])

    yield _plot(
        "Latency from the intended start, in seconds",
        [line("p50", "a", "p50"), line("p99", "b", "p99"), line("maximum", "c", "maximum")],
        limit=summary.limit,
    )
    yield _plot(
        "Callbacks a second",
        [
            _Line("asked", "", [second.asked for second in seconds]),
            _Line("acknowledged", "a", [second.acknowledged for second in seconds]),
            _Line("failed", "c", [second.failed for second in seconds]),
        ],
    )
    yield _plot("Backlog: callbacks that had not ended", [_Line("waiting", "b", [each.waiting for each in seconds])])
    yield _plot("Lateness of the generator, in seconds", [_Line("maximum", "b", [each.lateness for each in seconds])])


def _plot(title: str, lines: Sequence[_Line], *, limit: float | None = None) -> str:
    """Return a plot of lines over the seconds of the run, with a dashed line at the limit if that is in reach."""
    highest = max((value for line in lines for value in line.values if value is not None), default=0.0)
    if limit is not None and highest < limit / 2:
        limit = None
    step, top = _scale(max(highest, limit or 0.0))
    count = max(len(line.values) for line in lines)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(second: float) -> float:
        return round(_LEFT + wide * second / max(1, count - 1), 1)

    def y(value: float) -> float:
        return round(_TOP + high * (1 - value / top), 1)

    ends = ", ".join(f"{line.name} at most {_highest(line):g}" for line in lines)
    parts = [f"<title>{text(title)}</title>", f"<desc>{text(ends)}</desc>"]
    for number in range(round(top / step) + 1):
        place = y(number * step)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place}" y2="{place}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{place + 4}" text-anchor="end">{number * step:g}</text>')
    for second in sorted({0, (count - 1) // 2, count - 1}):
        parts.append(f'<text x="{x(second)}" y="{_HEIGHT - 8}" text-anchor="middle">{second} s</text>')
    if limit is not None:
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(limit)}" y2="{y(limit)}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT - 4}" y="{y(limit) - 4}" text-anchor="end">limit {limit:g} s</text>')
    for line, dashes in zip(lines, _STYLES, strict=False):
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        for run in _runs(_thinned(line.values)):
            points = " ".join(f"{x(second)},{y(value)}" for second, value in run)
            parts.append(f'<polyline class="{line.colour}"{dashed} points="{points}"/>')
    names = " ".join(
        f'<svg width="26" height="10" class="plot" aria-hidden="true" style="width:26px;border:0"><polyline '
        f'class="{line.colour}"{f" stroke-dasharray={chr(34)}{dashes}{chr(34)}" if dashes else ""} points="0,5 26,5"/>'
        f"</svg> {text(line.name)}"
        for line, dashes in zip(lines, _STYLES, strict=False)
    )
    picture = f'<svg class="plot" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'
    return f'<figure><figcaption>{text(title)}</figcaption>{picture}<p class="soft">{names}</p></figure>'


def _highest(line: _Line) -> float:
    return max((value for value in line.values if value is not None), default=0.0)


def _scale(highest: float) -> tuple[float, float]:
    """Return the step of an axis, and its end.

    >>> _scale(870), _scale(0.031), _scale(0)
    ((500.0, 1000.0), (0.01, 0.04), (0.5, 1.0))
    """
    if highest <= 0:
        return 0.5, 1.0
    rough = highest / _TICKS
    power = 1.0
    while power > rough:
        power /= 10
    while power * 10 <= rough:
        power *= 10
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
    step = float(f"{step:.12g}")
    return step, float(f"{step * -(-highest // step):.12g}")


def _thinned(values: Sequence[float | None]) -> list[tuple[int, float | None]]:
    """Return the values with their seconds: of a long run, the highest of every few."""
    each = -(-len(values) // _POINTS) or 1
    found: list[tuple[int, float | None]] = []
    for start in range(0, len(values), each):
        known = [
            (value, second) for second, value in enumerate(values[start : start + each], start) if value is not None
        ]
        found.append((max(known)[1], max(known)[0]) if known else (start, None))
    return found


def _runs(points: Iterable[tuple[int, float | None]]) -> Iterator[list[tuple[int, float]]]:
    """Yield the points without a gap between them; a single point is drawn as a short line."""
    run: list[tuple[int, float]] = []
    for second, value in [*points, (0, None)]:
        if value is not None:
            run.append((second, value))
        elif run:
            yield run if len(run) > 1 else [*run, (run[0][0], run[0][1])]
            run = []


def _tables(summary: LoadSummary) -> Iterator[str]:
    yield "<h2>Latencies</h2>"
    rows = [("from the intended start", summary.latency), ("lateness of the generator", summary.lateness)]
    shown = ("p50", "p90", "p99", "p999", "maximum")
    yield table(
        ["", "p50", "p90", "p99", "p99.9", "maximum"],
        [[name, *(f"{getattr(found, each) * 1000:.1f} ms" for each in shown)] for name, found in rows],
    )
    yield "<h2>Outcomes</h2>"
    outcomes = [[name, str(count), summary.reasons.get(name, "")] for name, count in summary.outcomes.items()]
    yield table(["outcome", "callbacks", "for example"], outcomes)
    if summary.faults:
        yield "<h2>Faults</h2>"
        yield table(["fault", "callbacks"], [[name, str(count)] for name, count in summary.faults.items()])
    if summary.stages:
        yield "<h2>Rates</h2>"
        stages = [
            [f"{stage.rate:g}/s", str(stage.made), "held" if stage.held else stage.broke, _limits(stage.generator)]
            for stage in summary.stages
        ]
        yield table(["rate", "callbacks", "", ""], stages)


def _limits(generator: bool) -> str:
    return "the generator could not make more" if generator else ""


def _cases(summary: LoadSummary) -> Iterator[str]:
    for kind in KINDS:
        cases = [case for case in summary.cases if case.kind == kind]
        if not cases:
            continue
        total = summary.counts.get(kind, len(cases))
        yield f"<h2>{text(kind.replace('_', ' ').capitalize())}: {counted(total, 'message')}</h2>"
        yield table(
            ["message", "scenario", ""], [[each.message_id, each.scenario, each.what] for each in cases[:_CASES]]
        )
        if total > _CASES or total > len(cases):
            more = total - min(_CASES, len(cases))
            yield f'<p class="soft">{more} more; --format json has their ids.</p>'
