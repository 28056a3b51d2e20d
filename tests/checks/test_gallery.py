"""Every check against the correct receiver, which passes it, and against a mutant, which fails it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagelab_mock import CHECKS, Judgement, Report
from tests.checks.receivers.correct import CorrectReceiver
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.mutants import MUTANTS
from tests.checks.serving import CORRECT, check_in_process, check_over_a_socket

#: What a transport cannot express.
NOT_IN_PROCESS = {"A06", "B09", "C04", "E01", "E02", "E03", "E04", "E05", "E06", "E09", "E10"}
#: Nor is there a certificate, or a name to resolve, at an address that begins with http://127.0.0.1.
NOT_OVER_A_SOCKET = {"B21", "C05", "E09", "E10"}

#: Checks that take longer than all others together; a mutant that is not made for them is not put through them.
HEAVY = {"C07", "D08"}


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
    report = check_in_process(mutant, tmp_path, skip=sorted(HEAVY - {*mutant.fails_in_process}))
    assert failed(report) == mutant.fails_in_process


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if "wsgi" not in m.over], ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_wire_fails_its_check_and_no_other(mutant: Mutant, tmp_path: Path) -> None:
    skip = sorted(HEAVY - {*mutant.fails_over_a_socket})
    # Where the bug is the server's, what the app makes of bodies and of their order is as correct as ever.
    app_s_own = ["C*", "D*"] if mutant.kind is CorrectReceiver else []
    report = check_over_a_socket(mutant, tmp_path, skip=[*skip, *app_s_own])
    assert failed(report) == mutant.fails_over_a_socket


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if {"wsgi", "http"} <= {*m.over}], ids=lambda mutant: mutant.name
)
def test_a_mutant_fails_the_same_checks_over_a_socket(mutant: Mutant, tmp_path: Path) -> None:
    report = check_over_a_socket(mutant, tmp_path, only=mutant.fails_over_a_socket)
    assert failed(report) == mutant.fails_over_a_socket
