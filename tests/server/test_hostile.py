"""Hostile clients get the documented error object and status, without a traceback, and the server goes on."""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import re
import socket
import struct
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, cast
from urllib.parse import quote

import pytest
import werkzeug.test
from werkzeug import Request, Response
from werkzeug.test import create_environ

from engagelab_mock import EngageLab, LiveClock, VirtualClock
from engagelab_mock.server import create_app
from engagelab_mock.server.control import CONTROL
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.server.rest import REST
from engagelab_mock.service.worker import DeliveryWorker
from tests.patience import PATIENCE
from tests.server.conftest import BASIC, Talk, message

DEEP = b"[" * 200_000 + b"]" * 200_000
HUGE = b'{"to": "' + b"9" * 10_000_000 + b'"}'


def assert_alive(talk: Talk) -> None:
    assert talk("GET", "/v1/template-configs").status == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"", (400, 3001), id="nothing"),
        pytest.param(b"{", (400, 3001), id="half an object"),
        pytest.param(b"\xff\xfe", (400, 3001), id="no text"),
        pytest.param(b'{"to": "\xff"}', (400, 3001), id="no UTF-8"),
        pytest.param(b"to=%2B6591234567", (400, 3001), id="a form"),
        pytest.param(DEEP, (400, 3002), id="deep nesting"),
        pytest.param(b'{"template": ' + DEEP + b"}", (400, 3002), id="deep nesting in a field"),
        pytest.param(HUGE, (413, 3002), id="ten megabytes"),
        pytest.param(b"null", (400, 3002), id="null"),
        pytest.param(b"[]", (400, 3002), id="a list"),
        pytest.param(b'"text"', (400, 3002), id="text"),
        pytest.param(b"{}", (400, 3002), id="no fields"),
        pytest.param({"to": "+6591234567"}, (400, 3002), id="no template"),
        pytest.param({"to": "+6591234567", "template": {}}, (400, 3002), id="no template id"),
        pytest.param({"to": "+6591234567", "template": "my-template"}, (400, 3002), id="a template that is text"),
        pytest.param({"to": 6591234567, "template": {"id": "t"}}, (400, 3002), id="a recipient that is a number"),
        pytest.param({"to": ["+6591234567"], "template": {"id": "t"}}, (400, 3002), id="several recipients"),
        pytest.param({"to": None, "template": {"id": "t"}}, (400, 3002), id="a recipient that is null"),
        pytest.param(
            {"to": "+6591234567", "template": {"id": "t", "params": {"a": 1}}}, (400, 3002), id="a param of a number"
        ),
        pytest.param(
            {"to": "+6591234567", "template": {"id": "t", "language": "xx"}}, (400, 3002), id="an unknown language"
        ),
        pytest.param({"to": "+65 9123", "template": {"id": "t"}}, (400, 5011), id="something that is not a number"),
    ],
)
def test_an_unusable_body_is_refused(talk: Talk, body: Any, error: tuple[int, int]) -> None:
    assert talk("POST", "/v1/messages", body).error == error
    assert_alive(talk)


def test_an_unknown_field_is_ignored(talk: Talk) -> None:
    assert talk("POST", "/v1/messages", message() | {"unknown": 1}).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + "A" * 60_000,
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"key:").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Bearer token",
        "Digest username=x",
        "\x80\x81",
    ],
)
def test_malformed_credentials_are_refused(talk: Talk, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = talk("POST", "/v1/messages", message(), headers=headers, api=False)
    assert answer.error == (401, 2001)
    assert_alive(talk)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/messages", "POST"),
        ("PATCH", "/v1/template-configs", "GET, POST"),
        ("BREW", "/v1/verifications", "POST"),
        ("POST", "/_mock/readyz", "GET"),
        ("PUT", "/_mock", "GET"),
        ("PUT", "/_mock/rules", "DELETE, GET, POST"),
    ],
)
def test_a_wrong_method_is_answered_405(talk: Talk, method: str, path: str, allowed: str) -> None:
    answer = talk(method, path, {})
    assert answer.error == (405, 3002)
    assert sorted(answer.headers["Allow"].split(", ")) == allowed.split(", ")


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v2/messages", "/v1/messages/", "/_mock//", "/_mock/%20", "/%00", "/v1/%ff"],
)
def test_an_unknown_path_is_answered_404(talk: Talk, path: str) -> None:
    assert talk("POST", path, {}, headers={"Authorization": BASIC}).error == (404, 4001)


