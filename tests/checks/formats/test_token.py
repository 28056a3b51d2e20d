"""The token of a finding, wherever what does it again stands."""

from __future__ import annotations

import json

from engagelab_mock import CHECKS, Finding, Judgement, Report
from engagelab_mock.checks.formats.html import html
from engagelab_mock.checks.formats.junit import junit
from engagelab_mock.checks.formats.record import finding_record
from engagelab_mock.checks.formats.sarif import sarif
from engagelab_mock.checks.report import Sent
from tests.checks.formats.conftest import UNANSWERED

TOKEN = "eg1:sent-delivered+3:delivered,sent*2"
COMMAND = f"engagelab-mock send --replay '{TOKEN}' --url http://127.0.0.1:5000/engagelab"
FINDING = Finding(check=CHECKS["C06"], verdict=Judgement.FAIL, exchanges=(UNANSWERED,), token=TOKEN)
REPORT = Report(address=UNANSWERED.address, findings=(FINDING,), sent=Sent())


def test_in_json() -> None:
    record = finding_record(FINDING)
    assert (record["token"], record["repro"]) == (TOKEN, COMMAND)


def test_without_a_token_it_is_null(report: Report) -> None:
    assert {finding_record(finding)["token"] for finding in report.findings} == {None}


def test_in_html() -> None:
    assert COMMAND.replace("'", "&#x27;") in html(REPORT)


def test_in_junit() -> None:
    assert COMMAND in junit(REPORT)


def test_in_sarif(report: Report) -> None:
    [result] = json.loads(sarif(REPORT))["runs"][0]["results"]
    assert (result["properties"]["token"], result["properties"]["repro"]) == (TOKEN, COMMAND)
    assert all("token" not in result["properties"] for result in json.loads(sarif(report))["runs"][0]["results"])
