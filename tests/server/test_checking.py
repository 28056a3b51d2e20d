"""The checks that the server runs: started, followed, filtered, cancelled, one run at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from engagelab_mock import EngageLab, Judgement, LiveClock, Receiver, Recorder
from engagelab_mock.checks.check import Severity
from engagelab_mock.server import ApiServer, checking
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.server.conftest import Talk

SECRET = "s3cret-of-acme"


def test_the_words_are_those_of_the_checks() -> None:
    assert get_args(checking.Verdict) == tuple(map(str, Judgement))
    assert get_args(checking.Severity) == tuple(map(str, Severity))


def test_before_the_first_run_there_is_none(talk: Talk) -> None:
    run = talk("GET", "/_mock/check").json
    assert (run["state"], run["findings"], run["problem"]) == ("none", [], None)
    assert talk("DELETE", "/_mock/check").json["state"] == "none"


def test_a_receiver_in_process_is_checked_in_the_test(talk: Talk) -> None:
    answer = talk("POST", "/_mock/check")
    assert answer.error == (409, 3003)
    assert "engagelab.check()" in answer.json["message"]
    assert talk("POST", "/_mock/check", {"receiver": 2}).error == (404, 4001)
    for wrong in ({"timeout": 601}, {"severity": "huge"}, {"receiver": 0}, {"onyl": ["A01"]}):
        assert talk("POST", "/_mock/check", wrong).error == (400, 3002)


class Gate(Recorder):
    """Receive callbacks; while the gate is closed, do not answer."""

    def __init__(self, secret: str = SECRET) -> None:
        super().__init__(username="acme", secret=secret)
        self.opened = threading.Event()
        self.opened.set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.opened.wait(PATIENCE)
        return super().__call__(environ, start_response)


@pytest.fixture
def gate() -> Iterator[tuple[Gate, Talk, EngageLab]]:
    gate = Gate()
    with LoopbackServer(gate) as listening:
        receiver = Receiver.http(f"{listening.url}/engagelab", username="acme", secret=SECRET)
        with (
            EngageLab(receiver, clock=LiveClock(), defaults={"check": False}) as engagelab,
            ApiServer(engagelab) as server,
        ):
            yield gate, Talk(server), engagelab
            gate.opened.set()


def until(talk: Talk, state: str) -> Any:
    """Follow the stream until the run has this state, and return the run."""
    run = talk("GET", "/_mock/check").json
    name = ""
    while run["state"] != state:
        event = talk("GET", f"/_mock/stream?follow=0.3&after={name}").body.decode()
        name = event.rpartition("id: ")[2].partition("\n")[0] if "id: " in event else name
        run = talk("GET", "/_mock/check").json
        assert run["state"] in {"running", state}, run
    return run


@pytest.mark.slow
def test_a_right_receiver_passes_and_the_findings_are_filtered(gate: tuple[Gate, Talk, EngageLab]) -> None:
    _, talk, engagelab = gate
    started = talk("POST", "/_mock/check", {"only": ["A01", "B*"]})
    assert (started.status, started.json["state"]) == (202, "running")
    run = until(talk, "done")
    assert run["problem"] is None
    assert run["counts"]["pass"] > 10
    assert "fail" not in run["counts"]
    assert run["finished"] == run["total"] == len(run["findings"])
    assert run["sent"] > 10
    assert len(engagelab.journal) == 0
    passed = talk("GET", "/_mock/check?verdict=pass&severity=blocker").json["findings"]
    assert {(each["verdict"], each["severity"]) for each in passed} == {("pass", "blocker")}
    [found] = talk("GET", "/_mock/check?search=PING-EMPTY").json["findings"]
    assert (found["id"], found["fix"], found["exchanges"]) == ("A01", "", [])
    assert talk("GET", "/_mock/check?verdict=maybe").error == (400, 3002)


@pytest.mark.slow
def test_a_receiver_that_verifies_nothing_gets_the_worst_first_with_their_fixes(
    gate: tuple[Gate, Talk, EngageLab],
) -> None:
    careless, talk, _ = gate
    careless.username = ""
    talk("POST", "/_mock/check", {"only": ["B*"]})
    run = until(talk, "done")
    assert run["counts"]["fail"] > 3
    failed = [each for each in run["findings"] if each["verdict"] == "fail"]
    assert run["findings"][: len(failed)] == failed
    ranks = [list(Severity).index(Severity(each["severity"])) for each in failed]
    assert ranks == sorted(ranks)
    assert all(each["fix"] and each["repro"] for each in failed)
    assert failed[0]["exchanges"][0]["sent"].startswith("POST http://127.0.0.1:")


@pytest.mark.slow
def test_a_run_is_the_only_one_until_it_is_cancelled(gate: tuple[Gate, Talk, EngageLab]) -> None:
    closed, talk, _ = gate
    closed.opened.clear()
    assert talk("POST", "/_mock/check", {"timeout": 60}).status == 202
    again = talk("POST", "/_mock/check")
    assert again.error == (409, 3003)
    assert "DELETE /_mock/check" in again.json["message"]
    assert talk("DELETE", "/_mock/check").json["state"] == "cancelled"
    closed.opened.set()
    while (run := talk("GET", "/_mock/check").json)["finished"] < run["total"]:
        talk("GET", "/_mock/stream?follow=0.2")
    assert (run["state"], run["counts"].get("pass", 0)) == ("cancelled", 0)
    assert run["sent"] < 20
    while talk("POST", "/_mock/check", {"only": ["A01"]}).status == 409:
        talk("GET", "/_mock/stream?follow=0.2")
    assert until(talk, "done")["counts"]["pass"] == 1


@pytest.mark.slow
def test_a_receiver_that_does_not_listen_ends_the_run_with_the_reason() -> None:
    with (
        EngageLab(Receiver.http("http://127.0.0.1:1/"), clock=LiveClock()) as engagelab,
        ApiServer(engagelab) as server,
    ):
        talk = Talk(server)
        talk("POST", "/_mock/check")
        run = until(talk, "failed")
        assert "nothing listens on 127.0.0.1:1" in run["problem"]
        assert run["findings"] == []
