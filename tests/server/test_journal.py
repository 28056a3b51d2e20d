"""The journal over HTTP: its lines, its filters, and those who follow it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Receiver,
    Recorder,
)
from engagelab_mock.delivery.model import Delivery, Refusal
from engagelab_mock.server import ApiServer, create_app
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.server.conftest import Talk


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line]


def test_the_journal_has_the_engine_s_callbacks(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered")
    answer = talk("GET", "/_mock/journal")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    first, *rest = lines(answer.body)
    assert [record["statuses"] for record in (first, *rest)] == [["plan"], ["sent"], ["delivered"]]
    assert first["message_id"] == run.message_id
    assert first["body"] == run.deliveries[0].callback.body.decode()
    assert first["headers"]["X-CALLBACK-ID"] == run.deliveries[0].callback.headers["X-CALLBACK-ID"]
    assert (first["type"], first["to"], first["number"], first["http_status"], first["outcome"], first["hint"]) == (
        *("attempt", "+6591234567", 1, 200, "acknowledged"),
        None,
    )


@pytest.mark.parametrize("query", ["", "?follow=0.01"])
def test_the_journal_does_not_show_the_authorization(query: str) -> None:
    receiver = Receiver.recording(authorization="Bearer of-news")
    with EngageLab(receiver) as engagelab, ApiServer(engagelab) as server:
        engagelab.send("+6591234567", scenario=["plan"])
        answer = Talk(server)("GET", f"/_mock/journal{query}")
    [record] = lines(answer.body)
    assert record["headers"]["Authorization"] == "(as configured)"
    assert b"of-news" not in answer.body


def test_a_restored_journal_does_not_show_the_authorization_of_then(tmp_path: Path) -> None:
    with LoopbackServer(Recorder()) as app:
        for authorization in ("Bearer of-old", "Bearer of-new"):
            receiver = Receiver.http(app.url, authorization=authorization)
            with (
                SqliteStore(tmp_path / "db") as store,
                EngageLab(receiver) as engagelab,
                ApiServer(engagelab) as server,
            ):
                restore(engagelab, store)
                engagelab.send("+6591234567", scenario=["plan"], check=False)
                answer = Talk(server)("GET", "/_mock/journal")
    assert [record["headers"]["Authorization"] for record in lines(answer.body)] == ["(as configured)"] * 2
    assert b"of-" not in answer.body


def test_the_journal_has_refusals_and_failures(talk: Talk, engagelab: EngageLab) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        engagelab.send("+65 9123")
    assert engagelab.receiver.recorder is not None
    engagelab.receiver.recorder.answer = 500
    engagelab.validate_address(check=False)
    refusal, validation = lines(talk("GET", "/_mock/journal").body)
    assert (refusal["type"], refusal["error"]) == ("refusal", "InvalidRecipient")
    assert (validation["type"], validation["http_status"], validation["acknowledged"]) == ("validation", 500, False)
    assert validation["hint"]


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("status=sent", ["sent"]),
        ("to=%2B6591234567", ["plan", "sent", "delivered"]),
        ("to=%2B6500000000", []),
        ("outcome=acknowledged&kind=status", ["plan", "sent", "delivered"]),
        ("outcome=not_200", []),
        ("limit=2", ["sent", "delivered"]),
        ("follow=0", ["plan", "sent", "delivered"]),
        ("follow=0&limit=1", ["delivered"]),
    ],
)
def test_the_journal_can_be_filtered(talk: Talk, engagelab: EngageLab, query: str, statuses: list[str]) -> None:
    engagelab.send("+6591234567", scenario="delivered")
    records = lines(talk("GET", f"/_mock/journal?{query}").body)
    assert [record["statuses"] for record in records] == [[status] for status in statuses]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("staus=sent", "did you mean 'status'?"),
        ("status=delivred", "did you mean 'delivered'?"),
        ("outcome=acknowleged", "did you mean 'acknowledged'?"),
        ("limit=0", "limit is '0', and must be an integer from 1 to 1000000"),
        ("limit=many", "limit is 'many', and must be an integer from 1 to 1000000"),
        ("follow=-1", "follow is '-1', and must be a number from 0 to 86400 or '' or 'true'"),
        ("follow=nan", "follow is 'nan', and must be a number from 0 to 86400 or '' or 'true'"),
        ("to=a&to=b", "to is given more than once"),
    ],
)
def test_an_unusable_query_is_refused(talk: Talk, query: str, said: str) -> None:
    answer = talk("GET", f"/_mock/journal?{query}")
    assert answer.error == (400, 3002)
    assert said in answer.json["message"]


def test_the_journal_can_be_followed_until_the_server_stops(engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    with ApiServer(engagelab) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        connection.request("GET", "/_mock/journal?follow")
        response = connection.getresponse()
        assert json.loads(response.readline())["statuses"] == ["plan"]
        engagelab.send("+6591234567", scenario=["plan", "sent"])
        assert [json.loads(_next(response))["statuses"] for _ in range(2)] == [["plan"], ["sent"]]
    assert response.read().strip() == b""
    connection.close()


def test_a_follower_gets_every_attempt_once_when_the_journal_forgets() -> None:
    with EngageLab(keep=20) as engagelab, ApiServer(engagelab) as server:
        sent = [engagelab.send(scenario=["plan", "sent"]).message_id for _ in range(5)]
        with following(server) as response:
            told = [json.loads(_next(response)) for _ in range(10)]
            for _ in range(100):
                sent.append(engagelab.send(scenario=["plan", "sent"]).message_id)
                told += [json.loads(_next(response)) for _ in range(2)]
    expected = [(message_id, [status]) for message_id in sent for status in ("plan", "sent")]
    assert [(record["message_id"], record["statuses"]) for record in told] == expected


def test_a_follower_gets_an_attempt_once_that_completes_as_it_begins(engagelab: EngageLab) -> None:
    class Late:
        """Keep nothing; begin to follow when an attempt is completed and the listeners have not been told."""

        def begun(self, delivery: Delivery) -> None:
            pass

        def completed(self, delivery: Delivery) -> None:
            if not told:
                responses.append(stack.enter_context(following(server)))
                told.append(json.loads(_next(responses[0])))

        def refused(self, refusal: Refusal) -> bool:
            return True

    told: list[dict[str, Any]] = []
    responses: list[http.client.HTTPResponse] = []
    with ApiServer(engagelab) as server, ExitStack() as stack:
        engagelab.journal.keeper = Late()
        engagelab.send(scenario=["plan", "sent"])
        told.append(json.loads(_next(responses[0])))
    assert [record["statuses"] for record in told] == [["plan"], ["sent"]]


def test_a_follower_of_a_closed_app_gets_only_past_lines(engagelab: EngageLab) -> None:
    app = create_app(engagelab)
    app.close()
    engagelab.send("+6591234567", scenario=["plan"])
    with LoopbackServer(app) as server, following(server) as response:
        assert json.loads(response.readline())["statuses"] == ["plan"]
        assert response.readline() == b""


@contextmanager
def following(server: ApiServer | LoopbackServer) -> Iterator[http.client.HTTPResponse]:
    """Follow the journal."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=PATIENCE)) as connection:
        connection.request("GET", "/_mock/journal?follow")
        yield connection.getresponse()


