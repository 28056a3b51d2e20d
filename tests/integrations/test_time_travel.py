"""The ready functions for `set_time`: clocks that they move, clocks that stay real, the error without a library."""

from __future__ import annotations

import asyncio
import datetime
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import freezegun
import pytest
import time_machine
import trio

from engagelab_mock import EngageLab, Outcome, Receiver, UsageError, freezegun_clock, time_machine_clock
from engagelab_mock.delivery.probe import SetTime
from engagelab_mock.eventloop import stopwatch
from tests.eventloops import asgi
from tests.explore.books import Books
from tests.explore.test_app_clock import LATER

NOON = 1_704_283_200.0
DAY = 86400
each_clock = pytest.mark.parametrize("make", [time_machine_clock, freezegun_clock])


def real_time() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)


@pytest.fixture
def set_time(request: pytest.FixtureRequest) -> Iterator[SetTime]:
    make: Callable[[], SetTime] = request.param
    made = make()
    yield made
    made(None)


each_set_time = pytest.mark.parametrize("set_time", [time_machine_clock, freezegun_clock], indirect=True)


@each_set_time
def test_it_moves_the_clock_there_and_back_and_makes_it_right_at_the_end(set_time: SetTime) -> None:
    for moment in (NOON, NOON + 10 * DAY, NOON + DAY):
        set_time(moment)
        assert moment <= time.time() < moment + 60
        assert datetime.datetime.now(datetime.UTC).timestamp() >= moment
    set_time(None)
    set_time(None)
    assert abs(time.time() - real_time()) < 60
    set_time(NOON)
    assert time.time() < NOON + 60
    set_time(None)


@each_set_time
def test_the_clock_runs_on_and_the_stopwatch_does_not_jump(set_time: SetTime) -> None:
    started = stopwatch()
    set_time(NOON)
    before = time.time()
    while time.time() == before:
        pass
    set_time(NOON + DAY)
    assert 0 < stopwatch() - started < 60
    set_time(None)


@each_set_time
def test_other_threads_have_the_same_time(set_time: SetTime) -> None:
    seen: list[float] = []

    def deeper(depth: int) -> None:
        # freezegun leaves the real time to what `threading` calls within a few frames.
        if depth:
            deeper(depth - 1)
        else:
            seen.append(time.time())

    set_time(NOON)
    thread = threading.Thread(target=deeper, args=(10,))
    thread.start()
    thread.join()
    set_time(None)
    assert NOON <= seen[0] < NOON + 60


@each_set_time
def test_the_timers_of_asyncio_stay_real(set_time: SetTime) -> None:
    async def test() -> list[str]:
        rung: list[str] = []
        loop = asyncio.get_running_loop()
        far = loop.call_later(3600, rung.append, "far")
        set_time(NOON + 10 * DAY)
        await asyncio.sleep(0.001)
        near = asyncio.create_task(asyncio.sleep(0.001))
        set_time(None)  # far back
        await asyncio.wait_for(near, 10)
        far.cancel()
        return rung

    assert asyncio.run(test()) == []


def test_the_timers_of_trio_stay_real_with_time_machine() -> None:
    set_time = time_machine_clock()

    async def test() -> None:
        with trio.fail_after(3600):
            set_time(NOON + 10 * DAY)
            await trio.sleep(0.001)
            set_time(None)
            await trio.sleep(0.001)

    trio.run(test)


class InSeconds(Books):
    """Keep when each event came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def apply(self, rows: list[Any]) -> None:
        self.times.append(time.time())
        super().apply(rows)


@each_clock
@pytest.mark.parametrize("verb", ["play", "aplay"])
def test_the_app_lives_in_the_time_of_the_schedule(make: Callable[[], SetTime], verb: str) -> None:
    app = InSeconds()
    with EngageLab(Receiver.wsgi(app, set_time=make())) as engagelab:
        start = engagelab.clock.time()
        if verb == "play":
            engagelab.play(LATER)
        else:
            asyncio.run(engagelab.aplay(LATER))
    due = [0, 3600, 3600 + DAY]
    assert [round((at - start) / 60) for at in app.times] == [each / 60 for each in due]
    assert abs(time.time() - real_time()) < 60


@each_clock
def test_a_limit_is_in_real_seconds_while_the_time_jumps(make: Callable[[], SetTime]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def test() -> list[Outcome]:
        with EngageLab(asgi(app, lifespan=False, limit=0.05, set_time=make())) as engagelab:
            played = await engagelab.aplay("eg1:plan,sent@86400", check=False)
        return [record.attempt.outcome for record in played.records]

    assert asyncio.run(test()) == [Outcome.TIMEOUT, Outcome.TIMEOUT]


def test_inside_a_test_that_travels_the_time_of_the_test_comes_back() -> None:
    with time_machine.travel(NOON, tick=False):
        set_time = time_machine_clock()
        set_time(NOON + DAY)
        set_time(None)
        assert time.time() == NOON
    with freezegun.freeze_time(datetime.datetime(2024, 1, 3, 12)):
        set_time = freezegun_clock()
        set_time(NOON + DAY)
        set_time(None)
        assert time.time() == NOON


@pytest.mark.parametrize(
    ("make", "module", "package"),
    [(time_machine_clock, "time_machine", "time-machine>=3.0"), (freezegun_clock, "freezegun", "freezegun>=1.5")],
)
def test_a_library_that_is_missing_or_old_is_named(
    make: Callable[[], SetTime], module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        with pytest.raises(UsageError, match=f"{module}_clock: .* is not installed") as missing:
            make()
    assert missing.value.hint == f"python -m pip install '{package}'"
    monkeypatch.setattr(metadata, "version", lambda name: "1.4.9")
    with pytest.raises(UsageError, match=r"1\.4\.9 is too old") as old:
        make()
    assert old.value.hint == missing.value.hint
