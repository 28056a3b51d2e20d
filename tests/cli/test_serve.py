"""`serve` as a user runs it: the address first, then an API, callbacks, and an orderly end."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shlex
import signal
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.conftest import Command, Serving, Spawn, end, wait_for_lines
from tests.cli.serving import BASIC, PATIENCE, Inbound, towards


def test_an_app_sends_and_is_called_back(serving: Serving, receiver: tuple[Inbound, str]) -> None:
    inbound, url = receiver
    program, client = serving(*towards(url), "--seed", "7")
    client.freeze()

    sent = client.send()
    client.advance(seconds=60)
    wait_for_lines(program, "✓ delivered ", 1)
    assert inbound.statuses() == ["plan", "sent", "delivered"]
    assert all(received.verdict for received in inbound.received)

    (message,) = client.call("GET", "/_mock/inbox/+6591234567")["messages"]
    verified = client.call(
        "POST", "/v1/verifications", {"message_id": sent["message_id"], "verify_code": message["code"]}
    )
    assert verified["verified"] is True
    wait_for_lines(program, "✓ verified ", 1)
    ended = end(program)
    assert (ended.code, ended.out) == (143, "")
    assert "4 callbacks sent, 4 acknowledged" in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(serving: Serving, number: int, code: int) -> None:
    program, client = serving()
    assert client.call("GET", "/_mock/readyz")
    ended = end(program, number)
    assert (ended.code, ended.out) == (code, "")
    assert "0 callbacks sent" in ended.err
    assert "Traceback" not in ended.err


def test_text_begins_with_the_address(spawn: Spawn) -> None:
    program = spawn("serve", "--port", "0")
    assert program.stdout is not None
    assert re.fullmatch(r"Serving on http://127\.0\.0\.1:\d+\n", program.stdout.readline())
    assert "callbacks go to nowhere: give --callback-url" in end(program).err


def test_it_begins_with_addresses_and_a_command_to_try(
    spawn: Spawn, receiver: tuple[Inbound, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    program = spawn("serve", "--port", "0", *towards(receiver[1]))
    assert program.stdout is not None
    url = program.stdout.readline().split()[-1]
    err = end(program).err

    lines = err.splitlines()
    assert f"base URL  {url} instead of" in lines[0]
    assert f"inbox     {url}/_mock/inbox" in lines
    assert f"callbacks go to {receiver[1]}" in err
    [command] = [line for line in lines if line.startswith("try       ")]
    assert shlex.split(command)[1:] == [
        *("curl", "-u", "key:secret", "-d", '{"to": "+6591234567", "template": {"id": "login"}}', f"{url}/v1/messages")
    ]
    assert max(len(line) for line in lines if line != command) <= 60


@pytest.mark.parametrize("strict", [(), ("--strict-templates", "--strict-content-type")])
def test_the_command_to_try_is_answered(spawn: Spawn, strict: tuple[str, ...]) -> None:
    program = spawn("serve", "--port", "0", *strict)
    assert program.stdout is not None
    assert program.stderr is not None
    [command] = itertools.islice((line for line in program.stderr if line.startswith("try ")), 1)
    assert program.stdout.readline()
    answer = subprocess.run([*shlex.split(command)[1:], "-sS"], capture_output=True, text=True, check=True).stdout

    assert json.loads(answer)["message_id"]


def test_send_prints_the_same_object_for_an_attempt_as_the_journal(
    serving: Serving, receiver: tuple[Inbound, str], command: Command
) -> None:
    _, url = receiver
    program, client = serving(*towards(url))
    client.send()
    wait_for_lines(program, "✓ plan ", 1)
    signed = ("--username", "acme", "--secret", "s3cret", "--validate", "--format", "json")
    validation, attempt = command("send", "plan,sent", "--url", url, *signed).objects[:2]
    assert list(attempt) == list(validation) == list(client.journal()[0])
    assert (attempt["statuses"], json.loads(attempt["body"])["rows"][0]["message_id"]) == (
        ["plan"],
        attempt["message_id"],
    )
    assert (validation["type"], validation["statuses"], validation["to"]) == ("validation", [], None)
    end(program)


def test_a_stopped_receiver_gets_its_callbacks_later(serving: Serving, receiver: tuple[Inbound, str]) -> None:
    inbound, url = receiver
    inbound.answer = 503
    program, client = serving(*towards(url), "--retry", "600", "--speed", "1000")
    client.freeze()
    client.send()
    client.advance(seconds=60)
    wait_for_lines(program, "✗ .* 503 ", 3)
    inbound.answer = 200
    # The clock runs from here: an attempt is logged before its retry is scheduled, so one jump could come too early.
    client.call("POST", "/_mock/clock/resume")
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    end(program)


def test_the_clock_can_be_frozen_moved_and_sped_up(serving: Serving, receiver: tuple[Inbound, str]) -> None:
    program, client = serving(*towards(receiver[1]))
    client.freeze()
    before = client.call("GET", "/_mock/clock")["time"]
    client.send()
    wait_for_lines(program, "✓ plan ", 1)
    assert client.call("GET", "/_mock/clock")["time"] == before
    client.advance(seconds=60)
    wait_for_lines(program, "✓ delivered ", 1)
    client.call("POST", "/_mock/clock/resume")
    client.call("POST", "/_mock/clock/speed", {"speed": 1000})
    wait_for_lines(program, "✓ verified_timeout ", 1)
    end(program)


def test_a_file_can_list_receivers(serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path) -> None:
    inbound, url = receiver
    file = tmp_path / "serve.toml"
    file.write_text(
        f'''
        speed = 1000
        retry = "none"
        [[receivers]]
        url = "{url}/signed"
        username = "acme"
        secret = "s3cret"
        events = ["delivered"]
        [[receivers]]
        url = "{url}/plain"
        description = "plain"
        '''
    )
    program, client = serving("--config", str(file))
    assert client.call("GET", "/_mock/clock")["speed"] == 1000
    client.freeze()
    client.send()
    client.advance(seconds=60)
    wait_for_lines(program, "→ .*(plain|/signed)", 4)
    assert sorted((received.path, bool(received.verdict)) for received in inbound.received) == [
        ("/engagelab/plain", False),
        ("/engagelab/plain", False),
        ("/engagelab/plain", False),
        ("/engagelab/signed", True),
    ]
    end(program)


def test_a_callback_can_come_before_the_answer(serving: Serving, receiver: tuple[Inbound, str]) -> None:
    inbound, url = receiver
    program, client = serving(*towards(url), "--callback-before-response")
    client.freeze()
    client.send()
    assert inbound.statuses() == ["plan"]
    end(program)


def test_only_the_configured_credentials_are_accepted(serving: Serving) -> None:
    strict = ("--strict-templates", "--strict-content-type")
    _, client = serving("--dev-key", "key", "--dev-secret", "secret", *strict)
    assert client.refused("POST", "/v1/messages", {"to": "+6591234567", "template": {"id": "none"}})[1]["code"] == 4001
    client.content_type = "text/plain"
    assert client.refused("POST", "/v1/messages", {"to": "+6591234567"})[1]["code"] == 3001
    client.authorization = "Basic " + base64.b64encode(b"key:wrong").decode()
    status, error = client.refused("POST", "/v1/messages", {})
    assert (status, error["code"]) == (401, 2001)


def test_other_machines_need_a_token_for_the_control_api(serving: Serving) -> None:
    program, client = serving("--host", "0.0.0.0")
    assert client.refused("GET", "/_mock/journal")[0] == 401
    assert client.call("GET", "/_mock/readyz")["status"] == "ready"
    assert program.stderr is not None
    assert next(program.stderr) == "Notice: anyone who reaches this port can use the API\n"
    said, _, token = next(program.stderr).strip().rpartition(" ")
    assert said == "token for /_mock:"
    client.authorization = f"Bearer {token}"
    assert client.call("GET", "/_mock/clock")
    end(program)


def test_a_web_page_cannot_redirect_callbacks(serving: Serving, receiver: tuple[Inbound, str]) -> None:
    program, client = serving(*towards(receiver[1]))
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://evil.example"}):
        body = json.dumps({"url": "https://evil.example/"}).encode()
        request = Request(f"{client.url}/v1/sandbox/webhook", body, {"Authorization": BASIC, **headers}, method="PUT")
        with pytest.raises(HTTPError) as caught:
            urlopen(request, timeout=PATIENCE)
        with caught.value as error:
            assert (error.code, json.load(error)["code"]) == (403, 2004)
    end(program)


BAD = {
    "policy": (("--retry", "vendr"), "--retry: 'vendr' is not a policy", "did you mean 'vendor'?"),
    "wait": (("--retry", "5,-1"), "a delay of -1.0 s cannot pass", "zero or more"),
    "speed": (("--speed", "0"), "a clock cannot run 0.0 times as fast", "above 0"),
    "url": (("--callback-url", "htps://example.com"), "'htps', not http or https", "did you mean 'https'?"),
    "secret": (("--callback-url", "http://127.0.0.1:1/", "--username", "acme"), "secret", ""),
    "key": (("--dev-key", "key"), "dev_secret is missing", "both, or neither"),
    "file": (("--config", "nowhere.toml"), "does not exist", ""),
    "keep": (("--keep", "0"), "0 is not in the range", ""),
    "keep without end": (("--keep", str(10**20)), "is not in the range", ""),
    "pending": (("--pending", "0"), "0 is not in the range", ""),
    "a speed beyond floats": (("--speed", "1e308"), "a clock cannot run 1e+308 times as fast", "up to 1e+09"),
    "a seed of bytes": (("--seed", "\udcff"), "has bytes that are not UTF-8", "text"),
    "a token of two lines": (("--token", "a\nb"), "no client can send this token", "visible ASCII"),
    "a token that is not ASCII": (("--token", "tök"), "no client can send this token", "visible ASCII"),
    "a token of bytes": (("--token", "\udcff"), "no client can send this token", "visible ASCII"),
    "a token with a space at the end": (("--token", "token "), "no client can send this token", "visible ASCII"),
    "a key of bytes": (("--dev-key", "\udcff", "--dev-secret", "s"), "dev_key has bytes that are not UTF-8", ""),
    "a secret of bytes": (("--dev-key", "k", "--dev-secret", "\udcff"), "dev_secret has bytes that are not UTF-8", ""),
    "a store in memory": (("--db", ":memory:"), "nothing in it would be kept", "without a file"),
    "host": (("--host", "203.0.113.7"), "not an address of this machine", "127.0.0.1"),
}


@pytest.mark.parametrize(("arguments", "what", "hint"), BAD.values(), ids=BAD)
def test_bad_input_is_an_error(command: Command, arguments: tuple[str, ...], what: str, hint: str) -> None:
    result = command("serve", "--port", "0", "--format", "json", *arguments)
    assert result.code == 2
    (error,) = result.objects
    assert what in error["message"]
    assert hint in error["hint"]
