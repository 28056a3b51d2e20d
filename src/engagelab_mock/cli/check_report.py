"""What `check` prints: a JSON object for each finding, or a report for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.padding import Padding
from rich.text import Text

from engagelab_mock.checks.catalogue import CHECKS, DEEP_ONLY
from engagelab_mock.checks.check import FAMILIES, Judgement, Severity
from engagelab_mock.checks.finding import Exchange, Finding, Report
from engagelab_mock.checks.reports import BASES, finding_record, summary_record
from engagelab_mock.cli.output import Screen
from engagelab_mock.cli.render import signing
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import printable

#: How much of a body the report shows without --verbose, in characters.
_SHORT = 200
_STYLES = {Severity.BLOCKER: "bold red", Severity.MAJOR: "red", Severity.MINOR: "yellow", Severity.INFO: "cyan"}


@dataclass(frozen=True)
class CheckFinished:
    """Show one finding, as soon as there is one; text shows all of them at the end, the worst first."""

    finding: Finding

    def record(self) -> dict[str, Any]:
        """Return the finding."""
        return {"type": "finding", **finding_record(self.finding)}

    def write(self, screen: Screen) -> None:
        """Print nothing."""


@dataclass(frozen=True, kw_only=True)
class CheckSummary:
    """Show the report at the end, or what is known of it when interrupted."""

    report: Report
    receiver: Receiver
    fail_on: str
    verbose: bool
    interrupted: bool

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        return {"type": "summary", **summary_record(self.report, fail_on=self.fail_on, interrupted=self.interrupted)}

    def write(self, screen: Screen) -> None:
        """Print the whole report."""
        text = _ReportText(screen, verbose=self.verbose)
        text.head(self.receiver)
        text.failures(self.report)
        text.warnings(self.report)
        text.unclear(self.report)
        text.families(self.report)
        text.foot(self.report, self.fail_on)
        if self.interrupted:
            screen.line(f"  Interrupted after {len(self.report.findings)} of {len(CHECKS)} checks")


class _ReportText:
    """Print the parts of a report."""

    def __init__(self, screen: Screen, *, verbose: bool) -> None:
        self._screen = screen
        self._verbose = verbose

    def head(self, receiver: Receiver) -> None:
        """Print which receiver was checked."""
        also = ", with Authorization" if receiver.settings.authorization else ""
        about = f"  ({signing(receiver.settings)}{also})"
        self._screen.line(Text.assemble((receiver.address, "bold"), (about, "dim")))

    def failures(self, report: Report) -> None:
        """Print the failures, the worst first."""
        for severity in Severity:
            findings = [finding for finding in report.worst_first if finding.severity is severity]
            if findings:
                self._heading(f"{severity.upper()}", len(findings), _STYLES[severity])
                for finding in findings:
                    self._failure(finding)

    def _failure(self, finding: Finding) -> None:
        check = finding.check
        line = Text.assemble("  ", self._screen.mark(False), " ", (check.id, "bold"), f" {check.name}  ")
        self._screen.line(line.append(plain(check.title), "dim"))
        self._screen.note(Text(printable(finding.reason), _STYLES[finding.severity]), indent=6)
        self._screen.note(Text(plain(check.why)), indent=6)
        for exchange in finding.exchanges if self._verbose else finding.exchanges[-1:]:
            self._labelled("sent", exchange.sent if self._verbose else brief_request(exchange))
            self._labelled("received", exchange.received if self._verbose else brief_answer(exchange))
        self._labelled("judged by", BASES[finding.basis])
        for change in finding.evidence:
            states = f"before: {change.before!s:.300}\nafter:  {change.after!s:.300}"
            self._labelled("state", f"of {change.before.message_id}\n{states}")
        self._labelled("fix", plain(check.fix.text))
        if self._verbose:
            fix = check.fix
            for name, code in (("Flask", fix.flask), ("Django", fix.django), ("FastAPI", fix.fastapi)):
                if code:
                    self._labelled(name, code)
        self._labelled("again", finding.repro if self._verbose else finding.repro.splitlines()[-2:][0])
        self._screen.line()

    def _labelled(self, label: str, text: str) -> None:
        for number, line in enumerate(printable(text).splitlines() or [""]):
            head = Text(f"{label if not number else '':<9} ", "dim")
            shown = Text.assemble(head, line)
            if self._screen.is_terminal and label not in {"again", "sent"}:
                self._screen.console.print(Padding(shown, (0, 0, 0, 6)))
            else:
                self._screen.line(Text(" " * 6).append_text(shown))

    def warnings(self, report: Report) -> None:
        """Print the warnings."""
        rows = [(finding.id, warning) for finding in report.findings for warning in finding.warnings]
        if rows:
            self._heading("WARNINGS", len(rows), "yellow")
            self._rows(rows)

    def unclear(self, report: Report) -> None:
        """Print the checks that were not judged, are suppressed or ended with an error, a line for each reason."""
        self._group("ERRORS", report.of(Judgement.ERROR), "bold red")
        suppressed = [f for f in report.findings if f.verdict is Judgement.FAIL and not f.fell_short]
        if suppressed:
            self._heading("SUPPRESSED", len(suppressed), "dim")
            self._rows((f.id, f"{f.suppressed} ({f.reason})") for f in suppressed)
        self._group("NOT JUDGED", report.of(Judgement.INCONCLUSIVE), "yellow")
        self._group("NOT APPLICABLE", report.of(Judgement.NOT_APPLICABLE), "dim")
        self._group("SKIPPED", [each for each in report.of(Judgement.SKIPPED) if not each.left_out], "dim")

    def _group(self, title: str, findings: list[Finding], style: str) -> None:
        if findings:
            self._heading(title, len(findings), style)
            self._rows(_by_reason(findings))

    def _rows(self, rows: Iterable[tuple[str, str]]) -> None:
        for id, text in rows:
            self._screen.note(Text.assemble((id, "bold"), f"  {printable(text)}"), indent=2)

    def families(self, report: Report) -> None:
        """Print how many checks of each family passed."""
        self._screen.line()
        for letter, family in FAMILIES.items():
            findings = report.family(letter)
            passed = sum(finding.verdict is Judgement.PASS for finding in findings)
            failed = sum(finding.fell_short for finding in findings)
            ran = sum(finding.verdict not in _NOTHING_TO_JUDGE for finding in findings)
            if ran or letter in report.unjudged:
                # A family with checks that neither passed nor failed is neither good nor bad.
                undecided = not failed and passed < max(ran, 1)
                mark = Text(self._screen.dot, "dim") if undecided else self._screen.mark(not failed)
                line = Text.assemble("  ", mark, f" {letter}  {family:<28} ")
                said = f"{passed} of {ran} passed"
                if not any(finding.judged for finding in findings):
                    said = "not judged" if report.observed else "not judged: give --observe"
                self._screen.line(line.append(said, "dim"))

    def foot(self, report: Report, fail_on: str) -> None:
        """Print the counts."""
        counts = report.summary()
        found = len(report.at_least(fail_on))
        dot = f" {self._screen.dot} "
        by_answer = f" ({counts['pass_by_answer']} by the answer alone)" if counts["pass_by_answer"] else ""
        words = [f"{counts['fail'] - counts['suppressed']} failed", f"{counts['pass']} passed{by_answer}"]
        words += [f"{counts[name]} {word}" for name, word in _COUNTED.items() if counts[name]]
        self._screen.line()
        said = f"{found} of severity {fail_on} or worse" if found else report.doubt or f"nothing {fail_on} or worse"
        good = not found and not report.doubt
        self._screen.line(Text.assemble(self._screen.mark(good), f" {dot.join(words)}: {plain(printable(said))}"))
        deep = [f"{each.id} {each.name}" for each in report.findings if each.left_out and each.reason == DEEP_ONLY]
        if deep:
            self._screen.note(Text(f"--depth deep adds {', '.join(deep)}", "dim"), indent=2)
        about = [f"in {report.elapsed:.1f} s", f"sent, and not taken back: {report.sent}"]
        self._screen.note(Text(dot.join(about), "dim"), indent=2)

    def _heading(self, title: str, count: int, style: str) -> None:
        self._screen.line()
        self._screen.line(Text.assemble((title, style), (f"  {count}", "dim")))


#: How the summary counts the verdicts that are neither pass nor fail.
_COUNTED = {
    "error": "errors",
    "inconclusive": "not judged",
    "not_applicable": "not applicable",
    "skipped": "skipped",
    "suppressed": "suppressed",
}
_NOTHING_TO_JUDGE = {Judgement.SKIPPED, Judgement.NOT_APPLICABLE}


def plain(text: str) -> str:
    """Return text without the backticks that mark code.

    >>> plain("send `{}`")
    'send {}'
    """
    return text.replace("`", "")


def brief_request(exchange: Exchange) -> str:
    """Return a request in a few lines."""
    lines = [f"{exchange.method} {exchange.address}"]
    lines += [f"{name}: {value}" for name, value in exchange.headers if name.lower() != "user-agent"]
    body = exchange.sent.partition("\n\n")[2]
    return "\n".join([*lines, _cut(body) or "(empty body)"])


def brief_answer(exchange: Exchange) -> str:
    """Return an answer in one line."""
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
