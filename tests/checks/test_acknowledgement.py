"""Acknowledgement after refusals: a receiver that limits its senders, or refuses nothing, is not judged."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import Judgement
from tests.checks.receivers.correct import Incoming, Refused
from tests.checks.serving import check_in_memory
from tests.truth.receivers.in_memory import InMemory, PlainStatus
from tests.truth.receivers.work import WorksInQueue


def judged(app: InMemory, **options: Any) -> tuple[Judgement, str]:
    finding = check_in_memory(app, "A11", **options).finding("A11")
    return finding.verdict, finding.reason


@pytest.mark.parametrize("kind", [PlainStatus, WorksInQueue])
def test_a_receiver_that_accepts_valid_callbacks_after_refusals_passes(kind: type[InMemory]) -> None:
    assert judged(kind()) == (Judgement.PASS, "")


class LimitsItsSenders(PlainStatus):
    """Answer 429 to a sender of ten callbacks that were refused."""

    refusals = 0

    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        if self.refusals >= 10:
            return 429, "", {"Retry-After": "60"}
        answer = super().answer(incoming)
        self.refusals += answer[0] >= 400
        return answer


def test_a_receiver_that_has_begun_to_refuse_valid_callbacks_is_not_judged() -> None:
    verdict, reason = judged(LimitsItsSenders())
    assert verdict is Judgement.INCONCLUSIVE
    assert "was answered 429 TOO MANY REQUESTS: the receiver has begun to refuse valid callbacks" in reason


class AcceptsEverything(PlainStatus):
    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        try:
            return self.handle(incoming)
        except Refused:
            return 200, "", {}


def test_a_receiver_that_refuses_nothing_is_not_judged() -> None:
    assert judged(AcceptsEverything())[0] is Judgement.NOT_APPLICABLE
