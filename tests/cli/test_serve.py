"""`serve` as a user runs it: the address first, then an API, callbacks, and an orderly end."""

from __future__ import annotations

import base64
import importlib
import itertools
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from engagelab_mock import Recorder
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.cli.conftest import Command, Program, Result, Spawn

resource: Any = None if sys.platform == "win32" else importlib.import_module("resource")

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: How long an answer may take before the test fails, in seconds: much longer than any machine needs.
PATIENCE = 60.0
BASIC = "Basic " + base64.b64encode(b"key:secret").decode()


class Client:
    """Talk to a server, in JSON."""

    def __init__(self, url: str, authorization: str = BASIC) -> None:
        self.url = url
        self.authorization = authorization
        self.content_type = "application/json"

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.authorization, "Content-Type": self.content_type}
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=PATIENCE) as answer:
            return json.load(answer)

    def send(self, to: str = "+6591234567", template: str = "tpl") -> dict[str, Any]:
        sent: dict[str, Any] = self.call("POST", "/v1/messages", {"to": to, "template": {"id": template}})
        return sent

    def freeze(self) -> None:
        """Stop the server's clock: from now on it moves only by `advance`."""
        self.call("POST", "/_mock/clock/freeze")

    def advance(self, **span: float) -> None:
        self.call("POST", "/_mock/clock/advance", span)

    def journal(self, query: str = "") -> list[dict[str, Any]]:
        with urlopen(f"{self.url}/_mock/journal{query}", timeout=PATIENCE) as lines:
            return [json.loads(line) for line in lines]

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        with pytest.raises(HTTPError) as caught:
            self.call(method, path, body)
        with caught.value as error:
            return error.code, json.load(error)


class Inbound(Recorder):
    """A receiver that lists the statuses it got."""

    def statuses(self) -> list[str]:
        return [event.name for received in self.received for event in received.events]


@pytest.fixture
def receiver() -> Iterator[tuple[Inbound, str]]:
    recorder = Inbound(username="acme", secret="s3cret")
    with LoopbackServer(recorder) as server:
        yield recorder, f"{server.url}/engagelab"


def towards(url: str) -> tuple[str, ...]:
    return ("--callback-url", url, "--username", "acme", "--secret", "s3cret")


Serving = Callable[..., tuple[Program, Client]]


@pytest.fixture
def serving(spawn: Spawn) -> Serving:
    """Start `serve --format json`, and wait for the line that says where."""

    def start(*arguments: str) -> tuple[Program, Client]:
        program = spawn("serve", "--port", "0", "--format", "json", *arguments)
        assert program.stdout is not None
        first = json.loads(program.stdout.readline())
        assert first["type"] == "serving"
        return program, Client(first["url"])

    return start


def end(program: Program, number: int = signal.SIGTERM) -> Result:
    program.send_signal(number)
    out, err = program.communicate()
    return Result(program.returncode, out, err)


def wait_for_lines(program: Program, pattern: str, count: int) -> None:
    """Read the log until so many lines fit; the program's end, or the watchdog's, ends it as well."""
    assert program.stderr is not None
    while count:
        line = program.stderr.readline()
        assert line, "the program ended before that was logged"
        count -= bool(re.search(pattern, line))


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
    wait_for_lines(program, "-> .*(/plain|/signed)", 4)
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


def test_other_machines_need_a_token_for_the_control_api(spawn: Spawn) -> None:
    program = spawn("serve", "--host", "0.0.0.0", "--port", "0", "--format", "json")
    assert program.stdout is not None
    first = json.loads(program.stdout.readline())
    client = Client(first["url"])
    assert client.refused("GET", "/_mock/journal")[0] == 401
    assert client.call("GET", "/_mock/readyz")["status"] == "ready"
    client.authorization = f"Bearer {first['token']}"
    assert client.call("GET", "/_mock/clock")
    err = end(program).err
    assert "Notice: anyone who reaches this port can use the API" in err
    assert f"token for /_mock: {first['token']}" in err


def test_it_continues_from_the_file(serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path) -> None:
    db = str(tmp_path / "mock.sqlite")
    given = ("--db", db, *towards(receiver[1]))
    program, client = serving(*given)
    client.freeze()
    client.call("POST", "/v1/template-configs", TEMPLATE)
    sent = client.send(template="login")
    client.advance(seconds=60)
    wait_for_lines(program, "✓ delivered ", 1)
    inbox = client.call("GET", "/_mock/inbox/+6591234567")
    assert end(program).code == 143

    program, client = serving(*given)
    assert client.call("GET", "/v1/template-configs/login")["template_id"] == "login"
    assert client.call("GET", "/_mock/inbox/+6591234567") == inbox
    assert client.call("GET", "/_mock/clock")["frozen"] is True
    verified = client.call(
        "POST", "/v1/verifications", {"message_id": sent["message_id"], "verify_code": inbox["code"]}
    )
    assert verified["verified"] is True
    client.advance(seconds=60)
    wait_for_lines(program, "✓ verified ", 1)
    again = client.send("+6591234568", "login")
    assert again["message_id"] != sent["message_id"]
    assert end(program).code == 143
    # A code that was used does not expire, in any process.
    program, client = serving(*given)
    client.advance(hours=1)
    wait_for_lines(program, "verified_timeout +\\+6591234568", 1)
    assert not re.search(r"verified_timeout +\+6591234567", end(program).err)


