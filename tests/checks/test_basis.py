"""Nothing passes that was not seen: a verdict rests on the answer, the state, or both."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, Judgement, NothingObserved, Receiver
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver, Incoming, observe
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store
from tests.checks.receivers.verifying import ComparesNothing
from tests.checks.serving import CORRECT, check_in_process

Answer = tuple[int, str, dict[str, str]]


# --- Without a way to see the state


def test_without_observe_nothing_about_effects_passes(tmp_path: Path) -> None:
    report = check_in_process(CORRECT, tmp_path, hooks={})
    for finding in report.findings:
        if finding.check.need in {"probe", "both"} and finding.verdict is not Judgement.SKIPPED:
            assert finding.verdict is Judgement.INCONCLUSIVE
            assert "give `observe`" in finding.reason
    assert not report.observed
    assert report.worst_first == []


def test_without_observe_a_forgery_is_judged_by_its_answer(tmp_path: Path) -> None:
    finding = check_in_process(Mutant("", ComparesNothing), tmp_path, only=["B02"], hooks={}).finding("B02")
    assert finding.verdict is Judgement.FAIL
    assert "was answered like a genuine callback" in finding.reason


class SaysYesToEverything(CorrectReceiver):
    """Answer 200 to forged callbacks, without an effect."""

    def answer(self, incoming: Incoming) -> Answer:
        super().answer(incoming)
        return 200, "", {}


def test_a_receiver_that_answers_200_to_forgeries_and_ignores_them_is_warned(tmp_path: Path) -> None:
    report = check_in_process(Mutant("", SaysYesToEverything), tmp_path, only=["B*"])
    assert report.worst_first == []
    assert "had no effect, but was answered 200 like a genuine callback" in report.finding("B02").warnings[0]


def test_an_observe_that_reads_the_wrong_place_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(NothingObserved) as caught:
        check_in_process(CORRECT, tmp_path, only=["A01"], hooks={"observe": lambda message_id: "?", "patience": 0.1})
    text = str(caught.value)
    assert "valid callbacks were acknowledged, but `observe` still returned '?'" in text
    assert [name for name in ("prepare", "observe", "wait_idle") if f"`{name}`" in text.partition("hint:")[2]] == [
        *("prepare", "observe", "wait_idle")
    ]
    assert caught.value.report is not None
    assert caught.value.report.findings == ()


def test_the_observe_of_a_receiver_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(CorrectReceiver(store)), PATH, observe=partial(observe, store), **SETTINGS)
    with EngageLab(receiver) as engagelab:
        assert engagelab.check(only=["B16"]).finding("B16").verdict is Judgement.PASS


# --- What a verdict rests on


def test_a_verdict_rests_on_the_answer_the_state_or_both(tmp_path: Path) -> None:
    seen = check_in_process(CORRECT, tmp_path, only=["A01", "B01", "B16", "D01"])
    assert [seen.finding(id).basis for id in ("A01", "B01", "B16", "D01")] == ["answer", "both", "state", "both"]
    assert seen.summary()["pass_by_answer"] == 1
    unseen = check_in_process(CORRECT, tmp_path, only=["A01", "B01", "B02"], hooks={})
    assert {unseen.finding(id).basis for id in ("A01", "B01", "B02")} == {"answer"}
    assert (unseen.summary()["pass"], unseen.summary()["pass_by_answer"]) == (3, 3)
    unseen.assert_none("info")


class CrashesOnBatches(CorrectReceiver):
    def answer(self, incoming: Incoming) -> Answer:
        return (500, "", {}) if incoming.body.count(b'"message_status"') > 1 else super().answer(incoming)


def test_a_failure_rests_on_what_showed_it(tmp_path: Path) -> None:
    # The check looks at both, but the answer showed this failure.
    crashed = check_in_process(Mutant("", CrashesOnBatches), tmp_path, only=["D01"]).finding("D01")
    believed = check_in_process(Mutant("", ComparesNothing), tmp_path, only=["B02"]).finding("B02")
    assert (crashed.verdict, crashed.basis) == (Judgement.FAIL, "answer")
    assert (believed.verdict, believed.basis, believed.reason[-13:]) == (Judgement.FAIL, "state", "had an effect")


# --- Nothing judged


def test_a_report_in_which_nothing_was_judged_is_no_success(tmp_path: Path) -> None:
    report = check_in_process(CORRECT, tmp_path, only=["C06"], hooks={})
    assert report.worst_first == []
    with pytest.raises(NothingObserved, match="nothing was judged: the state of the app cannot be seen"):
        report.assert_none("blocker")


def test_a_family_that_was_asked_for_must_be_judged(tmp_path: Path) -> None:
    report = check_in_process(CORRECT, tmp_path, only=["A01", "C06"], hooks={})
    with pytest.raises(NothingObserved, match=r"nothing was judged of Duplicates and order \(C\)"):
        report.assert_none("blocker")
    # Nobody asked for it.
    rest = check_in_process(CORRECT, tmp_path, skip=["A06", "B*", "C12", "D*"], hooks={})
    assert rest.unjudged == ()
    rest.assert_none("blocker")


def test_with_observe_every_family_that_is_possible_must_be_judged(tmp_path: Path) -> None:
    hooks = {"observe": partial(ShowsNoOrder.observe, Store(tmp_path / "receiver.sqlite")), "patience": 0.05}
    report = check_in_process(Mutant("", ShowsNoOrder), tmp_path, skip=["A06", "B*", "C12", "D*", "E*"], hooks=hooks)
    assert report.worst_first == []
    with pytest.raises(NothingObserved, match=r"\(C\): no single callback has an effect that can be seen"):
        report.assert_none("blocker")


class ShowsNoOrder(CorrectReceiver):
    """Show a message once it has three effects."""

    @staticmethod
    def observe(store: Store, message_id: str) -> Any:
        return len(store.effects(message_id)) >= 3
