"""What `check` prints: a JSON object for each finding, or a report for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from engagelab_mock.checks.catalogue import CHECKS, DEEP_ONLY
from engagelab_mock.checks.check import FAMILIES, LANGUAGES, Judgement, Severity
from engagelab_mock.checks.finding import Finding, Report, verdict_counts
from engagelab_mock.checks.findings_text import BASES
from engagelab_mock.checks.profile import NO_OBSERVE, WORKER
from engagelab_mock.checks.reports import finding_record, junit, sarif, summary_record
from engagelab_mock.cli.output import Screen
from engagelab_mock.cli.render import signing
from engagelab_mock.cli.report_files import Files, write_files
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import counted, printable

_STYLES = {Severity.BLOCKER: "bold red", Severity.MAJOR: "red", Severity.MINOR: "yellow", Severity.INFO: "cyan"}
#: How wide a label is, with the blanks behind it.
_LABEL = 10


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
    """Show the report at the end, or the part that is known when interrupted."""

    report: Report
    receiver: Receiver
    fail_on: str
    verbose: bool
    #: The languages in which a fix is shown.
    languages: Sequence[str]
    #: The lines that run the checks again as the command was called; the last one is the command.
    again: Sequence[str]
    interrupted: bool

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        return {"type": "summary", **summary_record(self.report, fail_on=self.fail_on, interrupted=self.interrupted)}

    def write(self, screen: Screen) -> None:
        """Print the whole report, the summary first."""
        text = _ReportText(screen, self.report, verbose=self.verbose, languages=self.languages)
        text.head(self.receiver)
        if self.interrupted:
            screen.line(f"  Interrupted after {len(self.report.findings)} of {len(CHECKS)} checks")
        text.summary(self.fail_on)
        text.families()
        text.failures()
        text.warnings()
        text.unclear()
        if not self.verbose:
            text.more(self.again)


#: The kinds of reports.
REPORTS = ("junit", "html", "sarif")
#: The options of the command line that a check needs when it is run again. Secrets are exported.
KEPT = (
    "url",
    "username",
    "timeout",
    "insecure",
    "ca",
    "observe",
    "observe_command",
    "observe_account",
    "effect",
    "terminal",
    "restart_command",
    "depth",
    "patience",
    "language",
)


class _ReportText:
    """Print the parts of a report."""

    def __init__(self, screen: Screen, report: Report, *, verbose: bool, languages: Sequence[str]) -> None:
        self._screen = screen
        self._report = report
        self._verbose = verbose
        self._languages = languages
        #: The checks that --observe would let judge.
        self._blind = [f for f in report.of(Judgement.INCONCLUSIVE) if NO_OBSERVE in f.reason]

    def head(self, receiver: Receiver) -> None:
        """Print which receiver was checked."""
        also = ", with Authorization" if receiver.settings.authorization else ""
        about = f"  ({signing(receiver.settings)}{also})"
        self._screen.note(Text.assemble((receiver.address, "bold"), (about, "dim")), hang=2)

    def summary(self, fail_on: str) -> None:
        """Print the counts, which add up to the number of checks, and the number of messages that were sent."""
        report, screen = self._report, self._screen
        counts = report.summary()
        found = len(report.at_least(fail_on))
        said = f"{found} of severity {fail_on} or worse" if found else report.doubt or f"nothing {fail_on} or worse"
        good = not found and not report.doubt
        screen.note(
            Text.assemble(screen.mark(good), f" {_verdicts(report.findings)}: {plain(printable(said))}"), hang=2
        )
        if counts["pass_by_answer"]:
            screen.note(Text(f"{counts['pass_by_answer']} passed by the answer alone"), indent=2)
        if self._blind:
            more = f"{counted(len(self._blind), 'more check')}: duplicates, order, forged callbacks"
            screen.note(Text.assemble(("--observe", "bold"), f" would judge {more}"), indent=2)
        deep = [f"{each.id} {each.name}" for each in report.findings if each.left_out and each.reason == DEEP_ONLY]
        if deep:
            screen.note(Text.assemble(("--depth deep", "bold"), f" adds {', '.join(deep)}"), indent=2)
        screen.note(Text(f"sent in {report.elapsed:.1f} s but not removed: {report.sent}", "dim"), indent=2)
        if report.workers:
            screen.note(Text(f"answered by {counted(report.workers, 'worker')}, as {WORKER} says", "dim"), indent=2)
        if report.inferred:
            screen.note(Text(plain(report.inferred), "dim"), indent=2)

    def families(self) -> None:
        """Print how the checks of each family ended."""
        self._screen.line()
        for letter, family in FAMILIES.items():
            findings = [finding for finding in self._report.family(letter) if not finding.left_out]
            if any(finding.verdict not in _NOTHING_TO_JUDGE for finding in findings):
                failed = any(finding.fell_short for finding in findings)
                # A family with checks that neither passed nor failed is neither good nor bad.
                undecided = any(finding.verdict in _UNDECIDED for finding in findings)
                mark = self._screen.mark(not failed) if failed or not undecided else Text(self._screen.dot, "dim")
                line = Text.assemble("  ", mark, f" {letter}  {family}: ")
                self._screen.note(line.append(_verdicts(findings, always=()), "dim"), hang=7)

    def failures(self) -> None:
        """Print the failures, the worst first."""
        for severity in Severity:
            findings = [finding for finding in self._report.worst_first if finding.severity is severity]
            if findings:
                self._heading(f"{severity.upper()}", len(findings), _STYLES[severity])
                for number, finding in enumerate(findings):
                    if number:
                        self._screen.line()
                    self._failure(finding)

    def _failure(self, finding: Finding) -> None:
        check, screen = finding.check, self._screen
        name = f" {check.name}" if self._verbose else ""
        title = Text.assemble("  ", screen.mark(False), " ", (f"{check.id}{name}", "bold"), f"  {plain(check.title)}")
        screen.note(title, hang=6)
        screen.note(Text(plain(printable(finding.reason)), _STYLES[finding.severity]), indent=6)
        if self._verbose:
            self._evidence(finding)
        self._labelled("fix", plain(check.fix.text))
        if self._verbose:
            for language in self._languages:
                if code := check.fix.code_in(language):
                    self._verbatim(LANGUAGES[language], code)
            self._verbatim("again", finding.repro)
        else:
            self._labelled("more", f"--only {finding.only} -v")

    def _evidence(self, finding: Finding) -> None:
        self._screen.note(Text(plain(finding.check.why)), indent=6)
        for exchange in finding.exchanges:
            self._verbatim("sent", exchange.sent)
            self._verbatim("received", exchange.received)
        self._labelled("judged by", BASES[finding.basis])
        for change in finding.evidence:
            states = f"before: {change.before!s:.300}\nafter:  {change.after!s:.300}"
            self._verbatim("state", f"of {change.before.message_id}\n{states}")

    def _labelled(self, label: str, text: str) -> None:
        """Print prose with a label in front of it."""
        self._screen.note(Text.assemble((f"{label:<{_LABEL}}", "dim"), printable(text)), indent=6, hang=_LABEL)

    def _verbatim(self, label: str, text: str) -> None:
        """Print lines that can be copied: they are not wrapped."""
        for number, line in enumerate(printable(text).splitlines() or [""]):
            head = f"{'' if number else label:<{_LABEL}}"
            self._screen.line(Text.assemble(" " * 6, (head, "dim"), line) if line or not number else "")

    def warnings(self) -> None:
        """Print the warnings."""
        rows = [(finding.id, warning) for finding in self._report.findings for warning in finding.warnings]
        if rows:
            self._heading("WARNINGS", len(rows), "yellow")
            self._rows(rows)

    def unclear(self) -> None:
        """Print the checks that were not judged, are suppressed or ended with an error, a line for each reason."""
        report = self._report
        self._group("ERRORS", report.of(Judgement.ERROR), "bold red")
        suppressed = [f for f in report.findings if f.verdict is Judgement.FAIL and not f.fell_short]
        if suppressed:
            self._heading("SUPPRESSED", len(suppressed), "dim")
            self._rows((f.id, f"{f.suppressed} ({f.reason})") for f in suppressed)
        # The summary has said what --observe would add.
        blind = [] if self._verbose else self._blind
        self._group("INCONCLUSIVE", [f for f in report.of(Judgement.INCONCLUSIVE) if f not in blind], "yellow")
        self._group("NOT APPLICABLE", report.of(Judgement.NOT_APPLICABLE), "dim")
        self._group("SKIPPED", [each for each in report.of(Judgement.SKIPPED) if not each.left_out], "dim")

    def _group(self, title: str, findings: list[Finding], style: str) -> None:
        if findings:
            self._heading(title, len(findings), style)
            self._rows(_by_reason(findings))

    def _rows(self, rows: Iterable[tuple[str, str]]) -> None:
        for id, text in rows:
            self._screen.note(Text.assemble((id, "bold"), f"  {plain(printable(text))}"), indent=2, hang=5)

    def more(self, again: Sequence[str]) -> None:
        """Print the commands that show the evidence of the worst failure."""
        worst = self._report.worst_first
        if worst:
            self._screen.line()
            shown = ", ".join(LANGUAGES[each] for each in self._languages)
            others = ", ".join(each for each in LANGUAGES if each not in self._languages)
            text = f"For the requests, the answers, a command that sends them again, and the fix as code for {shown}"
            self._screen.note(Text(f"{text} (--language has others: {others}):" if others else f"{text}:"))
            for line in (*again[:-1], f"{again[-1]} --only {worst[0].only} -v"):
                self._screen.line(f"  {line}")

    def _heading(self, title: str, number: int, style: str) -> None:
        self._screen.line()
        self._screen.line(Text.assemble((title, style), (f"  {number}", "dim")))


_NOTHING_TO_JUDGE = {Judgement.SKIPPED, Judgement.NOT_APPLICABLE}
_UNDECIDED = {Judgement.INCONCLUSIVE, Judgement.ERROR}


def _verdicts(findings: Sequence[Finding], *, always: Sequence[str] = ("failed", "passed")) -> str:
    """Return how many findings failed, passed, and so on; the numbers add up to the number of findings.

    >>> _verdicts([Finding(check=CHECKS["A01"], verdict=Judgement.PASS)])
    '0 failed, 1 passed'
    """
    return ", ".join(f"{n} {word}" for word, n in verdict_counts(findings).items() if n or word in always)


def plain(text: str) -> str:
    """Return text for the command line: without the backticks that mark code, and with the option's name.

    >>> plain("send `{}`, and give `observe`")
    'send {}, and give --observe'
    """
    return text.replace("`observe`", "--observe").replace("`observe_account`", "--observe-account").replace("`", "")


def _by_reason(findings: list[Finding]) -> list[tuple[str, str]]:
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        reasons.setdefault(finding.reason, []).append(finding.id)
    return [(" ".join(ids), reason) for reason, ids in reasons.items()]


def write_reports(report: Report, files: Files, *, fail_on: str, language: str) -> None:
    """Write a report to files, each of its kind, or raise `UsageError` if that fails."""
    from engagelab_mock.checks.reports_html import html

    texts = {
        "junit": lambda: junit(report),
        "sarif": lambda: sarif(report),
        "html": lambda: html(report, fail_on=fail_on, language=language),
    }
    write_files(files, texts)
