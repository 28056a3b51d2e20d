"""Observing the messages of a ledger: several at a time, in any order, until it fails or is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import LoadSummary, ProbeFailed
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.load.ledger import Baseline, Entry, Header, LedgerWriter
from engagelab_mock.load.observing import Observation
from engagelab_mock.load.tally import summarise
from engagelab_mock.load.verdict import Judge

DONE = {"status": "delivered"}
MESSAGES = 40


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "a.ledger"
    with LedgerWriter(path, Header(run="a", url="http://127.0.0.1:5000/", started=0.0)) as writer:
        for number in range(MESSAGES):
            outcome = ("acknowledged", 200)
            writer.add(
                Entry(str(number), "+6591234567", "delivered", 0, 1, "delivered", 0, number, number, 0.1, *outcome)
            )
        writer.write(Baseline(scenario="delivered", states=(DONE,) * 5, messages=(("x", "+6591234567"),) * 5))
        writer.end("finished", asked=MESSAGES)
    return path


class App:
    """Answer each question after some turns of the loop, the later ones sooner; some messages are lost."""

    def __init__(self, lost: tuple[str, ...] = ()) -> None:
        self.lost = lost
        self.asked: list[str] = []
        self.under_way = self.most = 0
        self.on_ask: Callable[[], object] = lambda: None

    async def observe(self, message_id: str) -> Any:
        self.asked.append(message_id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.on_ask()
        for _ in range(MESSAGES - int(message_id)):
            await asyncio.sleep(0)
        self.under_way -= 1
        return {"status": "sent"} if message_id in self.lost else DONE


def judged(ledger: Path, observation: Observation) -> LoadSummary:
    return asyncio.run(summarise([ledger], observation=observation))


@pytest.mark.parametrize("at_once", [1, 4])
def test_no_more_messages_are_read_at_once_than_that(ledger: Path, at_once: int) -> None:
    app = App()
    summary = judged(ledger, Observation(Judge(Probe(app.observe)), at_once=at_once))
    assert app.most == at_once
    assert sorted(app.asked, key=int) == [str(number) for number in range(MESSAGES)]
    assert (summary.state, summary.observed) == ("clean", MESSAGES)


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_lost_messages_are_named_in_the_order_of_the_load(ledger: Path, at_once: int) -> None:
    lost = ("3", "4", "5", "30", "39")
    summary = judged(ledger, Observation(Judge(Probe(App(lost).observe), settle=0), at_once=at_once))
    assert tuple(case.message_id for case in summary.cases) == lost
    assert summary.state == "fell_short"


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_a_state_that_cannot_be_read_makes_the_run_incomplete(ledger: Path, at_once: int) -> None:
    async def observe(message_id: str) -> Any:
        await asyncio.sleep(0)
        if message_id == "39":
            raise ProbeFailed("the app is gone", where="--observe")
        return DONE

    summary = judged(ledger, Observation(Judge(Probe(observe), settle=0), at_once=at_once))
    assert summary.state == "incomplete"
    assert [(case.message_id, case.kind) for case in summary.cases] == [("39", "unclear")]


def test_an_app_that_cannot_be_read_is_left_alone(ledger: Path) -> None:
    asked = []

    async def observe(message_id: str) -> Any:
        asked.append(message_id)
        raise ProbeFailed("the app is gone", where="--observe")

    summary = judged(ledger, Observation(Judge(Probe(observe), settle=0), at_once=4))
    assert len(asked) < MESSAGES / 2
    assert summary.state == "incomplete"
    assert any("more were not observed" in problem for problem in summary.problems)


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_a_cancelled_observation_of_a_message_is_not_lost(ledger: Path, at_once: int) -> None:
    async def observe(message_id: str) -> Any:
        await asyncio.sleep(0)
        if message_id == "39":
            raise asyncio.CancelledError
        return DONE

    with pytest.raises(asyncio.CancelledError):
        judged(ledger, Observation(Judge(Probe(observe)), at_once=at_once))


@pytest.mark.parametrize("lost", [(), ("0",), ("39",)])
def test_a_stopped_observation_is_incomplete_unless_it_has_found_a_fault(ledger: Path, lost: tuple[str, ...]) -> None:
    app = App(lost)
    observation = Observation(Judge(Probe(app.observe), settle=60), at_once=4)

    def stop_at_the_tenth() -> None:
        if len(app.asked) == 10:
            observation.stop()

    app.on_ask = stop_at_the_tenth
    summary = judged(ledger, observation)
    begun = len(app.asked)
    assert 10 <= begun <= 13
    assert f"it was stopped after {begun} messages were observed" in summary.problems
    assert summary.state == ("fell_short" if lost == ("0",) else "incomplete")


def test_the_progress_ends_at_the_deliveries_of_the_ledgers(ledger: Path) -> None:
    told: list[tuple[int, int, int | None]] = []
    judged(ledger, Observation(Judge(Probe(App().observe)), at_once=4, progress=lambda *each: told.append(each)))
    assert told[0] == (0, 1, MESSAGES)
    assert all(observed <= deliveries <= MESSAGES for observed, deliveries, _ in told)


def test_a_ledger_without_its_end_has_no_total(ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes().rpartition(b'{"type":"end"')[0])
    told: list[int | None] = []
    summary = judged(ledger, Observation(Judge(Probe(App().observe)), progress=lambda *each: told.append(each[2])))
    assert told[0] is None
    assert summary.state == "incomplete"
