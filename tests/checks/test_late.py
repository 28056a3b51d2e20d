"""Time passes for the app: faults are found, right receivers pass, and blind cases are not green."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import (
    EngageLab,
    Finding,
    Judgement,
    NothingObserved,
    ProbeFailed,
    Report,
    SystemClock,
    VirtualClock,
)
from engagelab_mock.integrations.time_travel import freezegun_clock, time_machine_clock
from tests.checks.serving import check_in_memory, verdicts
from tests.truth.receivers.in_memory import AppendOnlyLog, InMemory, receiver_of
from tests.truth.receivers.states import TotalsOnly
from tests.truth.receivers.times import ByRank, NoncesForTenMinutes

if TYPE_CHECKING:
    from engagelab_mock import Message
from tests.checks.receivers.time_limited import (
    DAY,
    START,
    UNSIGNED,
    AfterThirtyDays,
    CountsEachReply,
    CountsReplies,
    DropsOld,
    DropsOldStatuses,
    ForgetsKeys,
    ForgetsKeysAfterAWeek,
    ForgetsReplies,
    KeepsATombstone,
    NoNonces,
    NoWindow,
    OnAClock,
    RefusesOld,
    RemovesMessages,
)

TIME = ("B26", "C22", "C23")


def check(app: InMemory, *only: str, set_time: Any = None, **options: Any) -> Report:
    moving = {"set_time": set_time or time_machine_clock()}
    return check_in_memory(app, *(only or TIME), **{**moving, **options})


def passes(*ids: str) -> dict[str, Judgement]:
    return dict.fromkeys(ids or TIME, Judgement.PASS)


# --- Right receivers


@pytest.mark.parametrize(
    "kind", [OnAClock, KeepsATombstone, AfterThirtyDays, ByRank, NoncesForTenMinutes, AppendOnlyLog, TotalsOnly]
)
def test_a_right_receiver_passes(kind: type[InMemory]) -> None:
    assert verdicts(check(kind())) == passes()


@pytest.mark.parametrize("clock", [time_machine_clock, freezegun_clock])
def test_either_library_moves_the_clock_of_an_app_in_this_process(clock: Callable[[], Any]) -> None:
    assert verdicts(check(OnAClock(), set_time=clock())) == passes()
    assert verdicts(check(ForgetsKeys(), "C22", set_time=clock())) == {"C22": Judgement.FAIL}
    assert time.time() < time.clock_gettime(time.CLOCK_REALTIME) + 60


# --- Receivers with a bug


@pytest.mark.parametrize(("kind", "gap"), [(ForgetsKeys, "an hour"), (ForgetsKeysAfterAWeek, "10 days")])
def test_an_event_that_is_forgotten_is_found(kind: type[OnAClock], gap: str) -> None:
    finding = check(kind(), "C22").finding("C22")
    assert finding.verdict is Judgement.FAIL
    said = f"verified sent again after {gap}, newly signed: credits is 2; after one callback it is 1"
    assert finding.reason == said


def test_a_message_that_is_removed_and_begins_again_is_not_judged_without_its_effects() -> None:
    finding = check(RemovesMessages(), "C22").finding("C22")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "`observe` returned None before it, and then {'status': " in finding.reason


def test_a_declared_effect_that_happens_again_is_found() -> None:
    finding = check(RemovesMessages(), "C22", effects={"credits": "verified"}).finding("C22")
    assert finding.verdict is Judgement.FAIL
    said = "verified sent again after 10 days, newly signed: the app had forgotten the message, and credits went from 0"
    assert finding.reason == f"{said} to 1 again"


def test_a_reply_that_is_forgotten_is_found() -> None:
    assert verdicts(check(CountsReplies(), "C24")) == passes("C24")
    finding = check(ForgetsReplies(), "C24").finding("C24")
    assert finding.verdict is Judgement.FAIL
    assert finding.reason == "a response sent again after a day, newly signed: replies grew by 1"


def test_replies_that_are_counted_each_time_or_never_are_not_judged_again() -> None:
    assert check(CountsEachReply(), "C24").finding("C24").reason.endswith("counts twice: see C17")
    assert verdicts(check(OnAClock(), "C24")) == {"C24": Judgement.NOT_APPLICABLE}


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (DropsOld, "was acknowledged, and status is None; after a new one it is 'delivered'"),
        (DropsOldStatuses, "was acknowledged, and status is 'plan'; after a new one it is 'delivered'"),
        (RefusesOld, "answered 400 BAD REQUEST"),
    ],
)
def test_an_old_event_that_does_not_count_is_found_with_and_without_set_time(
    kind: type[OnAClock], said: str, moved: bool
) -> None:
    app = kind()
    with EngageLab(receiver_of(app, set_time=time_machine_clock() if moved else None)) as engagelab:
        finding = engagelab.check(only=["C23"], patience=0.3).finding("C23")
    assert finding.verdict is Judgement.FAIL
    assert "whose `itime` is more than a day ago, newly signed" in finding.reason
    assert said in finding.reason


def test_an_app_that_compares_with_the_time_of_its_own_row_is_told_what_would_settle_it() -> None:
    class AfterItsRow(OnAClock):
        """Ignore an event of before the message was entered."""

        def prepare(self, message: Message) -> None:
            self.entered = {**getattr(self, "entered", {}), message.id: self.now()}

        def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
            if self.row["itime"] >= self.entered.get(message_id, 0.0) - 300:
                super().keep(db, message_id, status, detail)

    app = AfterItsRow()
    assert verdicts(check(app, "C23", prepare=app.prepare)) == passes("C23")
    with EngageLab(receiver_of(app, prepare=app.prepare)) as engagelab:
        finding = engagelab.check(only=["C23"], patience=0.3).finding("C23")
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.endswith("because it entered the message later than that, give `set_time`")


def test_what_fails_without_any_delay_is_left_to_the_other_checks() -> None:
    class Twice(OnAClock):
        once = False

    report = check(Twice(), "C22", "C01")
    assert {finding.id for finding in report.of(Judgement.FAIL)} == {"C01"}
    assert "see C01" in report.finding("C22").reason
    report = check(NoNonces(), "B26", "B17")
    assert {finding.id for finding in report.of(Judgement.FAIL)} == {"B17"}
    assert "see B16 and B17: another body with the same header at once" in report.finding("B26").reason


# --- An app on a virtual clock of the test


@pytest.mark.parametrize(("kind", "verdict"), [(OnAClock, Judgement.PASS), (ForgetsKeys, Judgement.FAIL)])
@pytest.mark.parametrize("verb", ["check", "acheck"])
def test_the_clock_of_the_test_goes_along(kind: type[OnAClock], verdict: Judgement, verb: str) -> None:
    clock = VirtualClock(START)
    app = kind(clock)
    with EngageLab(receiver_of(app, signature_clock="virtual"), clock=clock) as engagelab:
        if verb == "check":
            report = engagelab.check(only=[*TIME, "B12", "B14"], patience=0.3)
        else:
            report = asyncio.run(engagelab.acheck(only=[*TIME, "B12", "B14"], patience=0.3))
    assert verdicts(report) == {**passes("B12", "B14", *TIME), "C22": verdict}
    assert clock.time() > START + DAY


def test_a_timer_of_the_test_rings_while_a_check_moves_its_clock() -> None:
    clock, rung = VirtualClock(START), list[float]()
    with EngageLab(receiver_of(OnAClock(clock), signature_clock="virtual"), clock=clock) as engagelab:
        clock.call_at(START + DAY, lambda: rung.append(clock.time()))
        engagelab.check(only=["C22"], patience=0.3)
    assert rung == [START + DAY]


def test_an_app_that_reads_another_clock_is_no_wrong_app() -> None:
    receiver = receiver_of(OnAClock(VirtualClock(START)), signature_clock="virtual")
    with (
        EngageLab(receiver, clock=VirtualClock(START)) as engagelab,
        pytest.raises(ProbeFailed, match="signature_clock: after the clock was moved by an hour, a valid callback was"),
    ):
        engagelab.check(only=["C22"], patience=0.3)


def test_a_real_clock_cannot_be_moved() -> None:
    clock = SystemClock()
    with EngageLab(receiver_of(OnAClock(clock), signature_clock="virtual"), clock=clock) as engagelab:
        report = engagelab.check(only=[*TIME], patience=0.3)
    skipped = Judgement.SKIPPED
    assert verdicts(report) == {"B26": skipped, "C22": skipped, "C23": Judgement.PASS}


# --- What must not be green


def test_without_a_clock_that_can_be_moved_nothing_is_judged() -> None:
    with EngageLab(receiver_of(ForgetsKeys())) as engagelab:
        report = engagelab.check(only=["C22"], patience=0.3)
    finding = report.finding("C22")
    assert finding.verdict is Judgement.SKIPPED
    assert "give `set_time`" in finding.reason
    with pytest.raises(NothingObserved):
        report.assert_none("major")


def nothing(now: float | None) -> None:
    pass


def test_a_set_time_that_does_nothing_ends_the_run() -> None:
    with pytest.raises(ProbeFailed, match="set_time: after the clock was moved by an hour") as ended:
        check(ForgetsKeys(), "A01", "C22", set_time=nothing)
    assert "set the clock that the app reads" in str(ended.value)
    assert ended.value.report is not None
    assert [finding.id for finding in ended.value.report.of(Judgement.PASS)] == ["A01"]


class Unsigned(OnAClock):
    def verify(self, signatures: list[str]) -> str:
        return uuid.uuid4().hex


class UnsignedForgetsKeys(Unsigned, ForgetsKeys):
    pass


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (NoWindow, {}, "it accepts a signature that is an hour old, see B12"),
        (Unsigned, UNSIGNED, "without a username and a secret, nothing shows that the app's clock was moved"),
    ],
)
def test_if_nothing_shows_that_the_clock_moves_nothing_is_green(
    kind: type[InMemory], options: dict[str, Any], said: str
) -> None:
    finding: Finding = check(kind(), "C22", set_time=nothing, **options).finding("C22")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert said in finding.reason


def test_an_effect_that_is_seen_twice_needs_no_other_proof() -> None:
    assert verdicts(check(UnsignedForgetsKeys(), "C22", **UNSIGNED)) == {"C22": Judgement.FAIL}


def test_without_observe_an_old_event_is_not_judged_by_its_acknowledgement() -> None:
    assert verdicts(check(DropsOld(), "C23", observe=None)) == {"C23": Judgement.INCONCLUSIVE}
    assert verdicts(check(RefusesOld(), "C23", observe=None)) == {"C23": Judgement.FAIL}


# --- The app's clock is right again


def test_the_clock_is_set_before_prepare_and_right_at_the_end() -> None:
    app, times = OnAClock(), list[float | None]()
    travel, prepared = time_machine_clock(), list[float]()

    def set_time(now: float | None) -> None:
        times.append(now)
        travel(now)

    def prepare(message: Message) -> None:
        prepared.append(abs(time.time() - message.accepted))

    receiver = receiver_of(app, set_time=set_time, prepare=prepare, signature_clock="virtual")
    with EngageLab(receiver, clock=VirtualClock(START)) as engagelab:
        report = engagelab.check(only=["C22", "C23"], patience=0.3)
    assert verdicts(report) == passes("C22", "C23")
    assert times[-1] is None
    assert times.count(None) == 1
    assert max(prepared) < 120


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_clock_is_right_after_an_interrupt_and_a_failure(error: type[BaseException]) -> None:
    app, times = OnAClock(), list[float | None]()

    def observe(message_id: str) -> Any:
        if len(app.log) > 5:
            raise error
        return app.observe(message_id)

    with pytest.raises((ProbeFailed, KeyboardInterrupt)):
        check(app, set_time=times.append, observe=observe)
    assert times[-1] is None


def test_set_time_may_be_asynchronous_in_acheck() -> None:
    travel, times = time_machine_clock(), list[float | None]()

    async def set_time(now: float | None) -> None:
        await asyncio.sleep(0)
        times.append(now)
        travel(now)

    async def test() -> Report:
        with EngageLab(receiver_of(ForgetsKeys(), set_time=set_time)) as engagelab:
            return await engagelab.acheck(only=["C22", "C23"], patience=0.3)

    assert verdicts(asyncio.run(test())) == {"C22": Judgement.FAIL, "C23": Judgement.PASS}
    assert times[-1] is None


def test_the_clock_is_right_when_acheck_was_cancelled() -> None:
    app, times, right = OnAClock(), list[float | None](), asyncio.Event()

    async def set_time(now: float | None) -> None:
        await asyncio.sleep(0)
        times.append(now)
        if now is None:
            right.set()

    async def test() -> None:
        async def observe(message_id: str) -> Any:
            task.cancel()
            return app.observe(message_id)

        with EngageLab(receiver_of(app, set_time=set_time, observe=observe)) as engagelab:
            task = asyncio.ensure_future(engagelab.acheck(only=["C01"], patience=0.3))
            with pytest.raises(asyncio.CancelledError):
                await task
            # The thread of the checks ends by itself.
            await asyncio.wait_for(right.wait(), 30)

    asyncio.run(test())
    assert (len(times) > 1, times[-1]) == (True, None)


def test_a_clock_that_stays_wrong_is_an_error_that_has_the_report() -> None:
    travel = time_machine_clock()

    def set_time(now: float | None) -> None:
        travel(now)
        if now is None:
            raise RuntimeError("no such clock")

    with pytest.raises(ProbeFailed, match="set_time raised RuntimeError: no such clock") as failed:
        check(OnAClock(), "C23", set_time=set_time)
    assert failed.value.report is not None
    assert verdicts(failed.value.report) == passes("C23")
