"""The checks of batches and bodies: receivers that are correct in unusual ways pass."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engagelab_mock import CHECKS, Judgement, Report, StateNotSettled
from tests.checks.receivers.correct import ALONG, CorrectReceiver, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store
from tests.checks.serving import CORRECT, check_in_process

READING = ["D*", "E07", "E08", "E11"]


class KeepsARowForEachCallback(CorrectReceiver):
    """Store rows with numbers and times, and store unknown statuses."""

    #: The number of each effect, and when it was first read, which stands for the time when it was stored.
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
    """Return the time of reading with the state."""

    @staticmethod
    def observe(store: Store, message_id: str) -> Any:
        return {"effects": store.effects(message_id), "now": time.time_ns()}


class KeepsTheStatusAlone(CorrectReceiver):
    """Store the last status of a message as a number, and users' replies."""

    @staticmethod
    def observe(store: Store, message_id: str) -> Any:
        effects = store.effects(message_id)
        if message_id == "0":
            return len(effects)
        if not effects:
            raise LookupError(message_id)
        return max((ALONG[status] for status, _ in effects if status in ALONG), default=-1)


class RefusesWhateverIsOdd(CorrectReceiver):
    """Refuse the whole callback if it is not as documented, and store nothing."""

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
    """Parse as Python does by default, and ignore costs."""

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
        if finding.verdict is not Judgement.PASS and finding.id[0] in "DE" and "not selected" not in finding.reason
    }


def check(kind: type[CorrectReceiver], directory: Path) -> Report:
    observe = getattr(kind, "observe", None)
    mutant = Mutant("", kind, observe=observe) if observe is not None else Mutant("", kind)
    return check_in_process(mutant, directory, only=READING)


def test_row_numbers_and_times_are_not_compared(tmp_path: Path) -> None:
    assert verdicts(check(KeepsARowForEachCallback, tmp_path)) == {}


@pytest.mark.slow
def test_a_state_that_changes_on_every_read_ends_the_run_and_says_what_to_leave_out(tmp_path: Path) -> None:
    with pytest.raises(
        StateNotSettled, match=r"'now' \(.* in the state changed although nothing was sent in between"
    ) as caught:
        check(LooksAtTheClock, tmp_path)
    assert "do not return values that change on every read" in str(caught.value)
    assert "`wait_idle`" in str(caught.value)


def test_a_state_of_one_number_is_enough_except_for_costs(tmp_path: Path) -> None:
    report = check(KeepsTheStatusAlone, tmp_path)
    assert verdicts(report) == {
        "D20": "not_applicable: `observe` does not return the cost of a message",
        "D29": "not_applicable: `observe` returns no text of custom_args, of errors or of users' replies",
    }


def test_a_receiver_that_refuses_unusual_callbacks_only_gets_warnings(tmp_path: Path) -> None:
    report = check(RefusesWhateverIsOdd, tmp_path)
    assert verdicts(report) == {}
    assert {finding.id for finding in report.findings if finding.warnings} == {"D04", "D05", "D06"}


def test_parsing_nan_passes_if_it_is_not_stored(tmp_path: Path) -> None:
    report = check(TakesNaN, tmp_path)
    assert verdicts(report) == {"D20": "not_applicable: `observe` does not return the cost of a message"}
    assert "NaN" in report.finding("D21").warnings[0]


def test_checks_of_effects_do_not_pass_without_observe(tmp_path: Path) -> None:
    found = check_in_process(CORRECT, tmp_path, only=READING, hooks={})
    about_effects = {id for id, check in CHECKS.items() if check.need != "http" and id[0] in "DE"}
    expected = {id for id in about_effects if "wsgi" in CHECKS[id].transports} - {"E11"}
    assert {id for id in verdicts(found) if id != "E11" and CHECKS[id].transports != ("http",)} == expected
    assert {finding.verdict for finding in found.findings if finding.id in expected} == {Judgement.INCONCLUSIVE}


@pytest.mark.parametrize("ticked", [["status"], ["delivered"], ["notification"]])
def test_checks_of_events_that_are_not_ticked_are_skipped(ticked: list[str], tmp_path: Path) -> None:
    report = check_in_process(Mutant("", CorrectReceiver, options={"events": ticked}), tmp_path, only=READING)
    assert report.of(Judgement.FAIL) == []
