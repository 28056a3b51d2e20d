"""The correct receiver on real servers: it passes every check but those that the server makes impossible."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from engagelab_mock import Judgement, Receiver, Report
from engagelab_mock.checks import wire
from engagelab_mock.checks.context import Hooks
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.selection import Selection
from engagelab_mock.checks.stacks import STACK_LIMITS
from tests.checks.receivers.correct import PATH, observe
from tests.checks.receivers.store import Store
from tests.checks.serving import SETTINGS
from tests.real.stacks.process import PATIENCE, await_answer, serving

#: What cannot be asked of an app in another process, at an address that is plain http and no name.
NOT_THERE = {"A07", "B21", "C05", "E09", "E10"}

pytestmark = pytest.mark.slow


def check_on(stack: str, directory: Path, *, only: Sequence[str] = ()) -> Report:
    store = Store(directory / "receiver.sqlite")
    with serving("tests.checks.receivers.stacks", [stack, str(directory / "receiver.sqlite")], directory) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS)
        await_answer(Receiver.http(url + PATH, **SETTINGS, limit=PATIENCE), directory)
        # What is kept is there when it is acknowledged, so nothing is waited for that does not come.
        hooks = Hooks(observe=partial(observe, store), prepare=lambda message: store.issue(message.id), patience=0.5)
        try:
            return Runner(receiver, hooks, selection=Selection(only=only)).run()
        finally:
            receiver.close()


@pytest.mark.parametrize("stack", STACK_LIMITS)
def test_the_correct_receiver_passes_all_that_its_stack_can_do(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(limit.check == "E06" for limit in STACK_LIMITS[stack]):
        # Nobody is answered, however long it is waited for.
        monkeypatch.setattr(wire, "BESIDE", 0.2)
    report = check_on(stack, tmp_path)
    failed = {finding.id: finding.reason for finding in report.of(Judgement.FAIL)}
    assert list(failed) == [limit.check for limit in STACK_LIMITS[stack]], failed
    untold = [*report.of(Judgement.INCONCLUSIVE), *report.of(Judgement.SKIPPED)]
    assert {finding.id for finding in untold} == NOT_THERE
    assert {finding.id: finding.warnings for finding in report.findings if finding.warnings} == {}


def test_threads_are_what_helps_against_half_a_callback(tmp_path: Path) -> None:
    report = check_on("gunicorn with threads and Flask", tmp_path, only=["E06"])
    assert report.finding("E06").verdict is Judgement.PASS


def test_a_refusal_is_what_helps_against_chunks_that_are_not_read(tmp_path: Path) -> None:
    finding = check_on("gunicorn and Django, refusing chunks", tmp_path, only=["E01"]).finding("E01")
    assert finding.verdict is Judgement.PASS
    assert "answered 411" in finding.warnings[0]
