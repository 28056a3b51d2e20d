"""Every check by its id; which of them a run selects; and which of them no receiver passes on some server stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import msgspec

from engagelab_mock.checks.acknowledgement import ACKNOWLEDGEMENT
from engagelab_mock.checks.batch import BATCH
from engagelab_mock.checks.body import BODY
from engagelab_mock.checks.check import DEPTHS, Check
from engagelab_mock.checks.check import severity as find_severity
from engagelab_mock.checks.concurrency import CONCURRENCY
from engagelab_mock.checks.duplicates import DUPLICATES
from engagelab_mock.checks.forward_compatibility import FORWARD_COMPATIBILITY, UNKNOWN_MESSAGES
from engagelab_mock.checks.freshness import FRESHNESS
from engagelab_mock.checks.isolation import ISOLATION
from engagelab_mock.checks.late import LATE
from engagelab_mock.checks.meaning import MEANING
from engagelab_mock.checks.ordering import ORDERING
from engagelab_mock.checks.processes import PROCESSES
from engagelab_mock.checks.secrecy import SECRECY
from engagelab_mock.checks.signature import SIGNATURE
from engagelab_mock.checks.text import TEXT
from engagelab_mock.checks.vocabulary import VOCABULARY
from engagelab_mock.checks.wire import ADDRESS, AFTERWARDS, WIRE
from engagelab_mock.errors import UnknownName, UsageError

#: Every check, by its id.
CHECKS: dict[str, Check] = {
    check.id: check
    for check in sorted(
        (
            *ACKNOWLEDGEMENT,
            *SIGNATURE,
            *FRESHNESS,
            *SECRECY,
            *DUPLICATES,
            *LATE,
            *ORDERING,
            *ISOLATION,
            *PROCESSES,
            *CONCURRENCY,
            *UNKNOWN_MESSAGES,
            *BATCH,
            *FORWARD_COMPATIBILITY,
            *BODY,
            *VOCABULARY,
            *TEXT,
            *WIRE,
            *ADDRESS,
            *AFTERWARDS,
            *MEANING,
        ),
        key=lambda check: check.id,
    )
}


#: Why a check that takes a long time does not run.
DEEP_ONLY = "only at depth deep"


class Selection:
    """Select checks by id or name, with `*`, by severity and by depth. Suppress failures, each with a reason.

    >>> Selection(only=["B02", "A*"], skip=["ping-json"]).leaves_out(CHECKS["A02"])
    "skipped by 'ping-json'"

    Raises `UnknownName` for an id or a name that does not exist, and `UsageError` if no check is left.
    """

    def __init__(
        self,
        *,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        severity: str = "info",
        depth: str = "normal",
        suppress: Mapping[str, str] | None = None,
    ) -> None:
        self.only = [_known(pattern, "only") for pattern in only]
        self.skip = [_known(pattern, "skip") for pattern in skip]
        self.severity = find_severity(severity)
        if depth not in DEPTHS:
            raise UnknownName("depth", depth, DEPTHS, where="depth")
        self.depth = depth
        #: The reasons why failures are suppressed, by the checks' ids.
        self.suppress = {
            check.id: reason
            for pattern, reason in (suppress or {}).items()
            for check in _matching(_known(pattern, "suppress"))
            if _given(reason, pattern)
        }
        if not any(not self.leaves_out(check) for check in CHECKS.values()):
            chosen = next(check for check in CHECKS.values() if not self.only or _in(check, self.only))
            what = f"no check is left: {chosen.id} is {self.leaves_out(chosen)}"
            raise UsageError(what, where="only" if self.only else "skip", hint="select at least one check")

    def leaves_out(self, check: Check) -> str:
        """Return why a check is not run; empty if it is run."""
        if self.only and not _in(check, self.only):
            return "not selected by `only`"
        if pattern := self.skips(check):
            return f"skipped by {pattern!r}"
        if not check.severity.at_least(self.severity):
            return f"less severe than {self.severity}"
        if check.deep and self.depth != "deep" and not {check.id, check.name} & {*self.only}:
            return DEEP_ONLY
        return ""

    def skips(self, check: Check) -> str:
        """Return the pattern of `skip` that names a check; empty if none does."""
        return next((pattern for pattern in self.skip if _matches(check, pattern)), "")


def _known(pattern: str, where: str) -> str:
    if not _matching(pattern):
        names = {name.lower(): name for check in CHECKS.values() for name in (check.id, check.name)}
        # People write A1 for A01.
        padded = f"{pattern[:1]}{pattern[1:]:0>2}".lower()
        near = [padded] if padded in names else get_close_matches(pattern.lower(), names, n=1)
        # All ids would fill the screen: name only the nearest one, and where each family ends.
        families: dict[str, str] = {id[0]: f"{id[0]}01 to {id}" for id in CHECKS}
        raise UnknownName("check", pattern, [*(names[each] for each in near), *families.values()], where=where)
    return pattern


def _matching(pattern: str) -> list[Check]:
    return [check for check in CHECKS.values() if _matches(check, pattern)]


def _in(check: Check, patterns: Sequence[str]) -> bool:
    return any(_matches(check, pattern) for pattern in patterns)


def _matches(check: Check, pattern: str) -> bool:
    # Ids are upper case and names are lower case. So A* is a family, and does not match names that begin with an a.
    return fnmatchcase(check.id, pattern) or fnmatchcase(check.name, pattern) or check.id == pattern.upper()


def _given(reason: object, pattern: str) -> bool:
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(
            f"{pattern} is suppressed without a reason", where="suppress", hint=f'suppress = {{ {pattern} = "why" }}'
        )
    return True


class StackLimit(msgspec.Struct, frozen=True):
    """Name a check that no receiver passes on a server stack, the reason, and a remedy.

    >>> STACK_LIMITS["uvicorn and FastAPI"]
    ()
    """

    check: str
    reason: str
    remedy: str


_ONE_AT_A_TIME = StackLimit(
    "E06",
    "a sync worker, gunicorn's default, handles one request at a time, and waits up to 30 s for the rest of it",
    "`gunicorn --threads 4`, or a proxy that buffers requests, such as nginx",
)
_NO_CHUNKS = StackLimit(
    "E01",
    "Django behind WSGI reads as many bytes as `Content-Length` says. Without this header it reads nothing",
    "an ASGI server, or a proxy that buffers requests; at least answer 411 to a request with `Transfer-Encoding`",
)

#: The limits of each stack; on each of them, the correct receiver passes all other checks.
STACK_LIMITS: dict[str, tuple[StackLimit, ...]] = {
    "gunicorn and Flask": (_ONE_AT_A_TIME,),
    "gunicorn and Django": (_NO_CHUNKS, _ONE_AT_A_TIME),
    "uvicorn and FastAPI": (),
    "uvicorn and bare ASGI": (),
}
