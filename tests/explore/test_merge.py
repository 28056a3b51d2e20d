"""Merging equal states finds what playing every schedule finds, with few deliveries, or says why it cannot."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    Exploration,
    HiddenState,
    NothingObserved,
    Played,
    ProbeFailed,
    Receiver,
    ScheduleFailed,
    StateNotSettled,
    StatusEvent,
    UsageError,
    VirtualClock,
    converges,
    decode,
    eventually,
    exactly_once,
    idempotent,
    never_regresses,
    schedules,
)
from engagelab_mock.explore import graph as graph_module
from engagelab_mock.explore import merge as merge_module
from tests.explore.books import Books, LastWriteWins, NeverDedupes, RefusesWhatIsEarly
from tests.explore.test_clock import START, OnTheClock
from tests.explore.test_gallery import CASES, Case, name
from tests.receivers.gallery.stacks import shop

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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


@pytest.mark.slow
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


class RefusesEachOnce(LastWriteWins):
    """Answer 503 to the first attempt of each callback, and apply the second. The last one applied wins."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def reset(self) -> None:
        super().reset()
        self.refused.clear()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        [row] = [row for row in decode(environ["wsgi.input"].getvalue()).rows if isinstance(row, StatusEvent)]
        if row.name not in self.refused:
            self.refused.add(row.name)
            start_response("503 Service Unavailable", [])
            return [b""]
        return super().__call__(environ, start_response)


class ForgetsTheRetry(Books):
    """Do the work of `sent` at its second attempt. The first is acknowledged only if `delivered` has come.

    So the second attempt is a repetition with an effect only after `delivered`. It has an effect only if `plan` came
    after `verified`, so the schedules that are tried first do not show it.
    """

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        [row] = [row for row in decode(environ["wsgi.input"].getvalue()).rows if isinstance(row, StatusEvent)]
        book = self.kept.setdefault(row.message_id, {"had": [], "last": "", "credits": 0})
        if row.name in {"plan", "verified"} - {*book["had"]}:
            book["last"] = row.name
        elif row.name == "sent" and row.name in book["had"]:
            book["credits"] += book["last"] == "plan"
        early = row.name == "sent" and not {"sent", "delivered"} & {*book["had"]}
        book["had"] = sorted({*book["had"], row.name})
        start_response("503 Service Unavailable" if early else "200 OK", [])
        return [b""]


class GoesBackLater(Books):
    """Forget how far the message was, and show it later, if `delivered` comes before `sent`."""

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        known, book["status"] = book["status"], "unknown"
        if row.name in {"plan", "verified"}:
            book["status"] = "checking" if known else row.name
        elif row.name == "sent" and known == "unknown":
            book["status"] = "sent"


@pytest.mark.parametrize(
    ("kind", "lifecycle", "invariant", "options"),
    [
        (ForgetsTheRetry, "sent-delivered-plan-verified", idempotent(), {"faults": ["ackloss"], "retry": [60]}),
        (GoesBackLater, "plan-verified-sent-delivered", never_regresses("status"), {}),
    ],
)
def test_what_was_processed_and_the_greatest_rank_matter(
    kind: type[Books], lifecycle: str, invariant: Any, options: dict[str, Any]
) -> None:
    found = []
    for merge in (True, False):
        with pytest.raises(ScheduleFailed) as caught:
            explore(kind(), lifecycle, invariants=[invariant], duplicates=0, merge=merge, **options)
        failure = caught.value.failure
        found.append((failure.violation.invariant, failure.token, failure.found.token, failure.number))
    assert found[0] == found[1]
    assert found[0][0] == repr(invariant).removesuffix("()")


def test_the_order_of_what_is_sent_again_matters() -> None:
    """Nothing shows before the retries, and they are in the order of the first attempts."""
    found = explore(RefusesEachOnce(), "delivered", invariants=[eventually(lambda state: True)], retry=[60])
    assert found.ok
    assert found.notes == []


