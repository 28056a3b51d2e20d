"""Callbacks at once: each loss, overwrite or block is found every time, and right receivers pass."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from engagelab_mock import EngageLab, Finding, Judgement, Report
from engagelab_mock.checks import at_once, concurrency
from tests.checks.receivers.concurrent import let_them_meet
from tests.checks.receivers.meeting import (
    AddsToTheCredits,
    AddsToTheTotal,
    Appends,
    BusyAnswers409,
    BusyAnswers503,
    DeadlocksAnswer200,
    DeadlocksAnswer500,
    ForgetsTheCredit,
    Handler,
    LockedIsAnswered200,
    OneAtATime,
    QueueDrops,
    Queues,
    RetriesDeadlocks,
    Row,
    Shop,
    TakesFromTheBalance,
    Upserts,
    WritesBack,
    reach,
)

CHECKS = ["A12", "C19", "C20", "C21"]
TRANSPORTS = ["wsgi", "asgi", "http"]


def check(shop: Shop, transport: str = "asgi", *only: str, patience: float = 0.02, **probe: Any) -> Report:
    with reach(shop, transport, **probe) as receiver, EngageLab(receiver) as engagelab:
        return engagelab.check(only=only or CHECKS, patience=patience)


@pytest.fixture(autouse=True)
def few_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send fewer callbacks than a real check does, because two of them meet each time."""
    let_them_meet(monkeypatch)
    for name, number in {"BURST": 30, "ROUNDS": 4, "BATCH": 3, "BATCHES": 3, "MANY": 6, "TIMES": 2}.items():
        monkeypatch.setattr(concurrency, name, number)


def finding_of(id: str, shop: Shop, **probe: Any) -> Finding:
    return check(shop, "asgi", id, **probe).finding(id)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "kind",
    [Shop, OneAtATime, BusyAnswers503, BusyAnswers409, Queues, Appends, Upserts, RetriesDeadlocks],
)
def test_a_right_receiver_passes(kind: type[Shop], transport: str) -> None:
    report = check(kind(), transport)
    assert {id: (report.finding(id).verdict, report.finding(id).reason) for id in CHECKS} == dict.fromkeys(
        CHECKS, (Judgement.PASS, "")
    )


class LastWins(Upserts):
    """Keep the status that came last, which other checks find."""

    def apply(self, row: Row) -> None:
        self.statuses[row.message_id] = row.status


def test_a_state_that_some_order_leads_to_is_not_a_lost_update() -> None:
    class Backwards(LastWins):
        """Let callbacks that come at once overtake each other."""

        def handle(self, rows: list[Row]) -> Handler:
            for _ in range(3 * (rows[0].status == "sent")):
                yield
            return (yield from super().handle(rows))

    report = check(Backwards(), "asgi", "C19", "C20")
    assert [report.finding(id).reason for id in ("C19", "C20")] == ["", ""]
    assert [report.finding(id).verdict for id in ("C19", "C20")] == [Judgement.PASS] * 2


class WorksSlowly(Queues):
    """Work off one callback with each read of a state, or with every third read if there are many."""

    reads = 0
    many = False

    def work(self) -> None:
        self.reads += 1
        self.many = bool(self.jobs) and (self.many or len(self.jobs) > 1)
        for row in self.jobs.pop() if self.jobs and not (self.many and self.reads % 3) else ():
            self.apply(row)


def test_the_check_of_a_burst_waits_while_effects_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = count()
    monkeypatch.setattr(at_once, "stopwatch", lambda: next(now) / 2)  # so that it waits for two reads without effects
    assert finding_of("A12", WorksSlowly(), patience=1).verdict is Judgement.PASS


class RefusesForAWhile(Shop):
    """Answer 503 while callbacks come at once, and to the next few after that."""

    busy = 0
    refusals = 0

    def handle(self, rows: list[Row]) -> Handler:
        self.busy += 1
        yield
        self.busy -= 1
        self.refusals = 45 if self.busy else max(0, self.refusals - 1)
        return 503 if self.refusals else (yield from super().handle(rows))


