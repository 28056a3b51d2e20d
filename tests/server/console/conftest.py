"""A browser, and a server whose console it shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import EngageLab, LiveClock, Receiver
from engagelab_mock.server import ApiServer
from tests.browser import open_browser
from tests.server.console.page import Page, logged, requested

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chrome = open_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


@pytest.fixture
def engagelab() -> Iterator[EngageLab]:
    with EngageLab(Receiver.recording(), clock=LiveClock(speed=10), defaults={"check": False}) as engagelab:
        yield engagelab


@pytest.fixture
def server(engagelab: EngageLab) -> Iterator[ApiServer]:
    with ApiServer(engagelab) as server:
        yield server


@pytest.fixture
def page(browser: Chrome, server: ApiServer) -> Iterator[Page]:
    browser.get("about:blank")  # the page of the test before misses its server
    logged(browser, "browser")
    logged(browser, "performance")
    page = Page(browser, server.url)
    page.open()
    page.state("connected")
    yield page
    trouble = [entry["message"] for entry in logged(browser, "browser") if entry["level"] in {"SEVERE", "WARNING"}]
    assert trouble == []
    assert {url for url in requested(browser) if not url.startswith((server.url, "data:", "about:", "chrome"))} == set()
