"""The state of the receiver's app, leaf by leaf: the differences between two states, apart from ids and times."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sized
from decimal import Decimal
from enum import Enum
from operator import itemgetter
from typing import Any

import msgspec

from engagelab_mock.delivery.snapshot import check_readable, check_size, unreadable
from engagelab_mock.errors import ProbeFailed, UsageError
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

#: The maximum depth to which a value is split into leaves. Deeper values are kept as text.
_DEPTH = 12


class Snapshot(msgspec.Struct, frozen=True):
    """Hold the value that `observe` returned for a message. Two snapshots are equal if nothing changed between them.

    >>> Snapshot("7", ["sent"]) == Snapshot("7", ["sent"])
    True
    """

    message_id: str
    value: Any

    def __str__(self) -> str:
        return repr(self.value)


def plain(value: Any) -> Any:
    """Return a copy of a value as plain data, so that later changes of the value do not change the copy.

    Raises `ProbeFailed` for a value that cannot be read or compared.

    >>> plain({"at": 1, "statuses": ("sent",)})
    {'at': 1, 'statuses': ['sent']}
    """
    copied = _plain(value, _DEPTH)
    check_size(copied)
    return copied


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        check_readable(value)
        return value
    if isinstance(value, Decimal) and value.is_finite() and value == int(value):
        return int(value)  # a database can return it for a sum of whole numbers
    if depth == 0:
        return repr(value)
    if isinstance(value, Mapping):
        return {_plain(key, 0): _plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(each, depth - 1) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth - 1) for each in value]
    check_readable(value)
    try:
        return _taken_apart(value, depth)
    except ProbeFailed:
        raise
    except Exception as error:
        raise unreadable(value, error, "read") from error


def _taken_apart(value: Any, depth: int) -> Any:
    """Return an object by its fields. A repr, such as that of an ORM, seldom shows all, and can have an address."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), depth - 1) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name), depth - 1) for name in value.__struct_fields__}
    mapper = getattr(type(value), "__mapper__", None)
    if mapper is not None:
        # SQLAlchemy reads a column at the first access, and fails if the object has lost its session.
        names = list(mapper.column_attrs.keys())
    else:
        names = [name for name in getattr(value, "__dict__", {}) if not name.startswith("_")]
    fields = {name: _plain(getattr(value, name), depth - 1) for name in names}
    return {type(value).__name__: fields} if fields else repr(value)


#: The path of a leaf: keys and attributes from the outside in, and `EACH` for any position in a list.
Path = tuple[str, ...]
#: The leaves of a state. Values in lists are collected by their path and sorted: the order of a list is ignored.
State = Mapping[Path, Any]

EACH = "*"
#: The leaf that holds the length of a list.
COUNT = "#"
#: The value of a leaf that does not exist.
MISSING = "(nothing)"

_TIME = "TIME"
#: Times in texts: ISO 8601, HTTP dates, the repr of Python's types, and Unix time in seconds to microseconds.
_TIMES = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
    r"|datetime\.(?:datetime|date|time)\((?:[^()]|\([^()]*\))*\)"
    r"|(?<![\d.])1\d{9}(?:\d{3}(?:\d{3})?)?(?:\.\d+)?(?!\d)"
)
_FIRST, _LAST = 1e9, 4.1e9
#: The separators between the entries of a list that is written as one text, such as `sent sms; delivered sms`.
_BETWEEN = re.compile(r"\s*(?:[;|\n→]|->|,(?=\s*[^\W\d]))\s*")
_STATUS = re.compile(rf"(?<![a-z_])(?:{'|'.join(Status)})(?![a-z_])")


