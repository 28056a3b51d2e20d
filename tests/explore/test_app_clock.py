"""`set_time`: the judge's time is that of the app's clock and of the signatures, until the end of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import (
    Clock,
    EngageLab,
    ProbeFailed,
    Receiver,
    ScheduleFailed,
    SystemClock,
    UsageError,
    VirtualClock,
)
from engagelab_mock.eventloop import in_trio
from engagelab_mock.strategies import ReceiverMachine
from tests.explore.books import START, Books, NeverDedupes, OnTheClock

LATER = "eg1:plan,verified@3600,verified@86400"


class Watch:
    """The app's clock: it is wrong until it is set, and is right again at the end."""

    def __init__(self) -> None:
        self.now = 0.0
        self.set: list[float | None] = []

    def time(self) -> float:
        return self.now

    def set_time(self, now: float | None) -> None:
        self.set.append(now)
        self.now = 0.0 if now is None else now


class OnTheWatch(OnTheClock):
    """Verify by the app's own clock, which only `set_time` moves."""

    def __init__(self) -> None:
        self.watch = Watch()
        super().__init__(self.watch)  # type: ignore[arg-type]
        self.times: list[float] = []

    def reached_by(self, **options: Any) -> Receiver:
        return super().reached_by(**{"signature_clock": "wall", "set_time": self.watch.set_time, **options})

    def apply(self, rows: list[Any]) -> None:
        self.times.append(self.clock.time())
        super().apply(rows)


class ForgetsAfterAnHour(OnTheWatch):
    """Take an event that comes again after an hour for a new one."""

    def is_new(self, row: Any) -> bool:
        self.known = {key: at for key, at in getattr(self, "known", {}).items() if self.clock.time() - at < 3600}
        key = (row.message_id, row.name)
        new = key not in self.known
        self.known[key] = self.clock.time()
        return new


def test_play_sets_the_app_s_clock_before_each_callback_and_signs_with_its_time() -> None:
    app = OnTheWatch()
    with EngageLab(app.reached_by(), clock=VirtualClock(START)) as engagelab:
        played = engagelab.play(LATER)
    assert played.acknowledged
    assert app.times == [START, START + 3600, START + 3600 + 86400]
    assert app.watch.set == [START, START + 3600, START + 3600 + 86400, None]


def test_retries_come_at_the_app_s_time() -> None:
    app = OnTheWatch()
    with EngageLab(app.reached_by(), clock=VirtualClock(START)) as engagelab:
        assert engagelab.play("eg1:plan!bad_gateway", retry=[600]).acknowledged
    assert app.times == [START, START + 600]


def test_explore_moves_a_clock_of_its_own_if_the_engine_has_a_real_one() -> None:
    app = OnTheWatch()
    with EngageLab(app.reached_by(), clock=SystemClock()) as engagelab:
        found = engagelab.explore("verified", faults=["bad_gateway"], retry=[600], reset=app.reset)
    assert found.ok
    assert app.watch.set[-1] is None
    assert app.watch.set.count(None) == 1
    assert max(app.ages) < 3600


def test_an_app_that_forgets_after_an_hour_is_found() -> None:
    app = ForgetsAfterAnHour()
    with EngageLab(app.reached_by(), clock=VirtualClock(START)) as engagelab:
        engagelab.replay("eg1:verified*2")
        with pytest.raises(ScheduleFailed, match="credits"):
            engagelab.replay("eg1:verified,verified@3601")
    assert app.watch.now == 0.0


def test_replay_takes_it_as_an_argument() -> None:
    app = OnTheWatch()
    with EngageLab(app.reached_by(set_time=None), clock=VirtualClock(START)) as engagelab:
        assert engagelab.replay(LATER, set_time=app.watch.set_time).acknowledged
    assert app.watch.set[-1] is None


@pytest.mark.parametrize("run", [asyncio.run, lambda program: trio.run(lambda: program)], ids=["asyncio", "trio"])
@pytest.mark.parametrize("verb", ["aexplore", "areplay", "aplay"])
def test_it_may_be_asynchronous_in_asynchronous_calls(verb: str, run: Callable[[Any], Any]) -> None:
    app = OnTheWatch()

    async def set_time(now: float | None) -> None:
        await (trio.lowlevel.checkpoint() if in_trio() else asyncio.sleep(0))
        app.watch.set_time(now)

    async def test() -> None:
        with EngageLab(app.reached_by(set_time=set_time), clock=VirtualClock(START)) as engagelab:
            if verb == "aexplore":
                await engagelab.aexplore("verified", limit=20)
            else:
                await getattr(engagelab, verb)(LATER)

    run(test())
    assert app.watch.set[-1] is None
    assert app.watch.set.count(None) == 1


