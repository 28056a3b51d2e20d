"""Races and crashes on Django's ORM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from engagelab_mock import EngageLab, ScheduleFailed, UsageError
from engagelab_mock.explore.crash import can_fork
from tests.receivers import django_racing
from tests.receivers.django_racing import Apply, django_receiver
from tests.receivers.racing import folder

forked = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")


@pytest.fixture
def database() -> Iterator[Path]:
    with TemporaryDirectory(dir=folder()) as name:
        yield Path(name, "shop.sqlite")


@pytest.mark.slow
@pytest.mark.parametrize(
    "apply",
    [
        django_racing.get_or_create_without_constraint,
        django_racing.lost_update,
        django_racing.exists_then_create,
        django_racing.effect_commit_mark,
    ],
    ids=lambda value: value.__name__,
)
def test_a_race_is_found(database: Path, apply: Apply) -> None:
    with (
        django_receiver(database, apply) as receiver,
        EngageLab(receiver) as engagelab,
        pytest.raises(ScheduleFailed) as raised,
    ):
        engagelab.explore("verified", concurrent=2)
    assert raised.value.failure.violation.invariant == "serializable"
    assert raised.value.failure.schedule.deliveries == 2
    assert raised.value.failure.number <= 50


@forked
@pytest.mark.slow
@pytest.mark.parametrize(
    "apply",
    [django_racing.mark_commit_effect, django_racing.effect_commit_mark],
    ids=lambda value: value.__name__,
)
def test_a_crash_is_found(database: Path, apply: Apply) -> None:
    with (
        django_receiver(database, apply) as receiver,
        EngageLab(receiver) as engagelab,
        pytest.raises(ScheduleFailed) as raised,
    ):
        engagelab.explore("verified", crashes="handler")
    assert raised.value.failure.violation.invariant == "crash_safe"
    assert raised.value.failure.schedule.deliveries == 1


@forked
@pytest.mark.slow
def test_the_correct_receiver_is_clean(database: Path) -> None:
    with django_receiver(database, django_racing.correct) as receiver, EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2).ok
        assert engagelab.explore("plan-sent", crashes="handler").ok


def test_the_transaction_of_a_test_is_refused(database: Path) -> None:
    from django.db import transaction

    with (
        django_receiver(database, django_racing.correct) as receiver,
        EngageLab(receiver) as engagelab,
        transaction.atomic(),
        pytest.raises(UsageError, match="the transaction of this test is for its own thread"),
    ):
        engagelab.explore("verified", concurrent=2)
