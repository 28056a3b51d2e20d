"""The virtual clock: its time stands still until a test moves it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock import InvalidDelay, SystemClock, VirtualClock
from tests.clock.delays import NO_DELAYS

PROPERTY = settings(derandomize=True, max_examples=80, deadline=None)


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


def test_virtual_time_stands_still(clock: VirtualClock) -> None:
    assert [clock.time(), clock.time()] == [1000, 1000]


def test_virtual_time_starts_at_the_system_time_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    assert VirtualClock().time() == 1234.5


def test_advance_adds_its_units_and_returns_the_new_time(clock: VirtualClock) -> None:
    assert clock.advance(1.5, minutes=1, hours=1, days=1) == 1000 + 1.5 + 60 + 3600 + 86400
    assert clock.advance() == clock.time()


def test_sleep_moves_time_without_waiting(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("a virtual clock must not wait"))
    clock.sleep(86_400)
    assert clock.time() == 87_400


@pytest.mark.parametrize("go", ["sleep", "advance", "advance_to"])
def test_every_move_of_time_runs_due_actions(go: str, clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(1005, diary.note("due"))
    clock.call_at(1011, diary.note("later"))
    getattr(clock, go)(1010 if go == "advance_to" else 10)
    assert diary.entries == [("due", 1005)]
    assert clock.time() == 1010


@given(st.lists(st.floats(0, 1000, exclude_min=True), max_size=12), st.lists(st.floats(0, 400), max_size=6))
@PROPERTY
def test_actions_run_in_order_each_at_its_time(moments: list[float], hops: list[float]) -> None:
    clock = VirtualClock(0)
    diary = Diary(clock)
    for index, moment in enumerate(moments):
        clock.call_at(moment, diary.note(str(index)))
    for hop in hops:
        clock.advance(hop)
    # Actions of equal moments keep the order of `call_at`: `sorted` is stable.
    due = sorted(((moment, index) for index, moment in enumerate(moments)), key=lambda entry: entry[0])
    assert diary.entries == [(str(index), moment) for moment, index in due if moment <= clock.time()]
    assert [timer.at for timer in clock.pending] == [moment for moment, _ in due if moment > clock.time()]


def test_actions_of_one_moment_run_in_the_order_of_call_at(clock: VirtualClock, diary: Diary) -> None:
    for name in ("first", "second", "third"):
        clock.call_at(1005, diary.note(name))
    clock.advance(5)
    assert [name for name, _ in diary.entries] == ["first", "second", "third"]


def test_an_overdue_action_waits_for_the_next_advance(clock: VirtualClock, diary: Diary) -> None:
    clock.call_at(5, diary.note("overdue"))
    assert diary.entries == []
    clock.advance(0)
    assert diary.entries == [("overdue", 1000)]


def test_an_action_may_add_another_in_the_same_advance(clock: VirtualClock, diary: Diary) -> None:
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
    assert [pending.at for pending in clock.pending] == [1006]
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
def test_an_invalid_delay_is_refused_and_time_stands_still(seconds: float, clock: VirtualClock) -> None:
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
def test_a_number_that_is_not_a_time_is_refused(when: float, clock: VirtualClock, diary: Diary) -> None:
    with pytest.raises(InvalidDelay, match=r"clock\.call_at: .* is not a Unix time"):
        clock.call_at(when, diary.note("never"))
    with pytest.raises(InvalidDelay, match=r"clock\.advance_to: .* is not a Unix time"):
        clock.advance_to(when)
    assert (clock.time(), clock.pending) == (1000, [])


@pytest.mark.parametrize("seconds", [0, 1e9])
def test_a_delay_may_be_zero_or_years(seconds: float, clock: VirtualClock) -> None:
    clock.sleep(seconds)
    assert clock.time() == 1000 + seconds


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
async def test_the_async_twin_cannot_go_back_either(clock: VirtualClock) -> None:
    with pytest.raises(InvalidDelay, match="cannot go back"):
        await clock.aadvance_to(999)
    with pytest.raises(InvalidDelay, match="is not a Unix time"):
        await clock.aadvance_to(math.nan)
