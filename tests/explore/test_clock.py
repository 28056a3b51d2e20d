"""Explorations and checks use the clock that the engine was given: an app may read it, too."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, SystemClock, VirtualClock
from tests.explore.books import START, OnTheClock


@pytest.mark.parametrize("reset", [True, False])
def test_explore_moves_the_clock_that_the_app_reads(reset: bool) -> None:
    clock = VirtualClock(START)
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        options: dict[str, Any] = {"reset": app.reset} if reset else {}
        found = engagelab.explore("verified", faults=["bad_gateway"], retry=[60, 600], merge=False, **options)
    assert found.ok
    assert clock.time() > START + 3600
    # Each schedule is about events that have just happened.
    assert max(app.ages) < 3600


def test_explore_signs_by_a_real_clock_and_does_not_wait_for_it() -> None:
    clock = SystemClock()
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        assert engagelab.explore("verified", faults=["bad_gateway"], retry=[600], reset=app.reset).ok


def test_an_app_on_the_wall_clock_never_sees_events_of_the_future() -> None:
    clock = VirtualClock(START)
    app = OnTheClock(SystemClock())
    with EngageLab(app.reached_by(signature_clock="wall"), clock=clock) as engagelab:
        engagelab.explore("verified", faults=["bad_gateway"], retry=[86_400], reset=app.reset)
    assert clock.time() > START + 86_400
    assert max(app.ages) - min(app.ages) < 60


def test_the_checks_sign_by_the_clock_that_the_app_reads() -> None:
    clock = VirtualClock(START)
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        report = engagelab.check(only=["A04", "B12", "B14", "C01"], patience=0.1)
    assert report.summary()["pass"] == 4
