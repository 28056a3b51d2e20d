"""A report as SARIF 2.1.0, which code hosts show among their alerts."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from engagelab_mock import __version__
from engagelab_mock.checks.check import Check
from engagelab_mock.checks.evidence import Exchange, shown
from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.report import Report
from engagelab_mock.checks.verdict import Judgement, Severity
from engagelab_mock.delivery.render import printable

_LEVELS = {Severity.BLOCKER: "error", Severity.MAJOR: "error", Severity.MINOR: "warning", Severity.INFO: "note"}
_KINDS = {
    Judgement.PASS: "pass",
    Judgement.FAIL: "fail",
    Judgement.INCONCLUSIVE: "open",
    Judgement.SKIPPED: "notApplicable",
}
#: The severities that code hosts know, from 0 to 10.
_SECURITY = {Severity.BLOCKER: "9.0", Severity.MAJOR: "7.0", Severity.MINOR: "4.0", Severity.INFO: "1.0"}
#: What stands in a URI as it is (RFC 3986).
_URI = ":/?#[]@!$&'()*+,;=%"


def sarif(report: Report) -> str:
    """Return a report as a SARIF log with one run: a rule and a result for each check.

    >>> from engagelab_mock.checks.report import Sent
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
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(_printable(log), indent=2) + "\n"


def _printable(value: Any) -> Any:
    """Return plain data with every text in it fit to be shown: a receiver can say anything."""
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return printable(value) if isinstance(value, str) else value


def _rule(check: Check) -> dict[str, Any]:
    code = "\n\n".join(
        f"{name}:\n\n```python\n{text}\n```"
        for name, text in (("Flask", check.fix.flask), ("Django", check.fix.django), ("FastAPI", check.fix.fastapi))
        if text
    )
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
        "properties": {"warnings": list(finding.warnings), "repro": finding.repro}
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
