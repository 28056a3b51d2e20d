"""`check` fails no receiver that is right but built unusually, and finds the bug of its mutant."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, Judgement
from tests.truth.receivers import PAIRS, Pair

#: The receivers work before they answer, or very soon after it, but the machine may be busy.
PATIENCE = 3.0
#: Whether 50 callbacks at once are answered in time depends on the machine.
ON_THE_MACHINE = ["A06"]

each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


@pytest.mark.slow
@each_pair
def test_a_right_receiver_fails_no_check(pair: Pair) -> None:
    with EngageLab(pair.right()) as engagelab:
        report = engagelab.check(patience=PATIENCE, skip=ON_THE_MACHINE)
    assert [f"{finding.id} {finding.reason}" for finding in report.of(Judgement.FAIL)] == []
    assert report.of(Judgement.ERROR) == []


@each_pair
def test_its_mutant_fails_the_check_of_its_bug(pair: Pair) -> None:
    with EngageLab(pair.wrong()) as engagelab:
        report = engagelab.check(patience=PATIENCE, only=[*pair.fails])
    assert [finding.id for finding in report.of(Judgement.FAIL)] == [*pair.fails]
