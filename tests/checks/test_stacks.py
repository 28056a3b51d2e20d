"""The correct receiver on real servers: it passes all checks except those that the server makes impossible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import Judgement, Receiver, Report
from engagelab_mock.checks import wire
from engagelab_mock.checks.catalogue import STACK_LIMITS
from tests.checks.receivers.correct import PATH, SETTINGS, observe
from tests.checks.receivers.store import Store
from tests.checks.serving import check, hooks_of
from tests.real.stacks.process import PATIENCE, await_answer, serving

#: The checks that are not possible for an app in another process that has one worker and is not restarted, at an
#: address with plain http and without a name.
NOT_THERE = {"A07", "B27", "C25", "C26", "C27", "B21", "C05", "E09", "E10"}

pytestmark = pytest.mark.slow


def check_on(stack: str, directory: Path, *, only: Sequence[str] = ()) -> Report:
    store = Store(directory / "receiver.sqlite")
    with serving("tests.checks.receivers.stacks", [stack, str(directory / "receiver.sqlite")], directory) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS)
        await_answer(Receiver.http(url + PATH, **SETTINGS, limit=PATIENCE), directory)
        # The receiver has its effects before it answers, so a short wait is enough.
        hooks = hooks_of(store, with_credits, patience=0.5)
        return check(receiver, only=only, effects={"credits": "verified"}, terminal="verified", depth="deep", **hooks)


def with_credits(store: Store, message_id: str) -> dict[str, Any]:
    state = observe(store, message_id)
    return {**state, "credits": [status for status, _ in state["effects"] if status == "verified"]}


@pytest.mark.parametrize("stack", STACK_LIMITS)
def test_the_correct_receiver_passes_all_that_its_stack_can_do(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(limit.check == "E06" for limit in STACK_LIMITS[stack]):
        # The server answers no other request, so a short wait is enough.
        monkeypatch.setattr(wire, "MEANWHILE", 0.2)
    report = check_on(stack, tmp_path)
    failed = {finding.id: finding.reason for finding in report.of(Judgement.FAIL)}
    assert list(failed) == [limit.check for limit in STACK_LIMITS[stack]], failed
    untold = [*report.of(Judgement.INCONCLUSIVE), *report.of(Judgement.SKIPPED)]
    assert {finding.id for finding in untold if not finding.left_out} == NOT_THERE
    assert {finding.id: finding.warnings for finding in report.findings if finding.warnings} == {}


def test_threads_help_against_half_a_callback(tmp_path: Path) -> None:
    report = check_on("gunicorn with threads and Flask", tmp_path, only=["E06"])
    assert report.finding("E06").verdict is Judgement.PASS


def test_a_refusal_helps_against_chunks_that_are_not_read(tmp_path: Path) -> None:
    finding = check_on("gunicorn and Django, refusing chunks", tmp_path, only=["E01"]).finding("E01")
    assert finding.verdict is Judgement.PASS
    assert "answered 411" in finding.warnings[0]


@pytest.mark.parametrize(
    ("stack", "verdict"),
    [
        ("two workers", Judgement.PASS),
        ("two workers, with a cache each", Judgement.FAIL),
        ("two workers with threads, with a cache each", Judgement.FAIL),
    ],
)
def test_what_only_one_of_two_worker_processes_knows_is_found(stack: str, verdict: Judgement, tmp_path: Path) -> None:
    report = check_on(stack, tmp_path, only=["C27"])
    assert report.finding("C27").verdict is verdict, report.finding("C27").reason
    assert report.workers == 2
