"""The screenshots of the documentation. With ENGAGELAB_MOCK_WRITE_SCREENS, they are written into docs/screens."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import EngageLab, LiveClock, Receiver, fault
from engagelab_mock.server import ApiServer
from engagelab_mock.server.callbacks import identify
from tests.server.conftest import Talk, message
from tests.server.console.page import Page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SCREENS = Path(__file__).parents[3] / "docs" / "screens"
WRITES = bool(os.environ.get("ENGAGELAB_MOCK_WRITE_SCREENS"))
#: Each picture: its view, its colours, its size, and a text that it shows.
PICTURES = {
    "phones": ("phones", "light", (1000, 560), "verified"),
    "callback": ("callbacks/{callback}", "dark", (1000, 760), "mismatch"),
    "message": ("messages/{message}", "light", (400, 820), "Timeline"),
}


def test_every_picture_is_in_the_documentation() -> None:
    page = (SCREENS.parent / "howto" / "console.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]*)\]\(\.\./screens/(\w+)\.png\)", page)
    assert sorted(name for _, name in shown) == sorted(PICTURES) == sorted(path.stem for path in SCREENS.iterdir())
    assert [name for alt, name in shown if len(alt.split()) < 5] == []
    assert sum(path.stat().st_size for path in SCREENS.iterdir()) < 300_000


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_made(name: str, browser: Chrome, tmp_path: Path) -> None:
    view, scheme, (width, height), shows = PICTURES[name]
    clock = LiveClock()
    clock.freeze()
    defaults = {"check": False, "retry": [60, 600]}
    with EngageLab(Receiver.recording(), clock=clock, defaults=defaults) as engagelab, ApiServer(engagelab) as server:
        talk, page = Talk(server), Page(browser, server.url)
        for to in ("+6591234567", "ann@example.com"):
            first = talk("POST", "/v1/messages", message(to, "login")).json["message_id"]
        run = engagelab.begin_send(
            "+6591234568", scenario="fallback", template="welcome", fault=fault("wrong_secret", on="plan")
        )
        refused = engagelab.journal.wait_for(message_id=run.message_id, outcome="not_200")
        talk("POST", "/_mock/clock/advance", {"seconds": 6})
        engagelab.journal.wait_for(message_id=first, status="delivered")
        talk("POST", f"/_mock/messages/{first}/code")
        engagelab.journal.wait_for(message_id=first, status="verified")
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page.open(f"#/{view.format(callback=identify(refused), message=run.message_id)}")
        page.state("connected")
        page.shows(shows)
        path = (SCREENS if WRITES else tmp_path) / f"{name}.png"
        assert browser.save_screenshot(str(path))
        assert path.stat().st_size > 10_000
