"""Every check against the correct receiver, which passes it, and against a mutant, which fails it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagelab_mock import CHECKS, Judgement, Report
from engagelab_mock.checks import wire
from tests.checks.receivers.correct import CorrectReceiver
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.mutants import MUTANTS
from tests.checks.serving import CORRECT, check_in_process, check_over_a_socket

#: What a transport cannot express.
NOT_IN_PROCESS = {"A06", "B09", "C04", "E01", "E02", "E03", "E04", "E05", "E06", "E09", "E10"}
#: Nor is there a certificate, or a name to resolve, at an address that begins with http://127.0.0.1.
NOT_OVER_A_SOCKET = {"B21", "C05", "E09", "E10"}

#: The checks that send most: many copies, many orders, many rows. They take longer than all others together.
MANY = {*("C01", "C02", "C03", "C04", "C05", "C09", "C10", "C11", "C14", "C15"), *("D02", "D16")}
#: Those that take longest of all. A mutant is put through them if it is to fail them; the correct receiver is always.
LONG = {"A06", "C07", "D08", "E03"}
#: What stands for all the others where each answer takes time.
SAMPLE = {"A01", "A04", "A09", "B01", "B02", "B16", *("C01", "C02", "C03", "C04", "C05", "C12"), "D01", "D05", "E08"}


def skipped(mutant: Mutant, fails: list[str]) -> list[str]:
    """Return the checks that a mutant is not put through.

    What several events lead to is asked of the mutants that are wrong about just that, which are those of family C.
    """
    left_out = LONG if mutant.id.startswith("C") else LONG | MANY
    if mutant.slow:
        left_out = {*CHECKS} - SAMPLE
    return sorted((left_out | {*mutant.not_asked}) - {*fails})


def failed(report: Report) -> list[str]:
    return [finding.id for finding in report.findings if finding.verdict is Judgement.FAIL]


def not_passed(report: Report) -> dict[str, str]:
    return {f.id: f"{f.verdict}: {f.reason} {f.warnings}" for f in report.findings if f.verdict is not Judgement.PASS}


def test_no_check_is_without_a_mutant() -> None:
    assert sorted(CHECKS) == sorted({mutant.id for mutant in MUTANTS})


def test_the_correct_receiver_passes_in_process(tmp_path: Path) -> None:
    report = check_in_process(CORRECT, tmp_path)
    assert set(not_passed(report)) == NOT_IN_PROCESS, not_passed(report)
    assert [finding.warnings for finding in report.findings if finding.warnings] == []


def test_the_correct_receiver_passes_over_a_socket(tmp_path: Path) -> None:
    report = check_over_a_socket(CORRECT, tmp_path)
    assert set(not_passed(report)) == NOT_OVER_A_SOCKET, not_passed(report)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if "wsgi" in m.over], ids=lambda mutant: mutant.name)
def test_a_mutant_fails_its_check_and_no_other_in_process(mutant: Mutant, tmp_path: Path) -> None:
    report = check_in_process(mutant, tmp_path, skip=skipped(mutant, mutant.fails_in_process))
    assert failed(report) == mutant.fails_in_process


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if "wsgi" not in m.over], ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_wire_fails_its_check_and_no_other(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip = skipped(mutant, mutant.fails_over_a_socket)
    if "E06" in mutant.fails_over_a_socket:
        # Nobody is answered, however long it is waited for.
        monkeypatch.setattr(wire, "BESIDE", 0.2)
    # Where the bug is the server's, what the app makes of bodies and of their order is as correct as ever.
    app_s_own = ["C*", "D*"] if mutant.kind is CorrectReceiver else []
    report = check_over_a_socket(mutant, tmp_path, skip=[*skip, *app_s_own])
    assert failed(report) == mutant.fails_over_a_socket


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if {"wsgi", "http"} <= {*m.over}], ids=lambda mutant: mutant.name
)
def test_a_mutant_fails_its_check_over_a_socket_as_well(mutant: Mutant, tmp_path: Path) -> None:
    # What it cannot but fail besides is seen in process, unless it fails that over a socket alone.
    fails = sorted({mutant.id, *mutant.also_over_a_socket})
    assert failed(check_over_a_socket(mutant, tmp_path, only=fails)) == fails
