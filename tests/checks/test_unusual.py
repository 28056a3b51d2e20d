"""Receivers that are right but unusual: how the checks learn their properties, wait for them, and judge them."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from engagelab_mock import EngageLab, Judgement, Receiver, ScheduleFailed, exactly_once
from engagelab_mock.checks import context as contexts
from engagelab_mock.checks import duplicates, ordering, trial
from engagelab_mock.checks.trial import Trial
from tests.checks.observing import context_of
from tests.checks.receivers.correct import PATH, SETTINGS, Refused
from tests.checks.receivers.frameworks import on_fastapi
from tests.checks.serving import check_in_memory
from tests.truth.receivers.accounts import KeepsReplies
from tests.truth.receivers.in_memory import AppendOnlyLog, AppendsTwice, InMemory, LastWins, OneStatus, PlainStatus
from tests.truth.receivers.states import TotalsOnly

# --- What cannot be compared is not green


def test_totals_are_not_compared() -> None:
    report = check_in_memory(TotalsOnly(), "C02", "C06", "C08", "D01", "D02", "D05", "D08", "D09", "D14")
    found = {(finding.verdict, finding.reason) for finding in report.findings if finding.verdict != "skipped"}
    [(verdict, reason)] = found
    assert verdict is Judgement.INCONCLUSIVE
    assert "return the state of the message whose id it is given" in reason


class NothingIsTheSame(OneStatus):
    """Show a text that differs for each message and each status, as a hash does."""

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return "x" if status is None else f"{hash((message_id, status)):x}"


def test_states_that_differ_for_every_message_are_inconclusive() -> None:
    report = check_in_memory(NothingIsTheSame(), "C01", "C06", "C07", "C09")
    assert {finding.verdict for finding in report.findings if finding.id[0] == "C"} == {
        Judgement.INCONCLUSIVE,
        Judgement.SKIPPED,
    }
    assert "no effect can be told" in report.finding("C06").reason


# --- What an app makes nothing of is not applicable


class OnlyVerified(OneStatus):
    """Know only whether the code was right."""

    def observe(self, message_id: str) -> Any:
        return {"verified": self.statuses.get(message_id) == "verified"}


@pytest.mark.parametrize("id", ["C06", "C14", "D10", "D15", "D20"])
def test_what_an_app_makes_nothing_of_is_not_applicable(id: str) -> None:
    finding = check_in_memory(OnlyVerified(), id).finding(id)
    assert finding.verdict is Judgement.NOT_APPLICABLE
    assert finding.reason.startswith("`observe`")


class OnlyVerifiedLastWins(LastWins, OnlyVerified):
    """Forget that the code was right when another status comes late."""


def test_the_second_trace_is_tried_if_the_first_shows_nothing() -> None:
    assert check_in_memory(OnlyVerified(), "C07").finding("C07").verdict is Judgement.PASS
    finding = check_in_memory(OnlyVerifiedLastWins(), "C07").finding("C07")
    assert finding.verdict is Judgement.FAIL
    assert "verified is False after verified" in finding.reason


# --- Receivers that ask for a retry


class WantsDeliveredFirst(PlainStatus):
    """Answer 409 to `verified` until `delivered` has come."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        if status == "verified" and self.statuses.get(message_id) not in {"delivered", "verified_failed"}:
            self.known_events.discard((message_id, status, channel))
            raise Refused(409)
        super().event(message_id, status, channel)


def test_a_receiver_that_asks_for_a_retry_of_an_early_event_loses_nothing() -> None:
    report = check_in_memory(WantsDeliveredFirst(), "C06", "C07", "C09", "C10", "C15", "C08")
    assert {finding.id: finding.reason for finding in report.of(Judgement.FAIL)} == {
        "C08": "verified without the statuses before it: answered 409 CONFLICT"
    }


