"""The HTML report, as a real browser shows it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

import engagelab_mock
from engagelab_mock import CHECKS, Finding, Judgement, Receiver, Report
from engagelab_mock.checks.reports_html import html
from engagelab_mock.cli.check_report import CheckSummary
from engagelab_mock.cli.output import Screen
from tests.browser import open_browser
from tests.pages import read

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def test_it_is_well_formed_for_any_answer_of_a_receiver(report: Report) -> None:
    reader = read(html(report))
    assert "b" not in [tag for tag, attributes in reader.seen[:12]]
    assert [tag for tag, _ in reader.seen].count("details") == 3


def test_it_needs_nothing_else(report: Report) -> None:
    read(html(report))


def test_it_says_when_with_which_version_and_seed_the_checks_ran(report: Report) -> None:
    page = html(msgspec.structs.replace(report, at=1_700_000_000, seed="<7>"))
    said = f"2023-11-14 22:13:20 UTC, engagelab-mock {engagelab_mock.__version__}, seed <7>"
    assert said in read(page).text
    assert "UTC" not in read(html(report)).text


def test_its_counts_are_those_of_the_report_as_text(report: Report) -> None:
    left_out = Finding(check=CHECKS["C04"], verdict=Judgement.SKIPPED, reason="deep", left_out=True)
    report = msgspec.structs.replace(report, findings=(*report.findings, left_out), workers=2, inferred="`x` is")
    text = read(html(report)).text
    summary = CheckSummary(
        report=report,
        receiver=Receiver.http(report.address),
        fail_on="major",
        verbose=False,
        languages=[],
        again=[""],
        interrupted=False,
    )
    output = StringIO()
    summary.write(Screen(output))
    counts = re.findall(r"\d+ failed, .*?1 not\s+selected", output.getvalue(), re.DOTALL)[0]
    assert " ".join(counts.split()).replace(", ", " ") in text
    assert "1 passed by the answer alone" in text
    assert "Answered by 2 workers, as X-Worker-Id says." in text
    assert "x is" in text
    parts = [
        int(number)
        for number in re.findall(
            r"(?:Blocker|Major|Minor|Info|Suppressed|Errors|Inconclusive|"
            r"Not applicable|Passed|Skipped|Not selected) \((\d+)\)",
            text,
        )
    ]
    assert sum(parts) == len(report.findings)


def test_a_fix_is_shown_in_the_language_that_is_asked_for_and_can_be_in_another(report: Report) -> None:
    def chosen(page: str) -> list[str]:
        return re.findall(r'name="(?:B01|B03)" id="[^"]+" checked><label for="[^"]+">([^<]+)</label>', page)

    assert chosen(html(report)) == ["Flask", "Flask"]
    assert chosen(html(report, language="express")) == ["Node, Express", "Node, Express"]
    reader = read(html(report, language="php"))
    ids = [attributes["id"] for tag, attributes in reader.seen if tag == "input"]
    assert len(ids) == len({*ids})
    for title, fact in (("Node, Express", "timingSafeEqual"), ("PHP", "hash_equals"), ("Go", "hmac.Equal")):
        assert title in reader.text
        assert fact in reader.text


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chrome = open_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


def pixels(png: bytes) -> set[bytes]:
    """Return the colours of a picture."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, width > 100, height > 20) == (8, True, True)
    data = b"".join(
        png[found.end() : found.end() + int.from_bytes(png[found.start() - 4 : found.start()])]
        for found in re.finditer(b"IDAT", png)
    )
    raw = zlib.decompressobj().decompress(data)
    size = {2: 3, 6: 4}[kind]
    return {raw[index : index + size] for index in range(1, len(raw), size)}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_summary_is_seen_in_a_browser(scheme: str, browser: Chrome, report: Report, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    path = tmp_path / "report.html"
    path.write_text(html(report), encoding="utf-8")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(path.as_uri())

    summary = browser.find_element(By.CLASS_NAME, "summary")
    assert summary.is_displayed()
    assert summary.text.replace("\n", " ") == (
        "3 failed 2 passed 1 suppressed 1 ended with an error 1 inconclusive 1 not applicable 1 skipped "
        "1 passed by the answer alone"
    )
    assert browser.find_element(By.TAG_NAME, "h1").text == "This receiver fails 2 checks"
    # Visible without scrolling, and inside the window.
    height, width = browser.execute_script("return [innerHeight, innerWidth]")
    rect = summary.rect
    assert 0 < rect["y"] < rect["y"] + rect["height"] < height
    assert 0 <= rect["x"] < rect["x"] + rect["width"] <= width
    assert len(pixels(summary.screenshot_as_png)) > 10

    paper = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    brightness = max(int(part) for part in re.findall(r"\d+", paper)[:3])
    assert brightness > 200 if scheme == "light" else brightness < 60


@pytest.mark.slow
def test_a_finding_opens_to_its_evidence_in_a_browser(browser: Chrome, report: Report, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    path = tmp_path / "report.html"
    path.write_text(html(report), encoding="utf-8")
    browser.get(path.as_uri())

    finding = browser.find_elements(By.TAG_NAME, "details")[1]
    evidence = finding.find_element(By.TAG_NAME, "dl")
    assert not evidence.is_displayed()
    finding.find_element(By.TAG_NAME, "summary").click()
    assert evidence.is_displayed()
    assert "no complete answer within 3 s" in evidence.text
    assert "hmac.compare_digest" in evidence.text
    # One language at a time; the choice of another finding stays.
    labels = {each.text: each for each in finding.find_elements(By.TAG_NAME, "label")}
    labels["PHP"].click()
    assert "hash_equals" in evidence.text
    assert "hmac.compare_digest" not in evidence.text
    chosen = browser.execute_script("return [...document.querySelectorAll('input:checked')].map(each => each.id)")
    assert chosen[:2] == ["B01-0", "B03-4"]
    # Long lines of evidence do not make the page wider than the window.
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
