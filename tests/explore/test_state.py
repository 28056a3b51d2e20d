from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
import pytest

from engagelab_mock import ProbeFailed
from engagelab_mock.explore.state import plain


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


def test_a_later_change_does_not_change_a_copy() -> None:
    row = Model("sent")
    before = plain([row])
    row.status = "delivered"
    assert before != plain([row])


def test_two_objects_of_the_same_state_are_equal() -> None:
    assert plain(Model("sent")) == plain(Model("sent"))


def test_a_value_that_contains_itself_is_cut() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert plain(endless) == plain(endless)


class Mapped:
    """An object of SQLAlchemy whose session is closed: its columns are read when they are asked for."""

    class __mapper__:
        class column_attrs:
            @staticmethod
            def keys() -> list[str]:
                return ["status"]

    def __init__(self, *, attached: bool) -> None:
        self._attached = attached

    @property
    def status(self) -> str:
        if not self._attached:
            raise RuntimeError("Instance is not bound to a Session")
        return "sent"


def test_a_mapped_object_is_read_by_its_columns() -> None:
    assert plain(Mapped(attached=True)) == {"Mapped": {"status": "sent"}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Mapped(attached=False), "a value of type Mapped that cannot be read: RuntimeError: Instance is not bound"),
        ((each for each in ["sent"]), "observe returned a generator, which can be read only once"),
        ({"cost": float("nan")}, "observe returned nan, which does not equal itself"),
        ({"log": "x" * 10_000_000}, "a state of about 10,000,003 characters"),
    ],
)
def test_what_cannot_be_compared_is_an_error(value: Any, said: str) -> None:
    with pytest.raises(ProbeFailed, match=said):
        plain(value)
