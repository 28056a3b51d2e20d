"""Play events in order, to compare other schedules with it, and to see whether the receiver shows any effect."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.errors import NothingObserved, ProbeFailed, did_you_mean
from engagelab_mock.explore.lifecycle import labels_of, names_of
from engagelab_mock.explore.played import Baseline, Played
from engagelab_mock.explore.player import Player
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.state import (
    COUNT,
    EACH,
    Path,
    Snapshot,
    State,
    differing,
    dotted,
    parts_of,
    plain,
    state_of,
)
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

#: How long to watch a state before reporting a failure, or before saying that a receiver shows no effect, in seconds.
SETTLES, _SHOWS = 0.1, 0.5
#: How often the wall clock is read until its second is over, in seconds.
_TICK = 0.02
#: How many schedules without an effect are examined.
_LOOKED_INTO = 3
#: How many events a leaf must have counted to be regarded as a counter of updates.
_COUNTED = 3
_EMPTY = "reset must empty every table that the app writes to"
#: The lifecycles to try if the explored one has no effect.
_TRIED = ("verified", "fallback_exhausted")


class Baselines:
    """Play events in order, and keep the results that other schedules are compared with, one for each set of events."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._known: dict[tuple[tuple[str, ...], frozenset[str]], Baseline] = {}
        self._looked_into = 0
        self._reset_checked = False
        #: The first schedule that was played.
        self.first: Played | None = None
        #: Whether any schedule so far had an effect.
        self.shown = False
        #: What was not compared and may be data that `reset` leaves; empty if there is nothing.
        self.note = ""

    async def of(self, io: Io, played: Played) -> Baseline:
        """Return the playings of a schedule's events in order."""
        __tracebackhide__ = True
        schedule = played.schedule
        key = (names_of(schedule.lifecycles), frozenset(schedule.events))
        baseline = self._known.get(key)
        if baseline is None:
            in_order = schedule.in_order
            baseline = Baseline(played if in_order == schedule else await self._player.play(io, in_order))
            self._known[key] = baseline
        return baseline

    async def with_more(self, io: Io, played: Played) -> Baseline:
        """Return the same playings, with a second playing, and a playing of all events."""
        __tracebackhide__ = True
        await self.check_reset(io)
        baseline = await self.of(io, played)
        if baseline.again is None:
            first = baseline.played
            baseline.again = again = await self._player.play(io, first.schedule, afresh=True)
            known = leaves(first, first.final, 0)
            if known and {*known} <= differing(known, leaves(again, again.final, 0)):
                raise ProbeFailed(
                    f"it returned entirely different values for two messages that had the same events in order: "
                    f"{first.final!r:.200} and {again.final!r:.200}",
                    where="observe",
                    hint="return the status by itself, such as {'status': …}",
                )
            every = whole(first.schedule.lifecycles)
            if _unequal(first, again):
                # Of an app that works after its answer, any state can differ, and then none would be compared.
                await self._player.check_each_settled(io, every.lifecycles)
            baseline.whole = await self._player.play(io, every)
            baseline.back = await self._player.play(io, Schedule(every.lifecycles, every.steps[::-1]))
        return baseline

    async def check_reset(self, io: Io) -> None:
        """Raise `ProbeFailed` if the app is not the same after `reset` as it was at first.

        The first schedule is played again. Row numbers and times differ in each playing. Any other difference from the
        first playing means that `reset` left data in the app. So does a value that each playing takes over from the one
        before: it differs each time as well, and would not be compared.
        """
        __tracebackhide__ = True
        first, probe = self.first, self._player.probe
        if first is None or self._reset_checked or not first.observed:
            return
        if probe.reset is None:
            await self._note_shared(io, first)
            return
        self._reset_checked = True
        again = await self._player.play(io, first.schedule, afresh=True)
        if not _unequal(first, again):
            return
        third = await self._player.play(io, first.schedule, afresh=True)
        if taken := _taken_over(again, third):
            await next_second(io)  # a value that shows the time can be the same by chance, but not twice
            if taken & _taken_over(third, await self._player.play(io, first.schedule, afresh=True)):
                what = f"before the first callback, the state was {first.initial!r:.200} at first"
                raise _reset_failed(f"{what}, and {third.initial!r:.200} after reset, as the callbacks before left it")
        for number, (one, two, three) in enumerate(zip(first.states, again.states, third.states, strict=False)):
            differs = _differ(first, one, two)
            # Without `prepare` there are no rows yet, and so no row numbers.
            left = differs if not number and probe.prepare is None else differs - _differ(first, two, three)
            if left and left - await self._by_time(io, third, number):
                when = f"after {number} callbacks" if number else "before the first callback"
                raise _reset_failed(f"{when}, the state was {one!r:.200} at first, and {two!r:.200} after reset")
        new = _differ(first, first.final, again.final) & _differ(again, again.final, third.final)
        counted = {dotted(path) for message, path in new if _moves(third, message, path)}
        if counted:
            self.note = f"{_not_compared(counted)}. If it is not a number that the database gives, {_EMPTY}"

    async def _note_shared(self, io: Io, first: Played) -> None:
        """Note the values that new messages share with earlier ones, if values were not compared."""
        if not any(each.again is not None and _unequal(each.played, each.again) for each in self._known.values()):
            return
        self._reset_checked = True
        before, after = [await self._player.play(io, first.schedule, afresh=True) for _ in range(2)]
        if shared := {dotted(path) for _, path in _taken_over(before, after)}:
            self.note = f"{_not_compared(shared)}: give reset, or show only what belongs to the message"

    async def _by_time(self, io: Io, before: Played, number: int) -> set[tuple[int, Path]]:
        """Return the leaves that differ if the same schedule is played in another second of the wall clock."""
        await next_second(io)
        again = await self._player.play(io, before.schedule, afresh=True)
        return _differ(before, before.states[number], again.states[number])

    async def check_effect(self, io: Io, played: Played) -> None:
        """Raise `NothingObserved` if the receiver shows no effect of whole lifecycles, in order and acknowledged.

        Called for a schedule without an effect. The lifecycle is tried, and then others.
        """
        __tracebackhide__ = True
        if self._looked_into >= _LOOKED_INTO:
            return
        self._looked_into += 1
        lifecycles = played.schedule.lifecycles
        first: Played | None = None
        for schedule in dict.fromkeys((whole(lifecycles), *(whole((CATALOGUE[name],)) for name in _TRIED))):
            tried = await self._player.play(io, schedule)
            if tried.changed:
                self.shown = True
                return
            if tried.records and tried.acknowledged:
                first = first or tried
        if first is None:
            return
        await self._player.check_settled(io, _SHOWS)
        if not self.shown:
            raise nothing_observed(first, self._player.probe)
        if self._player.probe.reset is not None:
            raise _reset_failed(
                f"callbacks had an effect at first, and after reset the state stays {played.final!r:.200}"
            )


