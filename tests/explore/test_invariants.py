"""Each invariant passes a correct receiver and catches its mutant, also if the other invariants pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
    Invariant,
    Played,
    Receiver,
    Schedule,
    ScheduleFailed,
    UsageError,
    Violation,
    converges,
    eventually,
    exactly_once,
    idempotent,
    never_regresses,
)
from tests.explore.books import Books, KeepsHalfBodies, LastWriteWins, NeverDedupes, ReadsTheFirstRow

ALL = [converges(), never_regresses(), exactly_once("credits"), idempotent(), eventually("verified")]


def played(books: Books, token: str, *invariants: Invariant) -> Violation | None:
    """Play a token and return the violation."""
    with EngageLab(books.receiver) as engagelab:
        try:
            engagelab.play(token, invariants)
        except ScheduleFailed as failed:
            return failed.failure.violation
    return None


@pytest.mark.parametrize(
    "token",
    [
        "eg1:plan,sent,delivered,verified",
        "eg1:verified,delivered,sent,plan",
        "eg1:verified*3,plan*2",
        "eg1:verified+plan,sent+delivered",
        "eg1:plan!ackloss,sent!lost,delivered!cut,verified!5xx",
        "eg1:verified,verified:verified,plan#2,verified#2*2,plan",
    ],
)
def test_a_correct_receiver_passes_every_invariant(token: str) -> None:
    assert played(Books(), token, *ALL) is None


@pytest.mark.parametrize(
    ("kind", "token", "invariant", "what", "after"),
    [
        (
            LastWriteWins,
            "eg1:sent,plan",
            converges(),
            "expected {'status': 'sent'} (the result of in-order delivery), got {'status': 'plan'}",
            1,
        ),
        (LastWriteWins, "eg1:sent,plan,verified", never_regresses(), "goes back from 'sent' to 'plan'", 1),
        (
            LastWriteWins,
            "eg1:verified,sent",
            eventually("verified"),
            "expected the final state 'verified', got 'sent'",
            1,
        ),
        (LastWriteWins, "eg1:verified,plan", eventually(), "expected the final state 'verified', got 'plan'", 1),
        (NeverDedupes, "eg1:verified*3", exactly_once("credits"), "credits happened 2 times", 1),
        (NeverDedupes, "eg1:verified!ackloss", exactly_once("credits"), "credits happened 2 times", 1),
        (NeverDedupes, "eg1:verified!5xx", exactly_once("credits"), "credits happened 2 times", 1),
        (NeverDedupes, "eg1:verified*2", idempotent(), "a repeated verified changes the state from {'credits': 1}", 1),
        (ReadsTheFirstRow, "eg1:plan+verified", converges(), "(the result of in-order delivery)", 0),
        (ReadsTheFirstRow, "eg1:plan+verified", exactly_once("credits"), "credits happened 0 times, expected 1", 0),
        (
            ReadsTheFirstRow,
            "eg1:sent+verified",
            exactly_once("credits", when="verified"),
            "credits happened 0 times, expected 1",
            0,
        ),
        (KeepsHalfBodies, "eg1:sent!cut", converges("half"), "expected 0 (the result of in-order delivery), got 1", 1),
    ],
)
def test_a_mutant_is_caught(kind: type[Books], token: str, invariant: Invariant, what: str, after: int) -> None:
    violation = played(kind(), token, invariant)
    assert violation is not None
    assert violation.invariant == repr(invariant).removesuffix("()")
    assert what in violation.what
    with EngageLab(kind().receiver) as engagelab:
        records = engagelab.play(token, check=False).records
    assert violation.record is not None
    assert records[after].events == violation.record.events
    assert records[after].attempt.number == violation.record.attempt.number


@pytest.mark.parametrize(
    ("kind", "token", "broken"),
    [
        (LastWriteWins, "eg1:sent,plan", {"converges", "never_regresses"}),
        (LastWriteWins, "eg1:sent,plan,delivered,verified", {"never_regresses"}),
        (NeverDedupes, "eg1:plan,verified*2", {"converges", "exactly_once", "idempotent"}),
        (NeverDedupes, "eg1:plan*2,verified", set()),
        (ReadsTheFirstRow, "eg1:plan,sent,delivered+verified", {"converges", "exactly_once", "eventually"}),
    ],
)
def test_only_the_expected_invariants_fail(kind: type[Books], token: str, broken: set[str]) -> None:
    found = {repr(each).removesuffix("()") for each in ALL if played(kind(), token, each) is not None}
    assert found == broken


@pytest.mark.parametrize(
    ("effect", "when", "fine"),
    [
        ("credits", None, True),
        ("credits", "verified", True),
        ("credits", "delivered", False),
        (lambda state: ["one"] if state["credits"] else [], None, True),
        (lambda state: bool(state and state["credits"]), "verified", True),
        (lambda state: {"one", "two"} if state else (), None, False),
    ],
)
def test_the_forms_of_an_effect(effect: Any, when: str | None, fine: bool) -> None:
    def careful(state: Any) -> Any:
        return effect(state or {"credits": 0})

    take = effect if isinstance(effect, str) else careful
    assert (played(Books(), "eg1:plan,sent,verified", exactly_once(take, when=when)) is None) is fine


def test_the_user_can_give_the_order() -> None:
    kind, token = LastWriteWins, "eg1:delivered,sent"
    assert played(kind(), token, never_regresses(order=["plan", ("sent", "delivered")])) is None
    assert played(kind(), token, never_regresses(order=["delivered", "sent"])) is None
    assert played(kind(), token, never_regresses("status", order=["sent", "delivered"])) is not None
    assert played(kind(), token, never_regresses(lambda state: state and state["status"])) is not None


def test_a_lost_state_is_a_regression() -> None:
    books = LastWriteWins()

    def observe(message_id: str) -> Any:
        status = books.kept.get(message_id, {}).get("status")
        return None if status == "plan" else status

    receiver = Receiver.wsgi(books, observe=observe)
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed, match="goes back from 'sent' to None"):
        engagelab.play("eg1:sent,plan", [never_regresses()], check=True)


def twice_at_most(run: Played) -> None:
    assert len(run.records) <= 2, "there are more than two"


def never_verified(run: Played) -> str | None:
    return "it is verified" if run.final["status"] == "verified" else None


@pytest.mark.parametrize(
    ("invariant", "name", "what"),
    [
        (twice_at_most, "twice_at_most", "there are more than two"),
        (never_verified, "never_verified", "it is verified"),
        (lambda run: False, "<lambda>", "it does not hold"),
        pytest.param(lambda run: True, "", "", id="true"),
        pytest.param(lambda run: None, "", "", id="none"),
        (lambda run: Violation(invariant="mine", what="wrong"), "mine", "wrong"),
        (eventually(lambda state: state["credits"] == 0), "eventually", "the final state is"),
        (eventually(lambda state: state["credits"] == 1), "", ""),
    ],
)
def test_an_invariant_of_the_user(invariant: Callable[[Played], Any], name: str, what: str) -> None:
    violation = played(Books(), "eg1:plan,sent,verified", invariant)
    assert (violation.invariant if violation else "") == name
    assert what in (violation.what if violation else "")


def test_states_are_copied_and_compared_by_value() -> None:
    books = Books()  # observe returns the live dict
    with EngageLab(books.receiver) as engagelab:
        run = engagelab.play("eg1:plan,sent")
    assert run.initial is None
    assert [record.after["status"] for record in run.records] == ["plan", "sent"]
    assert run.records[1].before == run.records[0].after == {"status": "plan", "credits": 0}
    assert run.final == run.states[-1] == {"status": "sent", "credits": 0}


class Uncopied:
    def __deepcopy__(self, memo: object) -> object:
        raise RuntimeError("no")


@pytest.mark.parametrize(("state", "said"), [(object(), "its own copy"), (Uncopied(), "cannot be copied")])
def test_a_state_that_cannot_be_copied_raises(state: object, said: str) -> None:
    with EngageLab(Receiver.wsgi(Books(), observe=lambda message_id: state)) as engagelab:
        with pytest.raises(UsageError, match=said) as caught:
            engagelab.play("eg1:plan")
        assert "hint: return plain values" in str(caught.value)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]


def test_ids_do_not_make_states_differ() -> None:
    books = Books()
    receiver = Receiver.wsgi(
        books, observe=lambda message_id: [message_id, {"id": message_id}, books.kept.get(message_id)]
    )
    with EngageLab(receiver) as engagelab:
        engagelab.explore("delivered", invariants=[converges()])


def test_an_invariant_about_the_state_needs_observe_and_the_users_own_does_not() -> None:
    with EngageLab() as engagelab:
        with pytest.raises(
            UsageError, match=r"converges\(\) judges the receiver's state, and this receiver has no observe"
        ):
            engagelab.play("eg1:plan", [converges()])
        with pytest.raises(ScheduleFailed, match="more than two"):
            engagelab.play("eg1:plan,sent,plan", twice_at_most)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (7, "invariants is a list"),
        ("converges", "not 'converges'"),
        ([7], "an invariant is a callable, not 7"),
        ([converges], r"converges\(\)"),
    ],
)
def test_a_wrong_invariant_raises(given: Any, said: str) -> None:
    with EngageLab(Books().receiver) as engagelab, pytest.raises(UsageError, match=said):
        engagelab.play("eg1:plan", given)


@pytest.mark.parametrize(
    ("kind", "token", "invariant"),
    [
        (LastWriteWins, "eg1:verified,verified:verified#2,plan#2", never_regresses()),
        (LastWriteWins, "eg1:verified,verified:verified#2,plan#2", converges()),
        (LastWriteWins, "eg1:verified,verified:verified#2,plan#2", eventually("verified")),
        (NeverDedupes, "eg1:verified,verified:verified#2*2", exactly_once("credits")),
        (NeverDedupes, "eg1:verified,verified:verified#2*2", idempotent()),
    ],
)
def test_the_second_of_two_messages_is_judged(kind: type[Books], token: str, invariant: Invariant) -> None:
    violation = played(kind(), token, invariant)
    assert violation is not None
    assert violation.invariant == repr(invariant).removesuffix("()")


def test_an_effect_that_happened_before_the_first_delivery_counts() -> None:
    books = Books()
    receiver = Receiver.wsgi(books, observe=lambda message_id: {**(books.kept.get(message_id, {})), "credits": 1})
    with EngageLab(receiver) as engagelab:
        engagelab.play("eg1:plan,verified", exactly_once("credits", when="verified"))
        with pytest.raises(ScheduleFailed, match="credits happened 1 time, expected 0"):
            engagelab.play("eg1:plan", exactly_once("credits", when="verified"))


def test_a_schedule_with_several_messages_has_a_state_for_each() -> None:
    class MixesMessagesUp(Books):
        def handle(self, book: dict[str, Any], row: Any) -> None:
            for any_book in self.kept.values():
                any_book["status"] = row.name

    token = "eg1:verified,delivered:sent,plan#2"
    violation = played(MixesMessagesUp(), token, never_regresses())
    assert violation is not None
    with EngageLab(Books().receiver) as engagelab:
        run = engagelab.play(Schedule.parse(token))
    assert run.final == ({"status": "sent", "credits": 0}, {"status": "plan", "credits": 0})
    assert len({message.id for message in run.messages}) == 2
