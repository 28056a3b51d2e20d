from __future__ import annotations

import json

from engagelab_mock import Report
from engagelab_mock.checks.formats.record import finding_record, summary_record


def test_every_finding_is_json(report: Report) -> None:
    for finding in report.findings:
        assert json.loads(json.dumps(finding_record(finding)))["id"] == finding.id


def test_the_summary_counts_and_judges(report: Report) -> None:
    summary = summary_record(report, fail_on="major")
    counts = {name: summary[name] for name in ("passed", "failed", "inconclusive", "skipped", "suppressed")}
    assert counts == {"passed": 2, "failed": 4, "inconclusive": 1, "skipped": 1, "suppressed": 1}
    assert summary["ok"] is False
    assert summary["sent"]["message_ids"] == ["7", "8"]


def test_a_long_body_is_cut_and_its_length_told(report: Report) -> None:
    [exchange] = finding_record(report.finding("B03"))["exchanges"]
    assert exchange["body_bytes"] == 10_000
    assert exchange["body"].endswith("(5904 bytes more)")