TEMPLATE = {
    "template_id": "login",
    "description": "log in",
    "send_channel_strategy": "sms",
    "brand_name": "Acme",
    "verify_code_config": {"verify_code_type": 1, "verify_code_len": 6, "verify_code_ttl": 5},
    "sms_config": {"template_type": 1, "template_default_config": {"contain_security": False, "contain_expire": False}},
}


@pytest.fixture
def stalled() -> Iterator[tuple[str, threading.Semaphore, threading.Event]]:
    """The address of a receiver that answers its first request only once told to, what counts requests, what tells."""
    arrived, go_on, first = threading.Semaphore(0), threading.Event(), threading.Lock()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_first = first.acquire(blocking=False)
        arrived.release()
        if is_first:
            go_on.wait()
        start_response("200 OK", [])
        return []

    with LoopbackServer(app) as server:
        yield f"{server.url}/", arrived, go_on
        go_on.set()


Stalled = tuple[str, threading.Semaphore, threading.Event]


def test_an_attempt_under_way_when_the_server_ends_stays_pending_and_is_sent_again(
    serving: Serving, stalled: Stalled, tmp_path: Path
) -> None:
    url, arrived, go_on = stalled
    given = ("--db", str(tmp_path / "mock.sqlite"), "--callback-url", url, "--retry", "none")
    program, client = serving(*given)
    client.send()
    assert arrived.acquire(timeout=PATIENCE)
    assert end(program).code == 143
    go_on.set()
    program, client = serving(*given)
    wait_for_lines(program, "✓ plan ", 1)
    attempts = client.journal("?status=plan")
    end(program)
    assert [(attempt["number"], attempt["outcome"]) for attempt in attempts] == [(1, "pending"), (2, "acknowledged")]