# Several messages.


class MixesMessagesUp(Books):
    """Apply each status once, even for another message."""

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
        # The status is the same in every order, so only the credits differ.
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


# What is compared.


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


# Custom invariants.


def never_two_credits(played: Played) -> None:
    assert all(not state or state["credits"] < 2 for state in played.states)


def test_an_invariant_of_the_user_judges_the_schedules_that_are_played_and_the_report_says_so() -> None:
    found = explore(Books(), invariants=[never_two_credits, converges()])
    assert found.notes == [
        "never_two_credits judged the 90 schedules that were played, because merging keeps no history; history=True "
        "plays every schedule"
    ]
    with pytest.raises(ScheduleFailed) as caught:
        explore(NeverDedupes(), invariants=[never_two_credits])
    assert caught.value.failure.token == "eg1:verified*2"
    for options in ({"history": True}, {"merge": "auto"}, {"merge": False}):
        found = explore(Books(), invariants=[never_two_credits], **options)
        assert (found.merging, found.notes) == (None, [])


@pytest.mark.parametrize("options", [{"check": False}, {"duplicates": 0}])
def test_by_default_nothing_is_merged_if_a_result_would_be_lost_or_little_is_saved(options: dict[str, Any]) -> None:
    assert explore(Books(), merge="auto", **options).merging is None
    assert explore(Books(), merge="auto").merging is not None
    assert explore(Books(), list(schedules("verified", duplicates=1)), merge="auto").merging is None


def test_with_check_false_the_failures_are_those_of_the_schedules_that_were_played() -> None:
    found = explore(LastWriteWins(), invariants=[converges()], duplicates=0, check=False)
    assert (found.schedules, found.total) == (24, 24)
    assert found.failures[0].token == "eg1:verified,delivered"
    assert {str(failure.found) for failure in found.failures} <= {str(each) for each in schedules("verified")}


# Limits.


def test_a_limit_stops_at_as_many_schedules_as_without_merging() -> None:
    found = explore(Books(), invariants=ALL, limit=100)
    assert (found.schedules, found.total) == (100, 100)
    assert found.merging is not None
    with pytest.raises(ScheduleFailed) as caught:
        explore(NeverDedupes(), invariants=[idempotent()], limit=41)
    assert caught.value.failure.number == 41
    assert explore(NeverDedupes(), invariants=[idempotent()], limit=40).ok


def test_the_time_budget_says_how_far_it_got() -> None:
    found = explore(Books(), invariants=ALL, time_budget=0, check=False)
    assert (found.schedules, found.total, found.stopped) == (0, 264, "time_budget")
    books = Books()
    ticks = itertools.count()

    def observe(message_id: str) -> object:
        if next(ticks) > 300:
            raise KeyboardInterrupt
        return books.kept.get(message_id)

    engagelab = EngageLab(Receiver.wsgi(books, observe=observe))
    with pytest.raises(KeyboardInterrupt) as caught:
        engagelab.explore("verified", invariants=ALL, merge=True, reset=books.reset)
    [said] = caught.value.__notes__
    assert " of 264 schedules (" in said
    assert said.endswith(", 4 states, no failure, interrupted>")


def test_a_graph_that_is_too_large_is_emptied_and_every_schedule_is_still_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge_module, "MOST_NODES", 12)
    found = explore(Books(), invariants=ALL)
    assert (found.schedules, found.ok) == (264, True)
    assert found.merging is not None
    assert found.merging.emptied > 1
    assert found.notes == [f"the graph was emptied {found.merging.emptied} times, because it had 12 states"]
    for invariant in ALL[2:]:
        with pytest.raises(ScheduleFailed) as caught:
            explore(NeverDedupes(), invariants=[invariant])
        assert caught.value.failure.number in (33, 41)


# Receivers that cannot be explored, and arguments that cannot be used.


