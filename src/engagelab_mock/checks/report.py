"""What came of a run of checks: every finding, and what was sent for it."""

from __future__ import annotations

import msgspec

from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.verdict import Judgement, Severity, severity
from engagelab_mock.errors import ReceiverFellShort


class Sent(msgspec.Struct, frozen=True):
    """Say what test data a run has left in a receiver: nothing of it is taken back."""

    callbacks: int = 0
    pings: int = 0
    message_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.callbacks} callbacks about {len(self.message_ids)} messages made up for it, and {self.pings} pings"
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the findings of one run, in the catalogue's order; `elapsed` is in seconds.

    >>> Report(address="http://127.0.0.1/", findings=(), sent=Sent()).summary()["fail"]
    0
    """

    address: str
    findings: tuple[Finding, ...]
    sent: Sent
    seed: str = ""
    elapsed: float = 0.0
    #: Whether somebody could look at the state of the app.
    observed: bool = False

    @property
    def worst_first(self) -> list[Finding]:
        """Return the findings that count as failures, the most severe first."""
        short = [finding for finding in self.findings if finding.fell_short]
        return sorted(short, key=lambda finding: finding.severity.rank)

    def at_least(self, least: str) -> list[Finding]:
        """Return the findings that count as failures and are at least that severe, worst first."""
        bound: Severity = severity(least)
        return [finding for finding in self.worst_first if finding.severity.at_least(bound)]

    def of(self, verdict: Judgement) -> list[Finding]:
        """Return the findings of one verdict."""
        return [finding for finding in self.findings if finding.verdict is verdict]

    def finding(self, id: str) -> Finding:
        """Return the finding of one check."""
        return next(finding for finding in self.findings if finding.id == id)

    def summary(self) -> dict[str, int]:
        """Return how many findings there are of each verdict, and how many failures are suppressed."""
        counts = {str(verdict): len(self.of(verdict)) for verdict in Judgement}
        suppressed = sum(finding.verdict is Judgement.FAIL and not finding.fell_short for finding in self.findings)
        return {**counts, "suppressed": suppressed}

    def assert_none(self, least: str = "major") -> None:
        """Fail, with the worst findings in full, if any is at least that severe.

        >>> Report(address="http://127.0.0.1/", findings=(), sent=Sent()).assert_none("minor")
        """
        __tracebackhide__ = True
        found = self.at_least(least)
        if found:
            raise ReceiverFellShort(*_as_text(self, found, least))


def _as_text(report: Report, found: list[Finding], least: str) -> tuple[str, str]:
    from engagelab_mock.checks.render import in_full  # only ever needed on the way to an error

    checks = "1 check" if len(found) == 1 else f"{len(found)} checks"
    what = f"{report.address} fell short of {checks} of severity {least} or worse"
    return what, "\n\n".join(map(in_full, found))
