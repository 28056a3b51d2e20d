"""A copy of a state that `observe` returned: it stays the same when the app goes on, and can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from sys import getsizeof
from typing import Any

from engagelab_mock.errors import ProbeFailed

#: The most characters that a state may have as text.
_CHARACTERS = 1_000_000
#: Types whose values cannot change, so they need no copy.
_FIXED = frozenset({str, int, float, bool, bytes, type(None)})
#: Types that are copied without a closer check: of the immutable types, only a float can be unequal to itself.
_CHEAP = _FIXED - {float}
_BYTES = 100_000
_ROWS = frozenset({tuple, list, set, frozenset})
#: The types of plain values.
PLAIN = frozenset({*_FIXED, *_ROWS, dict})
_HINT = "return plain values, such as a str, a tuple or a dict, read while the session is open"


def snapshot(state: Any) -> Any:
    """Return a copy of a state that does not change when the original does.

    >>> live = {"status": "sent"}
    >>> kept = snapshot(live)
    >>> live["status"] = "delivered"
    >>> kept
    {'status': 'sent'}

    Raises `ProbeFailed` for a state that cannot be copied, does not equal its copy, or has over a million characters.
    """
    if type(state) is dict:
        kinds = {*map(type, state.values())}
        if kinds <= _CHEAP and _FIXED.issuperset(map(type, state)) and sum(map(getsizeof, state.values())) < _BYTES:
            return state.copy()
    try:
        copied = _copied(state)
    except (_NotPlain, RecursionError):
        copied = _deep_copied(state)
    check_size(copied)
    return copied


def check_size(state: Any) -> None:
    """Raise `ProbeFailed` for a state of over a million characters; `state` is plain data.

    >>> check_size({"status": "sent"})
    """
    if (size := _size(state)) > _CHARACTERS:
        what = f"observe returned a state of about {size:,} characters; at most {_CHARACTERS:,} are compared"
        raise ProbeFailed(what, where="observe", hint="return the values that matter, such as the status")


def _deep_copied(state: Any) -> Any:
    check_readable(state)
    try:
        copied = deepcopy(state)
    except Exception as error:
        raise unreadable(state, error, "copied") from None
    try:
        same = copied == state
        shown = "" if same else f"{state!r:.100}"
    except Exception as error:
        raise unreadable(state, error, "read") from None
    if not same:
        raise ProbeFailed(f"observe returned {shown}, which does not equal its own copy", where="observe", hint=_HINT)
    return copied


def check_readable(value: Any) -> None:
    """Raise `ProbeFailed` for a value of a state that cannot be compared: a generator, or NaN.

    >>> check_readable("sent")
    """
    if isinstance(value, Iterator):
        what = f"observe returned a {type(value).__name__}, which can be read only once"
        raise ProbeFailed(what, where="observe", hint="return a list of it")
    if isinstance(value, float) and value != value:
        what = f"observe returned {value!r}, which does not equal itself: each look would be a change"
        raise ProbeFailed(what, where="observe", hint="return None for a number that is not known")


def unreadable(state: Any, error: Exception, verb: str) -> ProbeFailed:
    """Return the error for a state that cannot be read or copied.

    >>> print(unreadable(object(), ValueError("the session is closed"), "read").what)
    observe returned a value of type object that cannot be read: ValueError: the session is closed
    """
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    what = f"observe returned a value of type {type(state).__name__} that cannot be {verb}: {said:.300}"
    return ProbeFailed(what, where="observe", hint=_HINT)


class _NotPlain(Exception):
    """Signal that a state has a value of a type that only `deepcopy` can copy."""


def _copied(state: Any) -> Any:
    kind = type(state)
    if kind in _FIXED:
        if kind is float:
            check_readable(state)
        return state
    if kind is dict:
        return {_copied(key): _copied(value) for key, value in state.items()}
    if kind in _ROWS:
        return kind([_copied(entry) for entry in state])
    raise _NotPlain


def _size(state: Any) -> int:
    """Return the approximate number of characters of a plain state as text; other values count as one."""
    kind = type(state)
    if kind is str or kind is bytes:
        return len(state)
    if kind is dict:
        return sum([_size(key) + _size(value) for key, value in state.items()])
    return sum([_size(entry) for entry in state]) if kind in _ROWS else 1
