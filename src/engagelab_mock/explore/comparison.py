"""What is compared when equal states are merged: the callbacks, and the values that do not differ by themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable
from typing import Any

import msgspec

from engagelab_mock.delivery.io import Io
from engagelab_mock.errors import HiddenState
from engagelab_mock.explore.baseline import SETTLES, counters, next_second, whole
from engagelab_mock.explore.families import sorted_steps
from engagelab_mock.explore.played import Played, text_of
from engagelab_mock.explore.player import Player
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.schedules import expand
from engagelab_mock.explore.state import Path, dotted, plain, shape_of, without_id, without_time
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario

#: The greatest number of keys that are kept.
_MOST = 10_000
#: Seconds that pass on a virtual clock between two playings, so that its times differ.
_LATER = 61.0


Steps = tuple[Step, ...]
#: The delivered steps, those that were not acknowledged, in that order, the processed events, and the state.
Key = tuple[Steps, Steps, frozenset[str], Hashable]


class Passed(msgspec.Struct, frozen=True, eq=False):
    """Hold a node of the graph that a playing passed.

    >>> Passed(None, ((), (), frozenset(), ()), ("sent",)).states
    ('sent',)
    """

    #: The step that led to it. None for the beginning, and for the end, to which the retries lead.
    step: Step | None
    key: Key
    #: The states that it led to, one after the other; none if it changed nothing.
    states: tuple[Any, ...]


class Comparison:
    """Turn states into keys that are equal if nothing differs that the callbacks have caused.

    Not compared are ids, and values that differ between two playings of the same callbacks, such as row numbers and the
    time of an update. Nor are counters of updates, such as versions, unless an invariant judges them: `judged` has the
    parts that the invariants name. None means that they may judge any part. The order of a list is compared.
    """

    def __init__(self, judged: Collection[str] | None) -> None:
        self._judged = judged
        #: Leaves of which times are not compared, and leaves that are not compared at all.
        self._timed: set[Path] = set()
        self._ignored: set[Path] = set()
        #: The keys of states that were seen before, by the message and the state as text.
        self._known: dict[tuple[str, str], Hashable] = {}

    def key(self, played: Played, state: Any) -> Hashable:
        """Return the key of a state."""
        return tuple([self._key(message, played.state_of(state, n)) for n, message in enumerate(played.messages)])

    def _key(self, message: Message, state: Any) -> Hashable:
        values = plain(state)
        text = repr(values)
        if (message.id, text) not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[message.id, text] = shape_of(values, lambda path, value: self._leaf(path, value, message))
        return self._known[message.id, text]

    def _leaf(self, path: Path, value: Any, message: Message) -> Hashable:
        if path in self._ignored:
            return ""
        value = without_id(value, message)
        # The text tells 1 from True and from 1.0, and is equal for two values that are not numbers.
        return repr(without_time(value) if path in self._timed else value)

    def passed(self, played: Played) -> list[Passed]:
        """Return the nodes that a playing passed: the beginning, one after each step, and the end."""
        delivered: Steps = ()
        refused: Steps = ()
        processed: frozenset[str] = frozenset()
        compared = self.key(played, played.initial)
        passed = [Passed(None, (delivered, refused, processed, compared), (played.initial,))]
        firsts = [record for record in played.records if record.attempt.number == 1]
        for step in [*expand(played.schedule), None]:
            if step is None:
                records, refused = [record for record in played.records if record.attempt.number > 1], ()
            else:
                delivered = sorted_steps((*delivered, step))
                # A callback without an event that the receiver's settings tick is not sent.
                records = [firsts.pop(0)] if firsts and firsts[0].events == step.events else []
            for record in records:
                if step is not None and not record.attempt.acknowledged:
                    refused = (*refused, step)
                if record.processed:
                    processed = processed.union(record.events)
            states = tuple([record.after for record in records if record.after is not record.before])
            compared = self.key(played, states[-1]) if states else compared
            passed.append(Passed(step, (delivered, refused, processed, compared), states))
        return passed

    async def begin(self, io: Io, player: Player, lifecycles: tuple[Scenario, ...]) -> Played | None:
        """Play these lifecycles twice in order, to find the values that differ, and return the first playing.

        They are also played in the opposite order, in which only a counter rises with every update.
        """
        __tracebackhide__ = True
        schedule = whole(lifecycles)
        if not schedule.steps:
            return None
        first = await player.play(io, schedule)
        if any(self._has_new_time(first, state) for state in first.states):
            await next_second(io)
        await player.let_pass(io, _LATER)
        again = await player.play(io, schedule)
        differences = [self.add(first, *states, again) for states in zip(first.states, again.states, strict=False)]
        if any(differences):
            # A state that changes by itself, later than the answer, differs as well, and would not be compared.
            await player.check_settled(io, SETTLES)
            await player.check_each_settled(io, lifecycles)
        if self._judged is not None:
            back = await player.play(io, Schedule(lifecycles, schedule.steps[::-1]))
            found = [counters(first, back, message) for message in range(len(lifecycles))]
            judged = {*self._judged}
            self._known.clear()
            self._ignored |= {path for path in set.intersection(*found) if not judged.intersection(path)}
        return first

    def add(self, played: Played, one: Any, other: Any, again: Played | None = None) -> bool:
        """Stop comparing what differs between two states that are equal but for it; tell whether anything does."""
        known = len(self._timed) + len(self._ignored)
        self._known.clear()
        for path in self._differing(played, one, other, again or played):
            values, others = (_leaves(*each).get(path) for each in ((played, one), (again or played, other)))
            alike = values is not None and others is not None and _untimed(values) == _untimed(others)
            (self._timed if alike and path not in self._timed else self._ignored).add(path)
        return len(self._timed) + len(self._ignored) > known

    def why(self, played: Played, one: Any, other: Any) -> str:
        """Say at which value two states differ."""
        path = min(self._differing(played, one, other, played), default=())
        values, others = (_leaves(played, state).get(path, []) for state in (one, other))
        same = sorted(map(repr, values)) == sorted(map(repr, others))
        return (
            f"{dotted(path)} {'keeps the order of arrival' if same else 'differs'}: {values!r:.80} and {others!r:.80}"
        )

    def _differing(self, played: Played, one: Any, other: Any, again: Played) -> set[Path]:
        values, others = _leaves(played, one), _leaves(again, other)
        return {path for path in {*values, *others} if values.get(path) != others.get(path)} - self._ignored

    def _has_new_time(self, played: Played, state: Any) -> bool:
        return any(
            path not in self._timed and path not in self._ignored and _untimed(values) != values
            for path, values in _leaves(played, state).items()
        )


def _untimed(values: list[Any]) -> list[Any]:
    return [without_time(value) for value in values]


def _leaves(played: Played, state: Any) -> dict[Path, list[Any]]:
    """Return the values at each path, in their order, without ids."""
    found: defaultdict[Path, list[Any]] = defaultdict(list)
    for number, message in enumerate(played.messages):
        _gather(message, played.state_of(state, number), found)
    return found


def _gather(message: Message, state: Any, found: defaultdict[Path, list[Any]]) -> None:
    shape_of(plain(state), lambda path, value: found[path].append(without_id(value, message)))


def hidden(first: Played, second: Played, expected: Any, found: Any) -> HiddenState:
    """Return the error for two schedules that had left the same state and then went different ways."""
    one, other = first.schedule, second.schedule
    last = other.events[-1] if other.events else "prepare"
    led = f"{expected!r:.200} in the first and to {found!r:.200} in the second"
    if text_of(expected, first) == text_of(found, second):
        answers = [", ".join(str(record.attempt.outcome) for record in each.records) for each in (first, second)]
        led = f"different answers: {answers[0]}, and {answers[1]}"
    if one == other:
        what = f"{one} was played twice, and `{last}` led to {led}"
    else:
        what = f"{one} and {other} had left the same before their last callback, and then `{last}` led to {led}"
    return HiddenState(
        f"observe does not show everything: {what}",
        schedule=other,
        expected=expected,
        found=found,
        where="observe",
        hint="return all that decides what the app does next, such as a flag or the rows of another table; or give "
        "history=True, which plays every schedule",
    )
