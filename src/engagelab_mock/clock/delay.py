"""How long something takes, and when it happens, checked."""

from __future__ import annotations

import math

from engagelab_mock.errors import InvalidDelay


def check_delay(seconds: float, *, where: str) -> float:
    """Return a delay in seconds, or raise `InvalidDelay` naming where it was given.

    >>> check_delay(2, where="after")
    2.0
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidDelay(f"a delay is a number of seconds, not {seconds!r}", where=where)
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidDelay(f"a delay of {seconds!r} s cannot pass", where=where, hint="give zero or more seconds")
    return float(seconds)


def check_moment(when: float, *, where: str) -> float:
    """Return a Unix time, or raise `InvalidDelay` for a number that is none.

    >>> check_moment(0, where="advance_to")
    0
    """
    if not math.isfinite(when):
        raise InvalidDelay(f"{when!r} is no Unix time", where=where)
    return when


def span(seconds: float, minutes: float, hours: float, days: float) -> float:
    """Add up what `clock.advance` was given, and return it in seconds.

    >>> span(1, 1, 0, 0)
    61.0
    """
    return check_delay(seconds + 60 * minutes + 3600 * hours + 86400 * days, where="clock.advance")
