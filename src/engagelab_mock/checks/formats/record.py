"""Findings as plain data, for JSON."""

from __future__ import annotations

from typing import Any

from engagelab_mock.checks.evidence import Change, Exchange, shown
from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.report import Report


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data.

    >>> from engagelab_mock import CHECKS, Judgement
    >>> finding_record(Finding(check=CHECKS["A01"], verdict=Judgement.PASS))["verdict"]
    'pass'
    """
    check = finding.check
    return {
        "id": finding.id,
        "name": finding.name,
        "verdict": str(finding.verdict),
        "severity": str(finding.severity),
        "reason": finding.reason,
        "title": check.title,
        "family": check.family,
        "expected": check.expected,
        "why": check.why,
        "source": check.source,
        "warnings": list(finding.warnings),
        "suppressed": finding.suppressed,
        "elapsed_ms": round(finding.elapsed * 1000, 3),
        "exchanges": [_exchange(exchange) for exchange in finding.exchanges],
        "states": [_change(change) for change in finding.changes],
        "fix": {"text": check.fix.text, "flask": check.fix.flask, "django": check.fix.django}
        | {"fastapi": check.fix.fastapi},
        "repro": finding.repro,
        "token": finding.token or None,
    }


def summary_record(report: Report, *, fail_on: str, interrupted: bool = False) -> dict[str, Any]:
    """Return what a report comes to as plain data.

    >>> from engagelab_mock.checks.report import Sent
    >>> summary_record(Report(address="http://127.0.0.1/", findings=(), sent=Sent()), fail_on="major")["ok"]
    True
    """
    counts = report.summary()
    return {
        "ok": not interrupted and not report.at_least(fail_on),
        "url": report.address,
        "passed": counts["pass"],
        "failed": counts["fail"],
        "inconclusive": counts["inconclusive"],
        "skipped": counts["skipped"],
        "suppressed": counts["suppressed"],
        "fail_on": fail_on,
        "observed": report.observed,
        "sent": {
            "callbacks": report.sent.callbacks,
            "pings": report.sent.pings,
            "message_ids": list(report.sent.message_ids),
            "recipients": list(report.sent.recipients),
        },
        "seed": report.seed,
        "elapsed_ms": round(report.elapsed * 1000, 3),
        "interrupted": interrupted,
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    answer = exchange.answer
    return {
        "method": exchange.method,
        "url": exchange.address,
        "headers": [list(pair) for pair in exchange.headers],
        "body": shown(exchange.body),
        "body_bytes": len(exchange.body),
        "faults": list(exchange.faults),
        "outcome": exchange.outcome,
        "error": exchange.error,
        "elapsed_ms": round(exchange.elapsed * 1000, 3),
        "answer": None
        if answer is None
        else {
            "status": answer.status,
            "reason": answer.reason,
            "headers": [list(pair) for pair in answer.headers.pairs],
            "body": shown(answer.body),
        },
    }


def _change(change: Change) -> dict[str, Any]:
    return {"message_id": change.before.message_id, "before": str(change.before), "after": str(change.after)}
