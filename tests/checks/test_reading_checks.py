"""What the checks of batches and bodies make of receivers that do things in their own, correct way."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engagelab_mock import CHECKS, Judgement, Report
from engagelab_mock.checks.context import Hooks
from tests.checks.receivers.correct import ALONG, CorrectReceiver, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store
from tests.checks.serving import CORRECT, check_in_process

READING = ["D*", "E07", "E08", "E11"]


class KeepsARowForEachCallback(CorrectReceiver):
    """Number and date what it keeps, and note down what it does not know."""

    #: When each effect was first seen, which stands for when it was kept.
    kept: ClassVar[dict[tuple[str, ...], tuple[int, float]]] = {}

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        status = row["status"].get("message_status")
        if isinstance(status, str) and self.known(status) is None:
            self.keep(db, str(row["message_id"]), "unknown", status)
        super().apply_status(db, row)

    @classmethod
    def observe(cls, store: Store, message_id: str) -> Any:
        rows = []
        for status, detail in store.effects(message_id):
            number, at = cls.kept.setdefault((message_id, status, detail), (len(cls.kept), time.time()))
            rows.append({"id": number, "at": at, "status": status, "detail": detail})
        return {"rows": rows}


class LooksAtTheClock(CorrectReceiver):
    """Show with a state when it was looked at."""

    @staticmethod
    def observe(store: Store, message_id: str) -> Any:
        return {"effects": store.effects(message_id), "now": time.time_ns()}


class KeepsTheStatusAlone(CorrectReceiver):
    """Keep how far a message has come, as a number, and whatever users write back."""

    @staticmethod
    def observe(store: Store, message_id: str) -> Any:
        effects = store.effects(message_id)
        if message_id == "0":
            return len(effects)
        if not effects:
            raise LookupError(message_id)
        return max((ALONG[status] for status, _ in effects if status in ALONG), default=-1)


class RefusesWhateverIsOdd(CorrectReceiver):
    """Refuse as a whole what is not as documented, and keep nothing of it."""

    def decode(self, body: bytes) -> dict[str, Any]:
        envelope = super().decode(body)
        if envelope.get("total") != len(envelope["rows"]) or not all(map(self.is_sound, envelope["rows"])):
            raise Refused(400)
        return envelope

    def is_sound(self, row: Any) -> bool:
        status = row.get("status", {}) if isinstance(row, dict) else None
        odd = not isinstance(status, dict) or row.get("notification", {}) is None
        return (
            not odd
            and (not status or isinstance(status.get("message_status"), str))
            and "status" not in {key for key, value in row.items() if value == {}}
        )


class TakesNaN(CorrectReceiver):
    """Parse as Python does by default, and have no use for costs."""

    def decode(self, body: bytes) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(body) if b"NaN" in body else super().decode(body)
        return envelope

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if not status.startswith("cost"):
            super().keep(db, message_id, status, detail)


def verdicts(report: Report) -> dict[str, str]:
    return {
        finding.id: f"{finding.verdict}: {finding.reason}"
        for finding in report.findings
        if finding.verdict is not Judgement.PASS and finding.id[0] in "DE" and "not among those" not in finding.reason
    }


def check(kind: type[CorrectReceiver], directory: Path) -> Report:
    observe = getattr(kind, "observe", None)
    mutant = Mutant("", kind, observe=observe) if observe is not None else Mutant("", kind)
    return check_in_process(mutant, directory, only=READING)


def test_numbers_and_times_of_the_apps_own_are_not_compared(tmp_path: Path) -> None:
    assert verdicts(check(KeepsARowForEachCallback, tmp_path)) == {}


def test_a_state_that_changes_by_itself_says_nothing(tmp_path: Path) -> None:
    report = check(LooksAtTheClock, tmp_path)
    assert report.of(Judgement.FAIL) == []
    assert "differs from one look to the next" in report.finding("D01").reason


def test_a_state_of_one_number_is_enough_but_for_the_costs(tmp_path: Path) -> None:
    report = check(KeepsTheStatusAlone, tmp_path)
    assert verdicts(report) == {"D20": "inconclusive: what `observe` returns does not show what a message cost"}


def test_a_receiver_that_refuses_what_is_odd_is_warned_alone(tmp_path: Path) -> None:
    report = check(RefusesWhateverIsOdd, tmp_path)
    assert verdicts(report) == {}
    assert {finding.id for finding in report.findings if finding.warnings} == {"D04", "D05", "D06"}


def test_to_parse_nan_is_no_failure_while_nothing_of_it_stays(tmp_path: Path) -> None:
    report = check(TakesNaN, tmp_path)
    assert verdicts(report) == {"D20": "inconclusive: what `observe` returns does not show what a message cost"}
    assert "NaN" in report.finding("D21").warnings[0]


def test_what_is_about_effects_does_not_pass_unseen(tmp_path: Path) -> None:
    found = check_in_process(CORRECT, tmp_path, only=READING, hooks=Hooks())
    about_effects = {id for id, check in CHECKS.items() if check.need != "http" and id[0] in "DE"}
    expected = {id for id in about_effects if "wsgi" in CHECKS[id].transports} - {"E11"}
    assert {id for id in verdicts(found) if id != "E11" and CHECKS[id].transports != ("http",)} == expected
    assert {finding.verdict for finding in found.findings if finding.id in expected} == {Judgement.INCONCLUSIVE}


@pytest.mark.parametrize("ticked", [["status"], ["delivered"], ["notification"]])
def test_what_is_not_ticked_is_skipped_and_nothing_fails(ticked: list[str], tmp_path: Path) -> None:
    report = check_in_process(Mutant("", CorrectReceiver, options={"events": ticked}), tmp_path, only=READING)
    assert report.of(Judgement.FAIL) == []
