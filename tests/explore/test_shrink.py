"""The reduced schedule fails, and every simpler one passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given

from engagelab_mock import Schedule
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.schedule import usual_lifecycle
from engagelab_mock.explore.schedules import expand, shrink, simpler
from tests.explore import strategies


def reduced(schedule: Schedule, fails: Callable[[Schedule], bool]) -> tuple[Schedule, int]:
    """Return the smallest schedule, and how many schedules were tried."""
    tried: list[Schedule] = []

    async def asked(candidate: Schedule) -> bool:
        tried.append(candidate)
        return fails(candidate)

    smallest = asyncio.run(shrink(schedule, asked))
    assert len(set(tried)) == len(tried)
    return smallest, len(tried)


def before(first: str, second: str) -> Callable[[Schedule], bool]:
    """Return a function that fails if an event comes before another."""

    def fails(schedule: Schedule) -> bool:
        events = schedule.events
        return first in events and second in events[events.index(first) :]

    return fails


@pytest.mark.parametrize(
    ("found", "fails", "smallest"),
    [
        ("eg1:verified,delivered,sent,plan", before("delivered", "plan"), "eg1:delivered,plan"),
        ("eg1:plan!ackloss,sent*3@+5s,verified", lambda s: s.events.count("sent") > 1, "eg1:sent*2"),
        ("eg1:plan,sent!ackloss@+5s,verified", lambda s: any(step.fault for step in s.steps), "eg1:sent!ackloss"),
        (
            "eg1:plan+sent+delivered+verified",
            lambda s: any(len(step.events) > 1 for step in s.steps),
            "eg1:delivered+verified",
        ),
        ("eg1:plan!ackloss,sent", before("plan", "sent"), "eg1:plan,sent"),
        ("eg1:plan,sent@+5s,verified", before("plan", "sent"), "eg1:plan,sent"),
        ("eg1:plan+sent,verified", lambda s: {"plan", "sent"} <= set(s.events), "eg1:plan,sent"),
        ("eg1:plan,sent@+5s", lambda s: any(step.delay for step in s.steps), "eg1:sent@+5s"),
        ("eg1:delivered:sent,plan", before("sent", "plan"), "eg1:sent,plan"),
        ("eg1:verified,fallback:plan,sent/sms#2", lambda s: "sent/sms" in str(s), "eg1:sent/sms"),
        ("eg1:verified,delivered,sent,plan", lambda s: len(s.events) == 4, "eg1:plan,sent,delivered,verified"),
        ("eg1:verified,plan", lambda s: True, "eg1:verified:"),
        ("eg1:verified,plan", lambda s: str(s) == "eg1:verified,plan", "eg1:verified,plan"),
    ],
)
def test_a_schedule_is_reduced_to_the_smallest(found: str, fails: Callable[[Schedule], bool], smallest: str) -> None:
    assert str(reduced(Schedule.parse(found), fails)[0]) == smallest


def measure(schedule: Schedule) -> tuple[int, ...]:
    """Return how far a schedule is from the simplest, in order of importance."""
    steps = expand(schedule)
    order = labels_of(schedule.lifecycles).all
    places = [order.index(step.events[0]) for step in steps]
    named = [usual_lifecycle(schedule.events)] if len(schedule.lifecycles) == 1 else []
    return (
        len(schedule.lifecycles),
        sum(len(step.events) for step in steps),
        sum(len(step.events) - 1 for step in steps),
        sum(bool(step.fault) for step in steps),
        sum(bool(step.delay) for step in steps),
        sum(first > second for first, second in combinations(places, 2)),
        int(named not in ([None], [schedule.lifecycles[0]])),
    )


@strategies.PROPERTY
@given(strategies.schedules())
def test_every_simpler_schedule_measures_less(schedule: Schedule) -> None:
    small = Schedule(schedule.lifecycles, tuple(step for step in schedule.steps[:3] if step.repeat < 4))
    for candidate in simpler(small):
        assert measure(candidate) < measure(small)
        assert Schedule.parse(str(candidate)) == candidate


@strategies.PROPERTY
@given(strategies.schedules())
def test_every_schedule_simpler_than_the_result_passes(schedule: Schedule) -> None:
    small = Schedule(schedule.lifecycles, tuple(step for step in schedule.steps[:4] if step.repeat < 3))

    def fails(candidate: Schedule) -> bool:
        return len(candidate.events) >= min(2, len(small.events)) and sum(map(len, candidate.events)) % 3 >= 0

    smallest, _ = reduced(small, fails)
    assert fails(smallest)
    assert [str(each) for each in simpler(smallest) if fails(each)] == []


def test_long_schedules_are_reduced_with_few_tries() -> None:
    found = Schedule.parse("eg1:" + ",".join(["plan", "sent", "delivered", "verified"] * 50))
    smallest, tried = reduced(found, before("verified", "plan"))
    assert str(smallest) == "eg1:verified,plan"
    assert tried < 100
