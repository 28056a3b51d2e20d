"""What a receiver says that its statuses mean: explorations and the machine judge by it, without an invariant."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import (
    EngageLab,
    NothingObserved,
    ProbeFailed,
    Receiver,
    ScheduleFailed,
    StatusEvent,
    UnknownName,
    UsageError,
)
from engagelab_mock.strategies import ReceiverMachine
from tests.explore.books import Books, LastWriteWins, NeverDedupes

EFFECTS = {"credits": "verified", "refunds": ["sent_failed", "target_invalid"], "wrong": "verified_failed"}
#: A user enters two wrong codes, and then the right one.
TWO_WRONG_CODES = "plan-sent+1-verified_failed+5-verified_failed+5-verified+5"
#: Every channel fails at once.
ALL_FAIL = "plan-sent_failed/whatsapp+1-sent_failed/sms+1"


class Account(Books):
    """Count the effects of a message: credits and refunds once, and each wrong code."""

    ranks = ("plan", "target_valid", "sent", "delivered", "read", "verified_failed", "verified_timeout", "verified")

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        if self.is_new(row):
            book["status"] = self.later(book["status"], row.name)
            for name in ("credits", "refunds", "wrong"):
                book.setdefault(name, 0)
            self.have_effect(book, row.name)

    def is_new(self, row: StatusEvent) -> bool:
        key = (row.message_id, self.key(row), row.status.status_data.current_send_channel)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def key(self, row: StatusEvent) -> str:
        return f"{row.name} {row.itime}"

    def have_effect(self, book: dict[str, Any], status: str) -> None:
        book["credits"] += status == "verified"
        book["refunds"] = max(book["refunds"], int(status in {"sent_failed", "target_invalid"}))
        book["wrong"] += status == "verified_failed"

    def later(self, known: str | None, status: str) -> str | None:
        def rank(name: str | None) -> int:
            return self.ranks.index(name) if name in self.ranks else -1

        return status if known is None or rank(status) > rank(known) else known


class RanksATimeoutAboveVerified(Account):
    ranks = (*Account.ranks[:-2], "verified", "verified_timeout")


class RanksReadAboveVerified(Account):
    ranks = (*Account.ranks[:4], "verified_failed", "verified_timeout", "verified", "read")


class CreditsWhatBeginsWithVerified(Account):
    def have_effect(self, book: dict[str, Any], status: str) -> None:
        super().have_effect(book, "verified" if status == "verified_timeout" else status)


class RefundsWhatEndsWithFailed(Account):
    def have_effect(self, book: dict[str, Any], status: str) -> None:
        super().have_effect(book, "sent_failed" if status == "delivered_failed" else status)


class CreditsAtDelivered(Account):
    """Credit a delivered message, and do not credit it again when it is verified: the last state is right."""

    def have_effect(self, book: dict[str, Any], status: str) -> None:
        super().have_effect(book, status)
        book["credits"] = max(book["credits"], int(status in {"delivered", "verified"}))
        book["credits"] = min(book["credits"], 1)


class RefundsEachChannel(Account):
    def have_effect(self, book: dict[str, Any], status: str) -> None:
        refunds = book["refunds"]
        super().have_effect(book, status)
        book["refunds"] = refunds + 1 if status == "sent_failed" else book["refunds"]


class CountsAWrongCodeOnce(Account):
    def key(self, row: StatusEvent) -> str:
        return row.name


class CountsARetriedCodeTwice(Account):
    def is_new(self, row: StatusEvent) -> bool:
        return super().is_new(row) or row.name == "verified_failed"


class LosesTheCreditAfterATimeout(Account):
    def have_effect(self, book: dict[str, Any], status: str) -> None:
        book["over"] = book.get("over") or status == "verified_timeout"
        super().have_effect(book, "" if book["over"] and status == "verified" else status)


class TakesTheCreditBack(Account):
    def have_effect(self, book: dict[str, Any], status: str) -> None:
        super().have_effect(book, status)
        book["credits"] *= status != "delivered"


def explore(app: Books, *lifecycles: Any, observe: Callable[[str], Any] | None = None, **options: Any) -> None:
    given = {"effects": EFFECTS, "terminal": "verified", "invariants": (), **options}
    with EngageLab(Receiver.wsgi(app, observe=observe or app.kept.get)) as engagelab:
        engagelab.explore(*lifecycles or ("verified",), **given)


EVERY = ("verified", TWO_WRONG_CODES, ALL_FAIL, "plan-sent-verified_timeout+9-verified", "plan-target_invalid")


def test_a_right_app_passes() -> None:
    explore(Account(), *EVERY, limit=400)


@pytest.mark.parametrize(
    ("kind", "lifecycle", "says"),
    [
        (NeverDedupes, "verified", "credits happened 2 times"),
        (
            RanksATimeoutAboveVerified,
            "plan-sent-verified_timeout+9-verified",
            "the status is 'verified_timeout', and verified",
        ),
        (RanksReadAboveVerified, "plan-sent-read+9-verified", "the status is 'read', and verified was acknowl"),
        (
            CreditsWhatBeginsWithVerified,
            "verified_timeout",
            "after `verified_timeout`, credits happened 1 time",
        ),
        (RefundsWhatEndsWithFailed, "delivered_failed", "refunds happened 1 time, expected 0"),
        (CreditsAtDelivered, "verified", "after `delivered`, credits happened 1 time, expected 0"),
        (RefundsEachChannel, ALL_FAIL, "refunds happened 2 times, expected 1"),
        (CountsAWrongCodeOnce, TWO_WRONG_CODES, "wrong happened 1 time, expected 2"),
        (CountsARetriedCodeTwice, TWO_WRONG_CODES, "wrong happened 2 times, expected 1"),
        (LosesTheCreditAfterATimeout, "plan-sent-verified_timeout+9-verified", "credits happened 0 times, expected 1"),
        (TakesTheCreditBack, "verified", "credits happened 1 time, and is undone"),
    ],
)
def test_a_mutant_is_caught(kind: type[Books], lifecycle: str, says: str) -> None:
    effects = {name: causes for name, causes in EFFECTS.items() if kind is not NeverDedupes or name == "credits"}
    with pytest.raises(ScheduleFailed) as failed:
        explore(kind(), lifecycle, effects=effects)
    assert says in str(failed.value)


def test_a_status_that_comes_back_was_still_replaced() -> None:
    app = LastWriteWins()
    with EngageLab(app.receiver) as engagelab:
        with pytest.raises(ScheduleFailed, match="the status goes back from 'verified' to 'sent'"):
            engagelab.play("eg1:verified,sent,verified", terminal="verified")
        engagelab.play("eg1:sent,verified*2", terminal="verified")


FORMS: dict[str, Callable[[int], Any]] = {
    "number": lambda credits: credits,
    "float": float,
    "decimal": Decimal,
    "list": lambda credits: ["credit"] * credits,
    "mapping": lambda credits: dict.fromkeys(range(credits)),
    "flag": bool,
    "none until then": lambda credits: credits or None,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_effect_is_a_number_a_collection_or_a_flag(form: Callable[[int], Any]) -> None:
    app = Account()

    def observe(message_id: str) -> Any:
        book = app.kept.get(message_id)
        return book and {**book, "credits": form(book["credits"])}

    explore(app, observe=observe)


def test_a_flag_says_whether_and_not_how_often() -> None:
    app = Account()

    def observe(message_id: str) -> Any:
        book = app.kept.get(message_id)
        return book and {"status": book["status"], "suspicious": book["wrong"] > 0}

    explore(app, TWO_WRONG_CODES, observe=observe, effects={"suspicious": "verified_failed"}, limit=100)


@pytest.mark.parametrize("lifecycle", ["verified", "delivered"])
def test_an_app_may_show_an_effect_only_once_it_has_happened(lifecycle: str) -> None:
    app = Account()

    def observe(message_id: str) -> Any:
        return {name: value for name, value in app.kept.get(message_id, {}).items() if value}

    explore(app, lifecycle, observe=observe, effects={"credits": "verified"})


def test_an_app_may_work_only_on_what_it_has_in_order() -> None:
    class Waits(Account):
        """Keep a `verified` until the message is known to be sent."""

        def apply(self, rows: list[StatusEvent]) -> None:
            for row in rows:
                waiting.setdefault(row.message_id, []).append(row)
                if any(each.name == "sent" for each in waiting[row.message_id]):
                    super().apply(waiting.pop(row.message_id))
                    waiting[row.message_id] = [row] if row.name == "sent" else [*known, row]
                    known.append(row)

    waiting: dict[str, list[StatusEvent]] = {}
    known: list[StatusEvent] = []
    explore(Waits(), duplicates=0, effects={"credits": "verified"}, terminal=())


@pytest.mark.parametrize("value", ["1", "2026-11-28T10:00:00Z", 0.5, -1])
def test_a_value_that_cannot_be_counted_is_an_error(value: Any) -> None:
    app = Account()
    with pytest.raises(ProbeFailed, match=r"credits is .*, which does not count how often it happened"):
        explore(app, observe=lambda message_id: app.kept.get(message_id) and {"status": "x", "credits": value})


@pytest.mark.parametrize("lifecycle", ["verified", "delivered"])
@pytest.mark.parametrize("judge", ["explore", "replay", "play"])
def test_an_effect_that_the_state_never_has_is_not_green(judge: str, lifecycle: str) -> None:
    app = Account()
    receiver = Receiver.wsgi(app, observe=app.kept.get, effects={"credts": "verified"})
    with EngageLab(receiver) as engagelab:
        judges: dict[str, Callable[[], object]] = {
            "explore": lambda: engagelab.explore(lifecycle),
            "replay": lambda: engagelab.replay("eg1:plan,sent"),
            "play": lambda: engagelab.play("eg1:plan,verified", effects={"credts": "verified"}),
        }
        with pytest.raises(NothingObserved) as raised:
            judges[judge]()
    assert "no state had 'credts'" in str(raised.value)
    assert "did you mean 'credits'?" in str(raised.value)


def test_a_status_that_is_never_shown_is_not_green() -> None:
    app = Account()
    with pytest.raises(NothingObserved, match=r"no status was verified, but for example \{'step': 5\}"):
        explore(
            app,
            observe=lambda message_id: app.kept.get(message_id) and {"step": len(app.kept[message_id]["status"]) - 3},
            effects=None,
        )


@pytest.mark.parametrize("status", ["VERIFIED", "Status.VERIFIED"])
def test_a_terminal_status_may_be_spelt_in_another_way(status: str) -> None:
    app = Account()

    def observe(message_id: str) -> Any:
        book = app.kept.get(message_id)
        return book and (status if book["status"] == "verified" else book["status"])

    explore(app, observe=observe, effects=None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"effects": {"credits": "verfied"}}, "did you mean 'verified'?"),
        ({"effects": {"credits": ["verified", "sent_fail"]}}, "did you mean 'sent_failed'?"),
        ({"effects": {"credits": []}}, "it has no status"),
        ({"effects": {"credits": 7}}, "7 is neither a status nor a list of statuses"),
        ({"effects": "credits"}, "effects maps names to statuses"),
        ({"terminal": ["verified", "delivred"]}, "did you mean 'delivered'?"),
    ],
)
def test_a_wrong_meaning_is_refused_where_it_is_given(given: dict[str, Any], says: str) -> None:
    app = Account()
    with pytest.raises(UsageError) as raised:
        Receiver.wsgi(app, observe=app.kept.get, **given)
    assert says in str(raised.value)
    with EngageLab(app.receiver) as engagelab:
        with pytest.raises(UsageError) as raised:
            engagelab.explore("verified", **given)
        assert says in str(raised.value)


def test_a_misspelt_status_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        Receiver.wsgi(Account(), terminal="verfied")


def test_a_meaning_needs_a_state() -> None:
    receiver = Receiver.wsgi(Account(), effects=EFFECTS, terminal="verified")
    with EngageLab(receiver) as engagelab:
        with pytest.raises(UsageError, match="has effects and terminal, but no observe"):
            engagelab.explore("verified")
        engagelab.send("+6591234567")
        engagelab.play("eg1:plan")


def test_the_receivers_meaning_is_used_and_the_calls_goes_over_it() -> None:
    app = CreditsAtDelivered()
    receiver = Receiver.wsgi(app, observe=app.kept.get, effects={"credits": "verified"}).with_settings()
    with EngageLab(receiver) as engagelab:
        with pytest.raises(ScheduleFailed, match="credits happened 1 time, expected 0"):
            engagelab.explore("verified")
        engagelab.explore("verified", effects={"credits": ["delivered", "verified"]})
        with pytest.raises(ScheduleFailed, match="credits happened 1 time, expected 0"):
            engagelab.replay("eg1:delivered")
        # Without anything to judge by, a schedule is only played.
        engagelab.play("eg1:delivered")


@pytest.mark.parametrize("where", ["the machine", "the receiver"])
def test_the_machine_judges_by_it(where: str) -> None:
    app = CreditsAtDelivered()
    given = {"effects": {"credits": "verified"}}

    class Machine(ReceiverMachine):
        must_hold = ()

        def receiver(self) -> Receiver:
            return Receiver.wsgi(app, observe=app.kept.get, **(given if where == "the receiver" else {}))  # type: ignore[arg-type]

    kind = type("Given", (Machine,), given) if where == "the machine" else Machine
    bounded = settings(derandomize=True, database=None, max_examples=20, phases=[Phase.generate], deadline=None)
    with pytest.raises(ScheduleFailed, match="credits happened 1 time, expected 0"):
        run_state_machine_as_test(kind, settings=bounded)
