"""The checks and the explorations in the console."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from engagelab_mock import EngageLab, LiveClock, Receiver, Recorder
from engagelab_mock.server.loopback import LoopbackServer
from tests.explore.books import LastWriteWins
from tests.server.console.page import PATIENCE, Page

pytestmark = pytest.mark.slow


class Gate(Recorder):
    """Receive callbacks without looking at their signatures; while the gate is closed, do not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.opened.set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.opened.wait(PATIENCE)
        return super().__call__(environ, start_response)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def engagelab(gate: Gate) -> Iterator[EngageLab]:
    with LoopbackServer(gate) as listening:
        receiver = Receiver.http(f"{listening.url}/engagelab", username="acme", secret="s3cret-of-acme")
        with EngageLab(receiver, clock=LiveClock()) as engagelab:
            yield engagelab
            gate.opened.set()


def test_a_receiver_is_checked_with_one_click_and_the_findings_say_what_to_change(page: Page) -> None:
    page.open("#/receivers")
    page.click("check")
    page.until(lambda: page.browser.current_url.endswith("#/check"))
    page.shows("/_mock/check")
    page.shows("done")
    page.write("select[name=verdict]", "fail")
    page.until(lambda: page.browser.current_url.endswith("#/check?verdict=fail"))
    page.type(Keys.ESCAPE)
    page.write("#search", "b01")
    page.until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, "main details")) == 1)
    page.type(Keys.ESCAPE, "j", Keys.ENTER)
    page.shows("fix:")
    page.shows("curl -sS")
    page.open("#/check?verdict=pass&search=ping")
    page.until(lambda: page.one("select[name=verdict]").get_attribute("value") == "pass")
    page.until(lambda: 0 < len(page.browser.find_elements(By.CSS_SELECTOR, "main details")) < 20)


def test_the_progress_is_shown_and_a_run_is_cancelled(page: Page, gate: Gate) -> None:
    page.open("#/check")
    page.shows("Nothing was checked yet")
    gate.opened.clear()
    page.write("input[name=only]", "A*, B01", Keys.ENTER)
    page.shows('"only":["A*","B01"]')
    page.one("progress")
    # A change of the run does not take what the user types meanwhile.
    page.write("input[name=only]", " C04")
    page.click("cancel")
    page.shows("cancelled")
    gate.opened.set()
    page.until(lambda: page.value("input[name=only]") == "A*, B01 C04")


def test_an_exploration_of_this_process_is_shown_with_its_token_and_its_states(
    page: Page, engagelab: EngageLab
) -> None:
    page.open("#/explored")
    page.shows("This process has explored nothing")
    books = LastWriteWins()
    engagelab.receiver = books.receiver
    explored = engagelab.explore("delivered", reset=books.reset, check=False)
    page.shows("failed")
    page.type("j", Keys.ENTER)
    page.shows(explored.failures[0].token)
    page.shows("<-- here")
    width = "return document.querySelector('main img')?.naturalWidth"
    page.until(lambda: page.browser.execute_script(width) > 100)
    page.press("summary")
    page.shows("flowchart TD")
