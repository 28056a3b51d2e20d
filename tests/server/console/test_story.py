"""The console next to real programs: `serve`, the official SDK, a receiver in Node, `listen`, and pytest."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from engagelab_otp import OTPClient
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from engagelab_mock import EngageLab, LiveClock, Receiver, Recorder
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from tests.server.conftest import Talk
from tests.server.console.page import Page, logged
from tests.server.test_copying import Careless, run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
SECRET = "s3cret-of-acme"
#: Verifies each signature, prints the statuses, and answers 200.
NODE = """
const http = require("http"), crypto = require("crypto");
const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (part) => { body += part; });
  request.on("end", () => {
    const parts = new Map((request.headers["x-callback-id"] ?? "").split(";").map((part) => part.split("=")));
    const text = `${parts.get("timestamp")}${parts.get("nonce")}${parts.get("username")}`;
    const right = crypto.createHmac("sha256", process.argv[1]).update(text).digest("hex");
    const genuine = parts.get("signature") === right;
    if (genuine && body.length > 2) for (const row of JSON.parse(body).rows) console.log(row.status.message_status);
    response.statusCode = genuine ? 200 : 401;
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@contextmanager
def program(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a folder until the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGELAB_")}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder, env=environment
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def said(started: subprocess.Popen[str]) -> str:
    """Return the next line of a program."""
    assert started.stdout is not None
    return started.stdout.readline().strip()


@contextmanager
def mock(command: str, *arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command of engagelab-mock, and give the program and its address."""
    whole = [sys.executable, "-m", "engagelab_mock", command, *arguments, "--format", "json"]
    with program(*whole, folder=folder) as started:
        yield started, json.loads(said(started))["url"]


def client_of(url: str) -> OTPClient:
    client = OTPClient("key", "secret")
    client.BASE_URL = f"{url}/v1"
    return client


def sdk(client: OTPClient, to: str) -> str:
    """Send a message by the official SDK."""
    sent: dict[str, Any] = client.send(to, "login")
    return str(sent["message_id"])


def marks(page: Page) -> list[str]:
    """Return the outcome and the statuses of each callback in the timeline."""
    return [each.text for each in page.browser.find_elements(By.CSS_SELECTOR, ".row strong")]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
def test_a_code_is_sent_seen_and_entered_by_keys_alone(browser: Chrome, tmp_path: Path) -> None:
    with program("node", "-e", NODE, SECRET, folder=tmp_path) as node:
        callback = f"http://127.0.0.1:{said(node)}/engagelab"
        options = ("--callback-url", callback, "--username", "acme", "--secret", SECRET, "--speed", "10", "--port", "0")
        with mock("serve", *options, folder=tmp_path) as (_, url):
            page = Page(browser, url)
            page.open()
            page.state("connected")
            page.browser.execute_script("window.neverLoadedAgain = true")
            sdk(client_of(url), "+6591234567")
            code = page.until(lambda: page.one(".bubble .code").text)
            page.type("e")
            page.until(lambda: page.browser.execute_script("return document.activeElement.name") == "code")
            page.type(code, Keys.ENTER)
            page.until(lambda: page.one(".bubble .good").text == "verified")
            page.type(Keys.ESCAPE, "2")
            page.until(lambda: page.browser.find_elements(By.CSS_SELECTOR, ".row"))
            page.type("j", Keys.ENTER)
            page.until(lambda: marks(page) == ["✔ plan", "✔ sent", "✔ delivered", "✔ verified"])
            assert page.browser.execute_script("return window.neverLoadedAgain")
            assert [said(node) for _ in range(4)] == ["plan", "sent", "delivered", "verified"]
            browser.get("about:blank")
    assert [each["message"] for each in logged(browser, "browser") if "Security Policy" in each["message"]] == []


def test_listen_is_a_receiver_whose_answers_are_shown(browser: Chrome, tmp_path: Path) -> None:
    with mock("listen", "--username", "acme", "--secret", SECRET, folder=tmp_path) as (_, heard):
        options = ("--callback-url", heard, "--username", "acme", "--secret", SECRET, "--speed", "100", "--port", "0")
        with mock("serve", *options, folder=tmp_path) as (_, url):
            page = Page(browser, url)
            page.open("#/receivers")
            page.click("ping")
            page.shows("normal")
            sdk(client_of(url), "+6591234567")
            page.shows("4 acknowledged, 0 not")
            page.click("check")
            page.shows("done")
    logged(browser, "browser")


def test_a_server_that_was_killed_goes_on_where_it_was(browser: Chrome, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    page = Page(browser, f"http://127.0.0.1:{port}")
    for to in ("+6591234567", "+6591234568"):
        with mock("serve", "--port", port, "--db", "kept.db", folder=tmp_path) as (server, url):
            if to == "+6591234567":
                page.open("#/messages")
            else:
                page.shows("The server was restarted")
                page.shows("+6591234567")
            page.state("connected")
            sdk(client_of(url), to)
            page.shows(to)
            server.kill()
            page.state("stale")
    logged(browser, "browser")


def test_a_receiver_that_is_down_for_ten_minutes_gets_its_callbacks_then(browser: Chrome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    clock = LiveClock()
    clock.freeze()
    receiver = Receiver.http(f"http://127.0.0.1:{port}/engagelab")
    options: dict[str, Any] = {"check": False, "retry": [60, 600]}
    with EngageLab(receiver, clock=clock, defaults=options) as engagelab, ApiServer(engagelab) as server:

        def reached(moment: float) -> bool:
            return bool(engagelab.clock.time() >= moment)

        page = Page(browser, server.url)
        sdk(client_of(server.url), "+6591234567")
        page.open("#/messages")
        page.shows("1 not acknowledged")
        page.press(".row")
        page.shows("connection refused")
        page.shows("in 60 s")
        for _ in range(2):
            page.open("#/clock")
            moment = engagelab.clock.time() + 300
            page.click("+ 5 min")
            page.until(partial(reached, moment))
        with LoopbackServer(Recorder(), port=port):
            page.open("#/messages")
            page.press(".row")
            page.shows("attempt 2")
            for _ in range(3):
                Talk(server)("POST", "/_mock/clock/advance", {"minutes": 10})
            page.until(lambda: all("✔" in each for each in marks(page)))
    logged(browser, "browser")


def test_a_test_that_is_copied_from_the_page_fails_until_the_receiver_is_mended(
    browser: Chrome, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Careless()
    app.refuses = b'"sent"'
    with LoopbackServer(app) as listening:
        receiver = Receiver.http(f"{listening.url}/engagelab", username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
        with EngageLab(receiver, defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
            sent = engagelab.send("+6591234567", scenario="delivered")
            page = Page(browser, server.url)
            page.open(f"#/messages/{sent.message_id}")
            page.shows("500 Broken")
            page.click("pytest")
            text = page.until(lambda: str(page.one("#said code").get_property("textContent")))
        run(pytester, monkeypatch, text).assert_outcomes(failed=1)
        app.refuses = b""
        run(pytester, monkeypatch, text).assert_outcomes(passed=1)
    logged(browser, "browser")


def test_one_of_ten_thousand_messages_is_found(browser: Chrome) -> None:
    with EngageLab(defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
        engagelab.send_many(10_000, to=[f"+65912{number:05}" for number in range(10_000)], scenario=["plan"])
        page = Page(browser, server.url)
        page.open("#/messages")
        page.shows("50 newest of 10000")
        page.click("older")
        page.shows("100 newest of 10000")
        page.type("/")
        page.type("91204321")
        page.until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, ".row")) == 1)
        page.shows("+6591204321")
    logged(browser, "browser")
