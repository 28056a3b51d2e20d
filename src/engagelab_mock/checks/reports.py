"""A report for programs: plain data for JSON, JUnit XML, and SARIF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isinf
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from engagelab_mock import __version__
from engagelab_mock.checks.check import Check, Judgement, Severity
from engagelab_mock.checks.finding import Change, Exchange, Finding, Report, shown
from engagelab_mock.checks.findings_text import in_full
from engagelab_mock.delivery.render import printable


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
        "basis": finding.basis,
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
        | {"fastapi": check.fix.fastapi, "section": check.fix.section},
        "repro": finding.repro,
        "token": finding.token or None,
    }


def summary_record(report: Report, *, fail_on: str, interrupted: bool = False) -> dict[str, Any]:
    """Return the summary of a report as plain data.

    >>> from engagelab_mock.checks.finding import Sent
    >>> report = Report(address="http://127.0.0.1/", findings=(), sent=Sent())
    >>> summary_record(report, fail_on="major")["ok"]
    False
    """
    counts = report.summary()
    return {
        "ok": not (interrupted or report.doubt or report.at_least(fail_on)),
        "url": report.address,
        "passed": counts["pass"],
        "passed_by_answer": counts["pass_by_answer"],
        "failed": counts["fail"],
        "inconclusive": counts["inconclusive"],
        "not_applicable": counts["not_applicable"],
        "errors": counts["error"],
        "skipped": counts["skipped"],
        "suppressed": counts["suppressed"],
        "fail_on": fail_on,
        "observed": report.observed,
        "unjudged": list(report.unjudged),
        "doubt": report.doubt,
        "inferred": report.inferred,
        "workers": report.workers,
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
    before, after = _as_json(change.before.value), _as_json(change.after.value)
    return {"message_id": change.before.message_id, "before": before, "after": after}


def _as_json(value: Any) -> Any:
    """Return a state, which is plain data, as JSON data: bytes, infinity and keys become text."""
    if isinstance(value, dict):
        return {each if isinstance(each, str) else str(each): _as_json(value[each]) for each in value}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, float) and isinf(value) else value


def junit(report: Report) -> str:
    """Return a report as XML: one suite for each family, one test case for each check.

    A finding that was not judged, or is suppressed, is a skipped test case, with the reason. Each case has the property
    `basis`. If the report cannot be relied on, there is an additional case with an error.

    >>> from engagelab_mock.checks.finding import Sent
    >>> junit(Report(address="http://127.0.0.1/", findings=(), sent=Sent())).splitlines()[0]
    "<?xml version='1.0' encoding='utf-8'?>"
    """
    families: dict[str, list[Finding]] = {}
    for finding in report.findings:
        families.setdefault(finding.check.family, []).append(finding)
    # A reader of only this file must not think that a run without verdicts was a success.
    doubts = int(bool(report.doubt))
    root = ET.Element("testsuites", {"name": "engagelab-mock check", **_counts(report.findings, doubts)})
    for family, findings in families.items():
        suite = ET.SubElement(root, "testsuite", {"name": family, **_counts(findings)})
        for finding in findings:
            _case(suite, finding)
    if report.doubt:
        suite = ET.SubElement(root, "testsuite", {"name": "The run", **_counts((), doubts)})
        case = ET.SubElement(suite, "testcase", {"classname": "engagelab-mock", "name": "the run", "time": "0.000"})
        ET.SubElement(case, "error", {"message": printable(report.doubt)})
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n"


def _case(suite: ET.Element, finding: Finding) -> None:
    attributes = {
        "classname": f"engagelab-mock.{finding.check.family}",
        "name": f"{finding.id} {finding.name}",
        "time": f"{finding.elapsed:.3f}",
    }
    case = ET.SubElement(suite, "testcase", attributes)
    properties = ET.SubElement(case, "properties")
    ET.SubElement(properties, "property", {"name": "basis", "value": finding.basis})
    if finding.fell_short:
        failure = ET.SubElement(case, "failure", {"message": printable(finding.reason), "type": str(finding.severity)})
        failure.text = printable(in_full(finding))
    elif finding.verdict is Judgement.ERROR:
        ET.SubElement(case, "error", {"message": printable(finding.reason)}).text = printable(in_full(finding))
    elif finding.verdict is not Judgement.PASS:
        ET.SubElement(case, "skipped", {"message": printable(_why_skipped(finding))})
    if finding.warnings:
        ET.SubElement(case, "system-out").text = printable("\n".join(finding.warnings))


def _why_skipped(finding: Finding) -> str:
    if finding.verdict is Judgement.FAIL:
        return f"suppressed: {finding.suppressed} ({finding.reason})"
    return f"{finding.verdict}: {finding.reason}"


def _counts(findings: Sequence[Finding], doubts: int = 0) -> dict[str, str]:
    failures = sum(finding.fell_short for finding in findings)
    passed = sum(finding.verdict is Judgement.PASS for finding in findings)
    errors = sum(finding.verdict is Judgement.ERROR for finding in findings)
    return {
        "tests": str(len(findings) + doubts),
        "failures": str(failures),
        "errors": str(errors + doubts),
        "skipped": str(len(findings) - failures - passed - errors),
        "time": f"{sum(finding.elapsed for finding in findings):.3f}",
    }


_LEVELS = {Severity.BLOCKER: "error", Severity.MAJOR: "error", Severity.MINOR: "warning", Severity.INFO: "note"}
_KINDS = {
    Judgement.PASS: "pass",
    Judgement.FAIL: "fail",
    Judgement.INCONCLUSIVE: "open",
    Judgement.NOT_APPLICABLE: "notApplicable",
    Judgement.ERROR: "review",
    Judgement.SKIPPED: "notApplicable",
}
#: The severities that code hosts use, from 0 to 10.
_SECURITY = {Severity.BLOCKER: "9.0", Severity.MAJOR: "7.0", Severity.MINOR: "4.0", Severity.INFO: "1.0"}
#: The characters that a URI contains unescaped (RFC 3986).
_URI = ":/?#[]@!$&'()*+,;=%"


def sarif(report: Report) -> str:
    """Return a report as a SARIF log with one run: a rule and a result for each check.

    >>> from engagelab_mock.checks.finding import Sent
    >>> '"version": "2.1.0"' in sarif(Report(address="http://127.0.0.1/", findings=(), sent=Sent()))
    True
    """
    driver = {
        "name": "engagelab-mock",
        "version": __version__,
        "rules": [_rule(finding.check) for finding in report.findings],
    }
    run = {
        "tool": {"driver": driver},
        "results": [_result(finding, index, report) for index, finding in enumerate(report.findings)],
        "columnKind": "unicodeCodePoints",
        "properties": {"url": report.address, "seed": report.seed, "sent": str(report.sent)},
        "invocations": [_invocation(report)],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(_printable(log), indent=2) + "\n"


def _invocation(report: Report) -> dict[str, Any]:
    notes = [{"level": "error", "message": {"text": report.doubt}}] if report.doubt else []
    return {"executionSuccessful": not report.doubt, "toolExecutionNotifications": notes}


def _printable(value: Any) -> Any:
    """Return plain data with every text made printable, because a receiver can answer with any text."""
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return printable(value) if isinstance(value, str) else value


def _rule(check: Check) -> dict[str, Any]:
    code = "\n\n".join(f"{each.title}:\n\n```{each.language}\n{each.text}\n```" for each in check.fix.codes)
    return {
        "id": check.id,
        "name": "".join(part.capitalize() for part in check.name.split("-")),
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": check.fix.text, "markdown": f"{check.why}\n\n{check.fix.text}\n\n{code}".rstrip()},
        "defaultConfiguration": {"level": _LEVELS[check.severity]},
        "properties": {
            "severity": str(check.severity),
            "source": check.source,
            "tags": ["webhook", check.family],
            "security-severity": _SECURITY[check.severity],
        },
    }


def _result(finding: Finding, index: int, report: Report) -> dict[str, Any]:
    failed = finding.verdict is Judgement.FAIL
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": index,
        "kind": _KINDS[finding.verdict],
        "level": _LEVELS[finding.severity] if failed else "none",
        "message": {"text": finding.reason or finding.check.title},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(report.address, safe=_URI)}}}],
        "partialFingerprints": {"check/v1": f"{finding.id}:{report.address}"},
        "properties": {"basis": finding.basis, "warnings": list(finding.warnings), "repro": finding.repro}
        | ({"token": finding.token} if finding.token else {}),
    }
    if finding.exchanges:
        result |= _web(finding.exchanges[-1])
    if failed and finding.suppressed is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.suppressed}]
    return result


def _web(exchange: Exchange) -> dict[str, Any]:
    request = {
        "protocol": "HTTP",
        "version": "1.1",
        "target": exchange.address,
        "method": exchange.method,
        "headers": _joined(exchange.headers),
        "body": {"text": shown(exchange.body)},
    }
    answer = exchange.answer
    if answer is None:
        return {"webRequest": request, "webResponse": {"noResponseReceived": True}}
    response = {
        "protocol": "HTTP",
        "version": "1.1",
        "statusCode": answer.status,
        "reasonPhrase": answer.reason,
        "headers": _joined(answer.headers.pairs),
        "body": {"text": shown(answer.body)},
    }
    return {"webRequest": request, "webResponse": response}


def _joined(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
