"""Signatures: receivers that refuse forgeries in unusual ways pass, and a check that sees nothing does not."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, Judgement, Receiver, Report
from tests.checks.receivers.correct import PATH, Incoming, Refused
from tests.checks.receivers.frameworks import on_flask
from tests.truth.receivers import SETTINGS, InMemory, KeepsReplies, PlainStatus, WorksInQueue

FORGERIES = ("B05", "B18", "B23", "B24", "B25")


def check(app: InMemory, *only: str, **options: Any) -> Report:
    settings = {**SETTINGS, "observe": app.observe, **options}
    with EngageLab(Receiver.wsgi(on_flask(app), PATH, **settings)) as engagelab:
        return engagelab.check(only=[*only], patience=0.3)


def judged(report: Report) -> dict[str, str]:
    return {finding.id: finding.verdict for finding in report.findings if not finding.left_out}


@pytest.mark.parametrize("kind", [KeepsReplies, WorksInQueue])
def test_a_receiver_that_refuses_every_forgery_passes(kind: type[InMemory]) -> None:
    assert judged(check(kind(), *FORGERIES)) == dict.fromkeys(FORGERIES, "pass")
    assert judged(check(kind(), *FORGERIES, observe=None)) == dict.fromkeys(FORGERIES, "pass")


class IgnoresForgeries(KeepsReplies):
    """Answer 200 to every request, and ignore those that are not genuine."""

    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        try:
            return self.handle(incoming)
        except Refused:
            return 200, "", {}


def test_a_forgery_that_is_answered_200_and_ignored_is_no_failure() -> None:
    report = check(IgnoresForgeries(), *FORGERIES)
    assert judged(report) == {
        **dict.fromkeys(FORGERIES, "pass"),
        # The state shows no notifications, and the answer says nothing.
        "B24": "inconclusive",
        "B25": "inconclusive",
    }
    assert "whether it had an effect cannot be seen" in report.finding("B24").reason
    assert "the first 63 of a genuine signature's 64 digits had no effect" in " ".join(report.finding("B05").warnings)
    assert "the response uplink_message, unsigned, had no effect" in " ".join(report.finding("B24").warnings)


class TakesAnyNumber(PlainStatus):
    def authorize(self, given: str) -> None:
        if given != "12345":
            raise Refused(401)


def test_credentials_without_letters_have_no_other_case() -> None:
    finding = check(TakesAnyNumber(), "B18", authorization="12345").finding("B18")
    assert finding.verdict is Judgement.PASS
    sent = [value for exchange in finding.exchanges for name, value in exchange.headers if name == "Authorization"]
    # Half of it is sent but not shown.
    assert sent[:2] == ["not-the-credentials", "(as configured, but cut or in another case)"]


def test_a_receiver_that_gets_statuses_only_is_not_judged_by_other_events() -> None:
    assert judged(check(PlainStatus(), "B24", events=["status"])) == {"B24": "skipped"}


class IgnoresOtherKinds(PlainStatus):
    """Acknowledge the kinds of rows that it does not need before it verifies anything: right, though unusual."""

    def handle(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        return super().handle(incoming) if b'"status":{' in incoming.body else (200, "", {})


@pytest.mark.parametrize("observed", [True, False])
def test_the_answer_does_not_decide_about_events_whose_effects_are_not_seen(observed: bool) -> None:
    app = IgnoresOtherKinds()
    finding = check(app, "B24", observe=app.observe if observed else None).finding("B24")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert finding.reason == (
        "the notification insufficient_balance, unsigned, was answered 200 like a genuine one, "
        "but a status is refused: whether it had an effect cannot be seen"
    )
