"""What `check` prints: as JSON objects, or for a person to read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from engagelab_mock.checks.catalogue import CHECKS
from engagelab_mock.checks.check import FAMILIES, Check
from engagelab_mock.checks.evidence import Exchange
from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.formats.record import finding_record, summary_record
from engagelab_mock.checks.report import Report
from engagelab_mock.checks.verdict import Judgement, Severity
from engagelab_mock.cli.output import Marks, Output, console, note
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import printable

#: How much of a body a short report shows, in characters.
_SHORT = 200
_STYLES = {Severity.BLOCKER: "bold red", Severity.MAJOR: "red", Severity.MINOR: "yellow", Severity.INFO: "cyan"}


class CheckReport(Protocol):
    """Tell what is found while it is found."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what is shown meanwhile."""

    def start(self, check: Check) -> None:
        """Take note of a check that begins."""

    def finding(self, finding: Finding) -> None:
        """Take note of what it came to."""

    def end(self, report: Report, *, interrupted: bool = False) -> None:
        """Sum up what is known."""


class JsonCheckReport:
    """Print one object a finding, and one for the summary."""

    def __init__(self, output: Output, fail_on: str) -> None:
        self._output = output
        self._fail_on = fail_on

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Show nothing, and end nothing."""

    def start(self, check: Check) -> None:
        """Print nothing."""

    def finding(self, finding: Finding) -> None:
        """Print a finding."""
        self._output.record(type="finding", **finding_record(finding))

    def end(self, report: Report, *, interrupted: bool = False) -> None:
        """Print the summary."""
        summary = summary_record(report, fail_on=self._fail_on, interrupted=interrupted)
        self._output.record(type="summary", **summary)


class TextCheckReport:
    """Show progress on stderr while checks run, and print what was found when all is known: worst first."""

    def __init__(self, output: Output, receiver: Receiver, fail_on: str, *, verbose: bool) -> None:
        self._target: Console = output.results
        self._marks = Marks(self._target.encoding)
        self._receiver = receiver
        self._fail_on = fail_on
        self._verbose = verbose
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f} of {task.total:.0f}  [bold]{task.description}"),
            console=console(sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not sys.stderr.isatty() or os.environ.get("TERM") == "dumb",
        )
        self._task = self._progress.add_task("", total=len(CHECKS))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, check: Check) -> None:
        """Show which check runs."""
        self._progress.update(self._task, description=f"{check.id} {check.title}")

    def finding(self, finding: Finding) -> None:
        """Show that it has run."""
        self._progress.advance(self._task)

    def end(self, report: Report, *, interrupted: bool = False) -> None:
        """Print the whole report, as far as it goes."""
        self._head()
        self._failures(report)
        self._warnings(report)
        self._unclear(report)
        self._families(report)
        self._foot(report)
        if interrupted:
            self._target.print(f"  Interrupted after {len(report.findings)} of {len(CHECKS)} checks")

    def _head(self) -> None:
        settings = self._receiver.settings
        signed = f"signed as {settings.username}" if settings.signs else "not signed: no username and secret"
        also = ", with Authorization" if settings.authorization else ""
        line = Text.assemble((self._receiver.address, "bold"), (f"  ({signed}{also})", "dim"))
        self._target.print(line, soft_wrap=True)

    def _failures(self, report: Report) -> None:
        for severity in Severity:
            findings = [finding for finding in report.worst_first if finding.severity is severity]
            if findings:
                self._heading(f"{severity.upper()}", len(findings), _STYLES[severity])
                for finding in findings:
                    self._failure(finding)

    def _failure(self, finding: Finding) -> None:
        check = finding.check
        line = Text.assemble("  ", (self._marks.bad, "bold red"), " ", (check.id, "bold"), f" {check.name}  ")
        self._target.print(line.append(plainly(check.title), "dim"), soft_wrap=True)
        note(self._target, Text(printable(finding.reason), _STYLES[finding.severity]), indent=6)
        note(self._target, Text(plainly(check.why)), indent=6)
        for exchange in finding.exchanges if self._verbose else finding.exchanges[-1:]:
            self._labelled("sent", exchange.sent if self._verbose else short(exchange))
            self._labelled("received", exchange.received if self._verbose else shortly(exchange))
        change = next((each for each in reversed(finding.changes) if each.changed), None)
        if change is not None:
            self._labelled("state", f"before: {change.before!s:.300}\nafter:  {change.after!s:.300}")
        self._labelled("fix", plainly(check.fix.text))
        if self._verbose:
            fix = check.fix
            for name, code in (("Flask", fix.flask), ("Django", fix.django), ("FastAPI", fix.fastapi)):
                if code:
                    self._labelled(name, code)
        self._labelled("again", finding.repro if self._verbose else finding.repro.splitlines()[-2:][0])
        self._target.print()

    def _labelled(self, label: str, text: str) -> None:
        for number, line in enumerate(printable(text).splitlines() or [""]):
            head = Text(f"{label if not number else '':<9} ", "dim")
            shown = Text.assemble(head, line)
            if self._target.file.isatty() and label not in {"again", "sent"}:
                self._target.print(Padding(shown, (0, 0, 0, 6)))
            else:
                self._target.print(Text(" " * 6).append_text(shown), soft_wrap=True)

    def _warnings(self, report: Report) -> None:
        rows = [(finding.id, warning) for finding in report.findings for warning in finding.warnings]
        if rows:
            self._heading("WARNINGS", len(rows), "yellow")
            self._rows(rows)

    def _unclear(self, report: Report) -> None:
        """Print what is inconclusive and what is suppressed, those of one reason on one line."""
        suppressed = [f for f in report.findings if f.verdict is Judgement.FAIL and not f.fell_short]
        if suppressed:
            self._heading("SUPPRESSED", len(suppressed), "dim")
            self._rows((f.id, f"{f.suppressed} ({f.reason})") for f in suppressed)
        unclear = report.of(Judgement.INCONCLUSIVE)
        if unclear:
            self._heading("INCONCLUSIVE", len(unclear), "yellow")
            self._rows(_by_reason(unclear))
        skipped = [finding for finding in report.of(Judgement.SKIPPED) if _is_told(finding)]
        if skipped:
            self._heading("SKIPPED", len(skipped), "dim")
            self._rows(_by_reason(skipped))

    def _rows(self, rows: Iterable[tuple[str, str]]) -> None:
        for id, text in rows:
            note(self._target, Text.assemble((id, "bold"), f"  {printable(text)}"), indent=2)

    def _families(self, report: Report) -> None:
        self._target.print()
        for letter, family in FAMILIES.items():
            findings = [finding for finding in report.findings if finding.id.startswith(letter)]
            passed = sum(finding.verdict is Judgement.PASS for finding in findings)
            failed = sum(finding.fell_short for finding in findings)
            ran = sum(finding.verdict is not Judgement.SKIPPED for finding in findings)
            if ran:
                # What was only looked at in part, and did not fail, is neither good nor bad.
                undecided = not failed and passed < ran
                mark = Text(self._marks.dot, "dim") if undecided else self._marks.of(not failed)
                line = Text.assemble("  ", mark, f" {letter}  {family:<28} ")
                self._target.print(line.append(f"{passed} of {ran} passed", "dim"), soft_wrap=True)

    def _foot(self, report: Report) -> None:
        counts = report.summary()
        found = len(report.at_least(self._fail_on))
        dot = f" {self._marks.dot} "
        words = [f"{counts['fail'] - counts['suppressed']} failed", f"{counts['pass']} passed"]
        words += [f"{counts[word]} {word}" for word in ("inconclusive", "skipped", "suppressed") if counts[word]]
        self._target.print()
        said = f"{found} of severity {self._fail_on} or worse" if found else f"nothing {self._fail_on} or worse"
        self._target.print(Text.assemble(self._marks.of(not found), f" {dot.join(words)}: {said}"), soft_wrap=True)
        about = [f"in {report.elapsed:.1f} s", f"sent, and not taken back: {report.sent}"]
        note(self._target, Text(dot.join(about), "dim"), indent=2)

    def _heading(self, title: str, count: int, style: str) -> None:
        self._target.print()
        self._target.print(Text.assemble((title, style), (f"  {count}", "dim")), soft_wrap=True)


def plainly(text: str) -> str:
    """Return prose without the backticks that mark code.

    >>> plainly("send `{}`")
    'send {}'
    """
    return text.replace("`", "")


def short(exchange: Exchange) -> str:
    """Return what was sent in a few lines."""
    lines = [f"{exchange.method} {exchange.address}"]
    lines += [f"{name}: {value}" for name, value in exchange.headers if name.lower() != "user-agent"]
    body = exchange.sent.partition("\n\n")[2]
    return "\n".join([*lines, _cut(body) or "(empty body)"])


def shortly(exchange: Exchange) -> str:
    """Return what was received in a line."""
    if exchange.answer is None:
        return exchange.received
    body = _cut(" ".join(exchange.answer.text.split()))
    return f"{exchange.answer.status} {exchange.answer.reason}".rstrip() + (f": {body}" if body else "")


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _by_reason(findings: list[Finding]) -> list[tuple[str, str]]:
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        reasons.setdefault(finding.reason, []).append(finding.id)
    return [(" ".join(ids), reason) for reason, ids in reasons.items()]


def _is_told(finding: Finding) -> bool:
    """Tell whether it is worth saying that a check was skipped: not if that was asked for."""
    return not finding.reason.startswith(("not among", "skipped by", "less severe"))
