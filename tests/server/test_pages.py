"""The console's page and files: who gets them, their permissions, and their size."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from werkzeug.test import Client

import engagelab_mock
from engagelab_mock import EngageLab
from engagelab_mock.server import ApiServer, create_app
from tests.server.conftest import Talk

FOLDER = Path(engagelab_mock.__file__).parent / "server" / "console"
FILES = sorted(path.name for path in FOLDER.iterdir())
#: The page, and everything that it loads at once.
PATHS = ["/", *(f"/console/{name}" for name in FILES if name != "console.html")]


@pytest.mark.parametrize("path", PATHS)
def test_a_file_of_the_console_is_served_under_a_strict_policy(path: str, talk: Talk) -> None:
    answer = talk("GET", path)
    kind = {"": "html", "css": "css", "js": "javascript"}[Path(path).suffix[1:]]
    assert (answer.status, answer.headers["Content-Type"]) == (200, f"text/{kind}; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    for directive in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert directive in policy.split("; ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert talk("HEAD", path).body == b""


def test_the_first_page_is_small_and_the_scripts_are_short() -> None:
    contents = {name: (FOLDER / name).read_bytes() for name in FILES}
    assert sum(map(len, contents.values())) <= 60_000
    assert sum(content.count(b"\n") for name, content in contents.items() if name.endswith(".js")) <= 600


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_nothing_inline_and_names_no_other_site(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[\w.]+", text) == []
    assert re.findall(r"<style|style=|\son\w+=|javascript:", text) == []
    assert re.findall(r"<script(?! type=\"module\" src=\"/console/console\.js\"></script>)", text) == []
    assert re.findall(r"innerHTML *=|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser", text) == []


@pytest.mark.parametrize("path", ["/console/", "/console/x.js", "/console/../pages.py", "/console/console.html/", "/x"])
def test_there_is_no_other_file(path: str, talk: Talk) -> None:
    assert talk("GET", path).error == (404, 4001)


def test_the_page_takes_no_other_method(talk: Talk) -> None:
    assert talk("POST", "/").status in {404, 405}


def test_without_a_console_there_is_no_page() -> None:
    client = Client(create_app(EngageLab(), console=False))
    assert client.get("/").status_code == 404
    assert client.get("/console/console.js").status_code == 404
    assert client.get("/_mock/messages").status_code == 200


@pytest.mark.parametrize("path", ["/", "/console/console.js", "/_mock/stream", "/_mock/messages"])
@pytest.mark.parametrize("token", ["", "t0ken"])
def test_a_page_of_another_site_gets_nothing(path: str, token: str, engagelab: EngageLab) -> None:
    with ApiServer(engagelab, token=token) as server:
        headers = {"Origin": "https://evil.example", "Authorization": f"Bearer {token}"}
        assert Talk(server)("GET", path, headers=headers).error == (403, 2004)


@pytest.mark.parametrize("path", ["/", "/console/console.js", "/_mock/stream", "/_mock/messages"])
def test_a_name_that_leads_here_from_elsewhere_gets_nothing(path: str, talk: Talk) -> None:
    assert talk("GET", path, headers={"Host": "evil.example"}).error == (403, 2004)


def test_with_a_token_the_page_loads_and_what_it_reads_needs_the_token(engagelab: EngageLab) -> None:
    with ApiServer(engagelab, token="t0ken") as server:
        talk = Talk(server)
        assert {talk("GET", path).status for path in PATHS} == {200}
        assert b"t0ken" not in b"".join(talk("GET", path).body for path in PATHS)
        for path in ("/_mock/stream", "/_mock/messages", "/_mock/callbacks", "/_mock/receivers"):
            assert talk("GET", path).error == (401, 2001)
            assert talk("GET", path, headers={"Authorization": "Bearer t0ken"}).status == 200


def test_what_the_console_reads_is_not_logged(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engagelab_mock.server")
    for path in PATHS:
        assert talk("GET", path).status == 200
    talk("GET", "/_mock/messages", headers={"X-Engagelab-Console": "1"})
    talk("POST", "/_mock/clock/freeze")
    assert [record.getMessage().split(" ")[1:3] for record in caplog.records] == [["POST", "/_mock/clock/freeze"]]