def _next(response: http.client.HTTPResponse) -> bytes:
    """Return the next line that is not empty; a server that has nothing to tell sends an empty one each second."""
    for _ in range(int(PATIENCE)):
        line = response.readline()
        assert line, "the answer has ended"
        if line.strip():
            return line
    raise AssertionError("nothing was told")


def leave(server: ApiServer, path: str) -> None:
    """Ask for something that takes long, and close the connection once the server works on it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        if "follow" in path:
            assert connection.recv(1)


class Watched(ApiServer):
    """A server that tells when an answer has ended."""

    def __init__(self, engagelab: EngageLab) -> None:
        super().__init__(engagelab)
        self.ended = threading.Event()
        self._app.forget = self._ended  # type: ignore[method-assign]

    def _ended(self, end: object) -> None:
        self.ended.set()


@pytest.mark.parametrize("path", ["/_mock/inbox/+6591234567?wait=600", "/_mock/journal?follow"])
def test_an_answer_that_waits_ends_when_its_client_has_gone(engagelab: EngageLab, path: str) -> None:
    with Watched(engagelab) as server:
        leave(server, path)
        assert server.ended.wait(PATIENCE)


def test_a_follower_whose_filter_fits_nothing_ends_too_while_others_are_called(engagelab: EngageLab) -> None:
    with Watched(engagelab) as server:
        leave(server, "/_mock/journal?follow&status=read")
        for _ in range(100_000):
            engagelab.send(scenario=["plan"])
            if server.ended.is_set():
                break
        assert server.ended.is_set()
