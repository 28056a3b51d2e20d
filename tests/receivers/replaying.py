"""Replay tokens in a new process: `python -m tests.receivers.replaying STACK SERVER TIMES RECEIVER=TOKEN …`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from engagelab_mock import EngageLab, ScheduleFailed
from tests.receivers.racing_stacks import racing_receiver


def failures_in_a_new_process(stack: str, tokens: Mapping[str, str], times: int, server: str = "") -> dict[str, int]:
    """Replay the token of each receiver as often as `times` says, and return how many of the replays failed."""
    given = [stack, server, str(times), *(f"{name}={token}" for name, token in tokens.items())]
    command = [sys.executable, "-m", "tests.receivers.replaying", *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _failures(stack: str, server: str, name: str, token: str, times: int) -> int:
    failed = 0
    with racing_receiver(stack, name, server) as receiver, EngageLab(receiver) as engagelab:
        for _ in range(times):
            try:
                engagelab.replay(token)
            except ScheduleFailed as error:
                failed += error.failure.violation.invariant in {"serializable", "crash_safe"}
    return failed


if __name__ == "__main__":
    chosen, at, number, *cases = sys.argv[1:]
    pairs = [case.split("=", 1) for case in cases]
    print(json.dumps({name: _failures(chosen, at, name, token, int(number)) for name, token in pairs}))
