"""Replay a token in a new process: `python -m tests.receivers.replaying STACK RECEIVER TOKEN TIMES [SERVER]`."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from engagelab_mock import EngageLab, ScheduleFailed
from tests.receivers.racing_stacks import racing_receiver


def failures_in_a_new_process(stack: str, name: str, token: str, times: int, server: str = "") -> int:
    """Replay the token of a receiver as often as `times` says, and return how many of the replays failed."""
    command = [sys.executable, "-m", "tests.receivers.replaying", stack, name, token, str(times), server]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _failures(stack: str, name: str, token: str, times: int, server: str) -> int:
    failed = 0
    with racing_receiver(stack, name, server) as receiver, EngageLab(receiver) as engagelab:
        for _ in range(times):
            try:
                engagelab.replay(token)
            except ScheduleFailed as error:
                failed += error.failure.violation.invariant in {"serializable", "crash_safe"}
    return failed


if __name__ == "__main__":
    logging.disable()
    stack, name, token, times, server = sys.argv[1:]
    print(_failures(stack, name, token, int(times), server))
