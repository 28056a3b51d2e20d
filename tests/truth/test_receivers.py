"""`check` fails no receiver that is right but built unusually, and finds the bug of its mutant."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, Judgement, Receiver
from engagelab_mock.integrations.time_travel import time_machine_clock
from tests.truth.receivers.in_memory import InMemory, receiver_of
from tests.truth.receivers.pairs import PAIRS, Pair

#: The receivers work before they answer, or very soon after it, but the machine may be busy.
PATIENCE = 3.0
#: Whether 50 callbacks at once are answered in time depends on the machine.
ON_THE_MACHINE = ["A06"]

each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def moving_time(app: InMemory) -> Receiver:
    return receiver_of(app, prepare=getattr(app, "prepare", None), set_time=time_machine_clock())


@pytest.mark.slow
@each_pair
def test_a_right_receiver_fails_no_check(pair: Pair) -> None:
    with EngageLab(moving_time(pair.right())) as engagelab:
        report = engagelab.check(patience=PATIENCE, skip=ON_THE_MACHINE)
    assert [f"{finding.id} {finding.reason}" for finding in report.of(Judgement.FAIL)] == []
    assert report.of(Judgement.ERROR) == []


@each_pair
def test_its_mutant_fails_the_check_of_its_bug(pair: Pair) -> None:
    with EngageLab(moving_time(pair.wrong())) as engagelab:
        report = engagelab.check(patience=PATIENCE, only=[*pair.fails])
    assert [finding.id for finding in report.of(Judgement.FAIL)] == [*pair.fails]
