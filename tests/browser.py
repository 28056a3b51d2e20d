"""A real browser for tests: Chromium, without a window."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

#: Set if a browser is installed for the tests: then they fail without a browser, and are not skipped.
REQUIRED = "ENGAGELAB_MOCK_TEST_BROWSER"


def open_browser(profile: Path) -> Chrome:
    """Start Chromium, or skip the test."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        if os.environ.get(REQUIRED):
            pytest.fail("there is neither chromium nor chromedriver, and there should be")
        pytest.skip("there is no browser: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        "disable-component-update",
        "no-first-run",
        "hide-scrollbars",
        "window-size=1100,900",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
