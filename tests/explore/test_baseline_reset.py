"""A `reset` that leaves data in the app: what it leaves must not be taken for values that differ by themselves."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Exploration,
    Message,
    ProbeFailed,
    Receiver,
    StatusEvent,
    idempotent,
    never_regresses,
)
from engagelab_mock.explore import explorer
from tests.explore.books import ALL, Books, KeepsCredits, NeverDedupes


def explore(receiver: Receiver, **options: Any) -> Exploration:
    with EngageLab(receiver) as engagelab:
        return engagelab.explore("verified", **options)


def test_a_reset_that_leaves_the_state_is_named() -> None:
    books = Books()
    with pytest.raises(ProbeFailed, match=r"reset: .*before the first callback, the state was None at first"):
        explore(Receiver.wsgi(books, observe=books.kept.get, reset=books.seen.clear), invariants=ALL)


@pytest.mark.parametrize("invariants", [ALL, [never_regresses()], [idempotent()]])
def test_a_reset_that_forgets_a_table_is_named(invariants: Any) -> None:
    books = Books()
    with pytest.raises(ProbeFailed, match="reset must empty every table"):
        explore(Receiver.wsgi(books, observe=books.kept.get, reset=books.kept.clear), invariants=invariants)


def test_a_reset_that_forgets_is_named_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.0, 0.0, 5.0])
    monkeypatch.setattr(explorer, "stopwatch", lambda: next(times, 5.0))
    books = Books()
    with pytest.raises(ProbeFailed, match="reset must empty every table"):
        explore(
            Receiver.wsgi(books, observe=books.kept.get, reset=books.kept.clear),
            invariants=[idempotent()],
            time_budget=1,
        )


def test_a_time_of_arrival_in_an_unknown_form_is_not_taken_for_what_reset_left() -> None:
    class Dated(Books):
        """Note the second of arrival: it is one later from the second playing on, and then stays."""

        seconds = 11

        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book["parts"] = [2026, 11, 28, self.seconds + (int(time.time()) - began)]

        def reset(self) -> None:
            super().reset()
            self.seconds = min(self.seconds + 1, 12)

    began = int(time.time())
    books = Dated()
    assert explore(Receiver.wsgi(books, observe=books.kept.get, reset=books.reset), invariants=[idempotent()]).ok


@pytest.mark.slow
@pytest.mark.parametrize("merge", [False, True])
def test_a_value_that_reset_leaves_and_that_grows_is_named(merge: bool) -> None:
    with pytest.raises(ProbeFailed, match="after reset, as the callbacks before left it") as raised:
        explore(KeepsCredits().prepared(), duplicates=1, merge=merge)
    assert "'credits': 0} at first" in raised.value.what
    assert "reset must empty every table" in raised.value.hint


@pytest.mark.slow
def test_a_replay_does_not_pass_with_such_a_value() -> None:
    with EngageLab(KeepsCredits().prepared()) as engagelab, pytest.raises(ProbeFailed, match="as the callbacks before"):
        engagelab.replay("eg1:verified:plan,sent,sent")


def test_such_a_value_that_shows_later_is_named_in_a_note() -> None:
    class MakesRows(KeepsCredits):
        """Make the row at the first callback, so that no state before it shows the credits."""

        def apply(self, rows: list[StatusEvent]) -> None:
            for row in rows:
                self.handle(self.kept.setdefault(row.message_id, {"status": None}), row)

    app = MakesRows()
    found = explore(Receiver.wsgi(app, observe=app.look, reset=app.kept.clear), duplicates=1, merge=False)
    [note] = found.notes
    assert note.startswith("not compared: credits, which goes on from the schedule before")


@pytest.mark.parametrize("merge", [False, True])
def test_a_value_that_all_messages_share_is_named_in_a_note(merge: bool) -> None:
    class Total(NeverDedupes):
        total = 0

        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            self.total += row.name == "verified"

        def look(self, message_id: str) -> dict[str, Any]:
            return {"status": self.kept.get(message_id, {}).get("status"), "total": self.total}

    app = Total()
    found = explore(Receiver.wsgi(app, observe=app.look), duplicates=0, merge=merge)
    note = "not compared: total, which goes on from the schedule before: give reset, or show only what belongs to"
    assert [each for each in found.notes if each.startswith(note)]


def test_numbers_of_rows_are_neither_left_nor_noted() -> None:
    class Numbers(Books):
        """Give each message and each of its events a number that no other ever had, as a database does."""

        last = 0

        def number(self) -> int:
            self.last += 1
            return self.last

        def send(self, message: Message) -> None:
            self.kept[message.id] = {"status": None, "credits": 0, "row": self.number(), "log": []}

        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            known = len(self.seen)
            super().handle(book, row)
            if len(self.seen) > known:
                book["log"] = [*book["log"], {"id": self.number(), "event": row.name}]

    app = Numbers()
    receiver = Receiver.wsgi(app, observe=app.kept.get, reset=app.reset, prepare=app.send)
    found = explore(receiver, duplicates=1, merge=False)
    assert (found.ok, found.notes) == (True, [])
