"""Signatures: receivers that refuse forgeries in unusual ways pass, and a check that sees nothing does not."""

from __future__ import annotations

import pytest

from engagelab_mock import Judgement
from tests.checks.receivers.correct import Incoming, Refused
from tests.checks.serving import check_in_memory, verdicts
from tests.truth.receivers.accounts import KeepsReplies
from tests.truth.receivers.in_memory import InMemory, PlainStatus
from tests.truth.receivers.work import WorksInQueue

FORGERIES = ("B05", "B18", "B23", "B24", "B25")


@pytest.mark.parametrize("kind", [KeepsReplies, WorksInQueue])
def test_a_receiver_that_refuses_every_forgery_passes(kind: type[InMemory]) -> None:
    assert verdicts(check_in_memory(kind(), *FORGERIES)) == dict.fromkeys(FORGERIES, "pass")
    assert verdicts(check_in_memory(kind(), *FORGERIES, observe=None)) == dict.fromkeys(FORGERIES, "pass")


class IgnoresForgeries(KeepsReplies):
    """Answer 200 to every request, and ignore those that are not genuine."""

    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        try:
            return self.handle(incoming)
        except Refused:
            return 200, "", {}


def test_a_forgery_that_is_answered_200_and_ignored_is_no_failure() -> None:
    report = check_in_memory(IgnoresForgeries(), *FORGERIES)
    assert verdicts(report) == {
        **dict.fromkeys(FORGERIES, "pass"),
        # The state shows no notifications, and the answer says nothing.
        "B24": "inconclusive",
        "B25": "inconclusive",
    }
    assert "whether it had an effect cannot be seen" in report.finding("B24").reason
    [warning] = report.finding("B05").warnings
    assert warning.startswith("a genuine signature whose last digit is wrong had no effect, but was answered 200")
    assert "the response uplink_message, unsigned, had no effect" in " ".join(report.finding("B24").warnings)


class TakesAnyNumber(PlainStatus):
    def authorize(self, given: str) -> None:
        if given != "12345":
            raise Refused(401)


def test_credentials_without_letters_have_no_other_case() -> None:
    finding = check_in_memory(TakesAnyNumber(), "B18", authorization="12345").finding("B18")
    assert finding.verdict is Judgement.PASS
    sent = [value for exchange in finding.exchanges for name, value in exchange.headers if name == "Authorization"]
    # Half of it is sent but not shown.
    assert sent[:2] == ["not-the-credentials", "(as configured, but cut or in another case)"]


def test_a_receiver_that_gets_statuses_only_is_not_judged_by_other_events() -> None:
    assert verdicts(check_in_memory(PlainStatus(), "B24", events=["status"])) == {"B24": "skipped"}


class IgnoresOtherKinds(PlainStatus):
    """Acknowledge the kinds of rows that it does not need before it verifies anything: right, though unusual."""

    def handle(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        return super().handle(incoming) if b'"status":{' in incoming.body else (200, "", {})


@pytest.mark.parametrize("observed", [True, False])
def test_the_answer_does_not_decide_about_events_whose_effects_are_not_seen(observed: bool) -> None:
    app = IgnoresOtherKinds()
    finding = check_in_memory(app, "B24", observe=app.observe if observed else None).finding("B24")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert finding.reason == (
        "the notification insufficient_balance, unsigned, was answered 200 like a genuine one, "
        "but a status is refused: whether it had an effect cannot be seen"
    )
