from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
import pytest

from engagelab_mock.checks.state import Probe, plain


class Status(Enum):
    SENT = "sent"


@dataclass
class Row:
    status: str


class Record(msgspec.Struct):
    status: str


class Model:
    """An object of an ORM: its repr does not show its state."""

    def __init__(self, status: str) -> None:
        self.status = status
        self._state = object()

    def __repr__(self) -> str:
        return "<Model 1>"


VALUES: list[tuple[Any, Any]] = [
    ([Row("sent")], [Row("delivered")]),
    ((Record("sent"),), (Record("delivered"),)),
    ({1: Model("sent")}, {1: Model("delivered")}),
    ({"sent"}, {"sent", "delivered"}),
    (Status.SENT, None),
    (datetime(2023, 3, 7, tzinfo=UTC), datetime(2023, 3, 8, tzinfo=UTC)),
    (1, 1.5),
]


@pytest.mark.parametrize(("one", "other"), VALUES)
def test_states_are_compared_by_value(one: Any, other: Any) -> None:
    assert plain(one) == plain(one)
    assert plain(one) != plain(other)


def test_a_later_change_does_not_change_a_snapshot() -> None:
    row = Model("sent")
    probe = Probe(lambda message_id: [row])
    before = probe.look("7")
    row.status = "delivered"
    assert before != probe.look("7")


def test_two_objects_of_the_same_state_are_equal() -> None:
    assert plain(Model("sent")) == plain(Model("sent"))


def test_a_value_that_contains_itself_is_cut() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless) == plain(endless)


def test_an_exception_of_observe_is_a_state() -> None:
    states: dict[str, str] = {}
    probe = Probe(states.__getitem__)
    before = probe.look("7")
    states["7"] = "sent"
    assert before.error == "KeyError: '7'"
    assert probe.look("7") != before