async def _late(now: float | None) -> None:
    pass


def test_it_may_not_be_asynchronous_in_other_calls() -> None:
    with (
        EngageLab(Receiver.wsgi(Books(), set_time=_late)) as engagelab,
        pytest.raises(UsageError, match="set_time is asynchronous"),
    ):
        engagelab.explore("verified")


@pytest.mark.parametrize("error", [KeyboardInterrupt, AssertionError])
def test_the_clock_is_right_again_after_an_interrupt_or_a_failure(error: type[BaseException]) -> None:
    app = OnTheWatch()

    def observe(message_id: str) -> Any:
        if app.times:
            raise error
        return app.kept.get(message_id)

    receiver = Receiver.wsgi(app, username="acme", secret="s3cret", set_time=app.watch.set_time, observe=observe)
    with EngageLab(receiver) as engagelab, pytest.raises((ProbeFailed, KeyboardInterrupt)):
        engagelab.explore("verified")
    assert app.watch.set[-1] is None


@pytest.mark.parametrize("run", [asyncio.run, lambda program: trio.run(lambda: program)], ids=["asyncio", "trio"])
def test_the_clock_is_right_again_when_the_caller_is_cancelled(run: Callable[[Any], Any]) -> None:
    app = OnTheWatch()

    async def set_time(now: float | None) -> None:
        await (trio.lowlevel.checkpoint() if in_trio() else asyncio.sleep(0))
        app.watch.set_time(now)

    async def test() -> None:
        cancel: Callable[[], object]

        async def observe(message_id: str) -> None:
            cancel()
            await (trio.sleep_forever() if in_trio() else asyncio.Event().wait())

        receiver = app.reached_by(set_time=set_time)
        receiver.observe = observe
        with EngageLab(receiver) as engagelab:
            if in_trio():
                with trio.CancelScope() as scope:
                    cancel = scope.cancel
                    await engagelab.aexplore("verified")
            else:
                task = asyncio.ensure_future(engagelab.aexplore("verified"))
                cancel = task.cancel
                with pytest.raises(asyncio.CancelledError):
                    await task

    run(test())
    assert app.watch.set[-1] is None


def _broken(*, at: str) -> Callable[[float | None], None]:
    def set_time(now: float | None) -> None:
        if (now is None) == (at == "the end"):
            raise RuntimeError("no such clock")

    return set_time


@pytest.mark.parametrize("at", ["the beginning", "the end"])
def test_a_clock_that_cannot_be_set_ends_the_run(at: str) -> None:
    app = Books()
    with (
        EngageLab(Receiver.wsgi(app, observe=app.kept.get, set_time=_broken(at=at))) as engagelab,
        pytest.raises(ProbeFailed, match="set_time raised RuntimeError: no such clock"),
    ):
        engagelab.explore("verified")


def test_a_clock_that_stays_wrong_is_noted_on_the_failure_of_the_app() -> None:
    app = NeverDedupes()
    receiver = Receiver.wsgi(app, observe=app.kept.get, set_time=_broken(at="the end"))
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed) as failed:
        engagelab.explore("verified")
    assert failed.value.__notes__ == ["and: set_time: set_time raised RuntimeError: no such clock"]


class Late(ReceiverMachine):
    """Deliver with delays, to an app that refuses callbacks not signed by its own clock."""

    delays = True
    app: Any

    def receiver(self) -> Receiver:
        receiver: Receiver = self.app.reached_by()
        return receiver


QUICKLY: Any = settings(max_examples=10, derandomize=True, deadline=None, database=None, stateful_step_count=4)


def test_the_state_machine_sets_the_app_s_clock() -> None:
    class Machine(Late):
        app = OnTheWatch()

    run_state_machine_as_test(Machine, settings=QUICKLY)
    assert len({*Machine.app.watch.set}) > 5
    assert Machine.app.watch.set[-1] is None


def test_the_state_machine_moves_the_clock_that_it_is_given() -> None:
    class Machine(Late):
        time = VirtualClock(START)
        app = OnTheClock(time)

        def clock(self) -> Clock:
            return self.time

    run_state_machine_as_test(Machine, settings=QUICKLY)
    assert Machine.time.time() > START
