"""Racing and crashing receivers, and right ones, on every stack: each mutant is found, and its token always fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from engagelab_mock import EngageLab, ScheduleFailed, UsageError
from engagelab_mock.explore.crash import can_fork
from tests.receivers.racing_stacks import racing_receiver
from tests.receivers.replaying import failures_in_a_new_process

#: How often each token is replayed. A hundred times take ten minutes.
REPLAYS = int(os.environ.get("ENGAGELAB_MOCK_TEST_REPLAYS", "10"))

forked = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")

STACKS = ("flask-sqlite", "flask-postgres", "fastapi-aiosqlite", "fastapi-postgres", "django-sqlite", "django-postgres")
#: The end of each mutant's token on these stacks, after `eg1:verified`. None: there is no such mutant on the stack.
RACES = {
    "select_then_insert": ("a2b", "a2b", "a2b", "a2b", "a2b", "a2b"),
    "lost_update": ("a2b", "a2b", "a2b", "a2b", "a5b", "a4b"),
    "effect_commit_mark": ("a2b", "a2b", "a2b", "a2b", "a2b", "a2b"),
    "Cached": ("a1b", "a1b", "a1b", "a1b", "a1b", "a1b"),
    "OverAnAwait": (None, None, "a1b", "a1b", None, None),
    "get_or_create_without_constraint": (None, None, None, None, "a2b", "a2b"),
}
CRASHES = {
    "mark_commit_effect": (3, 3, 3, 3, 2, 2),
    "effect_commit_mark": (4, 4, 4, 4, 7, 6),
    "acknowledges_first": (1, 1, 1, 1, 1, 1),
}
#: The right receivers, and their stacks.
RIGHT = {
    "correct": STACKS,
    "locks_at_once": ("flask-sqlite", "fastapi-aiosqlite"),
    "locks_the_row": ("flask-postgres", "fastapi-postgres", "django-postgres"),
    "locks_by_advice": ("flask-postgres", "fastapi-postgres"),
    "serializable": ("flask-postgres", "fastapi-postgres", "django-postgres"),
}
MUTANTS = [
    (stack, name, f"eg1:verified|verified@{order}")
    for name, orders in RACES.items()
    for stack, order in zip(STACKS, orders, strict=True)
    if order
] + [
    (stack, name, f"eg1:verified!crash@{point}")
    for name, points in CRASHES.items()
    for stack, point in zip(STACKS, points, strict=True)
]

pytestmark = [pytest.mark.slow, forked]


@pytest.fixture
def server(stack: str, request: pytest.FixtureRequest) -> str:
    """Return what connects to PostgreSQL, for a stack with it."""
    found: str = request.getfixturevalue("postgres") if stack.endswith("postgres") else ""
    return found


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hide what Django and asyncio log about each callback that is refused."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("stack", "name", "token"), MUTANTS)
def test_a_mutant_is_found_within_50_schedules_with_its_shortest_token(
    stack: str, name: str, token: str, server: str
) -> None:
    crashes = "!crash" in token
    options = {"crashes": "handler"} if crashes else {"concurrent": 2}
    with (
        racing_receiver(stack, name, server) as receiver,
        EngageLab(receiver) as engagelab,
        pytest.raises(ScheduleFailed) as raised,
    ):
        engagelab.explore("verified", **options)
    failure = raised.value.failure
    assert failure.token == token
    assert failure.violation.invariant == ("crash_safe" if crashes else "serializable")
    assert failure.number <= 50
    assert failure.repeatable


@pytest.mark.parametrize(("stack", "name", "token"), MUTANTS)
def test_each_token_fails_every_time_in_a_new_process(stack: str, name: str, token: str, server: str) -> None:
    assert failures_in_a_new_process(stack, name, token, REPLAYS, server) == REPLAYS


@pytest.mark.parametrize(("stack", "name"), [(stack, name) for name, stacks in RIGHT.items() for stack in stacks])
def test_a_right_receiver_is_clean_in_every_order_and_at_every_crash(stack: str, name: str, server: str) -> None:
    with racing_receiver(stack, name, server) as receiver, EngageLab(receiver) as engagelab:
        retry = [60] if name == "serializable" else None
        found = engagelab.explore("plan-sent", concurrent=2, crashes="handler", retry=retry)
    assert found.ok
    assert found.schedules == found.total > 20
    assert found.notes == []


@pytest.mark.parametrize("stack", ["flask-postgres", "fastapi-postgres", "django-postgres"])
def test_a_conflict_that_is_answered_with_503_needs_a_retry(stack: str, server: str) -> None:
    with (
        racing_receiver(stack, "serializable", server) as receiver,
        EngageLab(receiver) as engagelab,
        pytest.raises(ScheduleFailed, match=r"give retry=\[60\]"),
    ):
        engagelab.explore("plan-sent", concurrent=2)


@pytest.mark.parametrize("stack", ["django-postgres"])
def test_a_race_that_postgresql_has_and_sqlite_has_not(stack: str, server: str) -> None:
    """On SQLite, the first statement that writes keeps all others out."""
    name = "takes_every_conflict_for_a_repetition"
    with racing_receiver("django-sqlite", name) as receiver, EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2).ok
    with (
        racing_receiver(stack, name, server) as receiver,
        EngageLab(receiver) as engagelab,
        pytest.raises(ScheduleFailed) as raised,
    ):
        engagelab.explore("plan-sent", concurrent=2)
    assert raised.value.failure.token == "eg1:plan-sent:plan|sent@a3b"


def test_the_transaction_of_a_test_is_refused() -> None:
    from django.db import transaction

    with (
        racing_receiver("django-sqlite", "correct") as receiver,
        EngageLab(receiver) as engagelab,
        transaction.atomic(),
        pytest.raises(UsageError, match="the transaction of this test is for its own thread"),
    ):
        engagelab.explore("verified", concurrent=2)
