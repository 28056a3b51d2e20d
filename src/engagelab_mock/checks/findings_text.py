"""Findings as text: one in full, the failures of a report in an error, and the requests in a table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from engagelab_mock.checks.check import Basis
from engagelab_mock.checks.finding import Exchange, Finding, Report
from engagelab_mock.delivery.render import align, counted, printable
from engagelab_mock.errors import EngageLabMockError, ReceiverFellShort
from engagelab_mock.protocol.callback import decode

#: How many lines of an error show findings in full. The first finding is always shown in full.
_LINES = 60
#: The greatest length of the line of another finding.
_WIDTH = 160
#: The largest number of exchanges that are shown in full: the last ones.
_SHOWN = 3


#: The basis of a verdict, in words.
BASES: dict[Basis, str] = {"answer": "the answer", "state": "the state", "both": "the answer and the state"}


def in_full(finding: Finding) -> str:
    """Return a finding as text, with all its evidence.

    >>> from engagelab_mock import CHECKS
    >>> from engagelab_mock.checks.check import Judgement
    >>> print(in_full(Finding(check=CHECKS["A01"], verdict=Judgement.FAIL, reason="answered 401")).splitlines()[0])
    A01 ping-empty (blocker): answered 401
    """
    check = finding.check
    lines = [_heading(finding)]
    lines += [f"  expected: {check.expected}", f"  judged by: {BASES[finding.basis]}", *_wrapped(check.why)]
    hidden = len(finding.exchanges) - _SHOWN
    if hidden > 0:
        lines.append(f"  … {hidden} exchanges before these")
    for exchange in finding.exchanges[-_SHOWN:]:
        lines += exchange_lines(exchange)
    for change in finding.evidence:
        lines += [f"  state of {change.before.message_id} before: {change.before!s:.500}"]
        lines += [f"  {'and after:':>{len(change.before.message_id) + 18}} {change.after!s:.500}"]
    lines += [f"  fix: {check.fix.text}"]
    if finding.repro:
        lines += ["  again:", *(f"    {line}" for line in finding.repro.splitlines())]
    return "\n".join(lines)


def _heading(finding: Finding) -> str:
    return f"{finding.id} {finding.name} ({finding.severity}): {finding.reason}"


def exchanges_table(findings: Sequence[Finding], most: int) -> list[str]:
    """Return the last requests of the checks that failed, or of all if none did, one per line.

    >>> exchanges_table([], 100)
    []
    """
    chosen = [finding for finding in findings if finding.fell_short] or findings
    made = [(finding.id, exchange) for finding in chosen for exchange in finding.exchanges]
    if not made:
        return []
    rows = [("check", "sent", "http", "outcome"), *[_row(id, exchange) for id, exchange in made[-most:]]]
    head, *lines = align(rows)
    return [head, *([f"… {len(made) - most} more before these"] if len(made) > most else []), *lines]


def _row(id: str, exchange: Exchange) -> tuple[str, ...]:
    try:
        names = dict.fromkeys(event.name for event in decode(exchange.body).rows) if exchange.body else ["ping"]
    except EngageLabMockError:
        names = [f"{len(exchange.body)} bytes"]
    error = f": {printable(exchange.error)}" if exchange.error else ""
    status = "-" if exchange.answer is None else str(exchange.answer.status)
    outcome = textwrap.shorten(f"{exchange.outcome} in {exchange.elapsed * 1000:.1f} ms{error}", 200, placeholder=" …")
    return id, textwrap.shorten(", ".join(names), 60, placeholder=" …"), status, outcome


def exchange_lines(exchange: Exchange) -> list[str]:
    """Return an exchange as indented lines: the request and the answer."""
    how = f"  ({', '.join(exchange.faults)})" if exchange.faults else ""
    sent = textwrap.indent(exchange.sent, "    ").splitlines()
    received = textwrap.indent(exchange.received, "    ").splitlines()
    return [f"  sent:{how}", *sent, f"  received after {exchange.elapsed:.3f} s:", *received]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="  ")


def fell_short(report: Report, found: Sequence[Finding], least: str) -> ReceiverFellShort:
    """Return the error for failures: the first ones in full, one line for each other, and where all are in full."""
    whole: list[str] = []
    for finding in found:
        text = in_full(finding)
        if whole and sum(each.count("\n") + 2 for each in [*whole, text]) > _LINES:
            break
        whole.append(text)
    parts = whole[:]
    if others := found[len(whole) :]:
        lines = [textwrap.shorten(_heading(each), _WIDTH, placeholder=" …") for each in others]
        parts.append("\n".join([f"{counted(len(others), 'more failure')}:", *(f"  {line}" for line in lines)]))
        parts.append(f'all in full: report = engagelab.check(…); print(report.in_full("{least}"))')
    what = f"{report.address} failed {counted(len(found), 'check')} of severity {least} or worse"
    error = ReceiverFellShort(what, "\n\n".join(parts))
    error.report = report
    return error
