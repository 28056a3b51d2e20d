"""Many messages between an event and its duplicate: what is compared, and what there was no time for."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, Finding, Judgement, Receiver
from engagelab_mock.checks import freshness
from engagelab_mock.checks.trial import Trial
from tests.checks.receivers.correct import PATH
from tests.checks.receivers.frameworks import on_flask
from tests.truth.receivers import SETTINGS, AppendOnlyLog, InMemory, StatusAndTotals, TotalsOnly, WorksInQueue


@pytest.fixture(autouse=True)
def few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "MESSAGES", 60)


def finding_of(app: InMemory, **options: Any) -> Finding:
    with EngageLab(Receiver.wsgi(on_flask(app), PATH, **SETTINGS, observe=app.observe)) as engagelab:
        return engagelab.check(only=["C18"], patience=0.3, **options).finding("C18")


@pytest.mark.parametrize("kind", [AppendOnlyLog, StatusAndTotals, WorksInQueue])
def test_an_event_that_is_recognised_after_many_others_passes(kind: type[InMemory]) -> None:
    finding = finding_of(kind())
    assert (finding.verdict, finding.warnings) == (Judgement.PASS, ())
    # The other messages are counted, and not shown.
    assert len(finding.exchanges) == 2


class ForgetsAll(AppendOnlyLog):
    """Forget the events it knows when there are fifty."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        if len(self.known_events) == 50:
            self.known_events.clear()


def test_an_event_that_is_forgotten_after_many_others_is_found() -> None:
    finding = finding_of(ForgetsAll())
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.startswith("an event that came again after 60 other messages: ")


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