@pytest.mark.parametrize(
    ("head", "body", "error"),
    [
        pytest.param("Content-Length: 100", b'{"to":', (400, 3002), id="half a body"),
        pytest.param("Content-Length: -1", b"", (400, 3002), id="a negative length"),
        pytest.param("Content-Length: lots", b"", (400, 3002), id="a length that is not a number"),
        pytest.param("Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n", (400, 3002), id="a chunk without length"),
        pytest.param("Transfer-Encoding: chunked", b"ff\r\n{}", (400, 3002), id="half a chunk"),
    ],
)
def test_a_body_that_does_not_arrive_as_announced(talk: Talk, head: str, body: bytes, error: tuple[int, int]) -> None:
    host, _, port = talk.server.url.removeprefix("http://").partition(":")
    request = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\n{head}\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(request + body)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            first, _, content = answer.read().partition(b"\r\n\r\n")
    assert (int(first.split()[1]), json.loads(content)["code"]) == error
    assert_alive(talk)


def test_a_chunked_body_is_read(talk: Talk) -> None:
    host, _, port = talk.server.url.removeprefix("http://").partition(":")
    body = json.dumps(message()).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"200"


def test_a_fault_of_ours_is_an_internal_error_and_in_the_log(
    engagelab: EngageLab, talk: Talk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: object) -> None:
        raise RuntimeError("a secret")

    with monkeypatch.context() as context:
        context.setattr(engagelab.api, "handle", broken)
        answer = talk("POST", "/v1/messages", message())
    assert answer.error == (500, 1000)
    assert b"secret" not in answer.body
    assert "a secret" in caplog.text
    assert_alive(talk)


def test_every_request_is_a_line_of_the_access_log(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="engagelab_mock.server"):
        talk("POST", "/v1/messages", message())
        talk("GET", "/%0a%1b[31mforged", api=False)
    lines = [record.getMessage() for record in caplog.records if record.name == "engagelab_mock.server"]
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines] == [
        "127.0.0.1 POST /v1/messages 200",
        "127.0.0.1 GET /\\n\\x1b[31mforged 404",
    ]


@pytest.mark.parametrize("path", ["/v1/messages", "/_mock/send", "/v1/sandbox/webhook"])
def test_a_body_that_never_ends_is_answered_408(engagelab: EngageLab, path: str) -> None:
    with LoopbackServer(create_app(engagelab), request_limit=0.2) as server:
        request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{"
        with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as answer:
                first, _, content = answer.read().partition(b"\r\n\r\n")
    assert (int(first.split()[1]), json.loads(content)["code"]) == (408, 3002)
    engagelab.journal.assert_nothing_sent()


def test_a_client_that_goes_away_gets_its_callbacks_all_the_same(engagelab: EngageLab, talk: Talk) -> None:
    host, _, port = talk.server.url.removeprefix("http://").partition(":")
    body = json.dumps(message()).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        # Closed with a reset: no client is there for the rest of the answer.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(head.encode() + body)
    assert engagelab.inbox("+6591234567").wait(timeout=PATIENCE).code
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
    assert_alive(talk)


def test_many_clients_at_once_get_each_their_own(engagelab: EngageLab, talk: Talk) -> None:
    numbers = [f"+65{number:08}" for number in range(60)]
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda to: talk("POST", "/v1/messages", message(to)), numbers))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["message_id"] for answer in answers}) == len(numbers)
    received = {each.to: each.message_id for each in engagelab.inbox()}
    assert received == {to: answer.json["message_id"] for to, answer in zip(numbers, answers, strict=True)}


