"""The live clock: real time that others can freeze, move and hurry, while threads wait for what is due."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from engagelab_mock import Clock, InvalidDelay, LiveClock
from engagelab_mock.clock.real import Setting

#: How long anything here may take at most, in seconds; nothing takes it unless it is broken.
PATIENCE = 10.0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set the machine's date by hand."""
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


def test_it_is_a_clock() -> None:
    assert isinstance(LiveClock(), Clock)


def test_it_follows_the_machine_at_its_speed(machine: list[float]) -> None:
    clock = LiveClock(speed=10)
    machine[0] += 3
    assert clock.time() == 1030
    clock.speed = 2
    machine[0] += 3
    assert (clock.time(), clock.speed) == (1036, 2)


def test_frozen_it_stands_and_can_still_be_moved(machine: list[float]) -> None:
    clock = LiveClock(speed=2)
    clock.freeze()
    machine[0] += 100
    assert (clock.time(), clock.frozen) == (1000, True)
    assert clock.advance(minutes=1) == 1060
    clock.resume()
    machine[0] += 5
    assert (clock.time(), clock.frozen) == (1070, False)
    assert clock.advance_to(2000) == 2000


def test_it_cannot_go_back(machine: list[float]) -> None:
    with pytest.raises(InvalidDelay, match=r"shows 1000\.000 and cannot go back to 999\.000"):
        LiveClock().advance_to(999)
    with pytest.raises(InvalidDelay, match=r"clock\.advance"):
        LiveClock().advance(-1)


@pytest.mark.parametrize("speed", [0, -1, math.nan, math.inf, True, "fast"])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(InvalidDelay, match="give a speed above 0"):
        LiveClock(speed)
    clock = LiveClock()
    with pytest.raises(InvalidDelay, match="give a speed above 0"):
        clock.speed = speed
    assert clock.speed == 1


def test_another_goes_on_where_it_was(machine: list[float]) -> None:
    told: list[Setting] = []
    clock = LiveClock()
    clock.on_change = told.append
    clock.speed = 10
    clock.advance(hours=1)
    machine[0] += 2
    other = LiveClock()
    other.setting = told[-1]
    assert (other.time(), other.speed) == (clock.time(), 10)
    assert clock.branch().time() == clock.time()


def test_what_is_due_is_taken_off_in_order() -> None:
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
    "another setting": lambda clock: setattr(clock, "setting", Setting(clock.time() + 7200, time.time(), 1.0, False)),
    "speed": lambda clock: setattr(clock, "speed", 1e7),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_who_waits_is_woken(change: Callable[[LiveClock], object]) -> None:
    clock = LiveClock()
    clock.call_at(clock.time() + 3600, nothing, label="in an hour")
    thread, results = in_thread(clock.next_due)
    change(clock)
    thread.join(PATIENCE)
    assert len(results) == 1
    assert results[0] is not None


def test_resuming_lets_what_was_held_up_go() -> None:
    clock = LiveClock(speed=1e6)
    clock.freeze()
    timer = clock.call_at(clock.time() + 60, nothing)
    thread, results = in_thread(clock.next_due)
    clock.resume()
    thread.join(PATIENCE)
    assert results == [timer]


def test_an_interrupted_wait_ends_with_nothing() -> None:
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

    def work() -> None:
        while (timer := clock.next_due(timeout=0.2)) is not None:
            taken.append(timer.label)

    def put(start: int) -> None:
        for number in range(start, start + 300):
            clock.call_at(clock.time(), nothing, label=str(number))

    workers = [in_thread(work)[0] for _ in range(4)]
    for thread in [in_thread(partial(put, start))[0] for start in (0, 300, 600)]:
        thread.join(PATIENCE)
    for thread in workers:
        thread.join(PATIENCE)
    assert sorted(map(int, taken)) == list(range(900))


def test_it_waits_and_runs_what_is_next(machine: list[float]) -> None:
    ran: list[str] = []
    clock = LiveClock()
    clock.call_at(1000, lambda: ran.append("due"))
    clock.call_at(2000, nothing).cancel()
    assert (clock.run_next(), clock.run_next(), ran) == (True, False, ["due"])


def test_sleeping_ends_when_somebody_moves_the_clock() -> None:
    clock = LiveClock()
    clock.freeze()
    thread, _ = in_thread(lambda: clock.sleep(3600))
    clock.advance(hours=2)
    thread.join(PATIENCE)
    # It may have begun after the move; then it sleeps until the next one.
    clock.advance(hours=2)
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.asyncio
async def test_in_an_event_loop_it_leaves_the_loop_free() -> None:
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


def test_cancelled_timers_are_not_kept() -> None:
    clock = LiveClock()
    kept = clock.call_at(clock.time() + 10, nothing)
    far = clock.time() + 300
    for _ in range(20_000):
        clock.call_at(far, nothing).cancel()
    assert clock.pending == [kept]
    assert len(clock._agenda) < 200
