"""Merging equal states finds what playing every schedule finds, with few deliveries, or says why it cannot."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    Exploration,
    NothingObserved,
    Played,
    ProbeFailed,
    Receiver,
    ScheduleFailed,
    StateNotSettled,
    StatusEvent,
    UsageError,
    converges,
    decode,
    eventually,
    exactly_once,
    idempotent,
    never_regresses,
    schedules,
)
from engagelab_mock.explore import merge as merge_module
from tests.explore.books import ALL, EVERYTHING, AtRandom, Books, LastWriteWins, NeverDedupes, RefusesWhatIsEarly
from tests.explore.gallery import CASES, Case, name
from tests.explore.merging import explore
from tests.receivers.gallery.stacks import shop

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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


# Receivers with bugs at random.


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
