"""What an exploration rests on: a receiver that shows nothing, or whose state moves by itself, is unusable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Message,
    NothingObserved,
    ProbeFailed,
    Receiver,
    ScheduleFailed,
    StatusEvent,
    UsageError,
    converges,
    exactly_once,
    never_regresses,
)
from tests.explore.baselines import explore
from tests.explore.books import ALL, Books, LastWriteWins, NeverDedupes


class OwnRowsOnly(NeverDedupes, LastWriteWins):
    """It ignores messages that it did not send. Its work on the others is wrong twice."""

    def apply(self, rows: list[StatusEvent]) -> None:
        super().apply([row for row in rows if row.message_id in self.kept])

    def send(self, message: Message) -> None:
        assert message.id not in self.kept, "prepare inserts a message once"
        self.kept[message.id] = {"status": None, "credits": 0}


# Blind.


@pytest.mark.parametrize("invariants", [None, [], ALL, [lambda played: None]])
def test_an_app_that_shows_nothing_is_unusable_whatever_the_invariants(invariants: Any) -> None:
    books = OwnRowsOnly()
    with pytest.raises(NothingObserved, match="observe returned None before the first callback") as raised:
        explore(Receiver.wsgi(books, observe=books.kept.get), invariants=invariants, duplicates=1)
    assert "after each of plan, sent, delivered, verified" in str(raised.value)
    assert "prepare, if the app ignores messages that it did not send" in raised.value.hint
    assert "wait_idle, if the app works after its answer" in raised.value.hint


@pytest.mark.parametrize("invariant", ALL[1:])
@pytest.mark.parametrize("with_reset", [False, True])
def test_prepare_makes_it_usable(invariant: Any, with_reset: bool) -> None:
    books = OwnRowsOnly()
    options: dict[str, Any] = {"reset": books.reset} if with_reset else {}
    receiver = Receiver.wsgi(books, observe=books.kept.get, prepare=books.send, **options)
    with pytest.raises(ScheduleFailed):
        explore(receiver, invariants=[invariant])


def test_an_argument_of_the_call_goes_over_the_receivers_own() -> None:
    books = OwnRowsOnly()
    receiver = Receiver.wsgi(books, observe=dict[str, str]().get)
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed):
        engagelab.explore("verified", observe=books.kept.get, prepare=books.send)
    with EngageLab(receiver, seed="another") as engagelab:
        played = engagelab.play("eg1:verified", observe=books.kept.get, prepare=books.send)
        assert played.final == {"status": "verified", "credits": 1}


def test_a_replay_and_a_play_that_judges_are_unusable_too() -> None:
    books = OwnRowsOnly()
    with EngageLab(Receiver.wsgi(books, observe=books.kept.get)) as engagelab:
        with pytest.raises(NothingObserved):
            engagelab.replay("eg1:verified,delivered")
        with pytest.raises(NothingObserved):
            engagelab.play("eg1:verified,delivered", converges())
        assert repr(engagelab.play("eg1:plan,sent")) == "<Played eg1:plan,sent: 2 attempts, 0 changes of the state>"


def test_a_message_of_an_earlier_run_is_named() -> None:
    books = Books()
    assert explore(books.receiver, orderings=False).ok
    with pytest.raises(NothingObserved, match=r"observe returned .*'verified'.* before the first callback") as raised:
        explore(books.receiver, orderings=False)
    assert "reset, if the app knows the message from an earlier run" in raised.value.hint


def test_an_app_that_makes_nothing_of_a_lifecycle_is_not_blind() -> None:
    class VerifiedOnly(Books):
        def apply(self, rows: list[StatusEvent]) -> None:
            super().apply([row for row in rows if row.name == "verified"])

    books = VerifiedOnly()
    with EngageLab(books.receiver) as engagelab:
        assert engagelab.explore("sent_failed", invariants=[converges()]).ok


def test_an_app_that_makes_something_of_failures_only_is_not_blind() -> None:
    class FailedOnly(Books):
        def apply(self, rows: list[StatusEvent]) -> None:
            super().apply([row for row in rows if row.name == "delivered_failed"])

    books = FailedOnly()
    assert repr(explore(books.receiver, duplicates=0)).endswith("96 deliveries, 0 states, no failure>")


def test_an_app_that_refuses_everything_is_not_blind_but_wrong() -> None:
    def refuse(environ: Any, start_response: Any) -> list[bytes]:
        start_response("503 Service Unavailable", [])
        return [b""]

    with pytest.raises(ScheduleFailed, match="acknowledged"):
        explore(Receiver.wsgi(refuse, observe=dict[str, str]().get))


def test_an_invariant_that_recognises_no_state_judged_nothing() -> None:
    books = Books()
    receiver = Receiver.wsgi(books, observe=lambda message_id: str(books.kept.get(message_id)))
    with pytest.raises(NothingObserved, match=r"never_regresses\(\) judged nothing: no state was in its order"):
        explore(receiver, invariants=[never_regresses()])


def test_an_invariant_that_another_run_has_used_judged_nothing_in_this_one() -> None:
    books, invariant = Books(), never_regresses()
    assert explore(books.receiver, invariants=[invariant], duplicates=0).ok
    books = Books()
    receiver = Receiver.wsgi(books, observe=lambda message_id: str(books.kept.get(message_id)))
    with pytest.raises(NothingObserved, match="judged nothing"):
        explore(receiver, invariants=[invariant], duplicates=0)


class EffectsAppear(Books):
    """It keeps no count before the effect has happened."""

    def apply(self, rows: list[StatusEvent]) -> None:
        for row in rows:
            kept = self.kept.setdefault(row.message_id, {"status": None})
            kept["status"] = row.name
            if row.name in {"verified", "sent_failed"}:
                kept.setdefault(f"{row.name} mails", [row.name])


@pytest.mark.parametrize("effect", ["verified mails", "sent_failed mails"])
@pytest.mark.parametrize("lifecycle", ["delivered", "verified", "sent_failed"])
def test_an_effect_that_the_lifecycle_does_not_have_is_judged_all_the_same(effect: str, lifecycle: str) -> None:
    books = EffectsAppear()
    invariant = exactly_once(effect, when=effect.split()[0])
    with EngageLab(books.receiver) as engagelab:
        assert engagelab.explore(lifecycle, invariants=[invariant], orderings=False).ok
        assert engagelab.replay("eg1:plan,sent", invariants=[invariant]).acknowledged
        assert engagelab.play("eg1:plan", invariant).acknowledged


def test_a_replay_whose_schedule_shows_nothing_is_right_if_its_lifecycle_shows_something() -> None:
    class VerifiedOnly(Books):
        def apply(self, rows: list[StatusEvent]) -> None:
            super().apply([row for row in rows if row.name == "verified"])

    books = VerifiedOnly()
    with EngageLab(books.receiver) as engagelab:
        played = engagelab.replay("eg1:plan,sent", invariants=[never_regresses(), exactly_once("credits")])
        assert not played.changed


def test_a_part_of_a_callable_that_finds_nothing_is_named() -> None:
    def colour(state: dict[str, Any]) -> Any:
        return state.get("colour")

    books = Books()
    with (
        EngageLab(books.receiver) as engagelab,
        pytest.raises(NothingObserved, match=r"no state had <function .*colour"),
    ):
        engagelab.replay("eg1:verified", invariants=[converges(colour)])


def test_an_app_that_fails_for_another_lifecycle_is_blind_all_the_same() -> None:
    class Fails(OwnRowsOnly):
        def apply(self, rows: list[StatusEvent]) -> None:
            if any(row.name == "delivered_failed" for row in rows):
                raise RuntimeError("out of order")
            super().apply(rows)

    books = Fails()
    with pytest.raises(NothingObserved, match="showed no effect"):
        explore(Receiver.wsgi(books, observe=books.kept.get), invariants=[])


def test_a_part_of_a_text_is_a_clear_error() -> None:
    books = Books()
    receiver = Receiver.wsgi(books, observe=lambda message_id: books.kept.get(message_id, {}).get("status"))
    with pytest.raises(UsageError, match="the state 'plan' has no 'status'"):
        explore(receiver, invariants=[never_regresses("status")])


def test_no_callback_is_no_success() -> None:
    with pytest.raises(NothingObserved, match="no event that the receiver's settings tick"):
        explore(Receiver.wsgi(Books(), events=["system_event"]))
    assert not explore(Receiver.wsgi(Books(), events=["system_event"]), check=False).ok


def test_the_report_says_on_what_basis() -> None:
    shown = "<Exploration: 264 of 264 schedules, 1296 deliveries, "
    assert repr(explore(Receiver.wsgi(Books()))) == f"{shown}acknowledgements only, no failure>"
    assert repr(explore(Books().receiver, merge=False)) == f"{shown}4 states, no failure>"
    shown = "<Exploration: 264 of 264 schedules (90 played, 20 of them as an audit), 443 deliveries, "
    assert repr(explore(Books().receiver)) == f"{shown}4 states, no failure>"


# Probes that fail.


def _raise(*arguments: Any) -> Any:
    raise RuntimeError("no such table: messages")


@pytest.mark.parametrize("name", ["observe", "prepare", "reset", "wait_idle"])
def test_a_probe_that_raises_ends_the_run(name: str) -> None:
    books = Books()
    given: dict[str, Any] = {"observe": books.kept.get, name: _raise}
    with pytest.raises(ProbeFailed, match=f"{name} raised RuntimeError: no such table: messages"):
        explore(Receiver.wsgi(books, **given))
    assert books.requests <= 4


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (lambda: (each for each in "ab"), "observe returned a generator"),
        (lambda: {"cost": float("nan")}, "observe returned nan"),
        (lambda: "x" * 10_000_000, "a state of about 10,000,000 characters"),
        (threading.Lock, "cannot be copied"),
    ],
)
def test_a_state_that_cannot_be_compared_ends_the_run(state: Callable[[], Any], said: str) -> None:
    with pytest.raises(ProbeFailed, match=said):
        explore(Receiver.wsgi(Books(), observe=lambda message_id: state()))


def test_asynchronous_functions_are_awaited_by_the_twin_alone() -> None:
    books = Books()

    async def observe(message_id: str) -> Any:
        return books.kept.get(message_id)

    async def reset() -> None:
        books.reset()

    receiver = Receiver.wsgi(books, observe=observe, reset=reset)
    with pytest.raises(UsageError, match="reset is asynchronous, and this call is not"):
        explore(receiver)
    found = asyncio.run(EngageLab(receiver).aexplore("verified", duplicates=0))
    assert (found.schedules, found.states) == (24, 4)


# What is not compared.


class Unusual(Books):
    """Right, with row numbers, times and versions next to the status."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0
        self.ticks = 0.0

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        before = dict(book)
        super().handle(book, row)
        if before != book:
            self.ticks += 0.37
            if "row" not in book:
                self.rows += 1
                book["row"] = f"row-{self.rows}"
            book["version"] = book.get("version", 0) + 1
            book["updated"] = 1_700_000_000 + self.ticks
            book["told"] = datetime.fromtimestamp(book["updated"], UTC).isoformat()
            book["id"] = row.message_id


@pytest.mark.parametrize("with_reset", [False, True])
def test_row_numbers_times_and_versions_are_not_compared(with_reset: bool) -> None:
    books = Unusual()
    options: dict[str, Any] = {"reset": books.reset} if with_reset else {}
    assert explore(Receiver.wsgi(books, observe=books.kept.get, **options), invariants=ALL).ok


def test_they_do_not_hide_what_is_wrong() -> None:
    class Wrong(NeverDedupes, Unusual):
        pass

    books = Wrong()
    with pytest.raises(ScheduleFailed, match="'credits': 2"):
        explore(books.receiver, invariants=[converges()])


def test_states_that_are_always_different_cannot_be_compared() -> None:
    class Random(Books):
        def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
            super().handle(book, row)
            book["status"] = f"{self.requests}-{book['status']}"

    books = Random()
    receiver = Receiver.wsgi(books, observe=lambda message_id: (books.kept.get(message_id) or {}).get("status"))
    with pytest.raises(ProbeFailed, match="entirely different"):
        explore(receiver)
