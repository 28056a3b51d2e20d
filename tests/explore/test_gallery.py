"""Every mutant of the gallery is caught by the expected invariant, in a minimal schedule."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import CATALOGUE, Dialect, EngageLab, NothingObserved, ScheduleFailed, converges, eventually
from engagelab_mock.explore.schedules import simpler
from engagelab_mock.protocol.events import MsgTime
from tests.explore.gallery import (
    CASES,
    SAME_SECOND,
    USUAL,
    Case,
    leaves_no_trace_of_what_it_refuses,
    name,
    pays_who_verified,
)
from tests.receivers.gallery import mutants
from tests.receivers.gallery.orders import Orders
from tests.receivers.gallery.stacks import STACKS, shop

#: A fallback has so many schedules that only the fastest stack plays them.
SEARCHES = [(case, stack) for case in CASES for stack in STACKS if stack == "flask" or case.lifecycle != "fallback"]


@pytest.mark.parametrize(
    ("case", "stack"), SEARCHES, ids=lambda value: value if isinstance(value, str) else name(value)
)
def test_a_mutant_is_caught_in_the_shortest_schedule(case: Case, stack: str) -> None:
    with (
        shop(stack, case.orders) as opened,
        EngageLab(opened.receiver) as engagelab,
        pytest.raises(ScheduleFailed) as raised,
    ):
        engagelab.explore(case.lifecycle, invariants=[case.invariant], reset=opened.reset, merge=False, **case.options)
    assert raised.value.failure.token == case.token
    if stack != "flask":
        return
    # Every simpler schedule passes.
    with shop(stack, case.orders) as opened, EngageLab(opened.receiver) as engagelab:
        simpler_ones = engagelab.explore(
            [each for each in simpler(raised.value.failure.schedule) if each.deliveries],
            invariants=[case.invariant],
            reset=opened.reset,
            retry=case.options.get("retry"),
            check=False,
        )
        assert simpler_ones.failures == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_receiver_that_mistakes_every_id_shows_nothing(stack: str) -> None:
    with (
        shop(stack, mutants.CountsInFloats) as opened,
        EngageLab(opened.receiver) as engagelab,
        pytest.raises(NothingObserved, match="the receiver showed no effect"),
    ):
        engagelab.explore("verified", invariants=[eventually("verified", "status")], reset=opened.reset)


def test_every_mutant_of_the_gallery_has_its_case() -> None:
    gallery = {made for made in vars(mutants).values() if isinstance(made, type) and issubclass(made, Orders)}
    assert gallery - {Orders, mutants.Flaky, mutants.CountsInFloats} == {case.orders for case in CASES}


#: The lifecycles in which a bug of ordering by time shows, by what `msg_time` holds. If it moves, it is as good as
#: `itime`, and neither fails while each event has its own second.
ORDERED_BY_TIME: list[tuple[type[Orders], MsgTime, set[str]]] = [
    (mutants.OrdersByTime, "message", {SAME_SECOND}),
    (mutants.OrdersByTime, "event", {SAME_SECOND}),
    (mutants.WantsALaterTime, "message", {SAME_SECOND}),
    (mutants.WantsALaterTime, "event", {SAME_SECOND}),
    (mutants.OrdersByMsgTime, "message", {SAME_SECOND, "verified"}),
    (mutants.OrdersByMsgTime, "event", {SAME_SECOND}),
    (mutants.WantsALaterMsgTime, "message", {SAME_SECOND, "verified"}),
    (mutants.WantsALaterMsgTime, "event", {SAME_SECOND}),
    (Orders, "message", set()),
    (Orders, "event", set()),
]


@pytest.mark.parametrize(("orders", "msg_time", "found_in"), ORDERED_BY_TIME)
def test_ordering_by_time_is_found_in_both_readings_of_msg_time(
    orders: type[Orders], msg_time: MsgTime, found_in: set[str]
) -> None:
    with shop("flask", orders) as opened, EngageLab(opened.receiver, dialect=Dialect(msg_time=msg_time)) as engagelab:
        explored = {
            lifecycle: engagelab.explore(
                lifecycle, invariants=[converges("status")], reset=opened.reset, duplicates=0, check=False
            )
            for lifecycle in (SAME_SECOND, "verified")
        }
    assert {lifecycle for lifecycle, exploration in explored.items() if not exploration.ok} == found_in


#: The options that the correct receiver is explored with, and how many schedules of each on each stack.
TRIALS: dict[str, dict[str, Any]] = {
    "orders and duplicates": {"duplicates": 1},
    "batches": {"duplicates": 0, "batchings": True},
    "crashes": {"duplicates": 0, "faults": "at-least-once"},
    "two duplicates": {"duplicates": 2, "orderings": False},
    "forgeries": {"duplicates": 0, "faults": ["wrong_secret", "stale", "missing_signature", "truncated_json"]},
    "bad rows": {"duplicates": 0, "faults": ["null_section", "wrong_total", "unknown_kind", "unknown_fields"]},
}
LIMITS = {"flask": 20, "fastapi": 8, "django": 3}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("trial", TRIALS)
def test_the_correct_receiver_passes_every_trial(trial: str, stack: str) -> None:
    with shop(stack) as opened, EngageLab(opened.receiver) as engagelab:
        for lifecycle in [name for name, scenario in CATALOGUE.items() if scenario.transitions]:
            exploration = engagelab.explore(
                lifecycle,
                invariants=[*USUAL, leaves_no_trace_of_what_it_refuses],
                reset=opened.reset,
                limit=LIMITS[stack],
                **TRIALS[trial],
            )
            assert exploration.ok


@pytest.mark.parametrize("stack", STACKS)
def test_the_correct_receiver_passes_while_a_service_it_needs_is_down(stack: str) -> None:
    with shop(stack, mutants.Flaky) as opened, EngageLab(opened.receiver) as engagelab:
        engagelab.explore("verified", invariants=[pays_who_verified], reset=opened.reset, retry=[60], limit=30)
