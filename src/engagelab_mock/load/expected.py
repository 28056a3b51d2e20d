"""The final state of a scenario's messages, learned from a few that were delivered in order and alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from engagelab_mock.explore.state import (
    COUNT,
    EACH,
    MISSING,
    Path,
    Snapshot,
    State,
    differing,
    dotted,
    names,
    plain,
    state_of,
)
from engagelab_mock.load.ledger import Baseline, Entry
from engagelab_mock.load.summary import Kind
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

#: How many callbacks a leaf must have counted to be taken for a counter of callbacks.
_COUNTED = 3
#: A leaf that has more different values than these, in messages that had the same callbacks, differs in each message.
_TWO = 2
#: How many of the values of an unclear leaf are shown.
_SHOWN = 3
#: The placeholders of states in words, and those of a message's id and recipient as a pattern.
_WORDS = {MISSING: "absent", "ID": "the id of the message", "TO": "the recipient of the message"}
_OWN = re.compile(r"\b(?:ID|TO)\b")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Difference(NamedTuple):
    """Hold one leaf that is not as expected."""

    kind: Kind
    path: Path
    what: str


class Expected:
    """Hold the final state of a scenario's messages, as the callbacks in order and alone left it.

    >>> states = [{"status": "plan", "n": 1}, {"status": "sent", "n": 2}, {"status": "delivered", "n": 3}]
    >>> baseline = Baseline(
    ...     scenario="delivered",
    ...     states=(states[-1], states[-1]),
    ...     messages=(("171", "+6591234567"), ("173", "+6591234568")),
    ...     after=(None, *states),
    ... )
    >>> [dotted(path) for path in Expected(baseline).counters]
    ['n']
    """

    def __init__(self, baseline: Baseline) -> None:
        found = [leaves_of(state, *about) for state, about in zip(baseline.states, baseline.messages, strict=True)]
        self.scenario = baseline.scenario
        #: Whether the app has a state for messages of this scenario, and whether it had one before the load.
        self.known = any(state is not None for state in baseline.states)
        self.gone = not self.known and any(state is not None for state in baseline.after[1:])
        #: The value of each leaf that most of the messages have.
        self.leaves: dict[Path, Any] = {}
        #: The leaves that differ in each message, such as row numbers.
        self.noise: set[Path] = set()
        #: The values of the leaves of which it is not known whether they are noise, or a bug that comes and goes.
        self.unclear: dict[Path, list[Any]] = {}
        self._learn(found)
        self._after = [leaves_of(state, *baseline.messages[0]) for state in baseline.after]
        #: The leaves that only count callbacks: they rise by 1 with each.
        self.counters = _counters(self._after, _COUNTED)
        #: The leaves in `noise` that no message lacks.
        self._always = {path for path in self.noise if all(not _is_empty(each.get(path, MISSING)) for each in found)}
        #: The leaves that the first callback set and no other changed.
        self._constants = {
            path
            for path, value in self.leaves.items()
            if len(self._after) > _COUNTED and all(each.get(path, MISSING) == value for each in self._after[1:])
        }

    def _learn(self, found: Sequence[State]) -> None:
        steps = CATALOGUE[self.scenario].statuses if self.scenario in CATALOGUE else [""]
        values = {path: _values(path, found) for path in {path for leaves in found for path in leaves}}
        chosen = {
            path: _likeliest(counts, steps[-1])
            for path, counts in values.items()
            if len(counts) == _TWO and _names_status(counts)
        }
        # A message with another status shows a bug. What else it shows is not to be expected.
        good = [leaves for leaves in found if all(leaves.get(path, MISSING) == chosen[path] for path in chosen)]
        for path, counts in values.items():
            among = _values(path, good) if good else counts
            if len(counts) > _TWO and not _may_tell(counts, len(steps)):
                self.noise.add(path)
                continue
            value = chosen.get(path, among.most_common(1)[0][0])
            if path not in chosen and len(among) > 1:
                self.unclear[path] = [each for each, _ in among.most_common()]
            if value is not MISSING:
                self.leaves[path] = value

    @property
    def judged(self) -> bool:
        """Tell whether there is a leaf with an expected value."""
        return bool(self.leaves.keys() - self.unclear.keys())

    def take_counters(self, counters: Iterable[Path]) -> None:
        """Take the leaves that count callbacks in other scenarios for counters, unless they do not count here."""
        self.counters |= {*counters} & (_counters(self._after, 1) if self._after else self.leaves.keys())

    def differences(self, state: Any, entries: Sequence[Entry]) -> Iterator[Difference]:
        """Yield the differences of a state from the expected one that the order of the callbacks does not explain."""
        if not self.known:
            if state is not None and not self.gone:
                yield Difference("wrong", (), f"the app has {state!r:.100}, and no state for other messages like it")
            return
        leaves = leaves_of(state, entries[0].message_id, entries[0].to)
        for path in sorted(differing(self.leaves, leaves) - self.noise - self.unclear.keys()):
            if EACH in path:
                yield from self._entries(path, leaves, entries)
            elif path[-1:] == (COUNT,):
                yield from self._length(path, leaves, entries)
            else:
                yield from self._value(path, leaves, entries)
        for path in sorted(self._always):
            if EACH not in path and _is_empty(leaves.get(path, MISSING)):
                yield Difference("lost", path, f"{dotted(path)} is absent, and other messages have it")

    def _value(self, path: Path, leaves: State, entries: Sequence[Entry]) -> Iterator[Difference]:
        wanted, got = self.leaves.get(path, MISSING), leaves.get(path, MISSING)
        found = partial(Difference, path=path, what=f"{dotted(path)} is {_shown(got)}, expected {_shown(wanted)}")
        if _is_empty(wanted) and _is_empty(got):
            return
        numbers = _number(wanted), _number(got)
        if numbers[0] is None or numbers[1] is None:
            if _is_empty(got):
                yield found("lost")
            elif path in self._constants and not _is_empty(wanted) and not _OWN.search(f"{wanted} {got}"):
                yield self._not_an_effect(path, leaves) if not _names_status([wanted, got]) else found("wrong")
            else:
                yield found(self._went(path, wanted, got, entries))
        elif path in self.counters:
            if numbers[1] < numbers[0]:
                yield _may_count_changes(path, found("lost").what) if overtaken(entries) else found("lost")
        elif self._is_code(path):
            yield found(self._went(path, wanted, got, entries))
        elif path in self._constants and numbers[0] > len(entries):
            yield self._not_an_effect(path, leaves)
        else:
            yield found("lost" if numbers[1] < numbers[0] else "doubled")

    def _length(self, path: Path, leaves: State, entries: Sequence[Entry]) -> Iterator[Difference]:
        """Yield the difference of a list by its length."""
        wanted, got = self.leaves.get(path, 0), leaves.get(path, 0)
        what = f"{dotted(path[:-1])} has {got} entries, expected {wanted}"
        if got > wanted:
            if path not in self.counters:
                yield Difference("doubled", path, what)
            return
        late = overtaken(entries) if path in self.counters else set()
        lacking = [
            value
            for each, values in self.leaves.items()
            if each[: len(path)] == (*path[:-1], EACH) and _names_status(values)
            for value in _more(values, leaves.get(each, ()))
        ]
        missing = f": {', '.join(map(repr, sorted(map(str, lacking))))} is missing" if lacking else ""
        if not late or any(not any(names(value, status) for status in late) for value in lacking):
            yield Difference("lost", path, what + missing)
        elif not lacking:
            yield _may_count_changes(path, what)

    def _entries(self, path: Path, leaves: State, entries: Sequence[Entry]) -> Iterator[Difference]:
        """Yield the difference of a list by its entries, if its length does not tell."""
        wanted, got = self.leaves.get(path, ()), leaves.get(path, ())
        length = (*path[: path.index(EACH)], COUNT)
        expected, found = self.leaves.get(length, 0), leaves.get(length, 0)
        if found < expected or (found > expected and length not in self.counters):
            return
        lacking, foreign = _more(wanted, got), [value for value in _more(got, wanted) if value not in wanted]
        if lacking:
            yield Difference("lost", path, f"{dotted(path[:-1])} lacks {lacking[0]!r}")
        elif foreign and not any(entry.copy for entry in entries):
            yield Difference("wrong", path, f"{dotted(path[:-1])} has {foreign[0]!r}, and not for other messages")

    def _not_an_effect(self, path: Path, leaves: State) -> Difference:
        wanted, got = _shown(self.leaves.get(path, MISSING)), _shown(leaves.get(path, MISSING))
        what = f"{dotted(path)} is {got}, and was {wanted} for the first messages, whose callbacks did not change it"
        hint = "if it does not depend on them, leave it out of what observe returns"
        return Difference("unclear", path, f"{what}; {hint}")

    def _is_code(self, path: Path) -> bool:
        """Tell whether a number stands for a status: it changed with the callbacks, to more than two values."""
        return len({each[path] for each in self._after if path in each}) > _TWO

    def _went(self, path: Path, wanted: Any, got: Any, entries: Sequence[Entry]) -> Kind:
        """Tell whether an earlier value came later than the expected one, or the expected one never took effect."""
        reached, shown = self._causes(path, wanted, entries), self._causes(path, got, entries)
        if not shown:
            return "lost" if self._after and self._after[0].get(path, MISSING) == got else "wrong"
        ended = max(entry.sent + entry.elapsed for entry in shown)
        return "regressed" if not reached or ended > min(entry.sent for entry in reached) else "lost"

    def _causes(self, path: Path, value: Any, entries: Sequence[Entry]) -> list[Entry]:
        """Return the deliveries that led to a value: those of the status it names, or of the steps it came with."""
        named = [entry for entry in entries if names(value, entry.status)]
        steps = {
            step
            for step, (one, other) in enumerate(pairwise(self._after))
            if other.get(path, MISSING) == value != one.get(path, MISSING)
        }
        return named or [entry for entry in entries if entry.step in steps]


def learn(baselines: Iterable[Baseline]) -> dict[str, Expected]:
    """Return the expected states by scenario.

    >>> list(learn([Baseline(scenario="sent", states=("sent",), messages=(("171", "+6591234567"),))]))
    ['sent']
    """
    found: dict[str, Expected] = {}
    for baseline in baselines:
        found.setdefault(baseline.scenario, Expected(baseline))
    counters = {path for expected in found.values() for path in expected.counters}
    for expected in found.values():
        expected.take_counters(counters)
    return found


def overtaken(entries: Sequence[Entry]) -> set[str]:
    """Return the statuses whose callback had not ended when that of a later status was sent.

    >>> late, early = (
    ...     Entry("7", "+6591234567", "sent", step, 2, status, 0, sent, sent, 0.1, "acknowledged")
    ...     for step, status, sent in [(0, "plan", 5.0), (1, "sent", 4.0)]
    ... )
    >>> overtaken([late, early])
    {'plan'}
    """
    first: dict[int, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.sent):
        if entry.outcome == "acknowledged":
            first.setdefault(entry.step, entry)
    return {
        entry.status
        for entry in first.values()
        if any(other.step > entry.step and other.sent < entry.sent + entry.elapsed for other in first.values())
    }


def leaves_of(state: Any, message_id: str, to: str) -> State:
    """Return the leaves of a state; none for None.

    >>> leaves_of({"to": "+6591234567"}, "171", "+6591234567")
    {('to',): 'TO'}
    """
    return {} if state is None else state_of(Snapshot(message_id, plain(state)), Message(id=message_id, to=to))


def named(path: Path) -> str:
    """Return the name of a leaf.

    >>> named(("log", "*", "id")), named(("log", "#")), named(("#",))
    ('log.*.id', 'the length of log', 'the length of the state')
    """
    return f"the length of {dotted(path[:-1])}" if path[-1:] == (COUNT,) else dotted(path)


def described(path: Path, values: Sequence[Any]) -> str:
    """Return a leaf and some of its values as text.

    >>> described(("credits",), [0, 1])
    'credits cannot be judged: it was 0 or 1'
    """
    more = " or another" if len(values) > _SHOWN else ""
    return f"{named(path)} cannot be judged: it was {' or '.join(map(_shown, values[:_SHOWN]))}{more}"


def _counters(after: Sequence[State], least: int) -> set[Path]:
    changes = [(one, other) for one, other in pairwise(after) if one != other]
    if len(changes) < least:
        return set()
    return {
        path
        for path, value in after[-1].items()
        if type(value) is int and all(other.get(path) == (one.get(path) or 0) + 1 for one, other in changes)
    }


def _may_count_changes(path: Path, what: str) -> Difference:
    why = "its callbacks came out of order, so it may count changes; if so, leave it out of what observe returns"
    return Difference("unclear", path, f"{what}; {why}")


def _values(path: Path, found: Sequence[State]) -> Counter[Any]:
    return Counter(leaves.get(path, MISSING) for leaves in found)


def _likeliest(counts: Counter[Any], last: str) -> Any:
    """Return the value that names the last status; of several or none, the one that most messages have."""
    named = [value for value, _ in counts.most_common() if last and _names(value, last)]
    return (named or [value for value, _ in counts.most_common()])[0]


def _names_status(values: Iterable[Any]) -> bool:
    return any(_names(value, status) for value in values for status in Status)


def _may_tell(counts: Counter[Any], callbacks: int) -> bool:
    """Tell whether values that differ may depend on the callbacks: statuses, small numbers again, values that lack."""
    small = all((number := _number(value)) is not None and 0 <= number <= callbacks for value in counts)
    return _names_status(counts) or MISSING in counts or None in counts or (small and len(counts) < counts.total())


def _names(value: Any, status: str) -> bool:
    return any(names(each, status) for each in (value if isinstance(value, tuple) else (value,)))


def _more(some: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Return the values that come more often in the first of two lists."""
    return [*(Counter(some) - Counter(others)).elements()]


def _is_empty(value: Any) -> bool:
    return value is MISSING or value is None or value is False or value in ("", 0)


def _number(value: Any) -> float | None:
    """Return a value as a number, 0 for one that is absent; None for a value that is not a number."""
    if value is MISSING or value is None:
        return 0
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return value if type(value) in {int, float} else None


def _shown(value: Any) -> str:
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    return f"{value!r:.200}"
