"""The JUnit report, by the schema that CI systems' readers follow: strictly, as they differ in what they forgive."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from engagelab_mock import Report
from engagelab_mock.checks.formats.junit import junit

#: Each element: the attributes it must have, those it may have, its children, whether it holds text.
ELEMENTS: dict[str, tuple[set[str], set[str], set[str], bool]] = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), {"testsuite"}, False),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), {"testcase"}, False),
    "testcase": ({"classname", "name", "time"}, set(), {"failure", "skipped", "system-out"}, False),
    "failure": ({"message", "type"}, set(), set(), True),
    "skipped": ({"message"}, set(), set(), False),
    "system-out": (set(), set(), set(), True),
}
COUNTS = {"tests": "testcase", "failures": "failure", "skipped": "skipped"}


def problems(element: ET.Element) -> list[str]:
    """Return what a strict reader would not accept of an element and all below it."""
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


def test_a_strict_reader_takes_it(report: Report) -> None:
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
def test_a_strict_reader_takes_no_other(old: str, new: str, report: Report) -> None:
    text = junit(report)
    assert old in text
    changed = text.replace(old, new).replace("</skipped>", "</ignored>" if "ignored" in new else "</skipped>")
    assert problems(ET.fromstring(changed.encode())) != []


def test_every_finding_is_a_case_with_its_outcome(report: Report) -> None:
    cases = {case.attrib["name"]: case for case in ET.fromstring(junit(report).encode()).iter("testcase")}
    outcomes = {name.split()[0]: [child.tag for child in case] for name, case in cases.items()}
    assert outcomes == {
        "A01": [],
        "A04": ["system-out"],
        "A07": ["skipped"],
        "B01": ["failure"],
        "B03": ["failure"],
        "B07": ["failure"],
        "B17": ["skipped"],
        "B21": ["skipped"],
    }
    failure = cases["B03 sig-malformed"][0]
    assert failure.attrib == {"message": "it crashed", "type": "major"}
    assert "no complete answer within 3 s" in (failure.text or "")
    assert cases["B17 replay-swapped-body"][0].attrib["message"].startswith("suppressed: mutual TLS")