def test_a_webhook_set_by_the_app_stays_until_another_is_configured(
    serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    given = ("--db", str(tmp_path / "mock.sqlite"), "--speed", "1000")
    program, client = serving(*given)
    client.call("PUT", "/v1/sandbox/webhook", {"url": f"{url}/set", "username": "acme", "secret": "s3cret"})
    end(program)

    program, client = serving(*given)
    client.send()
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    assert all(received.verdict for received in inbound.received)
    assert {received.path for received in inbound.received} == {"/engagelab/set"}
    end(program)

    program, client = serving(*given, *towards(f"{url}/configured"))
    inbound.received.clear()
    client.send("+6591234568")
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    assert {received.path for received in inbound.received} == {"/engagelab/configured"}
    end(program)


def test_a_webhook_set_by_the_app_does_not_outlive_a_start_with_a_callback_url(
    serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    db = ("--db", str(tmp_path / "mock.sqlite"), "--speed", "1000")
    given = (*db, *towards(f"{url}/configured"))
    program, client = serving(*given)
    saved = client.call("PUT", "/v1/sandbox/webhook", {"url": f"{url}/set"})
    assert (saved["state"], saved["outcome"]) == ("normal", "acknowledged")
    wait_for_lines(program, "callbacks go to .*/set from now on", 1)
    end(program)

    program, client = serving(*given)
    inbound.received.clear()
    client.send()
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    assert {received.path for received in inbound.received} == {"/engagelab/configured"}
    end(program)
    # Nor does it come back afterwards.
    program, client = serving(*db)
    assert "callbacks go to nowhere" in end(program).err


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


needs_limits = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the system cannot limit another process")


def limit_files(program: Program, size: int) -> None:
    """Let no file of a program grow beyond a size, as on a full disk."""
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@needs_limits
def test_a_disk_that_is_full_for_a_while_loses_nothing(
    serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    program, client = serving("--db", str(tmp_path / "mock.sqlite"), *towards(url))
    client.send("+6591234501")
    wait_for_lines(program, r"✓ plan +\+6591234501 ", 1)
    limit_files(program, 1)
    status, error = client.refused("POST", "/v1/messages", {"to": "+6591234502", "template": {"id": "tpl"}})
    assert (status, error["code"]) == (500, 1000)
    assert "mock.sqlite: the file cannot be written" in error["message"]
    wait_for_lines(program, "Notice: .*mock.sqlite: the file cannot be written", 1)
    assert client.call("GET", "/_mock/inbox/+6591234502")["messages"] == []
    assert client.refused("POST", "/_mock/clock/advance", {"hours": 1})[0] == 500
    assert client.refused("POST", "/_mock/reset")[0] == 500
    limit_files(program, resource.RLIM_INFINITY)
    client.send("+6591234502")
    client.advance(hours=1)
    wait_for_lines(program, "✓ verified_timeout ", 2)
    ended = end(program)
    assert "Traceback" not in ended.err
    for to in (b"+6591234501", b"+6591234502"):
        told = [event.name for each in inbound.received if to in each.body for event in each.events]
        assert told == ["plan", "sent", "delivered", "verified_timeout"]


@needs_limits
def test_a_disk_that_is_full_at_the_start_is_an_error_of_one_line(command: Command, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        result = command("serve", "--port", "0", "--db", str(tmp_path / "mock.sqlite"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (result.code, result.out) == (2, "")
    [line] = result.err.splitlines()
    assert "mock.sqlite: the file cannot be used" in line


def test_a_file_that_is_deleted_while_it_is_in_use_is_noticed(serving: Serving, tmp_path: Path) -> None:
    db = tmp_path / "mock.sqlite"
    program, client = serving("--db", str(db))
    client.send("+6591234501")
    db.unlink()
    status, error = client.refused("POST", "/v1/messages", {"to": "+6591234502", "template": {"id": "tpl"}})
    assert (status, error["code"]) == (500, 1000)
    assert "the file was deleted or replaced" in error["message"]
    ended = end(program)
    assert ended.err.count("Notice:") == 1
    assert "Traceback" not in ended.err


def test_the_waiting_messages_are_bounded(serving: Serving, tmp_path: Path) -> None:
    db = ("--db", str(tmp_path / "mock.sqlite"))
    limits = ("--keep", "5", "--pending", "10")
    program, client = serving(*db, *limits, "--callback-url", "http://127.0.0.1:1/nobody")
    client.freeze()
    for number in range(40):
        client.send(f"+65912345{number:02}")
    # Each has at most four callbacks: a tenth more messages than the limit may wait.
    assert client.call("GET", "/_mock/clock")["pending"] <= 11 * 4
    ended = end(program)
    assert ended.err.count("more messages wait for their callbacks than --pending allows") == 1
    assert re.search(r"; (29|30) messages given up", ended.err)

    program, client = serving(*db, *limits)
    assert client.call("GET", "/_mock/clock")["pending"] <= 11 * 4
    end(program)


def test_two_servers_cannot_use_one_file(serving: Serving, command: Command, tmp_path: Path) -> None:
    db = str(tmp_path / "mock.sqlite")
    serving("--db", db)
    result = command("serve", "--port", "0", "--db", db)
    assert result.code == 2
    assert "mock.sqlite: the file is in use" in result.err


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


def test_a_port_in_use_is_an_error_and_leaves_the_file_unlocked(command: Command, tmp_path: Path) -> None:
    db = tmp_path / "mock.sqlite"
    with LoopbackServer(Recorder()) as taken:
        result = command("serve", "--port", str(taken.port), "--db", str(db))
    assert result.code == 2
    assert f"port {taken.port} is in use" in result.err
    SqliteStore(db).close()


def test_a_file_of_another_program_is_an_error(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mock.sqlite").write_text("something else" * 100)
    result = command("serve", "--port", "0", "--db", str(tmp_path / "mock.sqlite"))
    assert result.code == 2
    assert "the file cannot be used as a store: file is not a database" in result.err


def test_the_newest_are_kept(serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path) -> None:
    given = ("--db", str(tmp_path / "mock.sqlite"), *towards(receiver[1]))
    program, client = serving(*given, "--keep", "10")
    client.freeze()
    for number in range(30):
        client.send(f"+65912345{number:02}")
    client.advance(seconds=60)
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 90)
    assert {message["to"] for message in client.call("GET", "/_mock/inbox")["messages"]} == {
        f"+65912345{number}" for number in range(20, 30)
    }
    assert len(client.journal()) == 10
    end(program)

    program, client = serving(*given)
    assert len(client.journal()) == 10, "the file holds no more either"
    assert len(client.call("GET", "/_mock/inbox")["messages"]) == 10
    end(program)


def test_a_callback_that_is_not_finished_is_kept_in_addition(
    serving: Serving, stalled: Stalled, tmp_path: Path
) -> None:
    url, arrived, go_on = stalled
    given = ("--db", str(tmp_path / "mock.sqlite"), "--callback-url", url, "--keep", "1")
    program, client = serving(*given)
    client.freeze()
    client.send("+6591234501")
    assert arrived.acquire(timeout=PATIENCE)
    client.send("+6591234502")
    client.send("+6591234503")
    wait_for_lines(program, "✓ plan ", 2)
    end(program)
    go_on.set()

    program, _ = serving(*given)
    wait_for_lines(program, r"✓ plan +\+6591234501 ", 1)
    end(program)
