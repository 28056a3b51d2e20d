"""A report as JUnit XML, which every CI system shows."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.render import in_full
from engagelab_mock.checks.report import Report
from engagelab_mock.checks.verdict import Judgement
from engagelab_mock.delivery.render import printable


def junit(report: Report) -> str:
    """Return a report as XML: one test case a check, one suite a family.

    What is inconclusive, skipped or suppressed is a skipped test case, with the reason.

    >>> from engagelab_mock.checks.report import Sent
    >>> junit(Report(address="http://127.0.0.1/", findings=(), sent=Sent())).splitlines()[0]
    "<?xml version='1.0' encoding='utf-8'?>"
    """
    families: dict[str, list[Finding]] = {}
    for finding in report.findings:
        families.setdefault(finding.check.family, []).append(finding)
    root = ET.Element("testsuites", {"name": "engagelab-mock check", **_counts(report.findings)})
    for family, findings in families.items():
        suite = ET.SubElement(root, "testsuite", {"name": family, **_counts(findings)})
        for finding in findings:
            _case(suite, finding)
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
    if finding.fell_short:
        failure = ET.SubElement(case, "failure", {"message": printable(finding.reason), "type": str(finding.severity)})
        failure.text = printable(in_full(finding))
    elif finding.verdict is not Judgement.PASS:
        ET.SubElement(case, "skipped", {"message": printable(_why_skipped(finding))})
    if finding.warnings:
        ET.SubElement(case, "system-out").text = printable("\n".join(finding.warnings))


def _why_skipped(finding: Finding) -> str:
    if finding.verdict is Judgement.FAIL:
        return f"suppressed: {finding.suppressed} ({finding.reason})"
    return f"{finding.verdict}: {finding.reason}"


def _counts(findings: list[Finding] | tuple[Finding, ...]) -> dict[str, str]:
    failures = sum(finding.fell_short for finding in findings)
    passed = sum(finding.verdict is Judgement.PASS for finding in findings)
    return {
        "tests": str(len(findings)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(len(findings) - failures - passed),
        "time": f"{sum(finding.elapsed for finding in findings):.3f}",
    }
