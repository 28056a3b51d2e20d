"""The stream of changes, as a client reads it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engagelab_mock import EngageLab, LiveClock, Receiver
from engagelab_mock.server import ApiServer
from tests.server.conftest import PATIENCE, Talk, message

Event = tuple[str, dict[str, Any]]
EVERYTHING = {"changed": ["messages", "clock", "rules", "receivers"], "restarted": False}


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


def test_an_attempt_to_one_of_several_receivers_is_a_change() -> None:
    receivers = [Receiver.recording(), Receiver.recording()]
    with (
        EngageLab(receivers, clock=LiveClock()) as engagelab,
        ApiServer(engagelab) as server,
        following(server) as stream,
    ):
        next(stream)
        engagelab.send("+6591234567", scenario=["plan"])
        assert next(stream)[1]["changed"] == ["messages"]


def test_closing_the_server_ends_it(engagelab: EngageLab) -> None:
    with ApiServer(engagelab) as server, following(server) as stream:
        next(stream)
        server.stop()
        assert list(stream) == []
    assert engagelab.journal.listeners == []
