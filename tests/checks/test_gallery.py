"""The correct receiver passes every check, and for every check there is a mutant that fails it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagelab_mock import CHECKS, Judgement, Report
from engagelab_mock.checks import freshness, wire
from tests.checks.receivers.concurrent import let_them_meet
from tests.checks.receivers.correct import CorrectReceiver
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.mutants import MUTANTS
from tests.checks.serving import CORRECT, check_in_process, check_over_a_socket, failed

#: The checks of the meanings that a receiver declares; the correct one declares nothing.
MEANING = {"F01", "F02", "F03", "F04", "F05"}
#: The checks of an app that can be restarted, or names its workers; `test_processes` has correct ones.
PROCESSES = {"B27", "C25", "C26", "C27"}
#: The checks that a transport cannot make.
NOT_IN_PROCESS = {*PROCESSES, "A06", "B09", "C04", "E01", "E02", "E03", "E04", "E05", "E06", "E09", "E10"}
#: An address that begins with http://127.0.0.1 has neither a certificate nor a name to resolve.
NOT_OVER_A_SOCKET = {*PROCESSES, "B21", "C05", "E09", "E10"}

#: The checks that send most: many copies, orders or rows. They take longer than all other checks together.
MANY = {*("C01", "C02", "C03", "C04", "C05", "C09", "C10", "C11", "C14", "C15", "C17"), *("D02", "D03", "D16", "D28")}
#: The slowest checks. They only run for the mutants that must fail them, and for the correct receiver.
LONG = {"A06", "A12", "C07", "C18", "C19", "C20", "C21", "D08", "E03"}
#: The checks that run for slow mutants.
SAMPLE = {
    "A01",
    "A04",
    "A09",
    "B01",
    "B02",
    "B16",
    *("C01", "C02", "C03", "C04", "C05", "C12", "C17"),
    "D01",
    "D05",
    "E08",
}


@pytest.fixture(autouse=True)
def few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send fewer messages than a real check does, but more than the mutant of C18 remembers."""
    monkeypatch.setattr(freshness, "MESSAGES", 150)


@pytest.fixture(autouse=True)
def callbacks_at_once_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    let_them_meet(monkeypatch)


def skipped(mutant: Mutant, fails: list[str]) -> list[str]:
    """Return the checks that do not run for a mutant.

    The checks of several events only run for the mutants that handle these wrongly, those of family C.
    """
    left_out = LONG if mutant.id.startswith("C") else LONG | MANY
    if mutant.slow:
        left_out = {*CHECKS} - SAMPLE
    return sorted((left_out | {*mutant.not_asked}) - {*fails})


def not_passed(report: Report) -> dict[str, str]:
    return {f.id: f"{f.verdict}: {f.reason} {f.warnings}" for f in report.findings if f.verdict is not Judgement.PASS}


def test_every_check_has_a_mutant() -> None:
    assert sorted(CHECKS) == sorted({mutant.id for mutant in MUTANTS})


def test_the_correct_receiver_passes_in_process(tmp_path: Path) -> None:
    report = check_in_process(CORRECT, tmp_path, depth="deep")
    assert set(not_passed(report)) == NOT_IN_PROCESS | MEANING, not_passed(report)
    assert [finding.warnings for finding in report.findings if finding.warnings] == []


@pytest.mark.slow
def test_the_correct_receiver_passes_over_a_socket(tmp_path: Path) -> None:
    report = check_over_a_socket(CORRECT, tmp_path, depth="deep")
    assert set(not_passed(report)) == NOT_OVER_A_SOCKET | MEANING, not_passed(report)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if "wsgi" in m.over], ids=lambda mutant: mutant.name)
def test_a_mutant_fails_its_check_and_no_other_in_process(mutant: Mutant, tmp_path: Path) -> None:
    report = check_in_process(mutant, tmp_path, skip=skipped(mutant, mutant.fails_in_process), depth="deep")
    assert failed(report) == mutant.fails_in_process


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if "wsgi" not in m.over], ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_wire_fails_its_check_and_no_other(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip = skipped(mutant, mutant.fails_over_a_socket)
    if "E06" in mutant.fails_over_a_socket:
        # The server answers no other request, so a short wait is enough.
        monkeypatch.setattr(wire, "MEANWHILE", 0.2)
    # If only the server has a bug, the app handles bodies and orders correctly.
    of_the_app = ["C*", "D*"] if mutant.kind is CorrectReceiver else []
    report = check_over_a_socket(mutant, tmp_path, skip=[*skip, *of_the_app])
    assert failed(report) == mutant.fails_over_a_socket


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if {"wsgi", "http"} <= {*m.over}], ids=lambda mutant: mutant.name
)
def test_a_mutant_fails_its_check_over_a_socket_as_well(mutant: Mutant, tmp_path: Path) -> None:
    # Its other failures are seen in process, except for those that only happen over a socket.
    fails = sorted({mutant.id, *mutant.also_over_a_socket})
    assert failed(check_over_a_socket(mutant, tmp_path, only=fails)) == fails
