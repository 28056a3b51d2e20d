"""What `explore` prints: JSON objects for its progress, a failure and the end, or a report for people."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from rich.text import Text

from engagelab_mock.cli.observing import NoSuchState
from engagelab_mock.cli.output import Screen
from engagelab_mock.cli.report_files import Files, write_files
from engagelab_mock.delivery.render import counted, printable
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.explore.exploration import Exploration, Failure, failure_lines, what_failed
from engagelab_mock.explore.played import Record

#: The options of the command line that a replay needs. Secrets are exported.
KEPT = (
    *("url", "username", "timeout", "insecure", "ca"),
    *("observe", "observe_command", "prepare", "prepare_command", "reset", "reset_command", "wait_idle"),
    *("invariant", "effect", "terminal", "retry", "rounds"),
    *("to", "template", "channel", "custom_arg", "dialect"),
)
#: The kinds of reports.
REPORTS = ("junit", "html")
#: Why an exploration ended before every schedule was judged.
_STOPPED = {"time_budget": "Out of time", "interrupted": "Interrupted"}


@dataclass(frozen=True)
class ExploreProgress:
    """Show how far an exploration is; on a terminal, a line does."""

    exploration: Exploration

    def record(self) -> dict[str, Any]:
        """Return the counts so far."""
        return {"type": "progress", **_counts(self.exploration)}

    def write(self, screen: Screen) -> None:
        """Print nothing."""


@dataclass(frozen=True)
class FailureFound:
    """Show a schedule that failed, and how to play it again."""

    failure: Failure
    #: The lines that run the command again; the last one is the command.
    again: Sequence[str]

    @property
    def _replay(self) -> list[str]:
        return [*self.again[:-1], f"{self.again[-1]} --replay {shlex.quote(self.failure.token)}"]

    def record(self) -> dict[str, Any]:
        """Return the failure with its deliveries."""
        failure, violation = self.failure, self.failure.violation
        return {
            "type": "failure",
            "invariant": violation.invariant,
            "what": in_words(violation.what),
            "token": failure.token,
            "found": failure.found.token,
            "number": failure.number,
            "total": failure.total,
            "repeatable": failure.repeatable,
            "rounds": failure.rounds,
            "failed_rounds": failure.failed,
            "deliveries": [_delivery(record, violation.record) for record in failure.played.records],
            "replay": self._replay,
        }

    def write(self, screen: Screen) -> None:
        """Print the failure as a test shows it."""
        title = Text.assemble(screen.mark(False), " ", (in_words(printable(what_failed(self.failure))), "bold"))
        screen.note(title, hang=2)
        screen.line()
        for line in failure_lines(self.failure, python=False):
            screen.line(Text(f"  {line}".rstrip()))
        screen.line()
        screen.line(Text.assemble(("  replay  ", "dim"), (self.failure.token, "bold")))
        for line in self._replay:
            screen.line(Text(f"    {line}"))
        screen.line()


def _delivery(record: Record, blamed: Record | None) -> dict[str, Any]:
    response = record.attempt.response
    return {
        "delivery": record.label,
        "http_status": None if response is None else response.status,
        "error": record.attempt.error or None,
        "before": record.before,
        "after": record.after,
        "blamed": record is blamed,
    }


@dataclass(frozen=True)
class ExploreSummary:
    """Show how many schedules were judged, by how many callbacks, and what the verdict rests on."""

    exploration: Exploration
    address: str
    seed: str
    #: How long it took, in seconds.
    elapsed: float

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        found = self.exploration
        return {
            "type": "summary",
            "ok": found.ok and found.stopped != "interrupted",
            "url": self.address,
            **_counts(found),
            "observed": found.observed,
            "failures": len(found.failures),
            "stopped": found.stopped or None,
            "notes": found.notes,
            "seed": self.seed,
            "elapsed_ms": round(self.elapsed * 1000, 3),
            "interrupted": found.stopped == "interrupted",
        }

    def write(self, screen: Screen) -> None:
        """Print the verdict, and the counts below it."""
        found = self.exploration
        verdict = f"{found.schedules} of {found.total} schedules"
        if found.stopped in _STOPPED:
            verdict = f"{_STOPPED[found.stopped]} after {verdict}"
        failed = counted(len(found.failures), "failure") if found.failures else "no failure"
        # An exploration that ended early without a failure is neither good nor bad.
        undecided = found.stopped in _STOPPED and not found.failures
        mark = Text(screen.dot, "dim") if undecided else screen.mark(found.ok)
        screen.note(Text.assemble(mark, f" {verdict}: {failed}"), hang=2)
        if found.about:
            screen.note(Text(printable(found.about), "dim"), indent=2, hang=2)
        merging = found.merging
        if merging is not None:
            played = f"{counted(merging.played, 'schedule')} played, {merging.audited} of them as an audit"
            rest = found.schedules - merging.played
            if rest > 0:
                played += f", and {rest} predicted from equal states"
            screen.note(Text(played), indent=2, hang=2)
        basis = f"{counted(found.states, 'state')} seen" if found.observed else "judged by the answers alone"
        sent = counted(found.deliveries, "callback")
        about = f"{sent} in {self.elapsed:.1f} s, {basis}, seed {self.seed}"
        screen.note(Text(about, "dim"), indent=2, hang=2)
        if not found.observed:
            screen.note(Text.assemble(("--observe", "bold"), " would judge the state of the app"), indent=2)
        for note in found.notes:
            screen.note(Text(in_words(note)), indent=2, hang=2)


def _counts(found: Exploration) -> dict[str, Any]:
    merging = found.merging
    return {
        "schedules": found.schedules,
        "total": found.total,
        "played": found.schedules if merging is None else merging.played,
        "audited": 0 if merging is None else merging.audited,
        "deliveries": found.deliveries,
        "states": found.states,
    }


#: Parts of the engine's errors and hints, and how the command line says the same.
_WORDS = (
    (
        re.compile(r"(?:Receiver\.wsgi\(app, )?observe=lambda .*"),
        "--observe 'http://127.0.0.1:5000/state/{message_id}'",
    ),
    (re.compile(r", such as Receiver\.wsgi\(…, wait_idle=jobs\.join\)"), ", such as --wait-idle 0.5"),
    (re.compile(r"retry=\[60\]"), "--retry 60"),
    (re.compile(r"\bgive Receiver "), "give "),
    (re.compile(r"(?<![\w/.-])(observe|prepare|reset)(?= \w|,|;|:|$)"), r"--\1"),
    (re.compile(r"(?<![\w/.-])(wait|time)_(idle|budget)\b"), r"--\1-\2"),
)
_PLACES = {"invariants": "--invariant", "effects": "--effect", "token": "--replay", "explore": ""}


def in_words(text: str) -> str:
    """Return a text of the engine with the names that the options have.

    >>> in_words("give Receiver prepare, if the app ignores messages that it did not send")
    'give --prepare, if the app ignores messages that it did not send'
    >>> in_words("the app works after its answer: give wait_idle, such as Receiver.wsgi(…, wait_idle=jobs.join)")
    'the app works after its answer: give --wait-idle, such as --wait-idle 0.5'
    """
    for pattern, instead in _WORDS:
        text = pattern.sub(instead, text)
    return text


#: How the engine begins to report that the address of the state answered 404 for every message.
_NO_STATE = f"observe raised {NoSuchState.__name__}: "


def in_options(error: EngageLabMockError) -> EngageLabMockError:
    """Return an error of the engine with the names that the options have."""
    if error.what.startswith(_NO_STATE):
        error.what, error.where = error.what.removeprefix(_NO_STATE), "--observe"
        error.hint = (
            "no message has a state there: is this the address that shows states? If it is, give --prepare, if the app "
            "ignores messages that it did not send; or --wait-idle 0.5, if it works after its answer"
        )
    elif not error.where.startswith("--"):
        place, comma, rest = error.where.partition(",")
        error.where = f"{_PLACES.get(place, place)}{comma}{rest}"
        error.what, error.hint = in_words(error.what), in_words(error.hint)
    return error


def write_reports(exploration: Exploration, address: str, files: Files, *, elapsed: float) -> None:
    """Write an exploration to files, each of its kind, or raise `UsageError` if that fails."""
    from engagelab_mock.explore.report_html import exploration_html

    texts = {
        "junit": lambda: junit(exploration, address, elapsed),
        "html": lambda: exploration_html(exploration, receiver=address),
    }
    write_files(files, texts)


def junit(exploration: Exploration, address: str, elapsed: float) -> str:
    """Return an exploration as XML: one test case, which fails with the first failure.

    >>> junit(Exploration(total=24, schedules=24, deliveries=96), "http://127.0.0.1/", 1.5).splitlines()[0]
    "<?xml version='1.0' encoding='utf-8'?>"
    """
    failures = exploration.failures
    counts = {"tests": "1", "failures": str(min(1, len(failures))), "errors": "0", "skipped": "0"}
    root = ET.Element("testsuites", {"name": "engagelab-mock explore", **counts, "time": f"{elapsed:.3f}"})
    suite = ET.SubElement(root, "testsuite", {"name": address, **counts, "time": f"{elapsed:.3f}"})
    attributes = {"classname": "engagelab-mock", "name": "explore", "time": f"{elapsed:.3f}"}
    case = ET.SubElement(suite, "testcase", attributes)
    if failures:
        message = printable(in_words(what_failed(failures[0])))
        failure = ET.SubElement(case, "failure", {"message": message, "type": failures[0].violation.invariant})
        failure.text = printable("\n".join([*failure_lines(failures[0]), f"replay: {failures[0].token}"]))
    ET.SubElement(case, "system-out").text = printable(repr(exploration))
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n"