class LosesVerified(PlainStatus):
    """Change nothing after `delivered`."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        if self.statuses.get(message_id) == "delivered":
            self.after_the_end()
        else:
            super().event(message_id, status, channel)

    def after_the_end(self) -> None:
        """Acknowledge callbacks that are lost."""


class RefusesVerified(LosesVerified):
    """Answer 409 to all that comes after `delivered`."""

    def after_the_end(self) -> None:
        raise Refused(409)


@pytest.mark.parametrize(("kind", "came_to"), [(LosesVerified, "had no effect"), (RefusesVerified, "was refused")])
def test_the_reason_says_what_happened_to_an_event_that_does_not_count(kind: type[InMemory], came_to: str) -> None:
    finding = check_in_memory(kind(), "C09").finding("C09")
    assert finding.reason == (
        f"sent, delivered, verified, in this order, left the same state as sent, delivered: verified {came_to}"
    )


class LastReply(KeepsReplies):
    """Show the text of the last reply, without the number of replies."""

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), "last": [*self.replies][-1:] if message_id == "0" else []}


class LastReplyText(LastReply):
    def observe(self, message_id: str) -> Any:
        return {**super().observe(message_id), "last": str([*self.replies][-1:]) if message_id == "0" else ""}


@pytest.mark.parametrize("kind", [LastReplyText, PlainStatus])
def test_replies_that_are_not_counted_are_not_compared(kind: type[InMemory]) -> None:
    finding = check_in_memory(kind(), "C17").finding("C17")
    assert finding.verdict is Judgement.NOT_APPLICABLE
    assert finding.reason == "`observe` shows no number of users' replies or of notifications"


class ShowsNoReplies(KeepsReplies):
    """Raise for the id of all replies, which is no message's, when it has a row."""

    def observe(self, message_id: str) -> Any:
        if message_id == "0" and self.replies:
            raise TypeError("a reply has no status")
        return self.statuses.get(message_id)


def test_a_state_that_cannot_be_read_for_replies_is_one_that_does_not_show_them() -> None:
    report = check_in_memory(ShowsNoReplies(), "B24", "C17", "D15", "D26", "D27", "D29")
    verdicts = {finding.id: finding.verdict for finding in report.findings if not finding.left_out}
    assert verdicts == {
        **dict.fromkeys(("B24", "D26", "D27"), Judgement.PASS),
        **dict.fromkeys(("C17", "D15", "D29"), Judgement.NOT_APPLICABLE),
    }


class RefusesWhatItKnows(AppendOnlyLog):
    """Answer 409 to a callback whose rows are all known."""

    def work(self, envelope: dict[str, Any]) -> None:
        known = len(self.known_events)
        super().work(envelope)
        if known == len(self.known_events) and len(envelope["rows"]) == 1 and "status" in envelope["rows"][0]:
            raise Refused(409)


def test_a_known_event_has_to_be_acknowledged_in_any_callback() -> None:
    report = check_in_memory(RefusesWhatItKnows(), "C01", "D03", "D28")
    failed = {finding.id: finding.reason.partition(":")[0] for finding in report.of(Judgement.FAIL)}
    assert failed == {"C01": "delivered sent a second time, newly signed", "D28": "a callback with 1 rows"}


# --- Time


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets the stopwatch of the checks run on."""
    now = [0.0]

    def run_on(seconds: float) -> None:
        now[0] += seconds

    for module in (contexts, ordering, trial):
        monkeypatch.setattr(module, "stopwatch", lambda: now[0])
    return run_on


@pytest.mark.parametrize("seconds", [0.6, 0.8, 1.0, 1.93, 2.0, 2.07, 2.5])
def test_orders_for_which_there_is_no_time_are_not_judged(seconds: float, passing: Callable[[float], None]) -> None:
    class TakesTime(PlainStatus):
        def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
            passing(seconds)
            super().commit(nonce, body, envelope)

    finding = check_in_memory(TakesTime(), "C07").finding("C07")
    said = f"{finding.reason} {finding.warnings}"
    assert finding.verdict in {Judgement.PASS, Judgement.INCONCLUSIVE}
    assert "give more, with `timeout=` or --total" in said


def test_a_check_gets_the_time_that_a_slow_receiver_needs() -> None:
    context = context_of(AppendOnlyLog())
    quick = trial.Trial(context, seconds=20).time_left()
    context.profile.answer, context.profile.lag = 0.5, 2.5
    assert trial.Trial(context, seconds=20).time_left() > 2 * quick


class AnswersTwiceAtOnce(AppendOnlyLog):
    """Handle copies of an event that come at once twice."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = itertools.count()

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        super().keep(db, message_id, status, f"{detail} {next(self.counter)}")


