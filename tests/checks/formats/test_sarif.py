"""The SARIF report, by the part of the 2.1.0 schema that it uses: the same names, types and choices, nothing beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from engagelab_mock import Report
from engagelab_mock.checks.formats.sarif import sarif


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
RUN = an_object(
    ["tool"],
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


def test_it_follows_the_schema(report: Report) -> None:
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
def test_the_schema_would_notice(break_it: Any, report: Report) -> None:
    log = log_of(report)
    break_it(log)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, LOG)


def test_a_level_stands_with_failures_alone(report: Report) -> None:
    # The specification says so (3.27.10), and no schema can.
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
        "B01": "fail",
        "B03": "fail",
        "B07": "fail",
        "B17": "fail",
        "B21": "notApplicable",
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
