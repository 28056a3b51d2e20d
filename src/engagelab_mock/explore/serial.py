"""Serial outcomes: what callbacks lead to one after the other, and whether handlers at the same time led elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import msgspec

from engagelab_mock.delivery.io import Io
from engagelab_mock.explore.baseline import leaves
from engagelab_mock.explore.exploration import Violation
from engagelab_mock.explore.orders import letter
from engagelab_mock.explore.player import Played, Player
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.state import State, different_parts, differing

#: The name of the invariant that the outcome is one that the callbacks have one after the other.
SERIALIZABLE = "serializable"


def together_at(schedule: Schedule) -> int:
    """Return the place of the first step with several callbacks; -1 if there is none.

    >>> together_at(Schedule.parse("eg1:plan,sent|sent"))
    1
    """
    return next((index for index, step in enumerate(schedule.steps) if step.beside), -1)


def with_order(schedule: Schedule, order: str) -> Schedule:
    """Return the schedule with another order of the handlers that run at the same time.

    >>> with_order(Schedule.parse("eg1:sent|sent"), "a2b")
    <Schedule eg1:sent|sent@a2b>
    """
    return replaced(schedule, msgspec.structs.replace(schedule.steps[together_at(schedule)], order=order))


def replaced(schedule: Schedule, *instead: Step) -> Schedule:
    """Return the schedule with other steps instead of those callbacks that are delivered at the same time."""
    at = together_at(schedule)
    return Schedule(schedule.lifecycles, (*schedule.steps[:at], *instead, *schedule.steps[at + 1 :]))


class Outcome(msgspec.Struct, frozen=True):
    """Hold what a race, or the same callbacks one after the other, led to."""

    #: The order of the callbacks, such as "a, b".
    order: str
    #: The state after these callbacks, and at the end.
    after: Any
    final: Any
    #: The events of each delivery, with whether it was acknowledged in the end.
    acknowledged: frozenset[tuple[tuple[str, ...], bool]]
    answers: tuple[str, ...]
    played: Played

    def states(self) -> list[State]:
        """Return both states of all messages, leaf by leaf."""
        played = self.played
        return [
            leaves(played, state, message) for state in (self.after, self.final) for message in range(_messages(played))
        ]


def _messages(played: Played) -> int:
    return len(played.messages)


class Serials:
    """Play the callbacks of races one after the other, in every order, once for each race."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._known: dict[Schedule, list[Outcome]] = {}
        self._noise: dict[Schedule, list[set[Any]]] = {}

    async def violation(self, io: Io, played: Played) -> Violation | None:
        """Return what is wrong if a race has an outcome that its callbacks never have one after the other."""
        __tracebackhide__ = True
        schedule = played.schedule
        if not played.observed or together_at(schedule) < 0:
            return None
        key = with_order(schedule, "")
        if key not in self._known:
            self._known[key] = [await self._serial(io, key, order) for order in _serial_orders(key)]
        serial = self._known[key]
        at = together_at(schedule)
        got = _outcome(played, at, at)
        if any(_equal(got, each) for each in serial):
            return None
        if key not in self._noise:
            again = await self._serial(io, key, range(len(key.steps[at].callbacks)))
            self._noise[key] = [differing(*pair) for pair in zip(serial[0].states(), again.states(), strict=True)]
        if any(_equal(got, each, self._noise[key]) for each in serial):
            return None
        record = [each for each in played.records if each.step == at][-1]
        return Violation(
            invariant=SERIALIZABLE,
            what=_described(got, serial),
            record=record,
            before=serial[0].after,
            after=got.after,
        )

    def acknowledges(self, played: Played) -> bool:
        """Tell whether the callbacks of a race are all acknowledged if they come one after the other, in order."""
        known = self._known.get(with_order(played.schedule, ""))
        return known is not None and known[0].played.acknowledged

    async def _serial(self, io: Io, schedule: Schedule, order: Sequence[int]) -> Outcome:
        at = together_at(schedule)
        callbacks = schedule.steps[at].callbacks
        steps = [Step(callbacks[number]) for number in order]
        steps[0] = msgspec.structs.replace(steps[0], delay=schedule.steps[at].delay)
        played = await self._player.play(io, replaced(schedule, *steps))
        return _outcome(played, at, at + len(order) - 1, ", ".join(map(letter, order)))


def _serial_orders(schedule: Schedule) -> list[tuple[int, ...]]:
    """Return the orders in which the callbacks differ: of two that are equal, the first comes first."""
    callbacks = schedule.steps[together_at(schedule)].callbacks
    orders: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for order in permutations(range(len(callbacks))):
        orders.setdefault(tuple(callbacks[number] for number in order), order)
    return list(orders.values())


def _outcome(played: Played, first: int, last: int, order: str = "") -> Outcome:
    """Return the outcome of the steps from `first` to `last`."""
    after = played.initial
    answers = []
    for record in played.records:
        if record.step > last:
            break
        after = record.after
        if record.step >= first:
            answers.append(_answer(record.delivery.attempts[0].response))
    acknowledged = frozenset(
        (record.events, record.delivery.acknowledged) for record in played.records if record.delivery.closed
    )
    return Outcome(order, after, played.final, acknowledged, tuple(answers), played)


def _answer(response: Any) -> str:
    return "no answer" if response is None else str(response.status)


def _equal(one: Outcome, other: Outcome, noise: Sequence[set[Any]] | None = None) -> bool:
    if one.acknowledged != other.acknowledged:
        return False
    if one.after == other.after and one.final == other.final:
        return True
    pairs = zip(one.states(), other.states(), strict=True)
    return all(differing(*pair) <= (noise[place] if noise else set()) for place, pair in enumerate(pairs))


def _described(got: Outcome, serial: Sequence[Outcome]) -> str:
    """Say how an outcome differs from those of the callbacks one after the other."""
    if all(got.acknowledged != each.acknowledged for each in serial):
        others = "; ".join(f"{each.order}: {' and '.join(each.answers)}" for each in serial)
        refused = [events for events, acknowledged in sorted(got.acknowledged) if not acknowledged]
        which = " and ".join("+".join(events) for events in refused)
        return (
            f"the answers are {' and '.join(got.answers)}, and {which or 'all'} "
            f"{'is not' if refused else 'is'} acknowledged; one after the other, they are {others}. "
            "If the receiver relies on EngageLab to send a callback again, give retry=[60]"
        )
    late = any(got.after == each.after for each in serial)
    when = "in the end, " if late else ""
    mine = got.final if late else got.after
    pairs = [different_parts(mine, each.final if late else each.after) for each in serial]
    ours = pairs[0][0]
    if isinstance(mine, Mapping):
        ours = {key: value for key, value in mine.items() if any(key in shown for shown, _ in pairs)}
    told = [f"{expected!r:.200} ({each.order})" for each, (_, expected) in zip(serial, pairs, strict=True)]
    return f"{when}the state is {ours!r:.200}, and one after the other it is {' or '.join(told)}"
