"""What the command line exits with, and why."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from engagelab_mock.delivery.model import Attempt


class ExitCode(IntEnum):
    """Name what an exit code says.

    >>> int(ExitCode.UNREACHABLE)
    3
    """

    OK = 0
    #: The receiver was reached and fell short, or what was to be verified is not valid.
    FELL_SHORT = 1
    #: The command was given something it cannot use.
    USAGE = 2
    #: No request ever got to the receiver.
    UNREACHABLE = 3
    #: Ended by Ctrl-C.
    INTERRUPTED = 130
    #: Ended by SIGTERM.
    TERMINATED = 143


def exit_code_of(attempts: Iterable[Attempt]) -> ExitCode:
    """Judge a receiver by every attempt made at it.

    >>> exit_code_of([])
    <ExitCode.OK: 0>
    """
    attempts = list(attempts)
    if any(attempt.outcome.unreachable for attempt in attempts):
        return ExitCode.UNREACHABLE
    return ExitCode.OK if all(attempt.acknowledged for attempt in attempts) else ExitCode.FELL_SHORT
