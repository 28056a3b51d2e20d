"""Serial outcomes: those of callbacks one after the other and without a crash, with which others are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import msgspec

from engagelab_mock.delivery.io import Io
from engagelab_mock.explore.baseline import leaves
from engagelab_mock.explore.exploration import Violation
from engagelab_mock.explore.orders import letter
from engagelab_mock.explore.played import Played
from engagelab_mock.explore.player import Player
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.state import State, different_parts, differing

#: The name of the invariant that the outcome is one that the callbacks have one after the other.
SERIALIZABLE = "serializable"
#: The name of the invariant that a crash of the handler changes nothing, if the callback is sent again.
CRASH_SAFE = "crash_safe"


def place_of(schedule: Schedule) -> int:
    """Return the place of the first step whose handlers run at the same time or crash; -1 without such a step.

    >>> place_of(Schedule.parse("eg1:plan,sent|sent")), place_of(Schedule.parse("eg1:plan"))
    (1, -1)
    """
    return next((index for index, step in enumerate(schedule.steps) if step.beside or step.crash), -1)


def at_point(schedule: Schedule, order: str = "", crash: int = 1) -> Schedule:
    """Return the schedule with another order of the handlers at the same time, or another point of the crash.

    >>> at_point(Schedule.parse("eg1:sent|sent"), "a2b"), at_point(Schedule.parse("eg1:sent!crash@1"), crash=3)
    (<Schedule eg1:sent|sent@a2b>, <Schedule eg1:sent!crash@3>)
    """
    step = schedule.steps[place_of(schedule)]
    if step.crash:
        return replaced(schedule, msgspec.structs.replace(step, crash=crash))
    return replaced(schedule, msgspec.structs.replace(step, order=order))


def replaced(schedule: Schedule, *instead: Step) -> Schedule:
    """Return the schedule with other steps instead of that whose handlers run at the same time or crash."""
    at = place_of(schedule)
    return Schedule(schedule.lifecycles, (*schedule.steps[:at], *instead, *schedule.steps[at + 1 :]))


def serial_steps(step: Step) -> dict[str, list[Step]]:
    """Return the steps that a step may equal, by name: its callbacks in every order, or once and twice after a crash.

    >>> [*serial_steps(Step(("plan",), beside=(("sent",),)))], [*serial_steps(Step(("plan",), crash=1))]
    (['a, b', 'b, a'], ['sent once', 'sent twice'])

    Of two equal callbacks, the first comes first.
    """
    events, delay = step.events, step.delay
    if step.crash:
        return {"sent once": [Step(events, delay=delay)], "sent twice": [Step(events, delay=delay, repeat=2)]}
    found: dict[tuple[tuple[str, ...], ...], str] = {}
    for order in permutations(range(len(step.callbacks))):
        found.setdefault(tuple(step.callbacks[number] for number in order), ", ".join(map(letter, order)))
    return {
        name: [Step(first, delay=delay), *(Step(each) for each in others)] for (first, *others), name in found.items()
    }


class Outcome(msgspec.Struct, frozen=True):
    """Hold what a race, or the same callbacks one after the other, led to."""

    #: The name of these steps, such as "a, b".
    name: str
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
            leaves(played, state, message)
            for state in (self.after, self.final)
            for message in range(len(played.messages))
        ]


class Serials:
    """Play the callbacks of races one after the other, in every order, and those of crashes without the crash."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._known: dict[Schedule, list[Outcome]] = {}
        self._noise: dict[Schedule, list[set[Any]]] = {}

    async def violation(self, io: Io, played: Played) -> Violation | None:
        """Return the fault if a race or a crash has an outcome that its callbacks never have otherwise."""
        __tracebackhide__ = True
        schedule, at = played.schedule, place_of(played.schedule)
        if not played.observed or at < 0:
            return None
        step, key = schedule.steps[at], at_point(schedule)
        if key not in self._known:
            self._known[key] = [await self._serial(io, key, name) for name in serial_steps(step)]
        serial = self._known[key]
        got = _outcome(played, at, at)
        if any(_equal(got, each) for each in serial):
            return None
        if key not in self._noise:
            again = await self._serial(io, key, serial[0].name, afresh=True)
            self._noise[key] = [differing(*pair) for pair in zip(serial[0].states(), again.states(), strict=True)]
            if any(self._noise[key]):
                await self._player.check_each_settled(io, schedule.lifecycles)
        if any(_equal(got, each, self._noise[key]) for each in serial):
            return None
        return Violation(
            invariant=CRASH_SAFE if step.crash else SERIALIZABLE,
            what=_described(got, serial, "without the crash" if step.crash else "one after the other"),
            record=[each for each in played.records if each.step == at][-1],
            before=serial[0].after,
            after=got.after,
        )

    def acknowledges(self, played: Played) -> bool:
        """Tell whether all callbacks are acknowledged if they come one after the other, in order."""
        known = self._known.get(at_point(played.schedule))
        return known is not None and known[0].played.acknowledged

    async def _serial(self, io: Io, schedule: Schedule, name: str, *, afresh: bool = False) -> Outcome:
        at = place_of(schedule)
        steps = serial_steps(schedule.steps[at])[name]
        played = await self._player.play(io, replaced(schedule, *steps), afresh=afresh)
        return _outcome(played, at, at + len(steps) - 1, name)


def _outcome(played: Played, first: int, last: int, name: str = "") -> Outcome:
    """Return the outcome of the steps from `first` to `last`."""
    after = played.initial
    answers = []
    for record in played.records:
        if record.step > last:
            break
        after = record.after
        if record.step >= first:
            answers.append(_answer(record.attempt.response))
    acknowledged = frozenset(
        (record.events, record.delivery.acknowledged) for record in played.records if record.delivery.closed
    )
    return Outcome(name, after, played.final, acknowledged, tuple(answers), played)


def _answer(response: Any) -> str:
    return "no answer" if response is None else str(response.status)


def _equal(one: Outcome, other: Outcome, noise: Sequence[set[Any]] | None = None) -> bool:
    if one.acknowledged != other.acknowledged:
        return False
    if one.after == other.after and one.final == other.final:
        return True
    pairs = zip(one.states(), other.states(), strict=True)
    return all(differing(*pair) <= (noise[place] if noise else set()) for place, pair in enumerate(pairs))


def _described(got: Outcome, serial: Sequence[Outcome], otherwise: str) -> str:
    """Say how an outcome differs from the others."""
    if all(got.acknowledged != each.acknowledged for each in serial):
        others = "; ".join(f"{each.name}: {' and '.join(each.answers)}" for each in serial)
        refused = [events for events, acknowledged in sorted(got.acknowledged) if not acknowledged]
        which = " and ".join("+".join(events) for events in refused)
        return (
            f"the answers are {' and '.join(got.answers)}, and {which or 'all'} "
            f"{'is not' if refused else 'is'} acknowledged; {otherwise}, they are {others}. "
            "If the receiver relies on EngageLab to send a callback again, give retry=[60]"
        )
    late = any(got.after == each.after for each in serial)
    when = "in the end, " if late else ""
    mine = got.final if late else got.after
    pairs = [different_parts(mine, each.final if late else each.after) for each in serial]
    ours = pairs[0][0]
    if isinstance(mine, Mapping):
        ours = {key: value for key, value in mine.items() if any(key in shown for shown, _ in pairs)}
    told = [f"{expected!r:.200} ({each.name})" for each, (_, expected) in zip(serial, pairs, strict=True)]
    return f"{when}the state is {ours!r:.200}, and {otherwise} it is {' or '.join(told)}"
