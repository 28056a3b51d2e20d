"""No judge is green if nothing can be judged, or if the visible state misleads."""

from __future__ import annotations

import pytest

from engagelab_mock.delivery import probe
from tests.truth.blind import CASES
from tests.truth.blind.case import Blind, in_process, over_a_socket

LEAST = 25


def name(case: object) -> str:
    return f"{case.judge}: {case.what}" if isinstance(case, Blind) else ""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "IDLE_LIMIT", 0.02)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_is_not_green_in_process(case: Blind) -> None:
    with in_process() as reach, pytest.raises(case.error) as raised:
        case.run(reach)
    assert case.says in str(raised.value)


@pytest.mark.parametrize("case", [case for case in CASES if case.socket], ids=name)
def test_it_is_not_green_over_a_socket(case: Blind) -> None:
    with over_a_socket() as reach, pytest.raises(case.error) as raised:
        case.run(reach)
    assert case.says in str(raised.value)


def test_there_are_enough() -> None:
    assert len(CASES) >= LEAST
