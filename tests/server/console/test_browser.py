"""The console in a real browser: a user sees messages and acts on them while an app sends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engagelab_otp import OTPClient
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from engagelab_mock import EngageLab, LiveClock
from engagelab_mock.messages.template import Template
from engagelab_mock.server import ApiServer
from engagelab_mock.server.callbacks import identify
from tests.server.conftest import Talk, message
from tests.server.console.page import PATIENCE, Page, logged

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

#: Returns the width of the narrowest part of a row that has any text.
NARROWEST = """
const parts = [...document.querySelectorAll(".row > *")].filter((each) => each.textContent);
return Math.min(400, ...parts.map((each) => each.getBoundingClientRect().width));
"""
VIEWS = ("phones", "messages", "callbacks", "receivers", "clock", "rules", "check", "explored")
#: The file axe.min.js of npm's axe-core; without it, its test is skipped.
AXE = os.environ.get("ENGAGELAB_MOCK_TEST_AXE", "")

pytestmark = pytest.mark.slow


def test_a_code_appears_is_entered_and_verified_arrives(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    page.shows("Nothing was sent yet")
    client = OTPClient("key", "secret")
    client.BASE_URL = server.base_url
    sent = client.send("+6591234567", "login")
    code = engagelab.inbox("+6591234567").wait(timeout=PATIENCE).code
    page.shows(code)
    page.click("wrong")
    page.until(lambda: engagelab.journal.where(status="verified_failed").deliveries)
    page.press("input[name=code]")
    page.type(code, Keys.ENTER)
    page.until(lambda: page.one(".bubble .good").text == "verified")
    page.open(f"#/messages/{sent['message_id']}")
    page.shows("verified_failed")
    page.until(
        lambda: (
            [each.text for each in page.browser.find_elements(By.CSS_SELECTOR, ".row strong")][-1:] == ["✔ verified"]
        )
    )


def test_a_template_that_is_a_script_is_text(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    Talk(server)("POST", "/v1/messages", message(template=evil))
    engagelab.notify("template_audit_result", reason=evil)
    for view in ("#/phones", "#/messages", "#/callbacks", "#/rules"):
        page.open(view)
        page.state("connected")
    page.open("#/messages")
    page.shows(evil)
    page.press(".row")
    page.shows(f"+6591234567 · {evil}")
    found = page.browser.find_elements(By.CSS_SELECTOR, "main script, main img")
    assert found == []


ODD = {
    "an emoji": "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "NUL and others": "a\x00b\x1b[31mc\u2028d",
    "markup": "</textarea><style>*{display:none}</style><iframe srcdoc='<script>parent.x=1</script>'>",
    "a megabyte": "x" * 900_000,
}


@pytest.mark.parametrize("name", ODD)
def test_any_text_of_a_message_is_shown(name: str, page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    text = ODD[name]
    content = {"template_type": 2, "template_custom_config": {"custom_content": "{{said}} and its end"}}
    engagelab._engine.templates.add(Template(template_id="odd", send_channel_strategy="sms", sms_config=content))
    talk = Talk(server)
    body = {"to": "+6591234567", "template": {"id": "odd", "params": {"said": text}}, "custom_args": {"said": text[:9]}}
    sent = talk("POST", "/v1/custom-messages", body).json
    engagelab.inbox("+6591234567").wait(timeout=PATIENCE)
    for view in ("#/phones", f"#/messages/{sent['message_id']}"):
        page.open(view)
        shown = page.until(lambda: page.one(".bubble p:nth-of-type(2)").get_property("textContent"))
        assert isinstance(shown, str)
        assert shown == f"{text} and its end"[:10_000]
    page.open("#/callbacks")
    page.press(".row[data-resend]")
    page.shows("Request")
    assert page.browser.find_elements(By.CSS_SELECTOR, "main iframe, main style") == []


def test_everything_by_keys_alone(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    for number in range(3):
        Talk(server)("POST", "/v1/messages", message(f"+659123456{number}"))
    page.shows("+6591234562")
    page.type("?")
    page.shows("the next, the one before")
    page.type(Keys.ESCAPE)
    page.type("2")
    page.until(lambda: page.browser.current_url.endswith("#/messages"))
    page.until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, ".row")) == 3)
    page.type("/")
    page.until(lambda: page.browser.switch_to.active_element.get_attribute("id") == "search")
    page.type("4561")
    page.until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, ".row")) == 1)
    assert page.browser.current_url.endswith("#/messages?search=4561")
    page.type(Keys.ESCAPE)
    page.type("j")
    page.type(Keys.ENTER)
    page.shows("What comes next")
    page.type("u")
    page.until(lambda: page.browser.current_url.endswith("#/messages"))
    page.type("3")
    page.until(lambda: page.browser.find_elements(By.CSS_SELECTOR, ".row[data-resend]"))
    before = len(engagelab.journal)
    page.type("j")
    page.type("r")
    page.until(lambda: len(engagelab.journal) > before)
    page.shows("/send")


def test_what_somebody_types_survives_what_arrives(page: Page, server: ApiServer) -> None:
    Talk(server)("POST", "/v1/messages", message())
    page.shows("+6591234567")
    page.press("input[name=code]")
    page.type("12")
    Talk(server)("POST", "/v1/messages", message("ann@example.com"))
    page.shows("ann@example.com")
    page.type("34")
    # In one step, because a change may replace the field.
    read = "return [document.activeElement.name, document.activeElement.value]"
    assert page.browser.execute_script(read) == ["code", "1234"]


def test_a_gesture_shows_its_call_and_a_message_is_copied_as_a_test(page: Page, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"])
    page.open(f"#/messages/{run.message_id}")
    page.click("sent")
    page.shows(f'curl -X POST -d \'{{"status":"sent"}}\' {page.url}/_mock/messages/{run.message_id}/next')
    page.until(lambda: engagelab.journal.statuses == ["plan", "sent"])
    page.click("pytest")
    page.shows("engagelab.play('eg1:plan,sent')")
    page.click("token")
    page.until(lambda: page.one("#said code").text == "eg1:plan,sent")


def test_a_filter_in_the_address_is_applied_and_back_works(page: Page, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    engagelab.send("+6591234568", scenario=["plan"])
    page.open("#/messages?to=%2B6591234567")
    page.until(lambda: page.one("input[name=to]").get_attribute("value") == "+6591234567")
    page.until(
        lambda: [each.text for each in page.browser.find_elements(By.CSS_SELECTOR, ".row strong")] == ["+6591234567"]
    )
    page.press(".row")
    page.shows("What comes next")
    page.browser.back()
    page.until(
        lambda: [each.text for each in page.browser.find_elements(By.CSS_SELECTOR, ".row strong")] == ["+6591234567"]
    )


def test_why_a_callback_was_refused_is_taken_apart_and_sent_again(page: Page, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"], fault="wrong_secret")
    page.open("#/callbacks")
    page.shows("answered 401 Unauthorized")
    page.press(".row")
    page.shows("mismatch")
    cells = "main tbody td:last-child"
    marks = page.until(lambda: [each.text for each in page.browser.find_elements(By.CSS_SELECTOR, cells)])
    assert marks == ["?", "?", "✔", "✘"]
    old = page.browser.current_url
    page.click("resend")
    page.until(lambda: page.browser.current_url != old)
    page.shows("200 OK")
    assert [each.acknowledged for each in engagelab.journal.where(message_id=run.message_id).deliveries] == [
        False,
        True,
    ]


def test_the_clock_is_moved_and_rules_are_made(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    page.open("#/clock")
    page.click("freeze")
    page.until(lambda: engagelab.clock.frozen)
    at = engagelab.clock.time()
    page.click("+ 5 min")
    page.until(lambda: engagelab.clock.time() == at + 300)
    page.shows("stands still")
    page.click("resume")
    page.open("#/rules")
    page.click("make the next send fail")
    page.shows("error 5016")
    assert Talk(server)("POST", "/v1/messages", message()).json["code"] == 5016
    page.click("remove")
    page.shows("There is no rule.")
    page.open("#/receivers")
    page.click("ping")
    page.shows("normal")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_on_a_narrow_screen(scheme: str, page: Page, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"], fault="stale")
    browser = page.browser
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        for view in (*VIEWS, f"messages/{run.message_id}"):
            page.open(f"#/{view}")
            page.state("connected")
            page.until(lambda: page.one("main").text)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 400, view
            assert browser.execute_script(NARROWEST) >= 20, view
        back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_with_a_token_the_page_asks_for_it(browser: Chrome, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    with ApiServer(engagelab, token="t0ken") as server:
        page = Page(browser, server.url)
        page.open()
        page.shows("This server needs its token")
        page.write("#token", "wrong", Keys.ENTER)
        page.shows("This server needs its token")
        page.until(lambda: page.one("#token").get_attribute("value") == "")
        page.write("#token", "t0ken", Keys.ENTER)
        page.shows("+6591234567")
        page.state("connected")
        page.browser.refresh()
        page.shows("+6591234567")
    logged(browser, "browser")


def test_a_server_that_was_killed_and_is_back_is_caught_up_with(browser: Chrome) -> None:
    with EngageLab(clock=LiveClock(), defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
        port = int(server.url.rpartition(":")[2])
        page = Page(browser, server.url)
        engagelab.send("+6591234567", scenario=["plan"])
        page.open("#/messages")
        page.state("connected")
        page.shows("+6591234567")
    page.state("stale")
    page.shows("stale since")
    with EngageLab(clock=LiveClock(), defaults={"check": False}) as engagelab:
        engagelab.send("+6591234568", scenario=["plan"])
        with ApiServer(engagelab, port=port):
            page.state("connected")
            page.shows("The server was restarted")
            page.shows("+6591234568")
            page.until(lambda: "+6591234567" not in page.text)
    logged(browser, "browser")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="programs cannot be stopped here")
def test_a_server_that_hangs_is_stale_until_it_goes_on(browser: Chrome) -> None:
    arguments = [sys.executable, "-m", "engagelab_mock", "serve", "--port", "0", "--format", "json"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            assert program.stdout is not None
            page = Page(browser, json.loads(program.stdout.readline())["url"])
            page.open()
            page.state("connected")
            program.send_signal(signal.SIGSTOP)
            page.state("stale")
            program.send_signal(signal.SIGCONT)
            page.state("connected")
            assert "restarted" not in page.text
        finally:
            program.kill()
    logged(browser, "browser")


@pytest.mark.skipif(not AXE, reason="ENGAGELAB_MOCK_TEST_AXE does not name axe.min.js of npm's axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(scheme: str, page: Page, engagelab: EngageLab) -> None:
    axe = Path(AXE).read_text(encoding="utf-8")
    run = engagelab.send("+6591234567", scenario=["plan"], fault="wrong_secret")
    engagelab.rule(error=5013)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    callback = identify(run.deliveries[0])
    for view in (*VIEWS, f"messages/{run.message_id}", f"callbacks/{callback}"):
        page.open(f"#/{view}")
        page.state("connected")
        page.until(lambda: page.one("main").text)
        page.browser.execute_script(axe)
        faults = page.browser.execute_async_script(
            "const done = arguments[0]; axe.run().then((found) => done(found.violations.map((each) => each.id)))"
        )
        assert faults == [], view