def test_copies_at_once_are_compared_with_one_callback_of_the_same_time() -> None:
    finding = check_in_memory(AnswersTwiceAtOnce(), "C02").finding("C02")
    assert finding.verdict is Judgement.FAIL
    assert "after one callback it is 1" in finding.reason


def test_no_time_for_a_single_order_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # The time runs out when the references are known and no other order is.
    monkeypatch.setattr(Trial, "time_left", lambda trial: 0.0)
    [finding] = [finding for finding in check_in_memory(PlainStatus(), "C07").findings if finding.id == "C07"]
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "timeout=" in finding.reason


class TakesLongForCopiesAtOnce(AppendOnlyLog):
    """Answer callbacks that come at once after the limit, as an app does when the machine is busy."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def acknowledge(self) -> tuple[int, str, dict[str, str]]:
        if threading.get_ident() != self.thread:
            threading.Event().wait(LIMIT)
        return super().acknowledge()


class TakesLongAndAppendsEach(TakesLongForCopiesAtOnce, AppendsTwice):
    """Append every copy as well."""


#: A callback that comes alone is answered within it, in seconds.
LIMIT = 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "verdict"),
    [(TakesLongForCopiesAtOnce, Judgement.PASS), (TakesLongAndAppendsEach, Judgement.FAIL)],
)
def test_copies_at_once_that_are_answered_late_are_judged_by_their_effect(
    kind: type[InMemory], verdict: Judgement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_ROUNDS", 1)
    finding = check_in_memory(kind(), "C02", events=["delivered"], limit=LIMIT).finding("C02")
    assert finding.verdict is verdict
    assert finding.warnings[0].startswith("one of 8 copies of delivered at once: answered 200 after")
    assert not finding.reason or "after one callback it is 1" in finding.reason


class WorksInATask(AppendOnlyLog):
    """Answer at once, and do the work in a task of the app's event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[None]] = set()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self.check_nonce(nonce, body)
        self.tasks.add(asyncio.get_running_loop().create_task(self.later(envelope)))

    async def later(self, envelope: dict[str, Any]) -> None:
        await asyncio.sleep(0.001)
        self.work(envelope)


class WorksInATaskTwice(WorksInATask, AppendsTwice):
    """Append an event that is sent again."""


@pytest.mark.parametrize(("kind", "fails"), [(WorksInATask, []), (WorksInATaskTwice, ["C01"])])
def test_an_app_in_process_works_on_between_two_requests(kind: type[InMemory], fails: list[str]) -> None:
    app = kind()
    receiver = Receiver.asgi(on_fastapi(app), PATH, **SETTINGS, observe=app.observe)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(only=["A11", "B06", "B07", "B14", "B25", "C01", "C06"], patience=3.0)
        assert [finding.id for finding in report.of(Judgement.FAIL)] == fails
        assert {finding.verdict for finding in report.findings if not finding.left_out} <= {
            *(Judgement.PASS, Judgement.FAIL)
        }


@pytest.mark.parametrize(("kind", "fails"), [(WorksInATask, False), (WorksInATaskTwice, True)])
def test_an_app_in_process_works_on_between_two_callbacks_of_a_schedule(kind: type[InMemory], fails: bool) -> None:
    app = kind()

    def times_delivered(message_id: str) -> dict[str, int]:
        return {"delivered": sum(entry["status"] == "delivered" for entry in app.observe(message_id))}

    receiver = Receiver.asgi(on_fastapi(app), PATH, **SETTINGS, observe=times_delivered, wait_idle=0.05)
    once = [exactly_once("delivered", when="delivered")]
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed) if fails else nullcontext():
        engagelab.replay("eg1:delivered:delivered,delivered", invariants=once)