@pytest.mark.slow
def test_a_request_is_freed_without_the_garbage_collector(engagelab: EngageLab) -> None:
    app = create_app(engagelab)

    def call() -> None:
        response = app(create_environ("/v1/template-configs"), lambda status, headers, exc_info=None: lambda data: None)
        assert b"".join(response)
        cast("Any", response).close()

    call()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        call()
        gc.collect()
        # Threads of other tests may leave cycles, too; theirs hold no request.
        assert [type(thing) for thing in gc.garbage if _is_of_a_call(thing)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _is_of_a_call(thing: object) -> bool:
    """Tell whether this is a request, a response, or an environ."""
    return type(thing) in {Request, Response} or (type(thing) is dict and "PATH_INFO" in thing)


#: How many bodies are made up; the environment can ask for more.
BODIES = int(os.environ.get("ENGAGELAB_MOCK_TEST_BODIES", "1600"))
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, 2**64, 10**30, -0.0, 0.5, 1e9, 1e15, 1e308, -1e308),
    *("", " ", "\x00", "\ud800", "\U0001f600", "a" * 300, "\r\nX-Evil: 1", "{{code}}", "%s%n", "../..", "null", "NaN"),
    *("+6591234567", "+10000000099", "sandbox@example.com", "sandbox-otp-tpl", "verified", "messages", "sms", "all"),
    *("insufficient_balance", "uplink_message", "account_login"),
    *("http://127.0.0.1:1/", "https://127.0.0.1:1/", "http://[::1", "http://127.0.0.1:99999/", "file:///etc/passwd"),
    *([], {}, [[]], [{}], [None], ["plan", "sent"], ["sent", "plan"], [1e308], {"id": "t"}, {"": ""}),
)
NAMES = (
    "to",
    "template",
    "code",
    "scenario",
    "batch",
    "retry",
    "fault",
    "times",
    "error",
    "speed",
    "days",
    "event",
    "fields",
    "total",
    "any_order",
    "sender",
    "body",
    "at",
    "self",
    "remain_balance",
    "unknown",
    "",
)
NAMED = ("+6591234567", "sandbox@example.com", "1", "my-template", "sandbox-otp-tpl", "\u20ac", "\x00", " ", "%")
OTHER_METHODS = ("PATCH", "HEAD", "OPTIONS", "GET", "POST", "PUT", "DELETE")


def fuzzed(random: Random, value: Any) -> Any:
    """Return a JSON value with some of its parts replaced, removed, repeated or added."""
    if random.random() < 0.15:
        return random.choice(ODD)
    if isinstance(value, dict):
        mutated = {name: fuzzed(random, each) for name, each in value.items() if random.random() > 0.1}
        if random.random() < 0.2:
            mutated[random.choice(NAMES)] = random.choice(ODD)
        return mutated
    if isinstance(value, list):
        return [fuzzed(random, each) for each in value] * random.choice((1, 1, 2, 0))
    return value


def fuzzed_body(random: Random, example: Any) -> bytes:
    """Return a body: usually JSON that is nearly right, sometimes the right one, JSON that is cut, or bytes."""
    if random.random() < 0.3:
        return json.dumps(example).encode()
    body = json.dumps(fuzzed(random, example), ensure_ascii=random.random() < 0.7).encode("utf-8", "surrogatepass")
    kind = random.random()
    if kind < 0.05:
        return body[: random.randrange(len(body) + 1)]
    if kind < 0.1:
        return random.randbytes(random.randrange(40))
    if kind < 0.13:
        return b"[" * 3000 + body
    return body


def fuzzed_query(random: Random, query: type) -> str:
    """Return a query; a call that waits does so for a moment only."""
    if random.random() < 0.6:
        return ""
    names = [*getattr(query, "__struct_fields__", ()), "unknown"]
    given = [
        (name, random.choice(("", "0", "0.01", "-1", "nan", "inf", "1e308", "x", "%ff", "plan", "5"))) for name in names
    ]
    brief = [(name, "0.01" if name in {"wait", "follow"} and value in {"", "5"} else value) for name, value in given]
    return "&".join(f"{name}={value}" for name, value in random.sample(brief, random.randrange(len(brief) + 1)))


