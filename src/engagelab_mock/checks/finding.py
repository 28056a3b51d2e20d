"""What came of one check, with everything it rests on."""

from __future__ import annotations

import shlex

import msgspec

from engagelab_mock.checks.check import Check
from engagelab_mock.checks.evidence import Change, Exchange, curl_note
from engagelab_mock.checks.verdict import Judgement, Severity


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what a check came to: the judgement, the reason, what was sent and received, what changed.

    >>> from engagelab_mock import CHECKS
    >>> Finding(check=CHECKS["A01"], verdict=Judgement.PASS).fell_short
    False
    """

    check: Check
    verdict: Judgement
    #: Why it came to that, in a sentence; empty when all is as expected.
    reason: str = ""
    #: What is not as it should be and yet no failure.
    warnings: tuple[str, ...] = ()
    #: Every request with its answer, in order.
    exchanges: tuple[Exchange, ...] = ()
    #: What was seen of the receiver's state, where somebody looked.
    changes: tuple[Change, ...] = ()
    #: Why the finding is not to count, if the project says so.
    suppressed: str | None = None
    #: How long the check took, in seconds.
    elapsed: float = 0.0
    #: The schedule that showed the failure, as a token; empty where what was sent is none.
    token: str = ""

    @property
    def id(self) -> str:
        """Return the check's id."""
        return self.check.id

    @property
    def name(self) -> str:
        """Return the check's name."""
        return self.check.name

    @property
    def severity(self) -> Severity:
        """Return how bad it is when the check fails."""
        return self.check.severity

    @property
    def fell_short(self) -> bool:
        """Tell whether the receiver fell short, and that counts."""
        return self.verdict is Judgement.FAIL and self.suppressed is None

    @property
    def repro(self) -> str:
        """Return what does it again: a command that plays the token, curl lines, or in process a line of Python."""
        lines = self._replay if self.token else [line for exchange in self.exchanges[-2:] if (line := exchange.curl)]
        if not lines:
            return f'engagelab.check(only=["{self.id}"])'
        note = curl_note([each for each in self.exchanges[-2:] if not each.in_process])
        return "\n".join([*lines, *([f"# {note}"] if note else [])])

    @property
    def _replay(self) -> list[str]:
        last = self.exchanges[-1] if self.exchanges else None
        if last is None or last.in_process:
            return [f"engagelab.play({self.token!r})"]
        return [f"engagelab-mock send --replay {shlex.quote(self.token)} --url {shlex.quote(last.address)}"]

    def __str__(self) -> str:
        return f"{self.id} {self.name}: {self.verdict}{f', {self.reason}' if self.reason else ''}"
