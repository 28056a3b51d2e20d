"""Schedules are as many as the closed forms say, unique, always in the same order, smallest first, made lazily."""

from __future__ import annotations

from itertools import islice, pairwise
from math import factorial
from typing import Any

import pytest

from engagelab_mock import AT_LEAST_ONCE, CATALOGUE, Scenario, Schedule, UsageError, schedules
from engagelab_mock.explore.families import fubini, stirling
from engagelab_mock.explore.lifecycle import labels_of

#: A lifecycle of each length; longer ones take too long to go through.
OF_LENGTH = {0: "lost", 2: "sent_failed", 3: "delivered", 4: "verified", 6: "fallback"}

lengths = pytest.mark.parametrize("n", OF_LENGTH)


def counted(**options: Any) -> int:
    """Return the number of schedules, after checking that they are unique and as many as announced."""
    every = schedules(**options) if "lifecycle" not in options else schedules(options.pop("lifecycle"), **options)
    made = list(every)
    assert len(set(made)) == len(made) == len(every) == every.total
    assert len({str(schedule) for schedule in made}) == len(made)
    return len(made)


@lengths
def test_orderings_are_permutations(n: int) -> None:
    assert counted(lifecycle=OF_LENGTH[n]) == factorial(n)
    assert counted(lifecycle=OF_LENGTH[n], orderings=False) == 1


@lengths
def test_with_one_duplicate(n: int) -> None:
    assert counted(lifecycle=OF_LENGTH[n], duplicates=1) == factorial(n) + n * factorial(n + 1) // 2
    assert counted(lifecycle=OF_LENGTH[n], duplicates=1, orderings=False) == 1 + n * (n + 1) // 2


@pytest.mark.parametrize("n", [2, 3, 4])
def test_with_two_duplicates(n: int) -> None:
    words = factorial(n) * stirling(n + 2, n)
    assert counted(lifecycle=OF_LENGTH[n], duplicates=2) == factorial(n) + n * factorial(n + 1) // 2 + words


@pytest.mark.parametrize(("n", "number"), [(2, 3), (3, 13), (4, 75), (6, 4683)])
def test_batchings_are_ordered_partitions(n: int, number: int) -> None:
    assert fubini(n) == number
    assert counted(lifecycle=OF_LENGTH[n], batchings=True) == number
    assert counted(lifecycle=OF_LENGTH[n], batchings=True, orderings=False) == 2 ** (n - 1)


def test_the_fubini_number_of_a_path_of_five() -> None:
    path = Scenario("five").then("plan").then("target_valid").then("sent").then("delivered").then("verified")
    assert len(schedules(path, batchings=True)) == 541
    assert len(schedules(path)) == 120


@pytest.mark.parametrize("n", [2, 3, 4])
def test_faults_strike_every_delivery_in_every_order(n: int) -> None:
    whole, fewer = factorial(n), n * len(AT_LEAST_ONCE)
    assert counted(lifecycle=OF_LENGTH[n], faults="at-least-once") == whole + whole * fewer
    assert counted(lifecycle=OF_LENGTH[n], faults="at-least-once", orderings=False) == 1 + fewer
    assert counted(lifecycle=OF_LENGTH[n], faults=["ackloss"]) == whole + whole * n


def test_every_kind_at_once_is_the_sum_of_them() -> None:
    assert counted(lifecycle="verified", duplicates=1, batchings=True, faults="at-least-once") == 75 + 240 + 24 * 16


def test_every_built_in_lifecycle() -> None:
    lengths = [len(scenario.transitions) for scenario in CATALOGUE.values()]
    assert len(schedules(duplicates=1)) == sum(factorial(n) + n * factorial(n + 1) // 2 for n in lengths)


def test_the_smallest_come_first() -> None:
    every = list(schedules("verified", "sent_failed", duplicates=1, batchings=True, faults="at-least-once"))
    sizes = [len(schedule.events) + sum(step.fault != "" for step in schedule.steps) for schedule in every]
    assert all(before <= after for before, after in pairwise(sizes))
    assert [str(schedule) for schedule in every[:4]] == [
        "eg1:plan,sent_failed",
        "eg1:sent_failed,plan",
        "eg1:plan+sent_failed",
        "eg1:plan!lost,sent_failed",
    ]


def test_schedules_are_made_lazily() -> None:
    every = schedules("fallback_exhausted", duplicates=3)
    assert len(every) > 10**7
    assert len(list(islice(every, 3))) == 3


def test_schedules_are_the_same_every_time() -> None:
    every = schedules("verified", duplicates=1)
    assert list(every) == list(every) == list(schedules("verified", duplicates=1))


def test_a_limit() -> None:
    every = schedules("verified", duplicates=1, limit=30)
    assert (len(every), every.total) == (30, 264)
    assert list(every) == list(schedules("verified", duplicates=1))[:30]
    assert len(schedules("verified", limit=1000)) == 24
    assert repr(every) == "<Schedules: 30 of 264>"


def test_each_schedule_delivers_every_event() -> None:
    for schedule in schedules("fallback", batchings=True, limit=2000):
        assert set(schedule.events) == set(labels_of(schedule.lifecycles).all)
        assert Schedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (["verfied"], {}, "did you mean 'verified'?"),
        (["verified"], {"duplicates": -1}, "duplicates is an integer from 0"),
        (["verified"], {"duplicates": True}, "not True"),
        (["verified"], {"limit": 1.5}, "limit is an integer from 0"),
        (["verified"], {"faults": "at-most-once"}, "did you mean 'at-least-once'?"),
        (["verified"], {"faults": ["akloss"]}, "did you mean 'ackloss'?"),
        (["verified"], {"faults": 7}, "faults is a list of names"),
    ],
)
def test_wrong_arguments_of_schedules_raise(arguments: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        schedules(*arguments, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("schedule", schedules("sent_failed", duplicates=1))
def test_schedules_can_be_parameters(schedule: Schedule, request: pytest.FixtureRequest) -> None:
    assert request.node.callspec.id == str(schedule)


def test_a_lifecycle_that_is_given_twice_is_two_messages_with_interleaved_events() -> None:
    every = list(schedules("delivered", "delivered", orderings=False))
    assert len(every) == len(set(every)) == 20
    assert [str(schedule) for schedule in every[:2]] == [
        "eg1:delivered,delivered:plan,sent,delivered,plan#2,sent#2,delivered#2",
        "eg1:delivered,delivered:plan,sent,plan#2,delivered,sent#2,delivered#2",
    ]
    for schedule in every:
        for message in ("", "#2"):
            own = [label for label in schedule.events if label.endswith("#2") == bool(message)]
            assert own == [f"plan{message}", f"sent{message}", f"delivered{message}"]
    assert len(schedules("delivered", "delivered")) == factorial(6)


@pytest.mark.parametrize("orderings", [True, False])
def test_every_kind_of_schedules_of_two_messages_is_counted(orderings: bool) -> None:
    every = schedules(
        *("sent_failed", "plan-sent"),
        together=True,
        orderings=orderings,
        duplicates=1,
        batchings=True,
        faults="at-least-once",
    )
    assert {str(schedule).split(":")[1] for schedule in every} == {"sent_failed,plan-sent"}
    assert len(set(every)) == len(list(every)) == every.total


def test_different_lifecycles_are_separate_unless_they_are_put_together() -> None:
    assert len(schedules("delivered", "sent_failed")) == 6 + 2
    assert len(schedules("delivered", "sent_failed", together=True)) == factorial(5)
