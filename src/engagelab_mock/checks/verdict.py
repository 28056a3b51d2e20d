"""What a check can come to, and how bad it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from engagelab_mock.errors import UnknownName

if TYPE_CHECKING:
    from engagelab_mock.explore.schedule import Schedule


class Judgement(StrEnum):
    """Name what a check came to.

    >>> Judgement.FAIL.value
    'fail'
    """

    #: The receiver did what is expected.
    PASS = "pass"
    #: It did not, and the finding holds the evidence.
    FAIL = "fail"
    #: It cannot be told: what would tell was not given, or not reached.
    INCONCLUSIVE = "inconclusive"
    #: It was not sent: not asked for, or not possible with this transport or these settings.
    SKIPPED = "skipped"


class Severity(StrEnum):
    """Name how bad it is when a check fails, worst first.

    >>> Severity.MAJOR.at_least("minor")
    True
    """

    #: Callbacks are lost, or anybody can forge them.
    BLOCKER = "blocker"
    #: Goes wrong under conditions that do occur in production.
    MAJOR = "major"
    #: Goes wrong seldom, or does little harm.
    MINOR = "minor"
    #: Good to know.
    INFO = "info"

    @property
    def rank(self) -> int:
        """Return its place, 0 for the worst."""
        return list(Severity).index(self)

    def at_least(self, other: str) -> bool:
        """Tell whether it is as bad as another, or worse."""
        return self.rank <= severity(other).rank


def severity(name: str) -> Severity:
    """Return a severity by name, or raise `UnknownName`.

    >>> severity("major")
    <Severity.MAJOR: 'major'>
    """
    try:
        return Severity(name)
    except ValueError:
        raise UnknownName("severity", name, list(Severity)) from None


class Ended(Exception):
    """End a trial before its last line, with a judgement, the reason for it, and the schedule that showed it."""

    def __init__(self, judgement: Judgement, reason: str, schedule: Schedule | None = None) -> None:
        super().__init__(reason)
        self.judgement = judgement
        self.reason = reason
        self.schedule = schedule
