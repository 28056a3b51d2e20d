"""HTML pages: read strictly, as a parser and a browser do."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_VOID = {"meta", "br", "input"}
SVG = "{http://www.w3.org/2000/svg}"
#: Text that breaks HTML, pictures and terminals: markup, quotes, control characters, half a surrogate pair, emoji.
NASTY = "<script>alert(1)</script>&\"' \x00\x1b[31m\ud800 \u202e שלום 😀"


class Reader(HTMLParser):
    """Read a page strictly: every element must be closed, in the right order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style"} & {*self.open}:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(page: str) -> Reader:
    """Return a page that is well formed, and needs no script and no other file."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert {tag for tag, _ in reader.seen} & {"script", "link", "img", "iframe"} == set()
    assert not re.findall(r"url\(|@import|src=|href=", re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL))
    assert not any(name.startswith("on") for _, attributes in reader.seen for name in attributes)
    return reader


def pictures(page: str) -> list[ElementTree.Element]:
    """Return the SVG pictures of a page."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg .*?</svg>", page, re.DOTALL)]


def classes(element: ElementTree.Element) -> set[str]:
    return set(element.get("class", "").split())


def open_page(browser: Chrome, path: Path, *, width: int, scheme: str = "light") -> None:
    """Open a file in a window of this width."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    logged(browser, "performance")
    browser.get(path.as_uri())


def logged(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Return what the browser logged since the last time."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def assert_self_contained(browser: Chrome, path: Path) -> None:
    """Assert that the open page wrote nothing to the console, asked for no other file, and needs no scrolling."""
    assert logged(browser, "browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert asked == [path.as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script("return document.scripts.length") == 0
