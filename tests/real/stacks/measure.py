"""The parts of a request that reach a receiver, on one stack, fault by fault."""

from __future__ import annotations

import platform
import select
import socket
from importlib.metadata import version

import msgspec

from engagelab_mock import Attempt, Delivery, EngageLab, Fault, fault
from tests.real.stacks.process import PATIENCE, Stack
from tests.real.stacks.record import Seen

#: What is sent: a name, and the fault it goes out with.
STIMULI: dict[str, Fault | None] = {
    "plain": None,
    "new_connection": fault("new_connection"),
    "chunked": fault("chunked"),
    # Some servers never say that they agree. Waiting longer shows nothing more.
    "expect_continue": fault("expect_continue", wait=0.3),
    "slow_body": fault("slow_body"),
    "split_header": fault("split_header"),
    "short_body": fault("short_body"),
    "http_1_0": fault("http_1_0"),
    "lowercase_headers": fault("lowercase_headers"),
    "underscore_header": fault("underscore_header"),
    "duplicated_signature": fault("duplicated_signature"),
    "gzip": fault("gzip"),
    "big_headers": fault("big_headers"),
}

_VERSIONS = {
    "Flask": "flask",
    "Django": "django",
    "Starlette": "starlette",
    "werkzeug": "werkzeug",
    "gunicorn": "gunicorn",
    "waitress": "waitress",
    "uvicorn": "uvicorn",
    "hypercorn": "hypercorn",
}
_PARSERS = {"h11": "h11", "httptools": "httptools"}


class Cell(msgspec.Struct, frozen=True):
    """What came of one stimulus, in words that do not depend on the data sent."""

    #: What the sender makes of it, and the HTTP status if there was an answer.
    outcome: str
    status: int | None
    #: What reached the app: "whole", "empty", "compressed", "part", "not called", or the exception reading it raised.
    body: str
    #: The value of X-CALLBACK-ID: "sent", "" for none; of two sent, "first", "second", or both and what joins them.
    header: str
    #: How often the app was called.
    calls: int
    #: Of the next callback: "kept" or "new" for its connection, or its outcome if it was not acknowledged.
    then: str


def measure(stack: Stack, stimulus: str, *, patience: float) -> Cell:
    """Send one callback with the stimulus and one without, from the same sender, and say what reached the app.

    `patience` is how many seconds to wait for a request to reach the app if it gets no answer.
    """
    stack.record.clear()
    with EngageLab(stack.receiver(), seed=stimulus) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], fault=STIMULI[stimulus], check=False)
        [struck] = run.deliveries
        [after] = engagelab.send("+6591234567", scenario=["plan"], check=False).deliveries
    attempt = struck.attempts[0]
    seen = stack.record.await_one(lambda seen: seen.body != after.body, patience=patience)
    return Cell(
        outcome=str(attempt.outcome),
        status=attempt.response.status if attempt.response else None,
        body=_body(struck, seen),
        header=_header(attempt, seen) if seen else "",
        calls=sum(seen.body != after.body for seen in stack.record.read()),
        then=_then(stack, after, seen),
    )


def interim_answers(stack: Stack, *, patience: float) -> int:
    """Count the "100 Continue" before the answer to an Expect, having waited so many seconds for the first."""
    host, _, port = stack.url.removeprefix("http://").partition(":")
    head = f"POST /engagelab HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nConnection: close\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        select.select([connection], [], [], patience)
        connection.sendall(b"{}")
        answers = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b" 200 " in answers
    return answers.count(b"HTTP/1.1 100 ")


def _body(delivery: Delivery, seen: Seen | None) -> str:
    if seen is None:
        return "not called"
    if seen.error:
        return seen.error
    sent = delivery.callback.body
    if seen.body == sent:
        return "whole" if sent == delivery.body else "compressed"
    if not seen.body:
        return "empty"
    return "part" if sent.startswith(seen.body) else "other"


def _header(attempt: Attempt, seen: Seen) -> str:
    pairs = attempt.callback.headers.pairs
    values = [value for name, value in pairs if name.upper().replace("_", "-") == "X-CALLBACK-ID"]
    shown = seen.header
    for value, word in zip(values, ["first", "second"] if len(values) > 1 else ["sent"], strict=True):
        shown = shown.replace(value, word)
    return shown


def _then(stack: Stack, after: Delivery, seen: Seen | None) -> str:
    if not after.acknowledged:
        return str(after.outcome)
    found = stack.record.await_one(lambda one: one.body == after.body)
    assert found is not None
    return "kept" if seen is not None and found.port == seen.port else "new"


def versions(name: str) -> str:
    """Return the versions of a stack's parts."""
    framework, _, server = name.partition(", ")
    words = server.split()
    parts = [framework, words[0]]
    found = [f"{part} {version(_VERSIONS[part])}" for part in parts if part in _VERSIONS]
    found += [f"{word} {version(_PARSERS[word])}" for word in words[1:] if word in _PARSERS]
    if server == "wsgiref":
        found.append(f"Python {platform.python_version()}")
    return ", ".join(found)
