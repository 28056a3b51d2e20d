"""A report for people: one HTML file without scripts or other files, in a light and a dark theme."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from engagelab_mock.checks.check import Judgement, Severity
from engagelab_mock.checks.finding import Change, Exchange, Finding, Report
from engagelab_mock.checks.reports import BASES
from engagelab_mock.delivery.render import printable

#: The largest number of exchanges of a finding that are shown: the last ones.
_SHOWN = 8

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --paper: #fcfcfd; --card: #fff; --line: #dfe2e6;
  --fail: #b3261e; --warn: #8a5a00; --pass: #18794e; --code: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef0; --soft: #a0a6ae; --paper: #111315; --card: #191b1f;
  --line: #30343a; --fail: #ff9592; --warn: #ffca16; --pass: #3dd68c; --code: #22252a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } code, pre { font: .85rem/1.5 ui-monospace, monospace; }
pre { background: var(--code); padding: .75rem; border-radius: .4rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .4rem 0; }
.summary { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.summary li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem;
  min-width: 7rem; } .summary b { display: block; font-size: 1.5rem; line-height: 1.2; }
.fail { color: var(--fail); } .pass { color: var(--pass); } .warn { color: var(--warn); }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .6rem 0; }
summary { padding: .7rem 1rem; cursor: pointer; } details > div { padding: 0 1rem 1rem; }
summary b { margin-right: .5rem; } .badge { font-size: .8rem; border: 1px solid currentColor; border-radius: 1rem;
  padding: .05rem .55rem; margin-right: .5rem; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid var(--line); padding: .35rem .5rem;
  vertical-align: top; } td:first-child { white-space: nowrap; } dt { font-weight: 600; margin-top: .8rem; }
dd { margin: 0; }
"""


def html(report: Report, *, fail_on: str = "major") -> str:
    """Return a report as an HTML page.

    >>> from engagelab_mock.checks.finding import Sent
    >>> html(Report(address="http://127.0.0.1/", findings=(), sent=Sent()))[:15]
    '<!doctype html>'
    """
    body = "\n".join([*_head(report, fail_on), *_failures(report), *_warnings(report), *_others(report)])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>engagelab-mock check: {escape(report.address)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _head(report: Report, fail_on: str) -> list[str]:
    counts = report.summary()
    found = len(report.at_least(fail_on))
    verdict = f"fails {found} check{'s' * (found > 1)}" if found else f"has no failure of severity {fail_on} or worse"
    colour = "fail" if found else "pass"
    if report.doubt and not found:
        verdict, colour = f"is not fully judged: {_prose(report.doubt)}", "warn"
    tiles = (
        ("fail", counts["fail"] - counts["suppressed"], "failed"),
        ("pass", counts["pass"], "passed"),
        ("pass", counts["pass_by_answer"], "of them by the answer alone"),
        ("fail" if counts["error"] else "soft", counts["error"], "errors"),
        ("warn", counts["inconclusive"], "not judged"),
        ("soft", counts["not_applicable"], "not applicable"),
        ("soft", counts["skipped"], "skipped"),
        ("soft", counts["suppressed"], "suppressed"),
    )
    return [
        f'<h1>This receiver <span class="{colour}">{verdict}</span></h1>',
        f'<p class="soft"><code>{escape(report.address)}</code>, checked in {report.elapsed:.1f} s</p>',
        '<ul class="summary" id="summary">',
        *(f'<li class="{kind}"><b>{number}</b> {word}</li>' for kind, number, word in tiles),
        "</ul>",
        f'<p class="soft">Sent but not removed: {escape(str(report.sent))}.</p>',
    ]


def _failures(report: Report) -> Iterable[str]:
    for severity in Severity:
        findings = [finding for finding in report.worst_first if finding.severity is severity]
        if findings:
            yield f"<h2>{severity.capitalize()} ({len(findings)})</h2>"
            yield from map(_failure, findings)


def _failure(finding: Finding) -> str:
    check = finding.check
    parts = [
        f'<details><summary><span class="badge fail">{finding.severity}</span><b>{finding.id}</b>'
        f"{_prose(check.title)}<br><span class='fail'>{_prose(finding.reason)}</span></summary><div>",
        f"<p>{_prose(check.why)}</p><dl>",
        f"<dt>Expected</dt><dd>{_prose(check.expected)} <span class='soft'>[{escape(check.source)}]</span></dd>",
        f"<dt>Judged by</dt><dd>{BASES[finding.basis]}</dd>",
        *map(_exchange, finding.exchanges[-_SHOWN:]),
        *map(_change, finding.evidence),
        f"<dt>Fix</dt><dd>{_prose(check.fix.text)}</dd>",
    ]
    for name, code in (("Flask", check.fix.flask), ("Django", check.fix.django), ("FastAPI", check.fix.fastapi)):
        if code:
            parts.append(f"<dt>{name}</dt><dd><pre>{escape(code)}</pre></dd>")
    parts.append(f"<dt>Again</dt><dd><pre>{escape(finding.repro)}</pre></dd></dl></div></details>")
    return "\n".join(parts)


def _exchange(exchange: Exchange) -> str:
    how = f" <span class='soft'>({escape(', '.join(exchange.faults))})</span>" if exchange.faults else ""
    return (
        f"<dt>Sent{how}</dt><dd><pre>{escape(exchange.sent)}</pre></dd>"
        f"<dt>Received after {exchange.elapsed * 1000:.0f} ms</dt><dd><pre>{escape(exchange.received)}</pre></dd>"
    )


def _change(change: Change) -> str:
    before, after = (escape(printable(str(state))) for state in (change.before, change.after))
    title = f"<dt>State of {escape(change.before.message_id)}</dt>"
    return f"{title}<dd><pre>before: {before}\nafter:  {after}</pre></dd>"


def _warnings(report: Report) -> Iterable[str]:
    rows = [(finding, warning) for finding in report.findings for warning in finding.warnings]
    if rows:
        yield '<h2 class="warn">Warnings</h2><table>'
        yield from (f"<tr><td><b>{f.id}</b></td><td>{_prose(warning)}</td></tr>" for f, warning in rows)
        yield "</table>"


def _others(report: Report) -> Iterable[str]:
    suppressed = [f for f in report.findings if f.verdict is Judgement.FAIL and not f.fell_short]
    for title, findings in (
        ("Suppressed", suppressed),
        ("Errors", report.of(Judgement.ERROR)),
        ("Not judged", report.of(Judgement.INCONCLUSIVE)),
        ("Not applicable", report.of(Judgement.NOT_APPLICABLE)),
        ("Passed", report.of(Judgement.PASS)),
        ("Skipped", report.of(Judgement.SKIPPED)),
    ):
        if findings:
            yield f"<h2>{title} ({len(findings)})</h2><table>"
            yield from (
                f"<tr><td><b>{f.id}</b> {f.name}</td><td>{_prose(f.suppressed or f.reason or f.check.title)}</td>"
                f"<td class='soft'>{BASES[f.basis] if f.judged else ''}</td></tr>"
                for f in findings
            )
            yield "</table>"


def _prose(text: str) -> str:
    """Return text with the parts between backticks set as code."""
    parts = escape(printable(text)).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
