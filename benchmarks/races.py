"""E3: the cost of finding races in a Flask app with SQLite in a file, and of finding none in a right one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from tests.receivers import racing

from benchmarks.explore import Call, make, noted, recording
from benchmarks.row import Row
from benchmarks.timing import Effort, interleaved
from engagelab_mock import EngageLab, Exploration, Receiver, ScheduleFailed

_MUTANTS = (racing.select_then_insert, racing.lost_update, racing.effect_commit_mark, racing.Cached())


def measure(effort: Effort) -> Iterator[Row]:
    """Explore `verified` until the race is found, and `plan-sent` in every order with two preemptions.

    Both are compared with the same calls of the app, the state and the reset by hand, one after the other.
    """
    with tempfile.TemporaryDirectory(dir=racing.folder()) as directory:
        store = racing.Store(Path(directory, "shop.sqlite"))
        found = [_measured(effort, store, mutant, _found) for mutant in _MUTANTS]
        right = _measured(effort, store, racing.correct, _clean)
    slowest = max(found, key=lambda each: each["explore_s"])
    what = "the racing mutants on Flask and SQLite"
    most = max(each["schedules"] for each in found)
    yield Row(goal="E3", what=f"{what}: schedules until found", value=most, budget=50, unit="runs", context=slowest)
    yield Row(
        goal="E3", what=f"{what}: time until found", value=slowest["explore_s"], budget=2, unit="s", context=slowest
    )
    yield Row(
        goal="E3",
        what="a right receiver: every order with two preemptions",
        value=right["explore_s"],
        budget=5,
        unit="s",
        context=right,
    )


def _measured(effort: Effort, store: racing.Store, handle: racing.Handle, explore: Any) -> dict[str, float]:
    receiver: Any = racing.flask_receiver(store, handle)
    app, observe, reset = receiver.transport.app, receiver.observe, receiver.reset
    calls: list[Call] = []
    schedules = explore(
        Receiver.wsgi(recording(app, calls), "/engagelab", observe=noted(observe, calls), reset=noted(reset, calls))
    )
    taken = interleaved(
        msgspec.structs.replace(effort, calls=1, rounds=min(effort.rounds, 5)),
        {"by_hand": lambda: make(calls), "explore": lambda: explore(receiver)},
    )
    return {
        "schedules": float(schedules),
        "by_hand_s": taken["by_hand"],
        "explore_s": taken["explore"],
        "ratio": taken["explore"] / taken["by_hand"],
    }


def _found(receiver: Receiver) -> int:
    with EngageLab(receiver) as engagelab:
        try:
            engagelab.explore("verified", concurrent=2)
        except ScheduleFailed as error:
            return error.failure.number
    raise AssertionError("the race was not found")


def _clean(receiver: Receiver) -> int:
    with EngageLab(receiver) as engagelab:
        found: Exploration = engagelab.explore("plan-sent", concurrent=2)
    return found.schedules