@pytest.mark.parametrize("forgotten", ["kept", "seen"])
def test_a_reset_that_forgets_something_is_named(forgotten: str) -> None:
    class Forgets(Books):
        def reset(self) -> None:
            (self.seen if forgotten == "kept" else self.kept).clear()

    with pytest.raises(ProbeFailed, match="reset"):
        explore(Forgets(), invariants=[eventually(lambda state: True)])


def test_a_receiver_that_shows_nothing_is_unusable() -> None:
    with pytest.raises(NothingObserved, match="the receiver showed no effect"):
        explore(Books(), observe=lambda message_id: "always the same", invariants=[converges()])
    with pytest.raises(NothingObserved, match="had 'credts'"):
        explore(Books(), invariants=[exactly_once("credts")])


def test_a_receiver_that_works_after_its_answer_is_unusable() -> None:
    """It applies each callback when the next one comes, or after a while."""

    class Later(Books):
        def __init__(self) -> None:
            super().__init__()
            self.waiting: list[StatusEvent] = []
            self.looks = 0

        def apply(self, rows: list[StatusEvent]) -> None:
            self.work()
            self.waiting = rows

        def work(self) -> None:
            super().apply(self.waiting)
            self.waiting = []

        def look(self, message_id: str) -> object:
            self.looks += 1
            if self.looks % 3 == 0:
                self.work()
            return self.kept.get(message_id)

    books = Later()
    with pytest.raises((StateNotSettled, ProbeFailed)):
        explore(books, observe=books.look, invariants=[converges()])


def test_an_observe_that_answers_at_random_is_unusable() -> None:
    random = Random(7)
    with pytest.raises(StateNotSettled):
        explore(Books(), observe=lambda message_id: random.random(), invariants=[converges()])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"merge": "yes"}, "merge is True, False or 'auto', not 'yes'"),
        ({"audit": -1}, "audit is a number of schedules, not -1"),
        ({"audit": True}, "audit is a number of schedules, not True"),
        ({"snapshot": dict}, "snapshot needs restore"),
        ({"restore": dict}, "restore needs snapshot"),
        ({"snapshot": 7, "restore": dict}, "snapshot must be callable, 7 is not"),
        ({"observe": None}, "merge compares the states, and this receiver has no observe"),
    ],
)
def test_options_that_cannot_be_used_raise(options: dict[str, Any], said: str) -> None:
    books = Books()
    with EngageLab(Receiver.wsgi(books)) as engagelab, pytest.raises(UsageError) as caught:
        engagelab.explore("verified", **{"observe": books.kept.get, "merge": True, **options})
    assert said in str(caught.value)


def test_the_async_twin_merges_too() -> None:
    books = LastWriteWins()

    async def observe(message_id: str) -> object:
        await asyncio.sleep(0)
        return books.kept.get(message_id)

    async def run() -> Exploration:
        with EngageLab(Receiver.wsgi(books, observe=observe)) as engagelab:
            return await engagelab.aexplore("verified", merge=True, reset=books.reset, check=False)

    found = asyncio.run(run())
    assert found.merging is not None
    assert found.failures[0].token == "eg1:verified,delivered"


# The picture.


def test_the_graph_as_text() -> None:
    found = explore(LastWriteWins(), "sent_failed", invariants=[never_regresses()], duplicates=0, check=False)
    assert found.graph() == found.graph("mermaid")
    found = explore(LastWriteWins(), "plan-sent", invariants=[never_regresses("status")], duplicates=0, check=False)
    state = "{'status': '%s', 'credits': 0}"
    names = [(0, "None"), (1, state % "plan"), (2, state % "sent"), (3, state % "sent"), (4, state % "plan")]
    assert found.graph("mermaid").splitlines() == [
        "flowchart TD",
        *[f'  s{place}["{text}"]' for place, text in names],
        '  s0 -->|"plan"| s1',
        '  s1 -->|"sent"| s2',
        '  s0 ==>|"sent"| s3',
        '  s3 ==>|"plan"| s4',
        "  linkStyle 3 stroke:#c62828",
        "  style s2 stroke:#c62828",
        "  style s4 stroke:#c62828",
    ]
    dot = found.graph("dot").splitlines()
    assert dot[0] == "digraph states {"
    assert '  s3 -> s4 [label="plan", color="#c62828", style=bold, penwidth=3];' in dot
    assert "  { rank=same; s1; s3; }" in dot


