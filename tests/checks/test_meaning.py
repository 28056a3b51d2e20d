"""Family F: right receivers of all kinds pass, a misdeclared one is an error, and the checks never guess."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engagelab_mock import EngageLab, Judgement, NothingObserved, ProbeFailed, Receiver, Report, UsageError
from engagelab_mock.checks.meaning import way_to
from tests.checks.receivers.correct import PATH, SETTINGS
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.meaning import MEANING, RIGHT, Accounts, account
from tests.checks.receivers.store import Store
from tests.checks.serving import check_in_process, check_over_a_socket, verdicts

FAMILY = ["F01", "F02", "F03", "F04", "F05"]


def check(
    kind: type[Accounts], directory: Path, *, observe: Callable[[Any], Any] = lambda state: state, **options: Any
) -> Report:
    store = Store(directory / "receiver.sqlite")
    given = {**SETTINGS, **MEANING, **options}
    receiver = Receiver.wsgi(on_flask(kind(store)), PATH, observe=lambda id: observe(account(store, id)), **given)
    with EngageLab(receiver) as engagelab:
        return engagelab.check(only=["F*"], patience=0.1)


def failures(report: Report) -> list[str]:
    return [str(finding) for finding in report.of(Judgement.FAIL)]


PASSED = dict.fromkeys(FAMILY, "pass")


def test_the_right_receiver_passes(tmp_path: Path) -> None:
    assert verdicts(check_in_process(RIGHT, tmp_path, only=["F*"])) == PASSED


def test_the_right_receiver_passes_over_a_socket(tmp_path: Path) -> None:
    assert verdicts(check_over_a_socket(RIGHT, tmp_path, only=["F*"])) == PASSED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "observe"),
    [
        ("flags", lambda state: {**state, "credits": state["credits"] > 0, "wrong_codes": state["wrong_codes"] > 0}),
        ("lists", lambda state: {**state, "refunds": ["refund"] * state["refunds"]}),
        ("only what happened", lambda state: {name: value for name, value in state.items() if value}),
        ("sums of a database", lambda state: {**state, "refunds": Decimal(state["refunds"])}),
        ("an object", lambda state: SimpleNamespace(**state)),
        ("a status in capitals", lambda state: {**state, "status": state["status"] and state["status"].upper()}),
    ],
)
def test_a_right_receiver_may_show_its_effects_in_another_form(name: str, observe: Any, tmp_path: Path) -> None:
    report = check(Accounts, tmp_path, observe=observe)
    assert failures(report) == []
    assert verdicts(report) == PASSED


class EndsAtItsTerminalStatus(Accounts):
    """Ignore every event after a status that ends the message: the user has an answer."""

    ends = ("verified", "target_invalid")

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        marks = ", ".join("?" * len(self.ends))
        query = f"SELECT 1 FROM effects WHERE message_id = ? AND status IN ({marks})"
        if not db.execute(query, [message_id, *self.ends]).fetchone():
            super().keep(db, message_id, status, detail)


def test_a_terminal_status_may_end_the_message(tmp_path: Path) -> None:
    effects = {"credits": "verified", "refunds": ["sent_failed", "target_invalid"]}
    report = check(EndsAtItsTerminalStatus, tmp_path, effects=effects, terminal=EndsAtItsTerminalStatus.ends)
    assert failures(report) == []
    assert verdicts(report) == PASSED


def test_without_a_terminal_status_an_effect_is_never_lost(tmp_path: Path) -> None:
    report = check(EndsAtItsTerminalStatus, tmp_path, effects={"credits": "verified"}, terminal=None)
    assert verdicts(report) == {**PASSED, "F03": "fail", "F04": "skipped"}
    assert "credits happened 0 times after plan, sent, target_invalid, verified" in failures(report)[0]


def test_only_what_the_receiver_ticks_is_sent(tmp_path: Path) -> None:
    report = check(Accounts, tmp_path, events=["sent_failed", "verified"])
    assert verdicts(report) == {**PASSED, "F05": "skipped"}
    report = check(Accounts, tmp_path, events=["delivered", "verified"], effects={"credits": "verified"})
    assert verdicts(report) == {**PASSED, "F05": "skipped"}


def test_a_finding_has_the_shortest_schedule(tmp_path: Path) -> None:
    class CreditsAnything(Accounts):
        def effect(self, status: str) -> str:
            return "credits" if status == "read" else super().effect(status)

    finding = check(CreditsAnything, tmp_path).finding("F02")
    assert finding.reason == "credits happened 1 time after read; expected 0: it belongs to verified"
    assert finding.token == "eg1:read"
    assert finding.changes[-1].after.value["credits"] == 1


# Nothing is green for a wrong reason.


def test_without_a_meaning_the_family_is_skipped_and_the_report_says_what_was_inferred(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(Accounts(store)), PATH, observe=lambda id: account(store, id), **SETTINGS)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(only=["F*", "C06"], patience=0.1)
        assert verdicts(report) == {"C06": "pass", **dict.fromkeys(FAMILY, "skipped")}
        assert report.finding("F04").reason == (
            "`terminal` must name the meanings of statuses, such as --effect credits=verified --terminal verified"
        )
        assert "any change of the state was taken for an effect, such as that of status by `delivered`" in (
            report.inferred
        )
        with pytest.raises(NothingObserved, match="nothing was judged"):
            engagelab.check(only=["F*"], patience=0.1).assert_none("major")
        meant = engagelab.check(only=["C06"], patience=0.1, effects={"credits": "verified"})
    assert meant.inferred == ""


def test_a_misspelt_effect_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(NothingObserved) as raised:
        check(Accounts, tmp_path, effects={"credts": "verified"})
    assert "no state had 'credts'" in str(raised.value)
    assert "did you mean 'credits'?" in str(raised.value)
    assert raised.value.report is not None


@pytest.mark.parametrize("value", ["one", 0.5, -1])
def test_a_value_that_does_not_count_ends_the_run(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match="does not count how often it happened"):
        check(Accounts, tmp_path, observe=lambda state: {**state, "credits": value})


def test_an_effect_before_the_first_callback_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match="credits is 5 for a message that had no callback"):
        check(Accounts, tmp_path, observe=lambda state: {**state, "credits": 5})


def test_a_state_that_names_no_status_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(NothingObserved, match="no status was verified"):
        check(Accounts, tmp_path, observe=lambda state: {"step": len(state["status"] or "")}, effects=None)


def test_a_meaning_needs_observe(tmp_path: Path) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError, match="has effects and terminal, but no observe"):
            engagelab.check(**MEANING)
        with pytest.raises(UsageError, match="unknown status 'verfied'"):
            engagelab.check(observe=lambda id: None, effects={"credits": "verfied"})


def test_a_state_of_all_messages_is_not_judged(tmp_path: Path) -> None:
    class Totals(Accounts):
        pass

    store = Store(tmp_path / "receiver.sqlite")

    def totals(message_id: str) -> dict[str, Any]:
        states = [account(store, id) for id in store.message_ids()]
        return {"known": len(states), "locked": False}

    receiver = Receiver.wsgi(on_flask(Totals(store)), PATH, observe=totals, effects={"locked": "verified"}, **SETTINGS)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(only=["F*"], patience=0.1)
    assert {finding.verdict for finding in report.findings if finding.id in FAMILY[:3]} == {Judgement.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("status", "way"),
    [
        ("plan", ["plan"]),
        ("verified", ["plan", "sent", "verified"]),
        ("read", ["plan", "sent", "delivered", "read"]),
        ("target_invalid", ["plan", "target_invalid"]),
    ],
)
def test_the_way_to_a_status_is_the_shortest(status: str, way: list[str]) -> None:
    assert list(way_to(status)) == way
