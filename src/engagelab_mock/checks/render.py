"""A finding as text, with its evidence."""

from __future__ import annotations

import textwrap

from engagelab_mock.checks.evidence import Exchange
from engagelab_mock.checks.finding import Finding

#: How many exchanges are shown in full: of many, the last ones tell.
_SHOWN = 3


def in_full(finding: Finding) -> str:
    """Return everything that is known of a finding, as text.

    >>> from engagelab_mock import CHECKS
    >>> from engagelab_mock.checks.verdict import Judgement
    >>> print(in_full(Finding(check=CHECKS["A01"], verdict=Judgement.FAIL, reason="answered 401")).splitlines()[0])
    A01 ping-empty (blocker): answered 401
    """
    check = finding.check
    lines = [f"{check.id} {check.name} ({check.severity}): {finding.reason}"]
    lines += [f"  expected: {check.expected}", *_wrapped(check.why)]
    hidden = len(finding.exchanges) - _SHOWN
    if hidden > 0:
        lines.append(f"  … {hidden} exchanges before these")
    for exchange in finding.exchanges[-_SHOWN:]:
        lines += exchange_lines(exchange)
    for change in finding.changes[-1:]:
        lines += [f"  state of {change.before.message_id} before: {change.before!s:.500}"]
        lines += [f"  {'and after:':>{len(change.before.message_id) + 18}} {change.after!s:.500}"]
    lines += [f"  fix: {check.fix.text}"]
    if finding.repro:
        lines += ["  again:", *(f"    {line}" for line in finding.repro.splitlines())]
    return "\n".join(lines)


def exchange_lines(exchange: Exchange) -> list[str]:
    """Return an exchange as indented lines: what was sent, what was received."""
    how = f"  ({', '.join(exchange.faults)})" if exchange.faults else ""
    sent = textwrap.indent(exchange.sent, "    ").splitlines()
    received = textwrap.indent(exchange.received, "    ").splitlines()
    return [f"  sent:{how}", *sent, f"  received after {exchange.elapsed:.3f} s:", *received]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="  ")
