"""When two states are equal: the values that are compared, and those that differ in every run."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    ScheduleFailed,
    StatusEvent,
    VirtualClock,
    converges,
    eventually,
    exactly_once,
    never_regresses,
)
from tests.explore.books import ALL, START, Books, OnTheClock
from tests.explore.merging import explore


class Bookkeeper(Books):
    """Add a row number that no reset restarts, the time of the last change, and a counter of changes."""

    def __init__(self, clock: VirtualClock | None = None) -> None:
        super().__init__()
        self.rows = itertools.count(1)
        self.clock = clock or VirtualClock(START)

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        before = dict(book)
        super().handle(book, row)
        book.setdefault("row", next(self.rows))
        if before != book:
            self.clock.advance(1.25)
            book["changed_at"] = self.clock.time()
            book["version"] = book.get("version", 0) + 1
            book["message_id"] = row.message_id


def test_ids_row_numbers_times_and_versions_are_not_compared() -> None:
    found = explore(Bookkeeper(), invariants=ALL)
    assert found.merging is not None
    assert (found.merging.played, found.merging.audited, found.notes) == (90, 20, [])


class Numbers(Books):
    """Keep the status as its number in the order of progress, which rises by one with every event in order."""

    last_one_wins = False

    def later(self, known: Any, status: str) -> Any:
        number = ["plan", "sent", "delivered", "verified"].index(status) + 1
        return number if self.last_one_wins else max(known or 0, number)


@pytest.mark.parametrize("merge", [True, False])
def test_a_status_that_is_a_number_is_not_taken_for_a_counter(merge: bool) -> None:
    invariants = [never_regresses("status", order=[1, 2, 3, 4]), eventually(4, "status"), converges()]
    assert explore(Numbers(), invariants=invariants, merge=merge).ok
    books = Numbers()
    books.last_one_wins = True
    with pytest.raises(ScheduleFailed) as caught:
        explore(books, invariants=[converges()], duplicates=0, merge=merge)
    assert caught.value.failure.token == "eg1:verified,delivered"


def test_a_value_that_an_invariant_judges_is_compared_even_if_it_counts() -> None:
    class Counts(Books):
        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book["events"] = book.get("events", 0) + 1

    invariant = exactly_once("events", when=["plan", "sent", "delivered", "verified"])
    with pytest.raises(ScheduleFailed) as caught:
        explore(Counts(), invariants=[invariant])
    assert "events happened 2 times" in str(caught.value)


def test_a_counter_that_an_invariant_judges_is_compared() -> None:
    class Counts(Books):
        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            before = book["status"]
            super().handle(book, row)
            book["version"] = book.get("version", 0) + (before != book["status"])

    found = explore(Counts(), invariants=[converges()])
    judged = explore(Counts(), invariants=[eventually(lambda version: version < 5, "version")])
    assert found.merging is not None
    assert judged.merging is not None
    assert judged.merging.nodes > found.merging.nodes == 48


def test_times_of_events_are_compared() -> None:
    """Which event decided the state is the only thing that tells its orders apart."""

    class KeepsTheTime(Books):
        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book.update(status="seen", itime=row.itime)

    books = KeepsTheTime()
    found = explore(books, duplicates=0, invariants=[eventually(lambda state: True)])
    assert found.merging is not None
    # After the same callbacks, the last one still tells the states apart: one node before, and k for each set of k.
    assert found.merging.nodes == 1 + 32


def test_a_log_in_the_order_of_arrival_never_merges_and_the_report_says_so() -> None:
    class Logs(Books):
        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book.setdefault("log", []).append(row.name)

    found = explore(Logs(), duplicates=0, invariants=ALL[:3])
    assert found.ok
    assert found.merging is not None
    assert (found.merging.played, found.merging.merged) == (24, 0)
    [note] = found.notes
    assert note.startswith("no states were merged: log.* keeps the order of arrival: ['plan', 'sent',")
    assert note in repr(found)


@pytest.mark.parametrize("shows_id", [False, True])
def test_without_reset_states_are_merged_if_they_do_not_hold_the_id(shows_id: bool) -> None:
    class ShowsId(Books):
        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            if shows_id:
                book["id"] = row.message_id

    found = explore(ShowsId(), invariants=ALL, reset=None)
    assert (found.schedules, found.ok) == (264, True)
    assert (found.merging is None) is shows_id
    why = (
        "no states were merged: the states hold the ids of messages, and without reset each schedule is about a new one"
    )
    assert found.notes == [why] * shows_id


@pytest.mark.parametrize("reset", [True, False])
def test_an_app_that_reads_a_virtual_clock_is_explored_as_well(reset: bool) -> None:
    clock = VirtualClock(START)
    app = OnTheClock(clock)
    with EngageLab(app.reached_by(), clock=clock) as engagelab:
        options: dict[str, Any] = {"reset": app.reset} if reset else {}
        found = engagelab.explore(
            "verified", faults=["bad_gateway"], retry=[60, 600], merge=True, invariants=ALL, **options
        )
    assert (found.ok, found.schedules) == (True, 360)
    assert found.merging is not None


def test_an_app_whose_clock_is_set_is_explored_as_well() -> None:
    class KeepsItsTime(Books):
        now: float | None = None

        def set_time(self, now: float | None) -> None:
            self.now = now

        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book["at"] = self.now

    books = KeepsItsTime()
    found = explore(books, faults=["bad_gateway"], retry=[60], invariants=ALL, set_time=books.set_time)
    assert (found.ok, found.schedules, found.notes) == (True, 360, [])
    assert found.merging is not None
    assert found.merging.played < 250
    assert books.now is None
