"""What every clock has: the interface, delays, and the stopwatch."""

from __future__ import annotations

import time

import pytest

from engagelab_mock import Clock, InvalidDelay, LiveClock, Scenario, SystemClock, UsageError, VirtualClock
from engagelab_mock.eventloop import stopwatch
from tests.clock.delays import NO_DELAYS


@pytest.mark.parametrize("clock", [SystemClock(), LiveClock(), VirtualClock()])
def test_each_clock_has_the_interface(clock: object) -> None:
    assert isinstance(clock, Clock)


@pytest.mark.parametrize("seconds", [*NO_DELAYS, True, "2", None, [1]])
def test_a_delay_is_a_number_of_seconds_from_zero_up(seconds: float) -> None:
    with pytest.raises(InvalidDelay, match=r"^VirtualClock.sleep: ") as caught:
        VirtualClock().sleep(seconds)
    assert isinstance(caught.value, UsageError)
    with pytest.raises(InvalidDelay, match="step 1"):
        Scenario("mine").then("plan", after=seconds)


def test_the_stopwatch_runs_even_if_time_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: 0.0)
    started = stopwatch()
    # Even a coarse clock moves on during this loop.
    assert any(stopwatch() > started for _ in range(10_000_000))