EXAMPLES: dict[str, Any] = {
    "playScenario": {
        **{"to": "+6591234567", "scenario": "fallback", "template": "t", "channel": "sms", "custom_args": {"a": 1}},
        **{"batch": 2, "retry": [1, 2], "fault": ["bom", "duplicate"]},
    },
    "sendEvent": {
        "event": "uplink_message",
        "fields": {"sender": "+6591234567", "body": "STOP", "message_sid": "SM1", "more": [1]},
        **{"total": 2, "retry": [1], "fault": ["bom"]},
    },
    "addRule": {
        "to": "+6591234567",
        "template": "t",
        "call": "messages",
        "scenario": ["plan", "sent"],
        "times": 1,
    },
    "sendNext": {"status": "delivered", "channel": "sms", "error": 5012, "any_order": True, "fault": ["bom"]},
    "sendAgain": {"body": "{}", "content_type": "text/xml", "signed": True, "after": 1, "retry": [1], "fault": ["bom"]},
    "advanceClock": {"seconds": 1, "minutes": 1, "hours": 1, "days": 1},
}


@pytest.mark.parametrize("clock", [VirtualClock, LiveClock])
def test_no_body_makes_the_server_fail(clock: type[Any], caplog: pytest.LogCaptureFixture) -> None:
    random = Random(f"bodies, {clock.__name__}")
    answered: defaultdict[str, set[int]] = defaultdict(set)
    operations = (*REST, *CONTROL)
    with EngageLab(clock=clock(), keep=50, defaults={"check": False}) as engagelab, DeliveryWorker(engagelab):
        client = werkzeug.test.Client(create_app(engagelab))
        for number in range(BODIES // 2):
            operation = operations[number % len(operations)]
            method = random.choice(OTHER_METHODS) if random.random() < 0.1 else operation.method
            example = EXAMPLES.get(operation.name, operation.example or {})
            named = random.choice(NAMED)
            if operation.name == "verifyCode":
                new = {"to": f"+659{number:07}", "template": {"id": "t"}}
                sent = client.post("/v1/messages", json=new, headers={"Authorization": BASIC})
                example = {"message_id": sent.json["message_id"], "verify_code": "123456"} if sent.json else {}
            elif operation.name == "removeRule" and random.random() < 0.5:
                named = engagelab.rule(error=5013, times=1, to="+6590000000").id
            elif operation.name == "readInbox" and random.random() < 0.5:
                named = "+6591234567"
            elif "{message_id}" in operation.path and random.random() < 0.8:
                named = engagelab.send("+6591234567", scenario=["plan"]).message_id
            elif "{callback}" in operation.path and random.random() < 0.8:
                engagelab.send("+6591234567", scenario=["plan"])
                named = json.loads(client.get("/_mock/callbacks?limit=1").data)["callbacks"][0]["id"]
            elif "{number}" in operation.path and random.random() < 0.5:
                named = "1"
            elif operation.name == "deleteTemplate" and random.random() < 0.5:
                named = "sandbox-custom-tpl"
            body = fuzzed_body(random, example)
            path = re.sub(r"{\w+}", quote(named), operation.path)
            query = fuzzed_query(random, operation.query)
            answer = client.open(
                f"{path}?{query}", method=method, data=body, headers={"Authorization": BASIC}, buffered=True
            )
            answered[operation.name].add(answer.status_code)
            assert answer.status_code < 500, (method, path, query, body, answer.text)
            if answer.status_code >= 400 and method != "HEAD":
                assert list(json.loads(answer.data))[:2] == ["code", "message"]
        assert client.get("/_mock/readyz").status_code == 200
    # Every call did its work at least once, instead of only refusing.
    refused_by_a_virtual_clock = {"resumeClock", "setSpeed"} if clock is VirtualClock else set()
    never = {name for name, statuses in answered.items() if min(statuses) >= 300}
    # These need two callbacks of a message, or an exploration.
    assert never - {"orderCallbacks", "sendInOrder", "readExploration"} == refused_by_a_virtual_clock
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [each for each in engagelab.journal.refusals if "Error:" in each.error.what] == []
