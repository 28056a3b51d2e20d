"""The orders of handlers that run at the same time: every one with few preemptions, once."""

from __future__ import annotations

from itertools import pairwise
from math import comb

import pytest

from engagelab_mock import UsageError
from engagelab_mock.explore.interleave import Handler, run_in_threads
from engagelab_mock.explore.orders import Orders, Trace
from engagelab_mock.explore.switchpoints import SwitchPoints


def touch() -> None:
    """Be a switch point."""


POINTS = SwitchPoints([touch])


def run(order: str, *counts: int, strict: bool = False) -> tuple[str, Trace]:
    """Run handlers that come to so many switch points each; return who ran when, and the trace."""
    ran: list[str] = []

    def job(name: str, count: int, handler: Handler) -> None:
        def program() -> None:
            ran.append(name)
            for _ in range(count):
                touch()
                ran.append(name)

        handler.watched(program, POINTS)

    jobs = [
        (name, lambda handler, name=name, count=count: job(name, count, handler))
        for name, count in zip("abc", counts, strict=False)
    ]
    trace = run_in_threads(jobs, order, strict=strict)
    return "".join(ran), trace


def explored(preemptions: int, *counts: int, alike: bool = False) -> list[tuple[str, str]]:
    orders = Orders([0 if alike else number for number in range(len(counts))], preemptions)
    found = []
    while orders.cost is not None:
        order = orders.pop()
        ran, trace = run(order, *counts)
        orders.learn(trace)
        found.append((order, ran))
    return found


@pytest.mark.parametrize(
    ("order", "ran"),
    [
        ("", "aaabbb"),
        ("b", "bbbaaa"),
        ("a1b", "abbbaa"),
        ("a2b", "aabbba"),
        ("a1b1a", "abaabb"),
        ("b2a1b", "bbabaa"),
    ],
)
def test_turns_say_who_goes_on(order: str, ran: str) -> None:
    assert run(order, 2, 2)[0] == ran


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (2, 2)])
def test_with_enough_preemptions_every_order_is_played_once(counts: tuple[int, int]) -> None:
    found = [ran for _, ran in explored(10, *counts)]
    steps = sum(counts) + 2
    assert len(found) == len(set(found)) == comb(steps, counts[0] + 1)


def test_orders_with_fewer_preemptions_come_first_and_none_has_more() -> None:
    switches = [sum(one != other for one, other in pairwise(ran)) for _, ran in explored(1, 2, 2)]
    assert switches[0] == switches[1] == 1
    assert max(switches) == 2
    assert switches == sorted(switches)


def test_handlers_of_equal_callbacks_start_in_one_order() -> None:
    assert {ran[0] for _, ran in explored(2, 2, 2, alike=True)} == {"a"}
    assert {ran[0] for _, ran in explored(2, 2, 2)} == {"a", "b"}


def test_three_handlers() -> None:
    found = [ran for _, ran in explored(10, 1, 1, 1)]
    assert len(found) == len(set(found)) == 90


def test_every_order_of_three_handlers_is_followed_to_the_letter() -> None:
    for order, ran in explored(1, 1, 1, 1):
        assert run(order, 1, 1, 1, strict=True)[0] == ran


@pytest.mark.parametrize("order", [order for order, _ in explored(2, 2, 2)])
def test_an_order_is_repeatable(order: str) -> None:
    assert len({run(order, 2, 2)[0] for _ in range(3)}) == 1


def test_an_order_that_is_not_followed() -> None:
    assert run("a5b", 2, 2)[0] == "aaabbb"
    with pytest.raises(UsageError, match="handler a of `a` ended before its switch point 5"):
        run("a5b", 2, 2, strict=True)


def test_an_exception_of_a_handler_is_raised() -> None:
    def job(handler: Handler) -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        run_in_threads([("one", job)], "")
