"""Many messages between an event and its duplicate: which are compared, and which there was no time for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from engagelab_mock import EngageLab, Finding, Judgement
from engagelab_mock.checks import freshness
from engagelab_mock.checks.trial import Trial
from tests.truth.receivers.in_memory import AppendOnlyLog, InMemory, PlainStatus, receiver_of
from tests.truth.receivers.states import StatusAndTotals, TotalsOnly
from tests.truth.receivers.work import WorksInQueue


@pytest.fixture(autouse=True)
def few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "MESSAGES", 60)


def finding_of(app: InMemory, **options: Any) -> Finding:
    with EngageLab(receiver_of(app)) as engagelab:
        return engagelab.check(only=["C18"], patience=0.3, **options).finding("C18")


@pytest.mark.parametrize("kind", [AppendOnlyLog, StatusAndTotals, WorksInQueue])
def test_an_event_that_is_recognised_after_many_others_passes(kind: type[InMemory]) -> None:
    finding = finding_of(kind())
    assert (finding.verdict, finding.warnings) == (Judgement.PASS, ())
    # The other messages are counted but not shown.
    assert len(finding.exchanges) <= 2 * 8


class ForgetsAll(AppendOnlyLog):
    """Forget the events it knows when there are fifty."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        if len(self.known_events) == 50:
            self.known_events.clear()


def test_an_event_that_is_forgotten_after_many_others_is_found() -> None:
    finding = finding_of(ForgetsAll())
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.startswith("delivered that came again after 60 other messages: ")


class ForgetsAllAndGivesCredits(PlainStatus):
    """Forget them, keep one status, and give a credit for each `verified` that is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.credits: Counter[str] = Counter()

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.credits[message_id] += status == "verified"
        if len(self.known_events) == 50:
            self.known_events.clear()

    def observe(self, message_id: str) -> Any:
        return {"status": super().observe(message_id), "credits": self.credits[message_id]}


def test_every_status_comes_again_because_some_show_no_second_effect() -> None:
    finding = finding_of(ForgetsAllAndGivesCredits())
    assert finding.verdict is Judgement.FAIL
    assert "verified that came again after 60 other messages: credits is 2; after one" in finding.reason


def test_totals_over_all_messages_are_not_compared() -> None:
    assert finding_of(TotalsOnly()).verdict is Judgement.INCONCLUSIVE


@pytest.mark.parametrize(("looks", "verdict"), [(100, Judgement.PASS), (20, Judgement.INCONCLUSIVE)])
def test_the_number_of_messages_for_which_there_was_time_is_said(
    looks: int, verdict: Judgement, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([10.0] * looks)
    monkeypatch.setattr(Trial, "time_left", lambda trial: next(left, 0.5))
    finding = finding_of(AppendOnlyLog())
    assert finding.verdict is verdict
    assert "give more, with `timeout=` or --total" in f"{finding.reason} {finding.warnings}"