async def next_second(io: Io) -> None:
    """Wait until the next second of the wall clock begins."""
    second = int(time.time())
    while int(time.time()) == second:
        await io.pause(_TICK)


def nothing_observed(played: Played, probe: Probe) -> NothingObserved:
    """Return the error for a receiver that showed no effect of these callbacks, delivered in order."""
    events = ", ".join("+".join(record.events) for record in played.records)
    hints = [] if probe.prepare else ["prepare, if the app ignores messages that it did not send"]
    if played.initial is not None and probe.reset is None:
        hints.append("reset, if the app knows the message from an earlier run")
    hints.append("another observe, if it looks in the wrong place")
    hints += [] if probe.wait_idle else ["wait_idle, if the app works after its answer"]
    return NothingObserved(
        f"the receiver showed no effect: observe returned {played.final!r:.200} before the first callback, and after "
        f"each of {events}, which were delivered in order and acknowledged",
        where="observe",
        hint=f"give Receiver {'; or '.join(hints)}",
    )


def nothing_recognised(
    judge: str, sought: object, causes: Sequence[str], state: Any, *, where: str = "explore"
) -> NothingObserved:
    """Return the error for a judge that found no state with the part that it judges.

    >>> print(nothing_recognised("exactly_once()", "credts", ["verified"], {"status": "sent", "credits": 0}))
    explore: exactly_once() judged nothing: no state had 'credts', but for example {'status': 'sent', 'credits': 0}
      hint: did you mean 'credits'? Name it as it is in the state that observe returns
    """
    what, hint = "no state was in its order", "give part=, or order="
    if sought == "status":
        what, hint = f"no status was {' or '.join(causes)}", "return the status under its name: {'status': …}"
    elif sought:
        what = f"no state had {sought!r}"
        meant = did_you_mean(sought, parts_of(state)) if isinstance(sought, str) else ""
        hint = f"{meant} Name it as it is in the state that observe returns".strip()
    return NothingObserved(f"{judge} judged nothing: {what}, but for example {state!r:.100}", where=where, hint=hint)