def test_a_refused_callback_comes_again_until_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "stopwatch", lambda: 0.0)
    assert finding_of("A12", RefusesForAWhile()).verdict is Judgement.PASS


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("kind", "fails", "says"),
    [
        (LockedIsAnswered200, CHECKS, "of 30 callbacks at once were acknowledged, and their effect is missing"),
        (QueueDrops, ["A12"], "of 30 callbacks at once were acknowledged, and their effect is missing"),
        (ForgetsTheCredit, ["A12", "C19", "C20"], "were acknowledged, and the effect credits is missing"),
        (WritesBack, ["C19", "C20"], "sent, delivered and verified of a message at once: # is "),
        (DeadlocksAnswer500, ["C20"], "3 messages in opposite order, at once: answered 500"),
        (DeadlocksAnswer200, ["C20"], "3 messages in opposite order, at once: # is "),
        (AddsToTheTotal, ["C21"], "6 callbacks of sent at once: events of the account changed by "),
        (AddsToTheCredits, ["C21"], "6 callbacks of verified at once: events of the account changed by "),
        (TakesFromTheBalance, ["C21"], "; one after another they change it by -0.03"),
    ],
)
def test_a_mutant_fails_its_check(kind: type[Shop], fails: list[str], says: str, transport: str) -> None:
    report = check(kind(), transport)
    assert [finding.id for finding in report.of(Judgement.FAIL)] == fails
    assert says in report.finding(fails[0]).reason


# --- What cannot be seen is not green


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_observe_nothing_is_judged(transport: str) -> None:
    report = check(LockedIsAnswered200(), transport, observe=None)
    assert {(report.finding(id).verdict, report.finding(id).reason) for id in CHECKS} == {
        (Judgement.INCONCLUSIVE, "the state of the app cannot be seen: give `observe`")
    }


def test_without_observe_account_totals_are_not_judged() -> None:
    finding = finding_of("C21", AddsToTheTotal(), observe_account=None)
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert finding.reason == "the state of the account cannot be seen: give `observe_account`"


@pytest.mark.parametrize("state", [None, "shop", {"events": True}, {"seconds": count()}, [], {"open": 3}])
def test_an_account_without_totals_is_not_judged(state: Any) -> None:
    def observe_account() -> Any:
        return {"seconds": next(state["seconds"]) ** 2} if isinstance(state, dict) and "seconds" in state else state

    finding = finding_of("C21", AddsToTheTotal(), observe_account=observe_account)
    assert finding.verdict is Judgement.NOT_APPLICABLE
    assert "shows no number that grows" in finding.reason


class OnlyTotals(AddsToTheTotal):
    def observe(self, message_id: str) -> Any:
        return self.total


def test_totals_instead_of_the_state_of_a_message_are_not_compared() -> None:
    report = check(OnlyTotals())
    assert {report.finding(id).verdict for id in CHECKS[:3]} == {Judgement.INCONCLUSIVE}
    assert report.finding("C21").verdict is Judgement.FAIL


class OnlyFailures(WritesBack):
    def observe(self, message_id: str) -> Any:
        return [status for status in super().observe(message_id) if status == "delivered_failed"]


def test_events_without_a_visible_effect_are_not_applicable() -> None:
    report = check(OnlyFailures())
    assert [report.finding(id).verdict for id in ("C19", "C20")] == [Judgement.NOT_APPLICABLE] * 2


class TwoWrongCodes(WritesBack):
    """Show how many wrong codes a message had."""

    def observe(self, message_id: str) -> Any:
        return sum(row.status == "verified_failed" for row in self.events.get(message_id, ()))


def test_a_lost_wrong_code_is_found_if_no_other_status_is_shown() -> None:
    class Shows(TwoWrongCodes):
        def observe(self, message_id: str) -> Any:
            statuses = [row.status for row in self.events.get(message_id, ())]
            return {"wrong": super().observe(message_id), "plan": "plan" in statuses, "any": bool(statuses)}

    finding = finding_of("C19", Shows())
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.startswith("verified_failed, verified_failed and verified of a message at once: wrong is ")


