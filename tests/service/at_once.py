"""Many messages to different numbers, and their complete runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from engagelab_mock import Run
from tests.service.app import SENT


def numbers() -> Callable[[], str]:
    counter = count()
    return lambda: f"+6591{next(counter):06d}"


def complete(run: Run) -> None:
    assert (run.statuses, run.acknowledged) == (SENT, True)
