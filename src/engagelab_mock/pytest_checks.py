"""The tests that `--engagelab-check` adds: one for each check, against the receiver of `engagelab_receiver`.

It is collected as a test module where that fixture is overridden, and imported for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from engagelab_mock.checks.catalogue import CHECKS
from engagelab_mock.checks.context import Hooks
from engagelab_mock.checks.render import in_full
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.selection import Selection
from engagelab_mock.checks.verdict import Judgement
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import UnknownName, UsageError

_OPTIONS = ("observe", "prepare", "stall", "patience", "suppress")


@pytest.mark.parametrize("id", [pytest.param(c.id, id=f"{c.id}-{c.name}-{c.severity}") for c in CHECKS.values()])
def test_receiver(
    id: str,
    engagelab_receiver: Receiver | Sequence[Receiver],
    engagelab_check_options: Mapping[str, Any],
    pytestconfig: pytest.Config,
) -> None:
    """Fail if the receiver falls short; what is inconclusive is skipped, what is suppressed is expected to fail."""
    options = _checked(engagelab_check_options)
    suppress = {**_reasons(pytestconfig), **(options.pop("suppress", None) or {})}
    receivers = [engagelab_receiver] if isinstance(engagelab_receiver, Receiver) else engagelab_receiver
    unclear = []
    for receiver in receivers:
        runner = Runner(receiver, Hooks(**options), selection=Selection(suppress=suppress))
        try:
            finding = runner.run_one(CHECKS[id])
        finally:
            receiver.close()
        if finding.fell_short:
            pytest.fail(in_full(finding), pytrace=False)
        if finding.verdict is Judgement.FAIL:
            pytest.xfail(f"{finding.suppressed} ({finding.reason})")
        if finding.verdict is not Judgement.PASS:
            unclear.append(f"{finding.verdict}: {finding.reason}")
    if unclear:
        pytest.skip(unclear[0])


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in _OPTIONS:
            raise UnknownName("option", name, _OPTIONS, where="engagelab_check_options")
    return dict(given)


def _reasons(config: pytest.Config) -> dict[str, str]:
    """Return the reasons in the ini key, one `ID: reason` a line."""
    reasons = {}
    for line in config.getini("engagelab_check_suppress"):
        id, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            raise UsageError(f"{line!r} gives no reason", where="engagelab_check_suppress", hint=f"{id}: why")
        reasons[id.strip()] = reason.strip()
    return reasons
