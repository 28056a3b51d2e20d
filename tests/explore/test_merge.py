"""Merging equal states finds what playing every schedule finds, with few deliveries, or says why it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    Exploration,
    HiddenState,
    Receiver,
    ScheduleFailed,
    StatusEvent,
    converges,
    eventually,
    exactly_once,
    idempotent,
    never_regresses,
    schedules,
)
from tests.explore.books import Books, LastWriteWins, NeverDedupes, RefusesWhatIsEarly
from tests.explore.test_gallery import CASES, Case, name
from tests.receivers.gallery.stacks import shop

if TYPE_CHECKING:
    pass

ALL = [converges(), never_regresses(), exactly_once("credits"), idempotent()]
EVERYTHING: dict[str, Any] = {"duplicates": 1, "batchings": True, "faults": "at-least-once"}


def explore(books: Books, *chosen: Any, observe: Any = None, **options: Any) -> Exploration:
    receiver = Receiver.wsgi(books, observe=observe or books.kept.get)
    with EngageLab(receiver) as engagelab:
        return engagelab.explore(*(chosen or ["verified"]), **{"reset": books.reset, "merge": True, **options})


# The same verdict as by playing every schedule.


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_mutant_is_caught_in_the_same_schedule_as_without_merging(case: Case) -> None:
    with (
        shop("flask", case.orders) as opened,
        EngageLab(opened.receiver) as engagelab,
        pytest.raises(ScheduleFailed) as raised,
    ):
        engagelab.explore(case.lifecycle, invariants=[case.invariant], reset=opened.reset, merge=True, **case.options)
    assert raised.value.failure.token == case.token


@pytest.mark.parametrize("kind", [LastWriteWins, NeverDedupes])
@pytest.mark.parametrize("invariant", ALL, ids=repr)
def test_the_first_schedule_that_fails_is_the_same_as_without_merging(kind: type[Books], invariant: Any) -> None:
    found = []
    for merge in (True, False):
        books = kind()
        failures = explore(books, duplicates=1, invariants=[invariant], check=False, merge=merge).failures
        found.append([(each.token, each.found, each.number, each.violation.what) for each in failures[:1]])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "options", [{}, {"batchings": True}, {"faults": "at-least-once"}, {"duplicates": 2}, EVERYTHING]
)
def test_a_correct_receiver_passes_every_schedule_with_fewer_deliveries(options: dict[str, Any]) -> None:
    books = Books()
    found = explore(books, "verified", "sent_failed", invariants=ALL, **options)
    assert found.ok
    assert found.schedules == found.total == len(schedules("verified", "sent_failed", **{"duplicates": 1, **options}))
    assert books.requests < 0.6 * schedules("verified", "sent_failed", **{"duplicates": 1, **options}).deliveries
    assert found.merging is not None
    assert (found.merging.audited, found.notes) == (20, [])


def test_every_order_of_every_lifecycle_with_one_duplicate_takes_less_than_20_000_deliveries() -> None:
    books = Books()
    found = explore(books, *CATALOGUE, invariants=[converges()], duplicates=1)
    assert (found.schedules, found.stopped, found.failures) == (163_157, "", [])
    # The rest are the deliveries in order that the results are compared with, and the check of `reset`.
    assert found.deliveries <= books.requests <= 20_000


def test_the_answers_are_part_of_what_is_merged() -> None:
    """The credit is given twice only if a retry follows, and the states before it are equal."""
    books = RefusesWhatIsEarly()
    assert explore(books, duplicates=0, invariants=ALL, retry=[60] * 4).ok
    with pytest.raises(ScheduleFailed) as caught:
        explore(RefusesWhatIsEarly(), invariants=[converges()])
    assert caught.value.failure.token == "eg1:delivered"


class GoesBackLater(Books):
    """Forget that a message was verified: first show an unknown status, then an early one."""

    def later(self, known: str | None, status: str) -> str | None:
        if known == "verified":
            return "checking"
        return status if known == "checking" else super().later(known, status)


def test_the_greatest_rank_so_far_is_part_of_what_is_merged() -> None:
    tokens = []
    for merge in (True, False):
        with pytest.raises(ScheduleFailed) as caught:
            explore(GoesBackLater(), invariants=[never_regresses("status")], duplicates=0, merge=merge)
        tokens.append((caught.value.failure.token, caught.value.failure.number))
    assert tokens[0] == tokens[1]


# Several messages.


class MixesMessagesUp(Books):
    """Apply each status once, whichever message it is about."""

    def is_new(self, row: StatusEvent) -> bool:
        new = ("", row.name, "") not in self.seen
        self.seen.add(("", row.name, ""))
        return new


def test_a_lifecycle_given_twice_is_two_messages_whose_events_are_interleaved() -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(MixesMessagesUp(), "verified", "verified", invariants=[eventually("verified", "status")])
    assert caught.value.failure.token == "eg1:verified,verified:verified,verified#2"
    found = explore(Books(), "verified", "verified", invariants=ALL, duplicates=0)
    assert (found.schedules, found.ok) == (40_320, True)
    assert found.deliveries < 7_000


def test_different_lifecycles_are_put_together_on_request() -> None:
    with pytest.raises(ScheduleFailed):
        explore(MixesMessagesUp(), "delivered", "sent_failed", invariants=[converges("status")], together=True)
    found = explore(Books(), "delivered", "sent_failed", invariants=ALL, together=True, orderings=False)
    assert found.ok


# The audit.


class CountsInSecret(Books):
    """Give a second credit for `verified` if `delivered` came before `sent`; the state does not show that it did."""

    def __init__(self) -> None:
        super().__init__()
        self.early: set[str] = set()

    def reset(self) -> None:
        super().reset()
        self.early.clear()

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        had = {status for message, status, _ in self.seen if message == row.message_id}
        if row.name == "sent" and "delivered" in had:
            self.early.add(row.message_id)
        super().handle(book, row)
        book["credits"] += row.name == "verified" and row.message_id in self.early

    def later(self, known: str | None, status: str) -> str | None:
        # The status is the same in every order, so only the credits show what happened.
        return "seen"


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
