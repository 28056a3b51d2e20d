"""A report for people: one HTML file without scripts or other files, in a light and a dark theme."""

from __future__ import annotations

from collections.abc import Iterable

from engagelab_mock import __version__
from engagelab_mock.checks.check import Judgement, Severity
from engagelab_mock.checks.finding import Change, Exchange, Finding, Report, verdict_counts
from engagelab_mock.checks.findings_text import BASES
from engagelab_mock.checks.profile import WORKER
from engagelab_mock.delivery.page import choices, page, prose, text, tiles, utc
from engagelab_mock.delivery.render import counted

#: The largest number of exchanges of a finding that are shown: the last ones.
_SHOWN = 8
#: The styles of counts.
_STYLES = {"failed": "fail", "ended with an error": "fail", "passed": "pass", "inconclusive": "warn"}


def html(report: Report, *, fail_on: str = "major", language: str = "flask") -> str:
    """Return a report as an HTML page. The fixes are shown in this language first; the reader can choose another one.

    >>> from engagelab_mock.checks.finding import Sent
    >>> html(Report(address="http://127.0.0.1/", findings=(), sent=Sent()))[:15]
    '<!doctype html>'
    """
    parts = [*_head(report, fail_on), *_failures(report, language), *_warnings(report), *_others(report)]
    return page(f"engagelab-mock check: {report.address}", parts)


def _head(report: Report, fail_on: str) -> list[str]:
    found = len(report.at_least(fail_on))
    verdict = f"fails {found} check{'s' * (found > 1)}" if found else f"has no failure of severity {fail_on} or worse"
    colour = "fail" if found else "pass"
    if report.doubt and not found:
        verdict, colour = f"is not fully judged: {prose(report.doubt)}", "warn"
    when = f"{utc(report.at)}, " * bool(report.at)
    return [
        f'<h1>This receiver <span class="{colour}">{verdict}</span></h1>',
        f'<p class="soft"><code>{text(report.address)}</code>, checked in {report.elapsed:.1f} s</p>',
        f'<p class="soft">{when}engagelab-mock {__version__}, seed {text(report.seed or "0")}</p>',
        *tiles(_counts(report)),
        *[f'<p class="soft">{line}</p>' for line in _about(report)],
    ]


def _counts(report: Report) -> Iterable[tuple[str, int, str]]:
    """Return the counts of the report as text, in its words; those of checks add up to the number of checks."""
    for word, number in verdict_counts(report.findings).items():
        if number or word in {"failed", "passed"}:
            yield _STYLES.get(word, "soft"), number, word
    if by_answer := report.summary()["pass_by_answer"]:
        yield "pass", by_answer, "passed by the answer alone"


def _about(report: Report) -> Iterable[str]:
    """Return the rest of what the report as text says at its beginning."""
    yield f"Sent but not removed: {text(report.sent)}."
    if report.workers:
        yield f"Answered by {counted(report.workers, 'worker')}, as {WORKER} says."
    if report.inferred:
        yield prose(report.inferred)


def _failures(report: Report, language: str) -> Iterable[str]:
    for severity in Severity:
        findings = [finding for finding in report.worst_first if finding.severity is severity]
        if findings:
            yield f"<h2>{severity.capitalize()} ({len(findings)})</h2>"
            yield from (_failure(finding, language) for finding in findings)


def _failure(finding: Finding, language: str) -> str:
    check = finding.check
    parts = [
        f'<details><summary><span class="badge fail">{finding.severity}</span><b>{finding.id}</b>'
        f"{prose(check.title)}<br><span class='fail'>{prose(finding.reason)}</span></summary><div>",
        f"<p>{prose(check.why)}</p><dl>",
        f"<dt>Expected</dt><dd>{prose(check.expected)} <span class='soft'>[{text(check.source)}]</span></dd>",
        f"<dt>Judged by</dt><dd>{BASES[finding.basis]}</dd>",
        *map(_exchange, finding.exchanges[-_SHOWN:]),
        *map(_change, finding.evidence),
        f"<dt>Fix</dt><dd>{prose(check.fix.text)}</dd>",
    ]
    if codes := check.fix.codes:
        first = next((number for number, code in enumerate(codes) if language in code.names), 0)
        shown = choices(finding.id, "The fix as code", [(code.title, code.text) for code in codes], first)
        parts.append(f"<dt>As code</dt><dd>{shown}</dd>")
    parts.append(f"<dt>Again</dt><dd><pre>{text(finding.repro)}</pre></dd></dl></div></details>")
    return "\n".join(parts)


def _exchange(exchange: Exchange) -> str:
    how = f" <span class='soft'>({text(', '.join(exchange.faults))})</span>" if exchange.faults else ""
    return (
        f"<dt>Sent{how}</dt><dd><pre>{text(exchange.sent)}</pre></dd>"
        f"<dt>Received after {exchange.elapsed * 1000:.0f} ms</dt><dd><pre>{text(exchange.received)}</pre></dd>"
    )


def _change(change: Change) -> str:
    before, after = text(change.before), text(change.after)
    title = f"<dt>State of {text(change.before.message_id)}</dt>"
    return f"{title}<dd><pre>before: {before}\nafter:  {after}</pre></dd>"


def _warnings(report: Report) -> Iterable[str]:
    rows = [(finding, warning) for finding in report.findings for warning in finding.warnings]
    if rows:
        yield '<h2 class="warn">Warnings</h2><table>'
        yield from (f"<tr><td><b>{f.id}</b></td><td>{prose(warning)}</td></tr>" for f, warning in rows)
        yield "</table>"


def _others(report: Report) -> Iterable[str]:
    suppressed = [f for f in report.findings if f.verdict is Judgement.FAIL and not f.fell_short]
    for title, findings in (
        ("Suppressed", suppressed),
        ("Errors", report.of(Judgement.ERROR)),
        ("Inconclusive", report.of(Judgement.INCONCLUSIVE)),
        ("Not applicable", report.of(Judgement.NOT_APPLICABLE)),
        ("Passed", report.of(Judgement.PASS)),
        ("Skipped", [f for f in report.of(Judgement.SKIPPED) if not f.left_out]),
        ("Not selected", [f for f in report.of(Judgement.SKIPPED) if f.left_out]),
    ):
        if findings:
            yield f"<h2>{title} ({len(findings)})</h2><table>"
            yield from (
                f"<tr><td><b>{f.id}</b> {f.name}</td><td>{prose(f.suppressed or f.reason or f.check.title)}</td>"
                f"<td class='soft'>{BASES[f.basis] if f.judged else ''}</td></tr>"
                for f in findings
            )
            yield "</table>"
