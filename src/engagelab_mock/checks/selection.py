"""Which checks are run, and which of their findings count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from engagelab_mock.checks.catalogue import CHECKS
from engagelab_mock.checks.check import Check
from engagelab_mock.checks.verdict import severity as find_severity
from engagelab_mock.errors import UnknownName, UsageError


class Selection:
    """Choose checks by id or name, where `*` stands for anything, and by severity; suppress some with a reason.

    >>> Selection(only=["B02", "A*"], skip=["ping-json"]).leaves_out(CHECKS["A02"])
    "skipped by 'ping-json'"

    Raises `UnknownName` for what is the id or name of no check.
    """

    def __init__(
        self,
        *,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        severity: str = "info",
        suppress: Mapping[str, str] | None = None,
    ) -> None:
        self.only = [_known(pattern, "only") for pattern in only]
        self.skip = [_known(pattern, "skip") for pattern in skip]
        self.severity = find_severity(severity)
        #: The reasons for which findings are suppressed, by the checks' ids.
        self.suppress = {
            check.id: reason
            for pattern, reason in (suppress or {}).items()
            for check in _matching(_known(pattern, "suppress"))
            if _given(reason, pattern)
        }

    def leaves_out(self, check: Check) -> str:
        """Say why a check is not run; nothing if it is."""
        if self.only and not any(_matches(check, pattern) for pattern in self.only):
            return "not among those asked for"
        for pattern in self.skip:
            if _matches(check, pattern):
                return f"skipped by {pattern!r}"
        if not check.severity.at_least(self.severity):
            return f"less severe than {self.severity}"
        return ""


def _known(pattern: str, where: str) -> str:
    if not _matching(pattern):
        names = [name for check in CHECKS.values() for name in (check.id, check.name)]
        raise UnknownName("check", pattern, names, where=where)
    return pattern


def _matching(pattern: str) -> list[Check]:
    return [check for check in CHECKS.values() if _matches(check, pattern)]


def _matches(check: Check, pattern: str) -> bool:
    # Ids are in capitals and names are not, so that A* is a family and not all whose name begins with an a.
    return fnmatchcase(check.id, pattern) or fnmatchcase(check.name, pattern) or check.id == pattern.upper()


def _given(reason: object, pattern: str) -> bool:
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(
            f"{pattern} is suppressed without a reason", where="suppress", hint=f'suppress = {{ {pattern} = "why" }}'
        )
    return True