def state_of(snapshot: Snapshot, message: Message) -> State:
    """Return a state leaf by leaf, with the message's id, its recipient and times replaced by placeholders.

    >>> message = Message(id="17", to="+6591234567")
    >>> state = state_of(Snapshot("17", {"id": "17", "at": 1.7e9, "log": ["sent", "plan"]}), message)
    >>> {dotted(path): value for path, value in state.items()}
    {'id': 'ID', 'at': 'TIME', 'log.#': 2, 'log.*': ('plan', 'sent')}

    A text of several entries is treated as a list, because its order is the order of arrival.

    >>> state_of(Snapshot("17", "sent sms; delivered sms"), message)[EACH,]
    ('delivered sms', 'sent sms')
    """
    found: dict[Path, list[Any]] = {}
    _gather(snapshot.value, (), message, found)
    return {path: tuple(sorted(values, key=repr)) if EACH in path else values[0] for path, values in found.items()}


def shape_of(value: Any, leaf: Callable[[Path, Any], Any], path: Path = ()) -> Any:
    """Return plain data as nested tuples, in its order, with the result of `leaf` for each single value.

    Texts that hold JSON or several entries are taken apart, as in `state_of`.

    >>> shape_of({"log": ["sent", "plan"], "at": 7}, lambda path, value: (dotted(path), value))
    (('at', ('at', 7)), ('log', (('log.*', 'sent'), ('log.*', 'plan'))))
    """
    value = _parsed(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        named = sorted(((str(key), each) for key, each in value.items()), key=itemgetter(0))
        return tuple([(name, shape_of(each, leaf, (*path, name))) for name, each in named])
    if isinstance(value, list):
        return tuple([shape_of(each, leaf, (*path, EACH)) for each in value])
    return leaf(path, value)


def differing(one: State, other: State) -> set[Path]:
    """Return the paths at which two states differ.

    >>> sorted(differing({("status",): "sent"}, {("status",): "sent", ("cost",): 1}))
    [('cost',)]
    """
    return {path for path in {*one, *other} if one.get(path, MISSING) != other.get(path, MISSING)}


def told_at(state: State, path: Path) -> str:
    """Return the value at a path as text; the path of the whole state has all leaves.

    >>> state = {("status",): "sent"}
    >>> told_at(state, ("status",)), told_at(state, ("cost",)), told_at(state, ())
    ("'sent'", 'nothing', "{'status': 'sent'}")
    """
    if path and path not in state:
        return "nothing"
    value = state[path] if path in state else {dotted(each): value for each, value in state.items()}
    return f"{value!r:.80}"


def single(paths: Iterable[Path]) -> set[Path]:
    """Return the paths that lead to a single value, not into a list.

    >>> single([("status",), ("log", "*"), ("log", "#")])
    {('status',)}
    """
    return {path for path in paths if EACH not in path and COUNT not in path}


def values(state: State, paths: Iterable[Path] | None = None) -> list[Any]:
    """Return the single values in a state, or at some of its paths.

    >>> values({("status",): "sent", ("costs", "*"): (0.1, 0.2)})
    ['sent', 0.1, 0.2]
    """
    found = [state[path] for path in (state if paths is None else paths) if path in state]
    return [each for value in found for each in (value if isinstance(value, tuple) else (value,))]


def names(value: Any, status: str) -> bool:
    """Tell whether a value names a status, in any case. A longer status that contains it does not count.

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


def part_of(state: Any, name: str) -> Any:
    """Return a key or an attribute of a state; `MISSING` if it has neither.

    >>> part_of({"credits": 1}, "credits"), part_of({"credits": 1}, "refunds")
    (1, '(nothing)')
    """
    if isinstance(state, (dict, Mapping)):
        return state.get(name, MISSING)
    return getattr(state, name, MISSING)


def parts_of(state: Any) -> list[str]:
    """Return the names of a state's parts, to suggest one of them.

    >>> parts_of({"status": "sent", "credits": 0}), parts_of("sent")
    (['status', 'credits'], [])
    """
    named = state if isinstance(state, Mapping) else getattr(state, "__dict__", {})
    return [name for name in named if isinstance(name, str) and not name.startswith("_")]


def taker(part: str | Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Return the function that takes a part of a state: a key, an attribute, a callable, or None for the whole state.

    >>> taker("credits")({"credits": 1})
    1
    """
    if part is None:
        return lambda state: state
    if callable(part):
        return part

    def take(state: Any) -> Any:
        if state is None:
            return None
        found = part_of(state, part)
        if found is MISSING and not isinstance(state, Mapping):
            hint = "leave it out to judge the whole state, or give a callable"
            raise UsageError(f"the state {state!r:.100} has no {part!r}", where="invariants", hint=hint)
        return None if found is MISSING else found

    return take


def different_parts(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two states, reduced to the keys that differ if they are mappings.

    >>> different_parts({"status": "sent", "credits": 1}, {"status": "sent"})
    ({'credits': 1}, {})
    """
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return one, other
    keys = [key for key in {**one, **other} if key not in one or key not in other or one[key] != other[key]]
    return {key: one[key] for key in keys if key in one}, {key: other[key] for key in keys if key in other}


def count_of(value: Any, name: str) -> int:
    """Return how often an effect has happened: a number, the length of a collection, or 1 for True.

    >>> count_of(2, "credits"), count_of(["refund 7"], "refunds"), count_of(True, "locked"), count_of(None, "credits")
    (2, 1, 1, 0)

    Raises `ProbeFailed` for a value that does not count: a text, a negative number, a fraction.
    """
    if value is None or value is MISSING:
        return 0
    if isinstance(value, Sized) and not isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (int, float, Decimal)) and value >= 0 and value == int(value):
        return int(value)
    raise ProbeFailed(
        f"{name} is {value!r:.100}, which does not count how often it happened",
        where="observe",
        hint=f"return a whole number, a list, or True and False, such as {{{name!r}: row.{name} is not None}}",
    )


def status_in(state: Any) -> str:
    """Return the status that a state shows: the state itself, or its part `status`; empty if it is not a text.

    >>> status_in({"status": "sent", "credits": 0}), status_in("sent"), status_in(None)
    ('sent', 'sent', '')
    """
    status = state
    if not isinstance(state, str):
        status = part_of(state, "status")
    status = status.value if isinstance(status, Enum) else status
    return status if isinstance(status, str) and status is not MISSING else ""


def _gather(value: Any, path: Path, message: Message, found: dict[Path, list[Any]]) -> None:
    """Collect the leaves of a value. A list in a list is a row, so its positions have a meaning."""
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
        return _entries(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _entries(text: str) -> Any:
    """Return the entries of a text that is a list, such as `sent; delivered` or `sent/delivered`; else the text."""
    if any(bracket in text for bracket in "(<{["):
        return text
    entries = [entry for entry in _BETWEEN.split(text) if entry.strip()]
    if len(entries) < 2 and len(_STATUS.findall(text.lower())) > 1:
        entries = re.findall(r"\w+", text)
    return entries if len(entries) > 1 else text


def without_id(value: Any, message: Message) -> Any:
    """Return a single value, with the message's id and recipient replaced by placeholders.

    >>> without_id("17: sent", Message(id="17", to="+6591234567"))
    'ID: sent'
    """
    if isinstance(value, str):
        return value.replace(message.id, "ID").replace(message.to, "TO").replace(message.to.lstrip("+"), "TO")
    return "ID" if type(value) is int and str(value) == message.id else value


def without_time(value: Any) -> Any:
    """Return a single value, with times replaced by a placeholder.

    >>> without_time("sent at 2026-01-02T03:04:05Z"), without_time(1.7e9), without_time(7)
    ('sent at TIME', 'TIME', 7)
    """
    if isinstance(value, str):
        return _TIMES.sub(_TIME, value)
    if isinstance(value, (int, float)) and any(_FIRST <= value / unit < _LAST for unit in (1, 1e3, 1e6, 1e9)):
        return _TIME
    return value


def _impersonal(value: Any, message: Message) -> Any:
    return without_time(without_id(value, message))
