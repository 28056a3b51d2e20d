"""Exploring plays every schedule; the first failure is raised at the caller's line, reduced, with its token."""

from __future__ import annotations

import asyncio
import io
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Exploration,
    NothingObserved,
    Played,
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
from engagelab_mock.cli import main
from engagelab_mock.explore.exploration import how_to_replay
from engagelab_mock.server.loopback import LoopbackServer
from tests.explore.books import (
    ALL,
    EVERYTHING,
    Books,
    KeepsHalfBodies,
    LastWriteWins,
    NeverDedupes,
    ReadsTheFirstRow,
    RefusesWhatIsEarly,
)


def failure(books: Books, *chosen: Any, **options: Any) -> ScheduleFailed:
    with EngageLab(books.receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore(*chosen, **options)
    visible = [entry.path for entry in caught.traceback.filter(caught)]
    assert visible[-1] == Path(__file__)
    return caught.value


@pytest.mark.parametrize("resetting", [True, False])
def test_a_correct_receiver_passes_every_schedule(resetting: bool) -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab:
        reset = books.reset if resetting else None
        found = engagelab.explore("verified", "sent_failed", invariants=ALL, reset=reset, **EVERYTHING)
        assert found.ok
        assert found.failures == []
        assert found.schedules == found.total == len(schedules("verified", "sent_failed", **EVERYTHING))
        found.assert_ok()
        # Schedules that pass leave nothing in the journal.
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
def test_a_mutant_fails_with_its_smallest_schedule(kind: type[Books], invariants: list[Any], minimal: str) -> None:
    books = kind()
    error = failure(books, "verified", invariants=invariants, reset=books.reset, **EVERYTHING)
    assert str(error.failure.schedule) == minimal
    assert error.failure.repeatable
    with EngageLab(kind().receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.replay(minimal, invariants=invariants)
    assert caught.value.failure.violation.invariant == error.failure.violation.invariant


def test_a_failure_is_reduced_by_its_own_invariant() -> None:
    def not_sent_and_verified(played: Played) -> bool:
        return not {"sent", "verified"} <= set(played.schedule.events)

    def long_enough(played: Played) -> bool:
        return len(played.records) > 1

    error = failure(Books(), "verified", invariants=[not_sent_and_verified, long_enough])
    assert error.failure.violation.invariant == "not_sent_and_verified"
    assert error.failure.token == "eg1:sent,verified"


def test_the_text_of_a_failure() -> None:
    books = LastWriteWins()
    text = str(failure(books, "verified", invariants=[never_regresses("status")], reset=books.reset))
    assert text.splitlines() == [
        "never_regresses: after `delivered`, the state goes back from 'verified' to 'delivered'",
        "",
        "#  delivery   http  before             after",
        "1  verified   200   None               status='verified'",
        "2  delivered  200   status='verified'  status='delivered'  <-- here",
        "",
        "found by schedule 2 of 264, eg1:plan,sent,verified,delivered, and reduced",
        "replay: eg1:verified,delivered",
        "  pytest --engagelab-replay eg1:verified,delivered",
        "  engagelab.replay('eg1:verified,delivered')  # with the same invariants",
    ]


def test_the_lines_that_play_a_failure_again_work_for_its_receiver() -> None:
    """A command reaches a receiver at a URL, and not an app in the test's process."""
    with EngageLab(LastWriteWins().receiver) as engagelab:
        failed = engagelab.explore("verified", check=False, limit=2).failures[0]
    in_process = how_to_replay(failed)
    assert not any("engagelab-mock " in line for line in in_process)
    with EngageLab(LastWriteWins().receiver) as engagelab, pytest.raises(ScheduleFailed):
        eval(in_process[-1])

    receiver = Receiver.http("http://127.0.0.1:9/engagelab", username="acme", secret="s3cret")
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.play("eg1:plan")
    lines = how_to_replay(caught.value.failure)
    assert "  engagelab-mock explore http://127.0.0.1:9/engagelab --replay eg1:plan" in lines
    assert "  export ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=…" in lines


def test_the_journal_has_the_deliveries_of_the_smallest_schedule() -> None:
    with EngageLab(LastWriteWins().receiver) as engagelab:
        with pytest.raises(ScheduleFailed):
            engagelab.explore("verified")
        assert engagelab.journal.statuses == ["verified", "delivered"]
        assert engagelab._engine.exploring.played == Schedule.parse("eg1:verified,delivered")


def test_without_check_all_failures_are_collected() -> None:
    books = LastWriteWins()
    with EngageLab(books.receiver) as engagelab:
        found = engagelab.explore("verified", duplicates=0, reset=books.reset, check=False)
    assert not found.ok
    assert found.schedules == 24
    # The last status wins, so only the schedules that end with the right one pass.
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
    assert str(error).startswith(f"acknowledged: after `delivered`, {said}")


def test_a_receiver_that_needs_retries_gets_them() -> None:
    books = RefusesWhatIsEarly()
    with EngageLab(books.receiver) as engagelab:
        assert engagelab.explore("verified", duplicates=0, invariants=ALL, retry=[60] * 4, reset=books.reset).ok


def test_a_failure_that_does_not_repeat_is_reported_as_such() -> None:
    class FailsOnce(Books):
        def later(self, known: str | None, status: str) -> str | None:
            return super().later(known, status) if self.requests != 24 else None

    books = FailsOnce()
    error = failure(books, "verified", reset=books.reset)
    assert not error.failure.repeatable
    assert error.failure.schedule == error.failure.found
    assert "played a second time, it did not fail: the result depends on more than the schedule" in str(error)


def test_reset_is_called_before_every_schedule_and_the_message_stays_the_same() -> None:
    books = Books()
    ids: list[set[str]] = []

    def reset() -> None:
        ids.append(set(books.kept))
        books.reset()

    with EngageLab(books.receiver) as engagelab:
        engagelab.explore("delivered", duplicates=0, reset=reset)
        engagelab.explore("delivered", duplicates=0)
    # One more at the end shows that the app is the same after it.
    assert len(ids) == 7
    assert len(set().union(*ids)) == 1
    # Without a reset, each schedule has its own message.
    assert len(books.kept) == 1 + 6


def test_limit_and_time_budget_stop_an_exploration() -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab:
        found = engagelab.explore("verified", limit=10, reset=books.reset)
        assert (found.schedules, found.total, found.stopped) == (10, 10, "")
        found = engagelab.explore("verified", time_budget=0, check=False)
        assert not found.ok
        assert (found.schedules, found.total, found.stopped) == (0, 264, "time_budget")
        assert "out of time" in repr(found)


def test_the_arguments_of_explore() -> None:
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
    with pytest.raises(NothingObserved, match="the schedules have no event"):
        played("lost")


@pytest.mark.parametrize(
    ("chosen", "options", "kind", "said"),
    [
        (["verfied"], {}, UnknownName, "did you mean 'verified'?"),
        (["verified"], {"duplicate": 1}, UnknownName, "did you mean 'duplicates'?"),
        (["verified"], {"reset": 7}, UsageError, "reset must be callable, 7 is not"),
        (["verified"], {"time_budget": -1}, UsageError, "time_budget"),
        (["verified", Schedule.parse("eg1:plan")], {}, UsageError, "give lifecycles or schedules, not both"),
        ([7], {}, UsageError, "7"),
    ],
)
def test_wrong_arguments_of_explore_raise(
    chosen: list[Any], options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with EngageLab(Books().receiver) as engagelab:
        with pytest.raises(kind) as caught:
            engagelab.explore(*chosen, **options)
        assert said in str(caught.value)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        engagelab.journal.assert_nothing_sent()


def test_a_replayed_token_replaces_all_schedules() -> None:
    with EngageLab(LastWriteWins().receiver) as engagelab:
        engagelab._engine.exploring.replaying = "eg1:plan,sent"
        assert engagelab.explore("verified").schedules == 1
        engagelab._engine.exploring.replaying = "eg1:sent,delivered,plan"
        with pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("verified")
        # A replayed schedule is not reduced.
        assert str(caught.value.failure.schedule) == "eg1:sent,delivered,plan"


def test_each_exploration_has_its_own_messages() -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab:
        for _ in range(3):
            engagelab.explore("delivered", duplicates=0)
        engagelab.play("eg1:plan")
    assert len(books.kept) == 3 * 6 + 1


def test_a_listener_gets_the_progress() -> None:
    told: list[tuple[int, bool]] = []
    with EngageLab(Books().receiver) as engagelab:
        engagelab._engine.exploring.progress = lambda exploration, over: told.append((exploration.schedules, over))
        engagelab.explore("verified")
    assert told[-1] == (264, True)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_progress_line_is_shown_only_on_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with EngageLab(Books().receiver) as engagelab:
        engagelab.explore("verified")
    # In the end the line is erased.
    assert stream.getvalue().endswith("\r\x1b[2K") is terminal
    assert bool(stream.getvalue()) is terminal


def test_the_async_twins_find_the_same() -> None:
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
def test_an_asynchronous_callable_needs_the_async_twin(what: str) -> None:
    async def late(*_: object) -> None:
        pass

    books = Books()
    observe: Any = late if what == "observe" else books.kept.get
    options: dict[str, Any] = {"reset": late} if what == "reset" else {}
    if what == "invariant":
        options["invariants"] = [late]
    engagelab = EngageLab(Receiver.wsgi(books, observe=observe))
    with pytest.raises(UsageError, match="is asynchronous, and this call is not"):
        engagelab.explore("verified", **options)


def test_the_line_that_replays_over_http_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    books = LastWriteWins()
    with LoopbackServer(books) as server:
        receiver = Receiver.http(f"{server.url}/shop", username="acme", secret="s3cret", authorization="Bearer x")
        with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("verified", invariants=[never_regresses("status")], observe=books.kept.get)
        lines = [line.strip() for line in str(caught.value).splitlines()]
        export, line = [line for line in lines if line.startswith(("export", "engagelab-mock"))]
        for variable in shlex.split(export)[1:]:
            monkeypatch.setenv(variable.partition("=")[0], {"USERNAME": "acme"}.get(variable[18:26], "s3cret"))
        books.reset()
        command = shlex.split(line.replace(" --observe 'http://…/{message_id}'", ""))
        assert command == ["engagelab-mock", "explore", f"{server.url}/shop", "--replay", caught.value.failure.token]
        assert main(command[1:]) == 0  # judged by the answers alone

    assert {status for _, status, _ in books.seen} == {"verified", "delivered"}
    assert export == (
        "export ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=… ENGAGELAB_MOCK_AUTHORIZATION=…"
    )
