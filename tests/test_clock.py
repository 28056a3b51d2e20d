"""Clocks: the virtual one stands until told to go, the system's follows the machine's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock import Clock, InvalidDelay, SystemClock, UsageError, VirtualClock
from engagelab_mock.clock import check_delay, stopwatch

PROPERTY = settings(derandomize=True, max_examples=80, deadline=None)
NO_DELAYS = [-1, -0.001, math.nan, math.inf, -math.inf]


class Diary:
    """Note what ran, and at which time of the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.entries: list[tuple[str, float]] = []

    def note(self, name: str) -> Callable[[], object]:
        return lambda: self.entries.append((name, self.clock.time()))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000)


@pytest.fixture
def diary(clock: VirtualClock) -> Diary:
    return Diary(clock)


@pytest.mark.parametrize("made", [SystemClock(), VirtualClock()])
def test_both_are_clocks(made: object) -> None:
    assert isinstance(made, Clock)


def test_virtual_time_stands_still(clock: VirtualClock) -> None:
    assert [clock.time(), clock.time()] == [1000, 1000]


def test_virtual_time_starts_at_the_machine_s_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    assert VirtualClock().time() == 1234.5


def test_advance_adds_its_units_and_returns_the_new_time(clock: VirtualClock) -> None:
    assert clock.advance(1.5, minutes=1, hours=1, days=1) == 1000 + 1.5 + 60 + 3600 + 86400
    assert clock.advance() == clock.time()


def test_sleep_lets_time_pass_at_once(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("a virtual clock must not wait"))
    clock.sleep(86_400)
    assert clock.time() == 87_400


