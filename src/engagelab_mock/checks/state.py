"""The state of the receiver's app: how it is read, compared leaf by leaf, and which baseline it is compared with."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message

if TYPE_CHECKING:
    from engagelab_mock.checks.trial import Trial


#: Down to which depth a value is taken apart. Deeper values are kept as text.
_DEPTH = 12


class Snapshot(msgspec.Struct, frozen=True):
    """Hold the value that `observe` returned for a message. Two snapshots are equal if nothing changed between them.

    >>> Snapshot("7", ["sent"]) == Snapshot("7", ["sent"])
    True
    """

    message_id: str
    value: Any
    #: The exception that `observe` raised instead. Many apps raise for a message that they do not know.
    error: str = ""

    def __str__(self) -> str:
        return self.error or repr(self.value)


class Probe:
    """Ask `observe` for the state of messages.

    >>> states = {"7": ["sent"]}
    >>> probe = Probe(states.__getitem__)
    >>> before = probe.look("7")
    >>> states["7"].append("delivered")
    >>> print(before, probe.look("7"), probe.look("8"))
    ['sent'] ['sent', 'delivered'] KeyError: '8'
    """

    def __init__(self, observe: Callable[[str], Any]) -> None:
        self._observe = observe

    def look(self, message_id: str) -> Snapshot:
        """Return the present state of a message."""
        try:
            return Snapshot(message_id, plain(self._observe(message_id)))
        except Exception as error:
            return Snapshot(message_id, None, f"{type(error).__name__}: {error}")


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """Return a copy of a value as plain data, so that later changes of the value do not change the copy.

    >>> plain({"at": 1, "statuses": ("sent",)})
    {'at': 1, 'statuses': ['sent']}
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if depth == 0:
        return repr(value)
    if isinstance(value, Mapping):
        return {plain(key, 0): plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each, depth - 1) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(each, depth - 1) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), depth - 1) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name), depth - 1) for name in value.__struct_fields__}
    # The repr of an object, such as one of an ORM, seldom shows all of it, and can contain its address.
    fields = {name: each for name, each in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return {type(value).__name__: plain(fields, depth - 1)} if fields else repr(value)


#: The path of a leaf: keys and attributes from the outside in, and `EACH` for any position in a list.
Path = tuple[str, ...]
#: The leaves of a state. Values in lists are collected by their path and sorted: the order of a list is ignored.
State = Mapping[Path, Any]

EACH = "*"
#: The leaf that holds the length of a list.
COUNT = "#"
#: Stands for the value of a leaf that does not exist.
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


def state_of(snapshot: Snapshot, message: Message) -> State:
    """Return a state leaf by leaf, with the message's id, its recipient and times replaced by placeholders.

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
    """Return the paths at which two states differ.

    >>> sorted(differing({("status",): "sent"}, {("status",): "sent", ("cost",): 1}))
    [('cost',)]
    """
    return {path for path in {*one, *other} if one.get(path, MISSING) != other.get(path, MISSING)}


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
    """Tell whether a value names a status, in any case, and not a longer status that contains it.

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


Treatment = Callable[[Message], object]

#: How often the state is read while it is not yet right, in seconds.
_LOOK = 0.02


class StateBaseline:
    """Know the state of a message after one treatment, to compare it with the state after another treatment.

    A treatment sends callbacks about the message. Two messages get the same treatment. Where their states differ, for
    example in the app's own row numbers, states are not compared.
    """

    def __init__(self, trial: Trial, treat: Treatment) -> None:
        self._trial = trial
        (_, other), (_, self.state) = self._treated(treat), self._treated(treat)
        self._noise = differing(other, self.state)
        if self._noise >= {*self.state}:
            trial.inconclusive("`observe` returns entirely different values for two messages that had the same events")

    def state_after(self, treat: Treatment) -> State:
        """Treat a new message and return its state; if that is not the baseline, wait for a while until it is."""
        message, state = self._treated(treat)
        context = self._trial.context
        end = stopwatch() + min(context.patience, 5 * context.profile.lag)
        while self.differing(state) and stopwatch() < end:
            time.sleep(_LOOK)
            state = state_of(self._trial.look(message), message)
        return state

    def differing(self, state: State) -> set[Path]:
        """Return the paths at which a state differs from the baseline."""
        return differing(self.state, state) - self._noise

    def new_values(self, state: State) -> list[Any]:
        """Return the values in a state that the baseline does not have at the same paths."""
        return [
            value
            for path in sorted(self.differing(state) & {*state})
            for value in (Counter(values(state, [path])) - Counter(values(self.state, [path]))).elements()
        ]

    def check(self, treat: Treatment, what: str, schedule: Schedule | None = None) -> None:
        """Fail unless another treatment leads to the same state."""
        state = self.state_after(treat)
        for path in sorted(self.differing(state)):
            got, wanted = state.get(path, MISSING), self.state.get(path, MISSING)
            self._trial.fail(f"after {what}, {dotted(path)} is {got!r:.80}; it should be {wanted!r:.80}", schedule)

    def _treated(self, treat: Treatment) -> tuple[Message, State]:
        message = self._trial.message()
        treat(message)
        return message, state_of(self._trial.look(message), message)
