"""The console in a browser, as a user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
#: How long the page may take to show something before the test is called stuck, in seconds.
PATIENCE = 20.0


class Page:
    """The console, as a user sees it."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, view: str = "") -> None:
        """Open a view in a new document."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}/{view}")

    def until(self, ask: Callable[[], T], what: str = "") -> T:
        """Wait for something to be there, and return it."""
        wait = WebDriverWait(self.browser, PATIENCE, poll_frequency=0.05, ignored_exceptions=[Exception])
        return wait.until(lambda _: ask(), what or self.text)

    @property
    def text(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "body").text

    def shows(self, text: str) -> None:
        """Wait for a text."""
        try:
            self.until(lambda: text in self.text)
        except TimeoutException:
            pytest.fail(f"the page never showed {text!r}, but: {self.text}")

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: self.browser.find_element(By.CSS_SELECTOR, selector), f"there is no {selector}")

    def write(self, selector: str, *keys: str, anew: bool = False) -> None:
        """Type into the first that fits, which a change may replace in the meantime; `anew` empties it before."""

        def write() -> bool:
            field = self.browser.find_element(By.CSS_SELECTOR, selector)
            if anew:
                field.clear()
            field.send_keys(*keys)
            return True

        self.until(write, f"there is no {selector}")

    def value(self, selector: str) -> str:
        """Return what a field holds."""
        ask = f"return document.querySelector({selector!r}).value"
        return self.until(lambda: str(self.browser.execute_script(ask)), f"there is no {selector}")

    def press(self, selector: str) -> None:
        """Click on the first that fits, which a change may replace in the meantime."""

        def click() -> bool:
            self.browser.find_element(By.CSS_SELECTOR, selector).click()
            return True

        self.until(click, f"there is no {selector}")

    def click(self, label: str) -> None:
        """Press a button, which a change may replace in the meantime."""

        def press() -> bool:
            buttons = self.browser.find_elements(By.TAG_NAME, "button")
            chosen = next(each for each in buttons if each.text == label and each.is_displayed())
            # In the middle, because the line at the bottom may cover it.
            self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chosen)
            chosen.click()
            return True

        self.until(press, f"there is no button {label!r}")

    def type(self, *keys: str) -> None:
        """Press keys wherever the focus is, in an element that a change may replace in the meantime."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def state(self, name: str) -> None:
        self.until(lambda: self.one("#link").get_attribute("data-state") == name, f"it never was {name}")


def logged(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Return the entries of a log of the browser, and forget them."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def requested(browser: Chrome) -> list[str]:
    """Return the address of each request that the browser made."""
    told = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    return [each["params"]["request"]["url"] for each in told if each["method"] == "Network.requestWillBeSent"]