class FirstRowOnly(Shop):
    def handle(self, rows: list[Row]) -> Handler:
        return (yield from super().handle(rows[:1]))


def test_batches_that_are_not_applied_alone_are_not_judged_at_once() -> None:
    finding = finding_of("C20", FirstRowOnly())
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "also one after another; D02 checks that" in finding.reason


class CrashesOutOfOrder(Shop):
    def handle(self, rows: list[Row]) -> Handler:
        yield
        for row in rows:
            if row.status == "delivered" and "sent" not in self.observe(row.message_id):
                return 500
            self.apply(row)
        return 200


def test_a_crash_that_also_happens_one_after_another_is_not_a_finding_of_concurrency() -> None:
    class Backwards(CrashesOutOfOrder):
        """Let callbacks that come at once overtake each other."""

        def handle(self, rows: list[Row]) -> Handler:
            for _ in range(3 * (rows[0].status == "sent")):
                yield
            return (yield from super().handle(rows))

    finding = finding_of("C19", Backwards())
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "and so do they alone: delivered out of order: answered 500" in finding.reason


class LimitsItsSenders(Shop):
    """Answer 429 for ever when callbacks have come at once."""

    busy = 0
    limited = False

    def handle(self, rows: list[Row]) -> Handler:
        self.busy += 1
        self.limited |= self.busy > 2
        yield
        self.busy -= 1
        return 429 if self.limited else (yield from super().handle(rows))


@pytest.mark.slow
@pytest.mark.parametrize("id", CHECKS)
def test_a_receiver_that_has_begun_to_refuse_valid_callbacks_is_not_judged(id: str) -> None:
    finding = finding_of(id, LimitsItsSenders())
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "the receiver has begun to refuse valid callbacks: answered 429" in finding.reason


# --- Numbers that do not count for ever


class BeginsAnew(Shop):
    """Count the events of this minute; a minute is over when callbacks come at once for the first time."""

    busy = 0
    since = 0
    over = False

    def handle(self, rows: list[Row]) -> Handler:
        self.busy += 1
        yield
        if self.busy > 1 and not self.over:
            self.over, self.since = True, self.total
        self.busy -= 1
        return (yield from super().handle(rows))

    def observe_account(self) -> Any:
        return {"events": self.total, "this minute": self.total - self.since}


class KeepsTheLast(Shop):
    """Show the last 40 events."""

    def observe_account(self) -> Any:
        return {"last": list(range(min(self.total, 40)))}


@pytest.mark.parametrize("kind", [BeginsAnew, KeepsTheLast])
def test_a_number_that_begins_anew_or_stops_is_not_a_lost_update(kind: type[Shop]) -> None:
    assert finding_of("C21", kind()).verdict is not Judgement.FAIL


class TakesASecondForEach(Shop):
    """Show for how many seconds the app has run: one passes with each callback, or read of the state."""

    busy = 0
    seconds = 0

    def handle(self, rows: list[Row]) -> Handler:
        self.busy += 1
        yield
        self.seconds += self.busy == 1
        self.busy -= 1
        return (yield from super().handle(rows))

    def observe_account(self) -> Any:
        self.seconds += 1
        return {"up since": self.seconds}


def test_a_number_that_grows_with_time_is_not_a_lost_update(monkeypatch: pytest.MonkeyPatch) -> None:
    now = count(0, 10)
    monkeypatch.setattr(concurrency, "stopwatch", lambda: next(now))
    assert finding_of("C21", TakesASecondForEach()).verdict is Judgement.PASS


def test_a_number_that_grows_with_each_read_is_not_a_lost_update() -> None:
    shop, reads = Shop(), count(0, 10)
    finding = finding_of("C21", shop, observe_account=lambda: {"reads": next(reads), "events": shop.total})
    assert finding.verdict is Judgement.PASS
