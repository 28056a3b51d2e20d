"""What a state says, leaf by leaf, without what is each message's own: the states of several messages compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from engagelab_mock.checks.probe import Snapshot
from engagelab_mock.messages.message import Message

#: Where a leaf stands: keys and attributes from the outside in, `EACH` for whatever place in a list.
Path = tuple[str, ...]
#: The leaves of a state. What stands in lists is gathered by its path and sorted: the order of a list is no state.
State = Mapping[Path, Any]

EACH = "*"
#: The leaf that says how long a list is.
COUNT = "#"
#: What a leaf has that is not there.
MISSING = "(nothing)"

_TIME = "TIME"
#: Times as they stand in texts: of ISO 8601 and of HTTP, Python's own, and Unix time in seconds to microseconds.
_TIMES = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
    r"|datetime\.(?:datetime|date|time)\((?:[^()]|\([^()]*\))*\)"
    r"|(?<![\d.])1\d{9}(?:\d{3}(?:\d{3})?)?(?:\.\d+)?(?!\d)"
)
_FIRST, _LAST = 1e9, 4.1e9


def state_of(snapshot: Snapshot, message: Message) -> State:
    """Return a state leaf by leaf, without the message's id and recipient, and without times.

    >>> message = Message(id="17", to="+6591234567")
    >>> state = state_of(Snapshot("17", {"id": "17", "at": 1.7e9, "log": ["sent", "plan"]}), message)
    >>> {dotted(path): value for path, value in state.items()}
    {'id': 'ID', 'at': 'TIME', 'log.#': 2, 'log.*': ('plan', 'sent')}
    """
    found: dict[Path, list[Any]] = {}
    if snapshot.error:
        _gather(snapshot.error, ("error",), message, found)
    else:
        _gather(snapshot.value, (), message, found)
    return {path: tuple(sorted(values, key=repr)) if EACH in path else values[0] for path, values in found.items()}


def differing(one: State, other: State) -> set[Path]:
    """Return where two states differ.

    >>> sorted(differing({("status",): "sent"}, {("status",): "sent", ("cost",): 1}))
    [('cost',)]
    """
    return {path for path in {*one, *other} if one.get(path, MISSING) != other.get(path, MISSING)}


def single(paths: Iterable[Path]) -> set[Path]:
    """Return those of the paths that lead to one value, and not into a list.

    >>> single([("status",), ("log", "*"), ("log", "#")])
    {('status',)}
    """
    return {path for path in paths if EACH not in path and COUNT not in path}


def values(state: State, paths: Iterable[Path] | None = None) -> list[Any]:
    """Return the single values that stand in a state, or at some of its paths.

    >>> values({("status",): "sent", ("costs", "*"): (0.1, 0.2)})
    ['sent', 0.1, 0.2]
    """
    found = [state[path] for path in (state if paths is None else paths) if path in state]
    return [each for value in found for each in (value if isinstance(value, tuple) else (value,))]


def names(value: Any, status: str) -> bool:
    """Tell whether a value names a status, in whatever case, and not a longer one that begins or ends like it.

    >>> names("Status.DELIVERED", "delivered"), names("delivered_failed", "delivered"), names(4, "delivered")
    (True, False, False)
    """
    return isinstance(value, str) and re.search(rf"(?<![a-z_]){status}(?![a-z_])", value.lower()) is not None


def dotted(path: Path) -> str:
    """Return a path as text.

    >>> dotted(("row", "status")), dotted(())
    ('row.status', 'the state')
    """
    return ".".join(path) or "the state"


def _gather(value: Any, path: Path, message: Message, found: dict[Path, list[Any]]) -> None:
    """Enter the leaves of a value; a list in a list is a row, whose places mean something."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, dict):
        for key, each in value.items():
            _gather(each, (*path, str(_impersonal(key, message))), message, found)
    elif isinstance(value, list) and EACH in path:
        for place, each in enumerate(value):
            _gather(each, (*path, str(place)), message, found)
    elif isinstance(value, list):
        found[*path, COUNT] = [len(value)]
        for each in value:
            _gather(each, (*path, EACH), message, found)
    else:
        found.setdefault(path, []).append(_impersonal(value, message))


def _parsed(text: str) -> Any:
    if text[:1] not in {"{", "["}:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _impersonal(value: Any, message: Message) -> Any:
    if isinstance(value, str):
        own = value.replace(message.id, "ID").replace(message.to, "TO").replace(message.to.lstrip("+"), "TO")
        return _TIMES.sub(_TIME, own)
    if type(value) is int and str(value) == message.id:
        return "ID"
    if isinstance(value, (int, float)) and any(_FIRST <= value / unit < _LAST for unit in (1, 1e3, 1e6, 1e9)):
        return _TIME
    return value
