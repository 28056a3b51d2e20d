"""Exploring: all is played, the first failure is raised at the caller's line, reduced, with its token."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Exploration,
    Receiver,
    Schedule,
    ScheduleFailed,
    UnknownName,
    UsageError,
    converges,
    exactly_once,
    idempotent,
    never_regresses,
    schedules,
)
from tests.explore.books import (
    Books,
    KeepsHalfBodies,
    LastWriteWins,
    NeverDedupes,
    ReadsTheFirstRow,
    RefusesWhatIsEarly,
)

ALL = [converges(), never_regresses(), exactly_once("credits"), idempotent()]
EVERYTHING: dict[str, Any] = {"duplicates": 1, "batchings": True, "faults": "at-least-once"}


def failure(books: Books, *chosen: Any, **options: Any) -> ScheduleFailed:
    with EngageLab(books.receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore(*chosen, **options)
    visible = [entry.path for entry in caught.traceback.filter(caught)]
    assert visible[-1] == Path(__file__)
    return caught.value


@pytest.mark.parametrize("resetting", [True, False])
def test_a_correct_receiver_survives_everything(resetting: bool) -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab:
        reset = books.reset if resetting else None
        found = engagelab.explore("verified", "sent_failed", invariants=ALL, reset=reset, **EVERYTHING)
        assert found.ok
        assert found.failures == []
        assert found.schedules == found.total == len(schedules("verified", "sent_failed", **EVERYTHING))
        found.assert_ok()
        # What went well leaves nothing behind.
        assert len(engagelab.journal) == 0
        assert engagelab.pending == []


@pytest.mark.parametrize(
    ("kind", "invariants", "minimal"),
    [
        (LastWriteWins, [converges()], "eg1:verified,delivered"),
        (LastWriteWins, [never_regresses()], "eg1:verified,delivered"),
        (NeverDedupes, [exactly_once("credits")], "eg1:verified!ackloss"),
        (NeverDedupes, [idempotent()], "eg1:verified!ackloss"),
        (ReadsTheFirstRow, [converges()], "eg1:delivered+verified"),
        (KeepsHalfBodies, [converges("half")], "eg1:plan!cut"),
        (RefusesWhatIsEarly, [converges()], "eg1:delivered"),
    ],
)
def test_a_mutant_is_shown_with_its_smallest_schedule(kind: type[Books], invariants: list[Any], minimal: str) -> None:
    books = kind()
    error = failure(books, "verified", invariants=invariants, reset=books.reset, **EVERYTHING)
    assert str(error.failure.schedule) == minimal
    assert error.failure.repeatable
    with EngageLab(kind().receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.replay(minimal, invariants=invariants)
    assert caught.value.failure.violation.invariant == error.failure.violation.invariant


def test_a_failure_says_it_all() -> None:
    books = LastWriteWins()
    text = str(failure(books, "verified", invariants=[never_regresses("status")], reset=books.reset))
    assert text.splitlines() == [
        "never_regresses: after delivered, the state goes back from 'verified' to 'delivered'",
        "",
        "#  delivery   http  before             after",
        "1  verified   200   None               status='verified'",
        "2  delivered  200   status='verified'  status='delivered'  <-- here",
        "",
        "found by schedule 2 of 264, eg1:plan,sent,verified,delivered, and reduced",
        "replay: eg1:verified,delivered",
        "  pytest --engagelab-replay eg1:verified,delivered",
        "  engagelab-mock send --replay eg1:verified,delivered",
        "  engagelab.replay('eg1:verified,delivered', …)",
    ]


def test_the_journal_has_what_the_smallest_schedule_sent() -> None:
    with EngageLab(LastWriteWins().receiver) as engagelab:
        with pytest.raises(ScheduleFailed):
            engagelab.explore("verified")
        assert engagelab.journal.statuses == ["verified", "delivered"]
        assert engagelab.played == Schedule.parse("eg1:verified,delivered")


def test_unless_it_is_to_raise_it_collects() -> None:
    books = LastWriteWins()
    with EngageLab(books.receiver) as engagelab:
        found = engagelab.explore("verified", duplicates=0, reset=books.reset, check=False)
    assert not found.ok
    assert found.schedules == 24
    # The last status wins, so all are wrong but those that end with the right one.
    assert len(found.failures) == 18
    first, second = found.failures[:2]
    assert (str(first.schedule), second.schedule) == ("eg1:verified,delivered", second.found)
    assert found.failures[0].number == 2
    assert "18 failures" in repr(found)
    with pytest.raises(ScheduleFailed):
        found.assert_ok()


def test_last_write_wins_is_wrong_in_96_of_120_orderings_of_five_statuses() -> None:
    path = ["plan", "target_valid", "sent", "delivered", "verified"]
    books = LastWriteWins()
    with EngageLab(books.receiver) as engagelab:
        found = engagelab.explore(path, duplicates=0, reset=books.reset, check=False)
    assert (len(found.failures), found.schedules) == (96, 120)


def test_without_an_invariant_callbacks_must_be_acknowledged() -> None:
    error = failure(RefusesWhatIsEarly(), "verified")
    said = "the callback was given up: answered 503 Service Unavailable; only 200 acknowledges"
    assert str(error).startswith(f"acknowledged: after delivered, {said}")


def test_who_relies_on_being_asked_again_is_asked_again() -> None:
    books = RefusesWhatIsEarly()
    with EngageLab(books.receiver) as engagelab:
        assert engagelab.explore("verified", duplicates=0, invariants=ALL, retry=[60] * 4, reset=books.reset).ok


def test_what_fails_once_only_is_told_apart() -> None:
    class FailsOnce(Books):
        def later(self, known: str | None, status: str) -> str | None:
            return super().later(known, status) if self.requests != 24 else None

    books = FailsOnce()
    error = failure(books, "verified", reset=books.reset)
    assert not error.failure.repeatable
    assert error.failure.schedule == error.failure.found
    assert "played once more, it did not fail: what happens depends on more than the schedule" in str(error)


def test_a_reset_goes_before_every_schedule_and_the_message_stays_the_same() -> None:
    books = Books()
    ids: list[set[str]] = []

    def reset() -> None:
        ids.append(set(books.kept))
        books.reset()

    with EngageLab(books.receiver) as engagelab:
        engagelab.explore("delivered", duplicates=0, reset=reset)
        engagelab.explore("delivered", duplicates=0)
    assert len(ids) == 6
    assert len(set().union(*ids)) == 1
    # Without one, each has a message of its own.
    assert len(books.kept) == 1 + 6


def test_limits() -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab:
        found = engagelab.explore("verified", limit=10, reset=books.reset)
        assert (found.schedules, found.total, found.stopped) == (10, 10, "")
        found = engagelab.explore("verified", time_budget=0)
        assert (found.schedules, found.total, found.stopped) == (0, 264, "time_budget")
        assert "out of time" in repr(found)


def test_what_can_be_explored() -> None:
    def played(*chosen: Any, **options: Any) -> int:
        with EngageLab(Books().receiver) as engagelab:
            return engagelab.explore(*chosen, **options).schedules

    assert played("delivered", duplicates=0) == 6
    assert played(["plan", "sent"], duplicates=0) == 2
    assert played("delivered", ["plan", "sent"], duplicates=0) == 8
    assert played(schedules("delivered")) == 6
    assert played(schedules("delivered"), schedules("sent_failed")) == 8
    assert played([Schedule.parse("eg1:plan")]) == 1
    assert played(Schedule.parse("eg1:plan"), Schedule.parse("eg1:sent")) == 2
    assert played(limit=500) == 500
    assert played("lost") == 1


@pytest.mark.parametrize(
    ("chosen", "options", "kind", "said"),
    [
        (["verfied"], {}, UnknownName, "did you mean 'verified'?"),
        (["verified"], {"duplicate": 1}, UnknownName, "did you mean 'duplicates'?"),
        (["verified"], {"reset": 7}, UsageError, "reset is called"),
        (["verified"], {"time_budget": -1}, UsageError, "time_budget"),
        (["verified", Schedule.parse("eg1:plan")], {}, UsageError, "either lifecycles or schedules"),
        ([7], {}, UsageError, "7"),
    ],
)
def test_what_cannot(chosen: list[Any], options: dict[str, Any], kind: type[Exception], said: str) -> None:
    with EngageLab(Books().receiver) as engagelab:
        with pytest.raises(kind) as caught:
            engagelab.explore(*chosen, **options)
        assert said in str(caught.value)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        engagelab.journal.assert_nothing_sent()


def test_a_token_in_the_place_of_all_schedules() -> None:
    with EngageLab(LastWriteWins().receiver) as engagelab:
        engagelab.replaying = "eg1:plan,sent"
        assert engagelab.explore("verified").schedules == 1
        engagelab.replaying = "eg1:sent,delivered,plan"
        with pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("verified")
        # What is replayed is shown as it is.
        assert str(caught.value.failure.schedule) == "eg1:sent,delivered,plan"


def test_two_explorations_are_not_about_the_same_messages() -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab:
        for _ in range(3):
            engagelab.explore("delivered", duplicates=0)
        engagelab.play("eg1:plan")
    assert len(books.kept) == 3 * 6 + 1


def test_a_listener_is_told_how_far_it_is() -> None:
    told: list[tuple[int, bool]] = []
    with EngageLab(Books().receiver) as engagelab:
        engagelab.progress = lambda exploration, over: told.append((exploration.schedules, over))
        engagelab.explore("verified")
    assert told[-1] == (264, True)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_is_shown_on_a_terminal_alone(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with EngageLab(Books().receiver) as engagelab:
        engagelab.explore("verified")
    # In the end the line is taken away.
    assert stream.getvalue().endswith("\r\x1b[2K") is terminal
    assert bool(stream.getvalue()) is terminal


def test_asynchronously_it_is_the_same() -> None:
    books = LastWriteWins()

    async def observe(message_id: str) -> object:
        await asyncio.sleep(0)
        return books.kept.get(message_id)

    async def reset() -> None:
        await asyncio.sleep(0)
        books.reset()

    async def never_five(played: object) -> None:
        await asyncio.sleep(0)

    async def explore() -> Exploration:
        receiver = Receiver.wsgi(books, observe=observe)
        with EngageLab(receiver) as engagelab:
            await engagelab.aplay("eg1:plan,sent", [never_five, converges()])
            with pytest.raises(ScheduleFailed):
                await engagelab.areplay("eg1:sent,plan")
            return await engagelab.aexplore("verified", duplicates=0, reset=reset, check=False)

    found = asyncio.run(explore())
    assert (len(found.failures), found.schedules) == (18, 24)
    assert str(found.failures[0].schedule) == "eg1:verified,delivered"


@pytest.mark.parametrize("what", ["observe", "reset", "invariant"])
def test_what_is_asynchronous_needs_the_twin(what: str) -> None:
    async def late(*_: object) -> None:
        pass

    observe: Any = late if what == "observe" else {}.get
    options: dict[str, Any] = {"reset": late} if what == "reset" else {}
    if what == "invariant":
        options["invariants"] = [late]
    engagelab = EngageLab(Receiver.wsgi(Books(), observe=observe))
    with pytest.raises(UsageError, match="is asynchronous, and this call is not"):
        engagelab.explore("verified", **options)
