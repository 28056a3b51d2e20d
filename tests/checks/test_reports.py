"""The reports for programs: JSON, JUnit XML and SARIF; and the token of a finding in each of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest

from engagelab_mock import CHECKS, Finding, Judgement, Report
from engagelab_mock.checks.check import Fix
from engagelab_mock.checks.finding import Change, Sent
from engagelab_mock.checks.reports import finding_record, junit, sarif, summary_record
from engagelab_mock.checks.reports_html import html
from engagelab_mock.explore.state import Snapshot
from engagelab_mock.starters import STARTERS, section
from tests.checks.conftest import UNANSWERED

# --- JSON


def test_every_finding_is_json(report: Report) -> None:
    for finding in report.findings:
        assert json.loads(json.dumps(finding_record(finding)))["id"] == finding.id


def test_the_summary_counts_and_judges(report: Report) -> None:
    summary = summary_record(report, fail_on="major")
    counts = {name: value for name, value in summary.items() if type(value) is int}
    assert counts == {
        **{"passed": 2, "passed_by_answer": 1, "failed": 4, "inconclusive": 1, "not_applicable": 1, "errors": 1},
        **{"skipped": 1, "suppressed": 1, "workers": 0},
    }
    assert summary["doubt"] == "1 check ended with an error: A10"
    assert summary["ok"] is False
    assert summary["sent"]["message_ids"] == ["7", "8"]


def test_a_long_body_is_cut_and_its_length_told(report: Report) -> None:
    [exchange] = finding_record(report.finding("B03"))["exchanges"]
    assert exchange["body_bytes"] == 10_000
    assert exchange["body"].endswith("(5904 bytes more)")


# --- JUnit XML, by a strict schema: CI systems differ in the errors that they forgive

#: Each element: its required attributes, its optional attributes, its children, and whether it contains text.
ELEMENTS: dict[str, tuple[set[str], set[str], set[str], bool]] = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), {"testsuite"}, False),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), {"testcase"}, False),
    "testcase": (
        *({"classname", "name", "time"}, set()),
        *({"properties", "failure", "error", "skipped", "system-out"}, False),
    ),
    "properties": (set(), set(), {"property"}, False),
    "property": ({"name", "value"}, set(), set(), False),
    "error": ({"message"}, set(), set(), True),
    "failure": ({"message", "type"}, set(), set(), True),
    "skipped": ({"message"}, set(), set(), False),
    "system-out": (set(), set(), set(), True),
}
COUNTS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def problems(element: ET.Element) -> list[str]:
    """Return the problems that a strict reader has with an element and its descendants."""
    required, optional, children, text = ELEMENTS[element.tag]
    found = []
    if not required <= {*element.attrib} <= required | optional:
        found.append(f"{element.tag}: attributes {sorted(element.attrib)}")
    if (element.text or "").strip() and not text:
        found.append(f"{element.tag}: text {element.text!r}")
    for attribute, tag in COUNTS.items():
        if attribute in element.attrib and int(element.attrib[attribute]) != len(list(element.iter(tag))):
            found.append(f"{element.tag}: {attribute} is {element.attrib[attribute]}")
    if "time" in element.attrib and float(element.attrib["time"]) < 0:
        found.append(f"{element.tag}: time")
    for child in element:
        found += problems(child) if child.tag in children else [f"{element.tag} has {child.tag}"]
    return found


def test_a_strict_reader_takes_junit(report: Report) -> None:
    assert problems(ET.fromstring(junit(report).encode())) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('failures="3"', 'failures="2"'),
        ('classname="', 'class="'),
        ("<skipped ", "<ignored "),
        ("<testcase ", "text<testcase "),
    ],
)
def test_a_strict_reader_refuses_changed_junit(old: str, new: str, report: Report) -> None:
    text = junit(report)
    assert old in text
    changed = text.replace(old, new).replace("</skipped>", "</ignored>" if "ignored" in new else "</skipped>")
    assert problems(ET.fromstring(changed.encode())) != []


def test_every_finding_is_a_case_with_its_outcome(report: Report) -> None:
    cases = {case.attrib["name"]: case for case in ET.fromstring(junit(report).encode()).iter("testcase")}
    assert cases.pop("the run")[0].attrib == {"message": "1 check ended with an error: A10"}
    outcomes = {name.split()[0]: [child.tag for child in case][1:] for name, case in cases.items()}
    assert outcomes == {
        "A01": [],
        "A04": ["system-out"],
        "A07": ["skipped"],
        "A10": ["error"],
        "B01": ["failure"],
        "B03": ["failure"],
        "B07": ["failure"],
        "B17": ["skipped"],
        "B21": ["skipped"],
        "C14": ["skipped"],
    }
    _, failure = cases["B03 sig-malformed"]
    assert failure.attrib == {"message": "it crashed", "type": "major"}
    assert "no complete answer within 3 s" in (failure.text or "")
    assert cases["B17 replay-swapped-body"][1].attrib["message"].startswith("suppressed: mutual TLS")


def test_each_form_of_the_report_has_the_basis_of_each_finding(report: Report) -> None:
    bases = {finding.id: finding.basis for finding in report.findings}
    assert {bases["A01"], bases["A04"], bases["B17"]} == {"answer", "both", "state"}
    assert {finding.id: finding_record(finding)["basis"] for finding in report.findings} == bases
    *cases, _ = ET.fromstring(junit(report).encode()).iter("testcase")
    assert {case.attrib["name"].split()[0]: case[0][0].attrib["value"] for case in cases} == bases
    results = log_of(report)["runs"][0]["results"]
    assert {result["ruleId"]: result["properties"]["basis"] for result in results} == bases
    assert "<dt>Judged by</dt><dd>the answer and the state</dd>" in html(report)


@pytest.mark.parametrize(
    ("verdict", "doubt"), [(Judgement.PASS, ""), (Judgement.INCONCLUSIVE, "nothing was judged: there was no `observe`")]
)
def test_each_form_of_the_report_says_if_nothing_was_judged(verdict: Judgement, doubt: str) -> None:
    finding = Finding(check=CHECKS["C06"], verdict=verdict, reason="there was no `observe`" if doubt else "")
    report = Report(address="http://127.0.0.1/", findings=(finding,), sent=Sent())
    assert (report.doubt, summary_record(report, fail_on="major")["ok"]) == (doubt, not doubt)
    assert [error.attrib["message"] for error in ET.fromstring(junit(report)).iter("error")] == [doubt] * bool(doubt)
    [invocation] = log_of(report)["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is not bool(doubt)
    assert [note["message"]["text"] for note in invocation["toolExecutionNotifications"]] == [doubt] * bool(doubt)
    assert ("is not fully judged" in html(report)) is bool(doubt)


# --- States


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (None, None),
        ({"status": "sent", "costs": [0.1, 2]}, {"status": "sent", "costs": [0.1, 2]}),
        ({7: True, None: b"\xff\x00"}, {"7": True, "None": "\\xff\x00"}),
        ([float("inf"), "\ud800"], ["inf", "\ud800"]),
    ],
)
def test_states_are_json(state: Any, shown: Any) -> None:
    change = Change(Snapshot("7", None), Snapshot("7", state))
    record = finding_record(Finding(check=CHECKS["B16"], verdict=Judgement.PASS, changes=(change,)))
    read = json.loads(json.dumps(record, allow_nan=False))
    assert read["states"] == [{"message_id": "7", "before": None, "after": shown}]


# --- SARIF, by the part of the 2.1.0 schema that the report uses: exactly the same names, types and choices


def an_object(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


def an_array(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


TEXT = {"type": "string"}
BAG = {"type": "object", "properties": {"tags": an_array(TEXT, uniqueItems=True)}}
HEADERS = {"type": "object", "additionalProperties": TEXT}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
MULTIFORMAT = an_object(["text"], text=TEXT, markdown=TEXT)
URI = {"type": "string", "format": "uri-reference"}
CONTENT = an_object(text=TEXT, binary=TEXT)
RULE = an_object(
    ["id"],
    id=TEXT,
    name=TEXT,
    shortDescription=MULTIFORMAT,
    fullDescription=MULTIFORMAT,
    help=MULTIFORMAT,
    defaultConfiguration=an_object(enabled={"type": "boolean"}, level=LEVEL, properties=BAG),
    properties=BAG,
)
LOCATION = an_object(physicalLocation=an_object(artifactLocation=an_object(uri=URI)))
REQUEST = an_object(protocol=TEXT, version=TEXT, target=TEXT, method=TEXT, headers=HEADERS, body=CONTENT)
RESPONSE = an_object(
    protocol=TEXT,
    version=TEXT,
    statusCode={"type": "integer"},
    reasonPhrase=TEXT,
    headers=HEADERS,
    body=CONTENT,
    noResponseReceived={"type": "boolean"},
)
SUPPRESSION = an_object(["kind"], kind={"enum": ["inSource", "external"]}, justification=TEXT)
RESULT = an_object(
    ["message"],
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": -1},
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level=LEVEL,
    message=an_object(["text"], text=TEXT),
    locations=an_array(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    suppressions=an_array(SUPPRESSION, uniqueItems=True),
    webRequest=REQUEST,
    webResponse=RESPONSE,
    properties=BAG,
)
DRIVER = an_object(["name"], name=TEXT, version=TEXT, rules=an_array(RULE, uniqueItems=True))
NOTIFICATION = an_object(["message"], level=LEVEL, message=an_object(["text"], text=TEXT))
INVOCATION = an_object(
    ["executionSuccessful"],
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=an_array(NOTIFICATION),
)
RUN = an_object(
    ["tool"],
    invocations=an_array(INVOCATION),
    tool=an_object(["driver"], driver=DRIVER),
    results=an_array(RESULT),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    properties=BAG,
)
LOG = an_object(
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"enum": ["2.1.0"]},
    runs=an_array(RUN),
)


def log_of(report: Report) -> Any:
    return json.loads(sarif(report))


def test_sarif_follows_the_schema(report: Report) -> None:
    jsonschema.validate(log_of(report), LOG, format_checker=jsonschema.FormatChecker())


BREAKING: dict[str, Callable[[Any], object]] = {
    "version": lambda log: log.update(version="2.0.0"),
    "tool": lambda log: log["runs"][0]["tool"]["driver"].pop("name"),
    "kind": lambda log: log["runs"][0]["results"][0].update(kind="failed"),
    "message": lambda log: log["runs"][0]["results"][0].update(message="text"),
    "headers": lambda log: log["runs"][0]["results"][0]["webRequest"]["headers"].update(a=["b"]),
    "rules": lambda log: log["runs"][0]["tool"]["driver"]["rules"].extend(
        log["runs"][0]["tool"]["driver"]["rules"][:1]
    ),
}


@pytest.mark.parametrize("break_it", BREAKING.values(), ids=BREAKING.keys())
def test_the_sarif_schema_would_notice(break_it: Any, report: Report) -> None:
    log = log_of(report)
    break_it(log)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, LOG)


def test_only_failures_have_a_level(report: Report) -> None:
    # The specification requires it (3.27.10), but no schema can express it.
    for result in log_of(report)["runs"][0]["results"]:
        assert (result["level"] == "none") is (result["kind"] != "fail")


def test_each_result_points_at_its_rule(report: Report) -> None:
    [run] = log_of(report)["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert {result["ruleId"]: result["kind"] for result in run["results"]} == {
        "A01": "pass",
        "A04": "pass",
        "A07": "open",
        "A10": "review",
        "B01": "fail",
        "B03": "fail",
        "B07": "fail",
        "B17": "fail",
        "B21": "notApplicable",
        "C14": "notApplicable",
    }


def test_a_suppressed_result_says_why(report: Report) -> None:
    results = {result["ruleId"]: result for result in log_of(report)["runs"][0]["results"]}
    assert results["B17"]["suppressions"][0]["justification"].startswith("mutual TLS")
    assert "suppressions" not in results["B01"]


def test_the_last_exchange_is_there(report: Report) -> None:
    results = {result["ruleId"]: result for result in log_of(report)["runs"][0]["results"]}
    assert results["B01"]["webResponse"]["statusCode"] == 500
    assert results["B01"]["webRequest"]["headers"]["X-CALLBACK-ID"].endswith(", two")
    assert results["B03"]["webResponse"] == {"noResponseReceived": True}


def test_the_help_of_a_rule_has_its_fix_in_every_language(report: Report) -> None:
    rules = {rule["id"]: rule for rule in log_of(report)["runs"][0]["tool"]["driver"]["rules"]}
    help = rules["B01"]["help"]["markdown"]
    titles = ["Flask", "Django", "FastAPI", "Node, Express", "PHP", "Go", "Java", "Ruby"]
    assert re.findall(r"^([\w, ]+):\n\n```", help, re.MULTILINE) == titles
    for name in ("node", "php", "go"):
        code = f"```{STARTERS[name].language}\n{section(name, 'Signature')}\n```"
        assert code in help
    assert all(rule["help"]["text"] in rule["help"]["markdown"] for rule in rules.values())


def test_a_fix_without_code_has_no_choices() -> None:
    check = msgspec.structs.replace(CHECKS["B01"], fix=Fix("Ask the vendor."))
    finding = Finding(check=check, verdict=Judgement.FAIL)
    report = Report(address="http://127.0.0.1/", findings=(finding,), sent=Sent())
    assert "```" not in log_of(report)["runs"][0]["tool"]["driver"]["rules"][0]["help"]["markdown"]
    assert "radio" not in html(report)


# --- The token of a finding

TOKEN = "eg1:sent-delivered+3:delivered,sent*2"
COMMAND = f"engagelab-mock send --replay '{TOKEN}' --url http://127.0.0.1:5000/engagelab"
FINDING = Finding(check=CHECKS["C06"], verdict=Judgement.FAIL, exchanges=(UNANSWERED,), token=TOKEN)
REPORT = Report(address=UNANSWERED.address, findings=(FINDING,), sent=Sent())


def test_the_token_in_json() -> None:
    record = finding_record(FINDING)
    assert (record["token"], record["repro"]) == (TOKEN, COMMAND)


def test_without_a_token_json_has_null(report: Report) -> None:
    assert {finding_record(finding)["token"] for finding in report.findings} == {None}


def test_the_token_in_html() -> None:
    assert COMMAND.replace("'", "&#x27;") in html(REPORT)


def test_the_token_in_junit() -> None:
    assert COMMAND in junit(REPORT)


def test_the_token_in_sarif(report: Report) -> None:
    [result] = json.loads(sarif(REPORT))["runs"][0]["results"]
    assert (result["properties"]["token"], result["properties"]["repro"]) == (TOKEN, COMMAND)
    assert all("token" not in result["properties"] for result in json.loads(sarif(report))["runs"][0]["results"])


def test_a_curl_line_with_another_scheme_has_the_credentials_of_the_environment() -> None:
    headers = (("Authorization", "bASIC (as configured)"),)
    exchange = msgspec.structs.replace(UNANSWERED, headers=headers, body=b"")
    command = exchange.curl.replace("curl -sS -i -X GET", "printf '%s\\n'")
    environment = {**os.environ, "ENGAGELAB_MOCK_AUTHORIZATION": "Basic YWNtZTpzM2NyZXQ="}
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=True).stdout

    assert said.splitlines()[:2] == ["-H", "Authorization: bASIC YWNtZTpzM2NyZXQ="]
