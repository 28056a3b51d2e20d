"""The calls that show the explorations of this process: their verdicts, their failed schedules, their states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engagelab_mock.server.app import Call
from engagelab_mock.server.operations import answers
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.explore.exploration import Exploration, Failure

Verdict = Literal["running", "passed", "failed", "stopped", "nothing"]


class FailedSchedule(msgspec.Struct):
    """A schedule that failed, reduced."""

    invariant: str
    what: Annotated[str, Meta(description="Why it failed.")]
    token: Annotated[str, Meta(description="The schedule, for `engagelab.replay` and engagelab-mock send --replay.")]
    table: Annotated[str, Meta(description="Its attempts, with the state before and after each.")]


class Explored(msgspec.Struct, kw_only=True):
    """One exploration."""

    number: Annotated[int, Meta(description="Its place among those that are kept, from 1.")]
    verdict: Annotated[
        Verdict, Meta(description="Stopped: it ended early without a failure. Nothing: it sent no callback.")
    ]
    total: Annotated[int, Meta(description="How many schedules were planned.")]
    schedules: Annotated[int, Meta(description="How many of them were judged.")]
    deliveries: Annotated[int, Meta(description="How many callbacks were sent.")]
    states: Annotated[int, Meta(description="How many different states were seen; 0 without an `observe`.")]
    notes: list[str]
    failures: list[FailedSchedule]


class ExploredDetail(Explored, kw_only=True):
    """One exploration, with the graph of its states."""

    graph: Annotated[str | None, Meta(description="For Mermaid; null while it runs, and without an `observe`.")]
    picture: Annotated[str | None, Meta(description="The graph as an SVG picture; null like `graph`.")]


class Explorations(msgspec.Struct):
    """The last explorations, oldest first."""

    explorations: list[Explored]


@answers(
    "GET", "/_mock/explorations", "List the last explorations of the process that runs this server", "The last ones."
)
def list_explorations(call: Call) -> Explorations:
    """List the last explorations of the process that runs this server."""
    kept = tuple(call.engagelab._engine.exploring.explorations)
    return Explorations([Explored(**_fields(number, each)) for number, each in enumerate(kept, 1)])


@answers(
    "GET",
    "/_mock/explorations/{number}",
    "Read one exploration, with the graph of its states",
    "The exploration.",
    refused={404: "4001: there is no such exploration."},
)
def read_exploration(call: Call) -> ExploredDetail:
    """Read one exploration, with the graph of its states."""
    number, kept = call.named["number"], tuple(call.engagelab._engine.exploring.explorations)
    if not (number.isascii() and number.isdecimal() and 1 <= int(number[:9]) <= len(kept)):
        raise ApiError(4001, f"there is no exploration {number[:100]!r}; there are {len(kept)}", http_status=404)
    exploration: Exploration = kept[int(number) - 1]
    drawn = exploration.over and exploration.observed
    return ExploredDetail(
        **_fields(int(number), exploration),
        graph=exploration.graph("mermaid") if drawn else None,
        picture=exploration.graph("svg") if drawn else None,
    )


def _fields(number: int, exploration: Exploration) -> dict[str, Any]:
    verdict: Verdict = "passed"
    if exploration.failures:
        verdict = "failed"
    elif not exploration.over:
        verdict = "running"
    elif exploration.stopped:
        verdict = "stopped"
    elif not exploration.deliveries:
        verdict = "nothing"
    return {
        "number": number,
        "verdict": verdict,
        "total": exploration.total,
        "schedules": exploration.schedules,
        "deliveries": exploration.deliveries,
        "states": exploration.states,
        "notes": list(exploration.notes),
        "failures": [_failure(each) for each in tuple(exploration.failures)],
    }


def _failure(failure: Failure) -> FailedSchedule:
    from engagelab_mock.explore.exploration import attempts_table  # loaded by the exploration

    table = attempts_table(failure.played, failure.violation.record)
    return FailedSchedule(failure.violation.invariant, failure.violation.what, failure.token, table)
