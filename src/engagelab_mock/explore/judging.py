"""Ask an invariant about a playing: it returns a violation, returns a text or False, or raises `AssertionError`."""

from __future__ import annotations

import inspect

from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.probe import needs_async
from engagelab_mock.explore.exploration import Violation
from engagelab_mock.explore.invariants import Invariant
from engagelab_mock.explore.played import Played


async def found_by(io: Io, played: Played, invariant: Invariant) -> Violation | None:
    """Return the violation that an invariant finds in a playing; None if it holds."""
    __tracebackhide__ = True
    try:
        found = invariant(played)
        if found is not None and found is not True and inspect.isawaitable(found):
            if io is not ASYNC:
                getattr(found, "close", lambda: None)()
                raise needs_async(_name(invariant))
            found = await found
    except AssertionError as error:
        found = str(error) or "an assertion failed"
    if found is None or found is True:
        return None
    if isinstance(found, Violation):
        return found
    what = "it does not hold" if found is False else str(found)
    last = played.records[-1] if played.records else None
    return Violation(invariant=_name(invariant), what=what, record=last, after=played.final)


def _name(invariant: Invariant) -> str:
    return str(getattr(invariant, "__name__", type(invariant).__name__))
