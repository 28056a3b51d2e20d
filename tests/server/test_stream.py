"""The stream of changes, as a client reads it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engagelab_mock import EngageLab, LiveClock, Receiver
from engagelab_mock.server import ApiServer
from tests.patience import PATIENCE
from tests.server.conftest import Talk, message

Event = tuple[str, dict[str, Any]]
KINDS = ["messages", "clock", "rules", "receivers", "check", "explorations"]
EVERYTHING = {"changed": KINDS, "restarted": False}


def events(body: bytes) -> list[Event]:
    found = []
    for part in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if lines:
            found.append((lines["id"], json.loads(lines["data"])))
    return found


@contextmanager
def following(server: ApiServer, after: str = "") -> Iterator[Iterator[Event]]:
    """Follow the stream, one event at a time."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    connection.request("GET", f"/_mock/stream?follow&after={after}")
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"

    def read() -> Iterator[Event]:
        part = b""
        while line := response.readline():
            part += line
            if line == b"\n":
                yield from events(part)
                part = b""

    try:
        yield read()
    finally:
        connection.close()


def test_the_first_event_names_everything(talk: Talk) -> None:
    answer = talk("GET", "/_mock/stream")
    [(name, data)] = events(answer.body)
    assert data == EVERYTHING
    assert events(talk("GET", f"/_mock/stream?after={name}").body) == [(name, {"changed": [], "restarted": False})]


def test_a_request_for_the_head_alone_ends(talk: Talk) -> None:
    assert talk("HEAD", "/_mock/stream?follow").status == 200


def test_an_event_names_what_has_changed_since(talk: Talk, engagelab: EngageLab) -> None:
    [(name, _)] = events(talk("GET", "/_mock/stream").body)
    engagelab.rule(error=5013)
    [(name, data)] = events(talk("GET", f"/_mock/stream?after={name}").body)
    assert data == {"changed": ["rules"], "restarted": False}
    engagelab.send("+6591234567", scenario=["plan"])
    [(name, data)] = events(talk("GET", "/_mock/stream", headers={"Last-Event-ID": name}).body)
    assert data["changed"] == ["messages"]
    engagelab.validate_address()
    [(name, data)] = events(talk("GET", f"/_mock/stream?after={name}").body)
    assert data["changed"] == ["messages", "receivers"]
    engagelab.clock.advance(5)
    [(name, data)] = events(talk("GET", f"/_mock/stream?after={name}").body)
    assert "clock" in data["changed"]
    talk("POST", "/v1/messages", {})
    [(_, data)] = events(talk("GET", f"/_mock/stream?after={name}").body)
    assert data["changed"] == ["messages"], "a refused call is in the journal"


def test_an_id_of_another_server_says_that_everything_may_have_changed(talk: Talk) -> None:
    for name in ("another-7", "x", "-", "7"):
        [(_, data)] = events(talk("GET", f"/_mock/stream?after={name}").body)
        assert data == {**EVERYTHING, "restarted": True}


def test_a_change_reaches_a_follower_and_none_is_lost_between_two(engagelab: EngageLab) -> None:
    with ApiServer(engagelab) as server:
        talk = Talk(server)
        with following(server) as stream:
            name, _ = next(stream)
            talk("POST", "/v1/messages", message())
            name, data = next(stream)
            assert data["changed"] == ["messages"]
        talk("POST", "/_mock/rules", {"error": 5013})
        with following(server, name) as stream:
            assert "rules" in next(stream)[1]["changed"]


def test_an_attempt_is_a_change_while_another_receiver_has_not_answered() -> None:
    answer, called = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def slow(number: int) -> Callable[[Any, Any], list[bytes]]:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            called[number].set()
            answer[number].wait(PATIENCE)
            start_response("200 OK", [])
            return []

        return app

    receivers = [Receiver.wsgi(slow(number), limit=None, description=str(number)) for number in range(2)]
    with EngageLab(receivers, clock=LiveClock()) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        talk("GET", "/_mock/stream")
        engagelab.begin_send("+6591234567", scenario=["plan"])
        assert all(each.wait(PATIENCE) for each in called)
        [(name, _)] = events(talk("GET", "/_mock/stream").body)
        answer[0].set()
        engagelab.journal.wait_for(receiver=receivers[0], timeout=PATIENCE)
        [(_, data)] = events(talk("GET", f"/_mock/stream?after={name}").body)
        assert data["changed"] == ["messages"]
        answer[1].set()
        engagelab.journal.wait_for(receiver=receivers[1], timeout=PATIENCE)


def test_closing_the_server_ends_it(engagelab: EngageLab) -> None:
    with ApiServer(engagelab) as server, following(server) as stream:
        next(stream)
        server.stop()
        assert list(stream) == []
    assert engagelab.journal.listeners == []
