"""The audit finds state that decides and that `observe` does not show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import Exploration, HiddenState, ScheduleFailed, StatusEvent, eventually, exactly_once
from tests.explore.books import Books, CountsInSecret

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
from tests.explore.books import ALL
from tests.explore.merging import explore


class ShowsIt(CountsInSecret):
    """The same app, whose state shows what decides."""

    def look(self, message_id: str) -> object:
        book = self.kept.get(message_id)
        return book and {**book, "early": message_id in self.early}


def test_a_receiver_that_hides_what_decides_is_found_by_the_audit() -> None:
    # Without an invariant that fails on the schedules that are played.
    with pytest.raises(HiddenState) as caught:
        explore(CountsInSecret(), invariants=[eventually(lambda state: True)])
    error = caught.value
    assert "observe does not show everything" in str(error)
    assert "history=True" in str(error)
    assert error.expected != error.found
    assert error.expected["status"] == error.found["status"]
    assert "verified" in error.schedule.events
    books = ShowsIt()
    found = explore(books, observe=books.look, invariants=[eventually(lambda state: True)])
    assert found.ok


@pytest.mark.parametrize("options", [{"merge": "auto"}, {"history": True}])
def test_by_default_every_schedule_is_played_if_the_audit_finds_something_hidden(options: dict[str, Any]) -> None:
    found = explore(CountsInSecret(), invariants=[eventually(lambda state: True)], **options)
    assert (found.schedules, found.merging) == (264, None)
    if options == {"merge": "auto"}:
        assert found.notes[0].startswith("no states were merged: observe does not show everything: eg1:")
    with pytest.raises(ScheduleFailed):
        explore(CountsInSecret(), invariants=[exactly_once("credits", when="verified")], **options)


def test_the_audit_is_a_number_of_schedules() -> None:
    def hides(audit: int) -> Exploration:
        books = Books()
        order: list[str] = []

        def handle(book: dict[str, Any], row: StatusEvent) -> None:
            order.append(row.name)
            late = len(order) == 4 and row.name == "plan" and "delivered sent" in " ".join(order)
            book.update(status="seen", credits=int(late))

        def reset() -> None:
            books.reset()
            order.clear()

        books.handle = handle  # type: ignore[method-assign]  # a bug of this test's receiver
        return explore(books, invariants=[eventually(lambda state: True)], duplicates=0, reset=reset, audit=audit)

    # Nothing is wrong in the schedules that are played. The others are not.
    assert hides(audit=0).ok
    with pytest.raises(HiddenState):
        hides(audit=20)
    found = explore(Books(), invariants=ALL, audit=50)
    assert found.merging is not None
    assert (found.merging.played, found.merging.audited) == (120, 50)
    # There are not so many schedules that were not played.
    found = explore(Books(), "sent_failed", invariants=ALL, audit=50)
    assert found.merging is not None
    assert found.merging.played <= found.schedules == 8


def test_a_receiver_whose_answers_are_hidden_state_is_found() -> None:
    """It refuses a repeated `sent`, but only after an early `delivered`, which the state does not show."""

    class Refuses(CountsInSecret):
        def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if self.early:
                start_response("503 Service Unavailable", [])
                return [b""]
            return super().__call__(environ, start_response)

        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book["credits"] = 0

    with pytest.raises((HiddenState, ScheduleFailed)) as caught:
        explore(Refuses(), invariants=[eventually(lambda state: True)])
    assert isinstance(caught.value, ScheduleFailed)
    with pytest.raises(HiddenState, match="led to different answers"):
        explore(Refuses(), invariants=[eventually(lambda state: True)], retry=[60], check=False)
