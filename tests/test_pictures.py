"""The pictures of the documentation: each is drawn by its script, described in words, and complete in one file."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from engagelab_mock import INFERRED, START, Status

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pictures"
SCRIPTS: dict[str, ModuleType] = runpy.run_path(str(FOLDER))["PICTURES"]
COMMITTED = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
SHOWN = [
    (page.relative_to(ROOT), alt, target)
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+\.svg)\)", page.read_text(encoding="utf-8"))
]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_picture_equals_its_script_s_drawing(name: str) -> None:
    assert SCRIPTS[name].draw() == COMMITTED[name], f"run `python docs/pictures`: {name}.svg is out of date"


def test_every_picture_has_its_script() -> None:
    assert sorted(COMMITTED) == sorted(SCRIPTS)


def test_every_picture_is_shown_and_has_an_alt_text() -> None:
    assert {Path(target).stem for _, _, target in SHOWN} == set(SCRIPTS)
    assert [(page, target) for page, alt, target in SHOWN if len(alt.split()) < 5] == []
    assert [(page, target) for page, _, target in SHOWN if not (ROOT / page.parent / target).exists()] == []


@pytest.mark.parametrize("name", COMMITTED)
def test_a_picture_needs_nothing_from_outside_and_has_a_dark_side(name: str) -> None:
    text = COMMITTED[name]
    picture = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= {
        "svg",
        "title",
        "desc",
        "style",
        "text",
        "rect",
        "path",
    }
    assert not [key for element in picture.iter() for key in element.attrib if key.endswith(("href", "src"))]
    assert not re.search(r"@import|@font-face|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert picture.findtext(f"{SVG}title") == SCRIPTS[name].ALT


@pytest.mark.parametrize("name", COMMITTED)
def test_no_text_of_a_picture_goes_over_its_edge(name: str) -> None:
    picture = ElementTree.fromstring(COMMITTED[name])
    width = float(picture.attrib["width"])
    for text in picture.iter(f"{SVG}text"):
        length = float(text.attrib["textLength"])
        start = float(text.attrib["x"]) - length * {"start": 0, "middle": 0.5, "end": 1}[text.attrib["text-anchor"]]
        assert start >= 8, text.text
        assert start + length <= width - 8, text.text


def test_the_status_graph_has_exactly_the_arrows_of_the_graph() -> None:
    groups = SCRIPTS["statuses"].GROUPS
    drawn = {(status, after) for status, group in SCRIPTS["statuses"].arrows() for after in groups[group]}
    assert drawn == {(str(status), after) for status in Status for after in INFERRED.next_after(status)}
    assert sorted(status for group in groups for status in group) == sorted(Status)
    assert INFERRED.next_after(START) == groups[0]
