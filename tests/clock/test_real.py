"""The clocks that follow real time: the system clock, and the live clock, which can be frozen, moved and sped up."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from engagelab_mock import InvalidDelay, LiveClock, SystemClock
from tests.patience import PATIENCE


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the system time by a value that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results


def nothing() -> None:
    pass


def test_the_system_clock_shows_the_system_time(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_system_clock_runs_due_entries_and_waits_for_others_by_its_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    clock = SystemClock(speed=10)
    late, early = clock.call_at(1050, list), clock.call_at(1020, list)
    assert (clock.take_due(), clock.wait_until(1020), clock.wait_until(990)) == (None, 2, 0)
    now[0] = 1002
    assert (clock.take_due(), clock.take_due()) == (early, None)
    now[0] = 1005
    assert (clock.take_due(), clock.take_due()) == (late, None)


def test_the_system_clock_runs_entries_even_if_a_library_freezes_the_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    clock, ran = SystemClock(speed=1000), []
    clock.call_at(1001, lambda: ran.append("due"))
    assert [clock.run_next(), clock.run_next(), ran] == [True, False, ["due"]]


@pytest.mark.parametrize("speed", [0, -1, math.nan, math.inf])
def test_the_system_clock_refuses_a_speed_that_is_not_positive(speed: float) -> None:
    with pytest.raises(InvalidDelay, match="give a speed above 0"):
        SystemClock(speed)


def test_the_live_clock_follows_real_time_at_its_speed(machine: list[float]) -> None:
    clock = LiveClock(speed=10)
    machine[0] += 3
    assert clock.time() == 1030
    clock.speed = 2
    machine[0] += 3
    assert (clock.time(), clock.speed) == (1036, 2)


def test_a_frozen_clock_stands_still_and_can_be_moved(machine: list[float]) -> None:
    clock = LiveClock(speed=2)
    clock.freeze()
    machine[0] += 100
    assert (clock.time(), clock.frozen) == (1000, True)
    assert clock.advance(minutes=1) == 1060
    clock.resume()
    machine[0] += 5
    assert (clock.time(), clock.frozen) == (1070, False)
    assert clock.advance_to(2000) == 2000


def test_the_live_clock_cannot_go_back(machine: list[float]) -> None:
    with pytest.raises(InvalidDelay, match=r"shows 1000\.000 and cannot go back to 999\.000"):
        LiveClock().advance_to(999)
    with pytest.raises(InvalidDelay, match=r"clock\.advance"):
        LiveClock().advance(-1)


@pytest.mark.parametrize("speed", [0, -1, math.nan, math.inf, True, "fast"])
def test_the_live_clock_refuses_a_speed_that_is_not_positive(speed: float) -> None:
    with pytest.raises(InvalidDelay, match="give a speed above 0"):
        LiveClock(speed)
    clock = LiveClock()
    with pytest.raises(InvalidDelay, match="give a speed above 0"):
        clock.speed = speed
    assert clock.speed == 1


def test_another_clock_continues_from_a_setting(machine: list[float]) -> None:
    settings: list[Any] = []
    clock = LiveClock()
    clock.on_change = settings.append
    clock.speed = 10
    clock.advance(hours=1)
    machine[0] += 2
    other = LiveClock()
    other.setting = settings[-1]
    assert (other.time(), other.speed) == (clock.time(), 10)
    assert clock.branch().time() == clock.time()


def test_next_due_returns_due_entries_in_order() -> None:
    clock = LiveClock()
    late, early = clock.call_at(20, nothing), clock.call_at(10, nothing)
    clock.call_at(5, nothing).cancel()
    to_come = clock.call_at(clock.time() + 3600, nothing)
    assert [clock.next_due(), clock.next_due(), clock.next_due(timeout=0)] == [early, late, None]
    assert clock.pending == [to_come]


def put_earlier(clock: LiveClock) -> object:
    return clock.call_at(clock.time(), nothing)


CHANGES: dict[str, Callable[[LiveClock], object]] = {
    "advance": lambda clock: clock.advance(hours=2),
    "an earlier one": put_earlier,
    "another setting": lambda clock: setattr(clock, "setting", clock.setting._replace(shown=clock.time() + 7200)),
    "speed": lambda clock: setattr(clock, "speed", 1e7),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_wakes_a_waiting_thread(
    change: Callable[[LiveClock], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a thread that is not woken waits for ever, instead of for a second.
    monkeypatch.setattr("engagelab_mock.clock.real._LONGEST_WAIT", 1e6)
    clock, asked = LiveClock(), threading.Event()
    clock.call_at(clock.time() + 3600, nothing, label="in an hour")
    wait_for_due = clock.wait_for_due

    def noted() -> float:
        asked.set()  # the lock is held from here until the thread waits
        return wait_for_due()

    monkeypatch.setattr(clock, "wait_for_due", noted)
    thread, results = in_thread(clock.next_due)
    assert asked.wait(PATIENCE)
    change(clock)
    thread.join(PATIENCE)
    assert len(results) == 1
    assert results[0] is not None


def test_resume_wakes_a_thread_that_waits_on_a_frozen_clock() -> None:
    clock = LiveClock(speed=1e6)
    clock.freeze()
    timer = clock.call_at(clock.time() + 60, nothing)
    thread, results = in_thread(clock.next_due)
    clock.resume()
    thread.join(PATIENCE)
    assert results == [timer]


def test_interrupt_ends_a_wait_without_an_entry() -> None:
    clock = LiveClock()
    thread, results = in_thread(clock.next_due)
    clock.interrupt()
    thread.join(PATIENCE)
    assert results == [None]
    clock.call_at(0, nothing)
    assert clock.next_due() is None
    assert len(clock.pending) == 1


def test_no_timer_is_taken_twice_or_lost_by_many_threads() -> None:
    clock = LiveClock()
    taken: list[str] = []
    took = threading.Semaphore(0)

    def work() -> None:
        while (timer := clock.next_due()) is not None:
            taken.append(timer.label)
            took.release()

    def put(start: int) -> None:
        for number in range(start, start + 300):
            clock.call_at(clock.time(), nothing, label=str(number))

    workers = [in_thread(work)[0] for _ in range(4)]
    for thread in [in_thread(partial(put, start))[0] for start in (0, 300, 600)]:
        thread.join(PATIENCE)
    for _ in range(900):
        assert took.acquire(timeout=PATIENCE)
    clock.interrupt()
    for thread in workers:
        thread.join(PATIENCE)
    assert sorted(map(int, taken)) == list(range(900))


def test_run_next_runs_the_next_entry(machine: list[float]) -> None:
    ran: list[str] = []
    clock = LiveClock()
    clock.call_at(1000, lambda: ran.append("due"))
    clock.call_at(2000, nothing).cancel()
    assert (clock.run_next(), clock.run_next(), ran) == (True, False, ["due"])


def test_sleep_ends_when_another_thread_moves_the_clock() -> None:
    clock = LiveClock()
    clock.freeze()
    asleep = threading.Event()

    def sleep() -> float:
        until = clock.time() + 3600
        asleep.set()
        clock.sleep(until - clock.time())
        return clock.time() - until

    thread, results = in_thread(sleep)
    assert asleep.wait(PATIENCE)
    assert results == []
    while thread.is_alive():
        # The thread may start to sleep after this move; then the next one wakes it.
        clock.advance(hours=2)
        thread.join(0.01)
    assert results[0] >= 0  # type: ignore[operator]


@pytest.mark.asyncio
async def test_the_live_clock_runs_entries_in_an_event_loop() -> None:
    ran: list[str] = []

    async def awaited() -> None:
        ran.append("awaited")

    clock = LiveClock(speed=1e5)
    clock.call_at(clock.time() + 60, nothing, aaction=awaited)
    assert await clock.arun_next()
    assert ran == ["awaited"]
    assert not await clock.arun_next()
    now = clock.time()
    assert await clock.aadvance(hours=1) >= now + 3600
    assert await clock.aadvance_to(clock.time() + 60) >= now + 3660


def test_cancelled_timers_are_freed() -> None:
    clock = LiveClock()
    kept = clock.call_at(clock.time() + 10, nothing)
    far = clock.time() + 300
    for _ in range(20_000):
        clock.call_at(far, nothing).cancel()
    assert clock.pending == [kept]
    gc.collect()
    assert sum(type(thing) is type(kept) and thing.at == far for thing in gc.get_objects()) < 200
