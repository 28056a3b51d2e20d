"""Events grouped into callbacks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagelab_mock import Message, StatusEvent, UsageError
from engagelab_mock.messages.scenario import Batch, into_callbacks

MESSAGE = Message(id="1", to="+6591234567")


def timed(*moments: float) -> list[tuple[float, StatusEvent]]:
    return [(at, MESSAGE.event("plan", at=at)) for at in moments]


@pytest.mark.parametrize(
    ("batch", "planned"),
    [
        (1, [(0, 1), (2, 1), (5, 1), (20, 1)]),
        (2, [(2, 2), (20, 2)]),
        (3, [(5, 3), (20, 1)]),
        (4, [(20, 4)]),
        (99, [(20, 4)]),
        ("all", [(20, 4)]),
    ],
)
def test_a_callback_goes_out_when_the_last_of_its_events_has_happened(
    batch: Batch, planned: list[tuple[float, int]]
) -> None:
    assert [(at, len(events)) for at, events in into_callbacks(timed(0, 2, 5, 20), batch=batch)] == planned


@pytest.mark.parametrize("batch", [1, 2, "all"])
def test_no_events_give_no_callbacks(batch: Batch) -> None:
    assert into_callbacks([], batch=batch) == []


@given(moments=st.lists(st.integers(0, 1000)), batch=st.one_of(st.integers(1, 20), st.just("all")))
def test_every_event_goes_out_once_and_in_order(moments: list[int], batch: Batch) -> None:
    events = timed(*sorted(moments))
    planned = into_callbacks(events, batch=batch)
    assert [event for _, events_ in planned for event in events_] == [event for _, event in events]
    assert all(len(each[1]) >= 1 for each in planned)
    if batch != "all":
        assert all(len(each[1]) == batch for each in planned[:-1])
        assert all(len(each[1]) <= batch for each in planned)


@pytest.mark.parametrize("batch", [0, -1, True, False, 1.5, None, "al", "2", [2]])
def test_an_invalid_batch_is_refused(batch: Any) -> None:
    with pytest.raises(UsageError, match="a batch is a number of events from 1, or 'all', not") as caught:
        into_callbacks(timed(0), batch=batch)
    assert caught.value.where == "batch"
    assert caught.value.hint == ("did you mean 'all'?" if batch == "al" else "batch=2")
