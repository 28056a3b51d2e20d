"""The log of `serve`: what somebody who watches the terminal reads."""

from __future__ import annotations

import re

from tests.cli.conftest import Serving, end, wait_for_lines
from tests.cli.serving import Inbound, towards


def test_every_request_and_every_callback_is_logged(serving: Serving, receiver: tuple[Inbound, str]) -> None:
    program, client = serving(*towards(receiver[1]), "--speed", "1000")
    assert client.refused("GET", "/v1/nothing")[0] == 404
    client.send("+6591234567")
    wait_for_lines(program, r"^\d\d:\d\d:\d\d  ✗ GET /v1/nothing {20}404 +\d+\.\d ms$", 1)
    wait_for_lines(program, r"^\d\d:\d\d:\d\d  ✓ POST /v1/messages {18}200 +\d+\.\d ms$", 1)
    wait_for_lines(program, r"^\d\d:\d\d:\d\d  ✓ plan {14}\+6591234567 {6}200 +\d+\.\d ms$", 1)
    end(program)


def test_the_code_of_each_message_is_logged(serving: Serving) -> None:
    program, client = serving()
    client.freeze()
    client.send("+6591234567")
    client.call("POST", "/v1/codes", {"to": "+6591234568", "code": "31337", "template": {"id": "tpl"}})
    client.advance(seconds=60)
    code = client.call("GET", "/_mock/inbox/+6591234567")["code"]
    err = end(program).err

    assert f"            code {code} to +6591234567 over sms\n" in err
    assert "            code 31337 to +6591234568 over sms\n" in err


def test_why_a_call_is_refused_is_logged(serving: Serving) -> None:
    program, client = serving()
    client.refused("POST", "/v1/messages", {"to": "+6591234567"})
    err = end(program).err

    assert re.search(r"✗ POST /v1/messages +400 +\d+\.\d ms\n {12}3002: .*template", err)


def test_an_error_that_repeats_is_logged_once(serving: Serving, closed_url: str) -> None:
    program, client = serving("--callback-url", closed_url, "--speed", "1000", "--retry", "1")
    client.send()
    assert program.stderr is not None
    logged = [next(program.stderr)]
    while not re.search("✗ delivered .* refused .* attempt 2$", logged[-1]):
        logged.append(next(program.stderr))
    end(program)
    assert sum("nothing listens on" in line for line in logged) == 1