@pytest.mark.parametrize("go", ["sleep", "advance", "advance_to"])
def test_whatever_moves_time_runs_what_falls_due(go: str, clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(1005, diary.note("due"))
    clock.call_at(1011, diary.note("later"))
    getattr(clock, go)(1010 if go == "advance_to" else 10)
    assert diary.entries == [("due", 1005)]
    assert clock.time() == 1010


@given(st.lists(st.floats(0, 1000, exclude_min=True), max_size=12), st.lists(st.floats(0, 400), max_size=6))
@PROPERTY
def test_actions_run_in_order_of_time_each_at_its_own(moments: list[float], hops: list[float]) -> None:
    clock = VirtualClock(0)
    diary = Diary(clock)
    for index, moment in enumerate(moments):
        clock.call_at(moment, diary.note(str(index)))
    for hop in hops:
        clock.advance(hop)
    # Equal moments keep the order in which they were asked for: `sorted` is stable.
    due = sorted(((moment, index) for index, moment in enumerate(moments)), key=lambda entry: entry[0])
    assert diary.entries == [(str(index), moment) for moment, index in due if moment <= clock.time()]
    assert [timer.when for timer in clock.pending] == [moment for moment, _ in due if moment > clock.time()]


def test_actions_of_one_moment_run_in_the_order_they_were_asked_for(clock: VirtualClock, diary: Diary) -> None:
    for name in ("first", "second", "third"):
        clock.call_at(1005, diary.note(name))
    clock.advance(5)
    assert [name for name, _ in diary.entries] == ["first", "second", "third"]


def test_an_overdue_action_runs_at_the_next_advance_and_not_before(clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(5, diary.note("overdue"))
    assert diary.entries == []
    clock.advance(0)
    assert diary.entries == [("overdue", 1000)]


def test_an_action_may_ask_for_another_in_the_same_advance(clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(1001, lambda: clock.call_at(1002, diary.note("follow-up")))
    clock.call_at(1003, diary.note("last"))
    clock.advance(10)
    assert diary.entries == [("follow-up", 1002), ("last", 1003)]


def test_an_action_may_advance_the_clock_itself(clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(1001, lambda: clock.advance(4))
    clock.call_at(1003, diary.note("inside"))
    clock.call_at(1008, diary.note("after"))
    assert clock.advance(10) == 1010
    assert diary.entries == [("inside", 1003), ("after", 1008)]


def test_an_action_that_advances_past_the_goal_wins(clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(1001, lambda: clock.advance(50))
    clock.call_at(1020, diary.note("inside"))
    assert clock.advance(10) == 1051
    assert diary.entries == [("inside", 1020)]


def test_an_action_that_raises_stops_the_clock_at_its_moment(clock: VirtualClock, diary: Diary) -> None:
    def fail() -> None:
        raise LookupError("no receiver")

    clock.call_at(1001, fail)
    clock.call_at(1002, diary.note("next"))
    with pytest.raises(LookupError):
        clock.advance(10)
    assert clock.time() == 1001
    clock.advance(10)
    assert diary.entries == [("next", 1002)]


def test_a_cancelled_action_neither_runs_nor_is_pending(clock: VirtualClock, diary: Diary) -> None:
    timer = clock.call_at(1005, diary.note("cancelled"))
    clock.call_at(1006, diary.note("kept"))
    timer.cancel()
    assert [pending.when for pending in clock.pending] == [1006]
    clock.advance(10)
    assert diary.entries == [("kept", 1006)]


def test_an_action_may_cancel_a_later_one(clock: VirtualClock, diary: Diary) -> None:
    later = clock.call_at(1005, diary.note("later"))
    clock.call_at(1001, later.cancel)
    clock.advance(10)
    assert diary.entries == []


def test_pending_is_earliest_first_and_shows_labels(clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(1010, diary.note("b"), label="code expires")
    clock.call_at(1005, diary.note("a"), label="retry")
    assert repr(clock.pending) == "[<Timer 'retry' at 1005.000>, <Timer 'code expires' at 1010.000>]"
    clock.advance(7)
    assert [timer.label for timer in clock.pending] == ["code expires"]


@pytest.mark.parametrize("seconds", NO_DELAYS)
def test_time_that_cannot_pass_is_refused_and_does_not(seconds: float, clock: VirtualClock) -> None:
    with pytest.raises(InvalidDelay, match=r"VirtualClock\.sleep"):
        clock.sleep(seconds)
    with pytest.raises(InvalidDelay, match=r"clock\.advance"):
        clock.advance(minutes=seconds)
    with pytest.raises(InvalidDelay, match=r"SystemClock\.sleep"):
        SystemClock().sleep(seconds)
    assert clock.time() == 1000


def test_time_cannot_go_back(clock: VirtualClock) -> None:
    with pytest.raises(InvalidDelay, match=r"stands at 1000\.000 and cannot go back to 999\.000"):
        clock.advance_to(999)


@pytest.mark.parametrize("when", [math.nan, math.inf])
def test_what_is_no_time_is_refused_rather_than_waited_for(when: float, clock: VirtualClock, diary: Diary) -> None:
    with pytest.raises(InvalidDelay, match=r"clock\.call_at: .* is no Unix time"):
        clock.call_at(when, diary.note("never"))
    with pytest.raises(InvalidDelay, match=r"clock\.advance_to: .* is no Unix time"):
        clock.advance_to(when)
    assert (clock.time(), clock.pending) == (1000, [])


@pytest.mark.parametrize("seconds", [*NO_DELAYS, True, "2", None, [1]])
def test_a_delay_is_a_number_of_seconds_from_zero_up(seconds: float) -> None:
    with pytest.raises(InvalidDelay, match=r"^after: ") as caught:
        check_delay(seconds, where="after")
    assert isinstance(caught.value, UsageError)
    assert check_delay(0, where="after") == 0
    assert check_delay(1e9, where="after") == 1e9


def test_the_system_clock_is_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    plain, fast = SystemClock(), SystemClock(speed=10)
    now[0] = 1003.0
    assert plain.time() == 1003
    assert fast.time() == 1030


@pytest.mark.parametrize(("speed", "waited"), [(1, 20), (10, 2), (0.5, 40)])
def test_the_system_clock_waits_in_proportion_to_its_speed(
    speed: float, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    SystemClock(speed).sleep(20)
    assert slept == [waited]


def test_the_system_clock_really_waits() -> None:
    started = time.monotonic()
    SystemClock(speed=10).sleep(0.02)
    assert time.monotonic() - started >= 0.002


@pytest.mark.parametrize("speed", [0, -1, math.nan, math.inf])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(InvalidDelay, match="give a speed above 0"):
        SystemClock(speed)


@pytest.mark.asyncio
async def test_awaited_actions_run_in_order_each_at_its_own_time(clock: VirtualClock, diary: Diary) -> None:
    async def write() -> None:
        diary.note("awaited")()

    clock.call_at(1005, diary.note("blocking"), aaction=write)
    clock.call_at(1003, diary.note("plain"))
    clock.call_at(1020, diary.note("later"))
    assert await clock.aadvance(seconds=10) == 1010
    assert diary.entries == [("plain", 1003), ("awaited", 1005)]
    assert await clock.aadvance_to(1020) == 1020
    assert [name for name, _ in diary.entries] == ["plain", "awaited", "later"]
    assert not await clock.arun_next()


@pytest.mark.asyncio
async def test_awaiting_cannot_go_back_either(clock: VirtualClock) -> None:
    with pytest.raises(InvalidDelay, match="cannot go back"):
        await clock.aadvance_to(999)
    with pytest.raises(InvalidDelay, match="is no Unix time"):
        await clock.aadvance_to(math.nan)


def test_the_stopwatch_runs_whatever_the_time_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: 0.0)
    started = stopwatch()
    time.sleep(0.001)
    assert 0.001 <= stopwatch() - started < 60
