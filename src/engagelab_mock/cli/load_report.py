"""What `load` prints: the cases, and the summary of the load."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from engagelab_mock.cli.output import Screen
from engagelab_mock.cli.report_files import Files, write_files
from engagelab_mock.delivery.render import counted

if TYPE_CHECKING:
    from engagelab_mock.load.summary import Case, Latency, LoadSummary

#: The kinds of reports.
REPORTS = ("html", "json")
#: How many cases of each kind text shows; JSON has all that were kept.
_SHOWN = 10


@dataclass(frozen=True)
class LoadCase:
    """Show one message that was lost, doubled or regressed, or that was not acknowledged."""

    case: Case

    def record(self) -> dict[str, Any]:
        """Return the case."""
        return {"type": "case", **msgspec.to_builtins(self.case)}

    def write(self, screen: Screen) -> None:
        """Print nothing: the summary has the first cases."""


@dataclass(frozen=True)
class LoadResult:
    """Show the summary of a load."""

    summary: LoadSummary

    def record(self) -> dict[str, Any]:
        """Return the numbers; the cases have lines of their own."""
        return {"type": "load", **summary_record(self.summary)}

    def write(self, screen: Screen) -> None:
        """Print rates, latencies, outcomes and the verdict."""
        summary = self.summary
        state = summary.state
        screen.line(Text.assemble((summary.url, "bold"), (f"  seed {summary.seed}", "dim")))
        _line(screen, "callbacks", _callbacks(summary))
        _line(screen, "latency", f"{_percentiles(summary.latency)}, from the intended start")
        _line(screen, "lateness", f"{_percentiles(summary.lateness)} of this generator")
        if summary.outcomes:
            _line(screen, "outcomes", ", ".join(f"{name} {count}" for name, count in summary.outcomes.items()))
        for name, reason in summary.reasons.items():
            _line(screen, "", f"{name}: {reason}")
        if summary.answers.keys() & {401, 403}:
            _line(screen, "", "hint: does the receiver use the same username and secret?")
        if summary.faults:
            _line(screen, "faults", ", ".join(f"{name} {count}" for name, count in summary.faults.items()))
        for stage in summary.stages:
            held = "held" if stage.held else f"broke: {stage.broke}"
            limit = "; this generator could not make more" if stage.generator else ""
            _line(screen, f"{stage.rate:g}/s", f"{held}{limit}")
        effects = "not judged" if summary.observed is None else f"{counted(summary.observed, 'message')} observed"
        if summary.first:
            effects += f", and {summary.first} that were delivered before the load"
        _line(screen, "effects", effects)
        self._cases(screen)
        for remark in summary.remarks:
            screen.note(Text(remark), indent=2)
        for problem in summary.problems:
            screen.note(Text.assemble(("incomplete: ", "bold yellow"), problem), indent=2)
        screen.line(Text.assemble(screen.mark(state == "clean"), f" {_verdict(summary)}"))

    def _cases(self, screen: Screen) -> None:
        for kind, count in self.summary.counts.items():
            name = kind.replace("_", " ")
            _line(screen, name, counted(count, "message"))
            cases = [case for case in self.summary.cases if case.kind == kind]
            for case in cases[:_SHOWN]:
                screen.note(Text(f"{case.message_id} ({case.scenario}): {case.what}"), indent=4, hang=2)
            if count > _SHOWN:
                screen.note(Text(f"… {count - _SHOWN} more; --format json has their ids"), indent=4)


def summary_record(summary: LoadSummary) -> dict[str, Any]:
    """Return the numbers of a summary as plain data.

    >>> from engagelab_mock import LoadSummary
    >>> summary_record(LoadSummary(url="http://127.0.0.1:5000/", outcomes={"acknowledged": 4}))["state"]
    'clean'
    """
    plain: dict[str, Any] = msgspec.to_builtins(summary)
    del plain["cases"]
    derived = ("state", "acknowledged", "failed", "rate_asked", "rate_made", "knee", "effects_judged")
    return plain | {name: getattr(summary, name) for name in derived}


def write_reports(summary: LoadSummary, files: Files) -> None:
    """Write the summary, with its cases, to files, each of its kind, or raise `UsageError` if that fails."""
    from engagelab_mock.load.report_html import load_html  # the command can run without it

    write_files(files, {"html": lambda: f"{load_html(summary)}\n", "json": lambda: _json(summary)})


def _json(summary: LoadSummary) -> str:
    cases = [msgspec.to_builtins(case) for case in summary.cases]
    return json.dumps({**summary_record(summary), "cases": cases}, indent=1) + "\n"


def _line(screen: Screen, label: str, text: str) -> None:
    screen.note(Text.assemble((f"{label:<20}", "dim"), text), indent=2, hang=20)


def _callbacks(summary: LoadSummary) -> str:
    made = f"{summary.made} of {summary.asked}, {summary.rate_made:.0f}/s"
    if summary.rate_asked:
        made += f" of {summary.rate_asked:.0f}/s"
    workers = f", {summary.workers} workers" if summary.workers > 1 else ""
    return f"{made}, {counted(summary.messages, 'message')} in {summary.elapsed:.1f} s{workers}"


def _percentiles(latency: Latency) -> str:
    named = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99, "p99.9": latency.p999, "max": latency.maximum}
    return ", ".join(f"{name} {_seconds(value)}" for name, value in named.items())


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def _verdict(summary: LoadSummary) -> str:
    state = summary.state
    ended = "interrupted: " if summary.interrupted else ""
    if state == "fell_short":
        return f"{ended}{summary.shortfall}"
    if state == "unreachable":
        return f"{ended}the receiver could not be reached"
    if state == "incomplete":
        return f"{ended}the run is incomplete, so it proves nothing"
    knee = f"; it held {summary.knee:g}/s" if summary.knee is not None else ""
    if not summary.effects_judged:
        return f"{ended}nothing lost on the way; effects were not judged{knee}"
    return f"{ended}nothing lost, doubled or regressed{summary.part}{knee}"