def differing_leaves(played: Played, one: Any, other: Any, message: int = 0) -> set[Path]:
    """Return the leaves at which two states of a message differ, apart from times and the message's own data."""
    return differing(*[_leaves_of(played, state, message) for state in (one, other)])


def _leaves_of(played: Played, state: Any, message: int) -> State:
    about = played.messages[message]
    return state_of(Snapshot(about.id, plain(state)), about)


def _differ(played: Played, one: Any, other: Any) -> set[tuple[int, Path]]:
    """Return the leaves at which two states of all messages differ, each with the number of its message."""
    return {
        (message, path)
        for message in range(len(played.messages))
        for path in differing_leaves(played, played.state_of(one, message), played.state_of(other, message), message)
    }


def _taken_over(before: Played, after: Played) -> set[tuple[int, Path]]:
    """Return the leaves that one playing changed, and with which the next one began."""
    found = set()
    for message in range(len(before.messages)):
        states = (before, before.initial), (before, before.final), (after, after.initial)
        one, two, three = [_leaves_of(each, each.state_of(state, message), message) for each, state in states]
        found |= {(message, path) for path in differing(one, two) - differing(two, three)}
    return found


def _unequal(first: Played, again: Played) -> bool:
    """Tell whether two playings of the same schedule have different values."""
    return any(_differ(first, *states) for states in zip(first.states, again.states, strict=False))


def _not_compared(names: Collection[str]) -> str:
    return f"not compared: {', '.join(sorted(names))}, which goes on from the schedule before"


def _moves(played: Played, message: int, path: Path) -> bool:
    """Tell whether a single whole number changes while callbacks come, unlike the number of a row."""
    seen = [_leaves_of(played, played.state_of(state, message), message).get(path) for state in played.states]
    numbers = {value for value in seen if type(value) is int}
    return len(numbers) > 1 and EACH not in path and COUNT not in path


def whole(lifecycles: tuple[Scenario, ...]) -> Schedule:
    """Return the schedule that delivers every event of these lifecycles in order.

    >>> whole((CATALOGUE["delivered"],))
    <Schedule eg1:delivered:plan,sent,delivered>
    """
    return Schedule(lifecycles, tuple([Step((label,)) for label in labels_of(lifecycles).all]))


def _reset_failed(what: str) -> ProbeFailed:
    hint = f"{_EMPTY}; if the app works after its answer, give wait_idle"
    return ProbeFailed(what, where="reset", hint=hint)


def noise(played: Played, message: int, take: Callable[[Any], Any]) -> set[Path]:
    """Return the leaves that differ between two playings of the same events in order, such as row numbers."""
    baseline = played.baseline
    if baseline is None or baseline.again is None:
        return set()
    return differing(*[leaves(each, each.final, message, take) for each in (baseline.played, baseline.again)])


def counters(whole: Played, back: Played, message: int, take: Callable[[Any], Any] = lambda state: state) -> set[Path]:
    """Return the leaves that only count the updates: they rise by 1 with each one, in order and in the opposite order.

    A status that is a number rises in order as well.
    """
    return _rising(whole, message, take, least=_COUNTED) & _rising(back, message, take, least=1)


def _rising(played: Played, message: int, take: Callable[[Any], Any], *, least: int) -> set[Path]:
    """Return the leaves that rise by 1 whenever the state of a message changes, if it changes often enough."""
    changes = [
        (record.before, record.after)
        for record in played.records
        if record.after is not record.before
        and (played.state_of(record.before, message) if record.before is not None else None)
        is not played.state_of(record.after, message)
    ]
    steps = [[leaves(played, state, message, take) for state in states] for states in changes]
    if len(steps) < least:
        return set()
    return {
        path
        for path, value in steps[-1][1].items()
        if type(value) is int and all(after.get(path) == (before.get(path) or 0) + 1 for before, after in steps)
    }


def wrong_leaves(played: Played, message: int, take: Callable[[Any], Any]) -> set[Path]:
    """Return the leaves of the final state that differ from those after the same events in order."""
    baseline = played.baseline
    if baseline is None:
        return set()
    expected, final = (leaves(each, each.final, message, take) for each in (baseline.played, played))
    wrong = differing(expected, final) - noise(played, message, take)
    if not wrong or baseline.whole is None or baseline.back is None:
        return wrong
    return wrong - counters(baseline.whole, baseline.back, message, take)


def leaves(played: Played, state: Any, message: int, take: Callable[[Any], Any] = lambda state: state) -> State:
    """Return a part of a message's state, leaf by leaf."""
    return _leaves_of(played, take(played.state_of(state, message)), message)