def test_the_path_of_a_failure_with_a_retry_is_drawn() -> None:
    books = NeverDedupes()
    receiver = Receiver.wsgi(books, observe=books.kept.get)
    with EngageLab(receiver) as engagelab:
        found = engagelab.explore(
            "verified", faults="at-least-once", reset=books.reset, invariants=ALL, duplicates=0, merge=True, check=False
        )
    assert found.failures[0].token == "eg1:verified!ackloss"
    lines = found.graph("dot").splitlines()
    [first, again] = [line for line in lines if "style=bold" in line]
    assert "verified!ackloss" in first
    assert 'label="verified again", style=bold' in again


def test_a_large_graph_is_drawn_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "_MOST", 5)
    found = explore(Books(), "delivered", invariants=ALL)
    for form, mark in {"dot": "//", "mermaid": "%%"}.items():
        lines = found.graph(form).splitlines()  # type: ignore[arg-type]  # one of the two
        assert len([line for line in lines if "->" in line or "-->" in line]) == 5
        assert lines[-1] == f"{mark} only the first 5 edges are drawn"


def test_without_merging_the_graph_has_the_schedules_that_were_played() -> None:
    merged, played = [explore(LastWriteWins(), duplicates=0, check=False, merge=merge) for merge in (True, False)]
    for found in (merged, played):
        found.failures.clear()
    # The schedules are played in another order, so the states have other numbers.
    drawn = [sorted(re.sub(r"s[0-9]+", "s", found.graph("dot")).splitlines()) for found in (merged, played)]
    assert [line for line in drawn[0] if "rank" not in line] == [line for line in drawn[1] if "rank" not in line]


def test_there_is_no_graph_if_no_state_was_seen() -> None:
    with EngageLab(Receiver.wsgi(Books())) as engagelab:
        found = engagelab.explore("verified", duplicates=0)
    with pytest.raises(UsageError, match="this receiver has no observe"):
        found.graph()
    with pytest.raises(UsageError, match="did you mean 'mermaid'"):
        explore(Books(), duplicates=0).graph("mermiad")  # type: ignore[arg-type]  # what is tested


# Receivers with bugs at random.

STATUSES = ["plan", "sent", "delivered", "verified", "checking", None]


class AtRandom(Books):
    """Decide what a callback does by the seed and the state, which shows all that it depends on."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random_seed = seed

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        random = Random(f"{self.random_seed} {book} {row.name}")
        bug = random.random()
        status = row.name if bug < 0.05 else self.later(book["status"], row.name)
        book["status"] = random.choice(STATUSES) if 0.05 < bug < 0.08 else status
        book["credits"] += row.name == "verified" and (not book["credits"] or random.random() < 0.1)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_receiver_fails_in_the_same_schedule_as_without_merging(seed: int) -> None:
    invariants = [ALL, [eventually("verified", "status")], [exactly_once("credits", when="verified")]][seed % 3]
    kinds: list[dict[str, Any]] = [{"faults": "at-least-once"}, {"duplicates": 2}, {"batchings": True}]
    found: list[object] = []
    for merge in (True, False):
        try:
            found.append(
                explore(AtRandom(seed), "delivered", invariants=invariants, merge=merge, **kinds[seed % 3]).schedules
            )
        except ScheduleFailed as error:
            failure = error.failure
            found.append((failure.token, failure.found.token, failure.number, failure.violation.what))
    assert found[0] == found[1]
