from __future__ import annotations

import http.client
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.test import EnvironBuilder

from engagelab_mock import CallbackSettings, Recorder, sign
from engagelab_mock.cli.listen import Arrival, next_answered, receiving_app
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import PATIENCE, Command, Program, Result, Spawn

SIGNED = ("--username", "acme", "--secret", "s3cret")


@pytest.fixture
def listening(spawn: Spawn) -> Callable[..., tuple[Program, str]]:
    """Start `listen --format json` and wait for the line that says where."""

    def start(*arguments: str) -> tuple[Program, str]:
        program = spawn("listen", *arguments, "--format", "json")
        assert program.stdout is not None
        first = json.loads(program.stdout.readline())
        assert first["type"] == "listening"
        return program, first["url"]

    return start


Listening = Callable[..., tuple[Program, str]]


def end(program: Program) -> Result:
    out, err = program.communicate()
    return Result(program.returncode, out, err)


def post(url: str, body: bytes, headers: dict[str, str] | None = None, *, method: str = "POST") -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, parts.path, body, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def genuine(secret: str = "s3cret") -> dict[str, str]:
    return {"X-CALLBACK-ID": sign("acme", secret, timestamp=int(time.time()), nonce="1").header}


def test_listen_and_send_understand_each_other(listening: Listening, program: Command) -> None:
    listener, url = listening(*SIGNED, "--count", "4")

    sent = program("send", "verified", "--url", url, *SIGNED, "--to", "+6591234567", "--validate", "--format", "json")
    heard = end(listener)

    assert (sent.code, heard.code, heard.err) == (0, 0, "")
    ping, *callbacks = heard.objects
    assert (ping["ping"], ping["valid"], ping["why"]) == (True, True, "address validation, unsigned as documented")
    assert [entry["statuses"] for entry in callbacks] == [["plan"], ["sent"], ["delivered"], ["verified"]]
    assert {entry["verdict"] for entry in callbacks} == {"valid"}
    assert all(re.fullmatch(r"signed -?\d+ s ago by acme", entry["why"]) for entry in callbacks)
    assert all(entry["recipients"] == ["+6591234567"] and entry["answered"] == 200 for entry in callbacks)


def test_the_last_callback_still_gets_its_answer(listening: Listening) -> None:
    listener, url = listening("--count", "1", "--answer", "503")

    assert post(url, b'{"total": 0, "rows": []}') == 503
    assert end(listener).code == 0


@pytest.mark.parametrize("sender_is_gone", [False, True])
def test_a_request_arrives_before_its_answer_and_is_answered_after_it(sender_is_gone: bool) -> None:
    arrivals: list[Arrival] = []
    app = receiving_app(CallbackSettings(), 200, arrivals.append)
    answer = app(EnvironBuilder(method="POST", data=b"something").get_environ(), lambda *_: lambda _: None)

    assert isinstance(answer, Generator)
    next(answer)
    [arrival] = arrivals
    assert (arrival.received.status, arrival.answered.is_set()) == (400, False)
    if sender_is_gone:
        answer.close()
    else:
        assert next(answer, None) is None
    assert arrival.answered.is_set()


