"""A load on shops that tempt the judge: no wrong one is clean, no right one falls short, and what is blind is said."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, LoadSummary, NothingObserved, UsageError
from tests.load import odd_shops, shop

pytestmark = pytest.mark.slow

EFFECTS = {"credits": "verified"}
MIX = {"verified": 8, "fallback": 1, "lost": 1}


def loaded(app: shop.Shop, *, duration: float = 1.5, **options: object) -> LoadSummary:
    given: dict[str, object] = {"mix": MIX, "check": False, "settle": 1, "spacing": 0.2, **options}
    with shop.serving(app) as receiver, EngageLab(receiver) as engagelab:
        return engagelab.load(rate=100, duration=duration, duplicates=0.2, reorder=0.2, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("effects", [EFFECTS, None], ids=["declared", "learned"])
def test_states_that_are_removed_in_the_load_are_not_taken_for_right(effects: object) -> None:
    summary = loaded(odd_shops.Evicts(), effects=effects)
    assert summary.state == ("fell_short" if effects else "incomplete")
    assert "has none after the load: a state that is removed so early cannot be judged" in summary.problems[0]


def test_a_callback_that_failed_before_the_load_is_never_acknowledged() -> None:
    app = odd_shops.RefusesFirst()
    summary = loaded(app)
    assert {case.message_id for case in summary.cases} == app.wrong
    assert summary.counts == {"never_acknowledged": 2}
    assert summary.state == "fell_short"
    assert summary.made == summary.asked


def test_a_state_that_differs_in_each_message_proves_nothing() -> None:
    summary = loaded(odd_shops.RowTexts())
    assert summary.state == "incomplete"
    assert "the state cannot be judged: it was 'row " in summary.problems[0]


@pytest.mark.parametrize("effects", [EFFECTS, None], ids=["declared", "learned"])
def test_a_bug_of_half_of_the_messages_does_not_become_the_rule(effects: object) -> None:
    app = odd_shops.DropsHalf()
    summary = loaded(app, effects=effects, mix={"verified": 1})
    found = {case.message_id for case in summary.cases}
    assert summary.counts == {"lost": len(found)}
    assert found == app.wrong
    assert "before the load, in order and alone" in f"{summary.cases}"
    assert f"of {summary.messages + summary.first} messages observed" in summary.shortfall


def test_an_effect_that_is_late_a_second_time_is_found() -> None:
    app = odd_shops.DoublesLate()
    summary = loaded(app, effects=EFFECTS, settle=2)
    assert app.wrong
    assert {case.message_id for case in summary.cases} == app.wrong
    assert set(summary.counts) == {"doubled"}


@pytest.mark.parametrize("effects", [EFFECTS, None], ids=["declared", "learned"])
@pytest.mark.parametrize("duration", [0.4, 1.5])
def test_an_app_that_counts_callbacks_late_is_right(duration: float, effects: object) -> None:
    summary = loaded(odd_shops.CountsLate(), duration=duration, effects=effects, settle=3)
    summary.assert_clean()
    assert summary.remarks == ("not judged: whether callbacks is too high, because it rises with each callback",)


def test_an_app_that_needs_seconds_is_right() -> None:
    loaded(odd_shops.IsSlow(), duration=0.5, mix={"sent_failed": 1}, settle=4).assert_clean()


def test_a_history_of_transitions_and_row_numbers_are_right() -> None:
    summary = loaded(odd_shops.KeepsTransitions())
    summary.assert_clean()
    assert summary.remarks[0] == "not judged: row, because the values differ in each message"


def test_a_number_that_may_have_gone_back_proves_nothing() -> None:
    summary = loaded(odd_shops.CountsChanges())
    assert summary.counts == {"unclear": len(summary.cases)}
    assert summary.state == "incomplete"
    with pytest.raises(NothingObserved, match=r"version is 3, expected 4; its callbacks came out of order"):
        summary.assert_clean()


@pytest.mark.parametrize("effects", [EFFECTS, None], ids=["declared", "learned"])
def test_messages_without_a_state_are_not_judged_and_that_is_said(effects: object) -> None:
    summary = loaded(odd_shops.KeepsVerified(), effects=effects, mix={"verified": 8, "delivered": 1})
    summary.assert_clean()
    assert summary.remarks == ("not judged: messages of delivered, for which the app has no state",)


def test_final_states_that_a_fault_leaves_open_are_counted() -> None:
    summary = loaded(shop.Shop(), faults={"ack_lost": 0.2})
    summary.assert_clean()
    [remark] = summary.remarks
    assert "because a callback was not acknowledged, had a fault, or was not sent" in remark


def test_states_that_cannot_be_read_do_not_hide_the_answers() -> None:
    summary = loaded(odd_shops.CannotShow(always=True))
    assert summary.state == "incomplete"
    assert summary.outcomes == {"acknowledged": summary.made}
    assert summary.problems[0] == (
        "the states of the first messages could not be read: observe: observe raised RuntimeError: the database is gone"
    )


def test_a_state_that_cannot_be_read_once_is_read_again() -> None:
    app = odd_shops.CannotShow(always=False)
    summary = loaded(app, effects=EFFECTS, settle=3)
    assert summary.state in {"clean", "incomplete"}
    assert all("could not be read" in problem for problem in summary.problems)
    assert app.looks > summary.messages


def test_a_second_load_with_the_same_seed_is_refused_if_the_app_remembers() -> None:
    app = shop.Shop()
    loaded(app, seed="a", duration=0.5).assert_clean()
    with pytest.raises(UsageError, match=r"the app already has message \d+.*\n.*an earlier load had the same seed"):
        loaded(app, seed="a", duration=0.5)
    loaded(app, seed="b", duration=0.5).assert_clean()
