"""The text of an error about many failures: short enough to read, with nothing lost."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from engagelab_mock import CHECKS, Finding, Judgement, ReceiverFellShort, Report
from engagelab_mock.checks.finding import Sent
from tests.checks.conftest import EXCHANGE


def bad_report(number: int) -> Report:
    """The report of a receiver that fails the first checks of the catalogue."""
    findings = [
        Finding(
            check=check,
            verdict=Judgement.FAIL,
            reason=f"{check.id} was answered with 500, " + "and then again " * 30,
            exchanges=(EXCHANGE,) * 3,
        )
        for check in list(CHECKS.values())[:number]
    ]
    return Report(address="http://127.0.0.1/", findings=tuple(findings), sent=Sent())


def text_of(report: Report) -> tuple[str, ReceiverFellShort]:
    with pytest.raises(ReceiverFellShort) as caught:
        report.assert_none("info")
    return str(caught.value), caught.value


def test_the_worst_are_in_full_and_each_other_has_one_line() -> None:
    report = bad_report(40)
    text, error = text_of(report)
    assert len(text.splitlines()) < 130
    assert max(map(len, text.partition("more failures:")[2].splitlines())) < 170
    worst = report.worst_first
    assert "sent:" in text
    assert text.index(worst[0].id) < text.index("sent:") < text.index("more failures:")
    # None is left out, in their order.
    places = [text.index(f"{finding.id} {finding.name} ({finding.severity})") for finding in worst]
    assert places == sorted(places)
    # All of them, with all their evidence, by the way that the text names.
    assert 'print(report.in_full("info"))' in text
    full = report.in_full("info")
    assert error.report is report
    assert full.count("sent:") == 3 * 40
    assert all(finding.reason in full for finding in worst)


def test_a_few_short_ones_are_all_in_full() -> None:
    report = bad_report(2)
    report = msgspec.structs.replace(
        report, findings=tuple(msgspec.structs.replace(finding, exchanges=()) for finding in report.findings)
    )
    text, _ = text_of(report)
    assert "more failure" not in text
    assert report.in_full("info") in text
    # One alone is in full, no matter how long it is.
    long = msgspec.structs.replace(bad_report(1).findings[0], exchanges=(EXCHANGE,) * 3, reason="no\n" * 99)
    alone, _ = text_of(msgspec.structs.replace(report, findings=(long,)))
    assert alone.count("no\n") == 99
    assert report.in_full("blocker").count("expected:") == len(report.at_least("blocker"))


def test_the_error_can_be_pickled_with_its_text() -> None:
    text, error = text_of(bad_report(3))
    assert str(pickle.loads(pickle.dumps(error))) == text