def test_a_request_is_shown_once_its_answer_is_out() -> None:
    class Answered(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout
            self.set()
            return True

    recorder = Recorder()
    received = recorder.received
    recorder(EnvironBuilder(method="POST", data=b"{}").get_environ(), lambda *_: lambda _: None)
    arrived: SimpleQueue[Arrival] = SimpleQueue()
    arrived.put(Arrival(received[0], Answered()))
    again = Arrival(received[0], Answered())
    arrived.put(again)

    assert next_answered(arrived) is received[0]
    assert not again.answered.is_set()
    next_answered(arrived)
    assert again.answered.is_set(), "it did not wait"


def test_a_wrong_signature_is_refused_and_shown(listening: Listening) -> None:
    listener, url = listening(*SIGNED, "--count", "1")
    row = b'{"message_id":"1","to":"+6591234567","itime":1,"status":%s}'
    status = b'{"message_status":"sent","status_data":{"msg_time":1,"message_id":"1"}}'
    body = b'{"total":1,"rows":[' + row % status + b"]}"

    assert post(url, body, genuine("another")) == 401
    heard = end(listener)

    (entry,) = heard.objects
    assert heard.code == 1
    assert (entry["valid"], entry["verdict"], entry["answered"]) == (False, "mismatch", 401)
    assert "not made with this secret" in entry["why"]
    assert (entry["statuses"], entry["recipients"]) == (["sent"], ["+6591234567"])


@pytest.mark.parametrize(
    ("body", "headers", "method", "expected"),
    [
        (b"", {}, "POST", {"ping": True, "valid": True, "answered": 200, "error": None}),
        (b"{}", {}, "POST", {"ping": True, "valid": True, "answered": 200, "error": None}),
        (b'{"rows":[]}', {}, "POST", {"ping": False, "valid": False, "verdict": "missing", "answered": 401}),
        (b"not json", genuine, "POST", {"ping": False, "valid": True, "answered": 400, "statuses": []}),
        (b"", {}, "GET", {"method": "GET", "answered": 405, "error": "callbacks use POST"}),
    ],
    ids=["ping", "json ping", "unsigned", "no json", "get"],
)
def test_every_request_is_shown(
    listening: Listening,
    body: bytes,
    headers: dict[str, str] | Callable[[], dict[str, str]],
    method: str,
    expected: dict[str, Any],
) -> None:
    listener, url = listening(*SIGNED)

    # Signed now: a signature made when the tests were collected may be too old.
    status = post(url, body, headers() if callable(headers) else headers, method=method)
    assert listener.stdout is not None
    told = json.loads(listener.stdout.readline())

    assert status == expected["answered"]
    assert {name: told[name] for name in expected} == expected


def test_pings_are_not_counted(listening: Listening) -> None:
    listener, url = listening("--count", "1")

    post(url, b"")
    post(url, b'{"rows":[]}')

    assert [entry["ping"] for entry in end(listener).objects] == [True, False]


def test_an_authorization_can_be_expected(listening: Listening) -> None:
    listener, url = listening("--authorization", "Bearer token", "--count", "2")

    assert post(url, b'{"rows":[]}', {"Authorization": "Bearer token"}) == 200
    assert post(url, b'{"rows":[]}', {"Authorization": "Bearer other"}) == 401
    heard = end(listener)
    assert heard.code == 1
    assert "Authorization" in heard.objects[1]["error"]


def test_text_is_the_address_and_then_one_line_for_each_callback(spawn: Spawn) -> None:
    listener = spawn("listen", *SIGNED, "--count", "3")
    assert listener.stdout is not None
    first = listener.stdout.readline()
    url = first.removeprefix("Listening on ").strip()

    assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+/engagelab\n", first)
    post(url, b'{"rows":[]}', genuine())
    post(url, b'{"rows":[]}', genuine("another"))
    post(url, b'{"rows":[{"wrong\\u001b[31m":1}]}', genuine())
    heard = end(listener)

    lines = heard.out.splitlines()
    assert heard.code == 1
    assert re.search(r"✓ .*answered 200  valid: signed -?\d+ s ago by acme", lines[0])
    assert re.search(r"✗ .*answered 401  mismatch: the signature was not made with this secret", lines[1])
    assert re.search(r"✓ wrong\\x1b\[31m +answered 200", lines[2]), "the bytes of a stranger must not act on a terminal"
    assert "s3cret" not in heard.out + heard.err


def test_listening_for_other_machines_prints_a_notice(spawn: Spawn) -> None:
    open_to_all = spawn("listen", "--host", "0.0.0.0", "--format", "json", "--count", "1")
    assert open_to_all.stdout is not None
    url = json.loads(open_to_all.stdout.readline())["url"]
    post(url, b'{"rows":[]}')

    assert "Notice: 0.0.0.0 is not only this machine" in end(open_to_all).err


def test_a_port_in_use_is_an_error(command: Command) -> None:
    with LoopbackServer(lambda environ, start_response: []) as taken:
        result = command("listen", "--port", str(taken.port))

    assert result.code == 2
    assert f"127.0.0.1:{taken.port}: port {taken.port} is in use" in result.err
    assert "port 0" in result.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_a_summary(listening: Listening, number: int, code: int) -> None:
    listener, url = listening()
    post(url, b'{"rows":[]}')
    assert listener.stdout is not None
    listener.stdout.readline()

    listener.send_signal(number)
    heard = end(listener)

    assert (heard.code, heard.out) == (code, "")
    assert heard.err.strip() == "1 callback received, 0 refused"
