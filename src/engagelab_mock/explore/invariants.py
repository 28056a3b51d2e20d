"""Invariants: conditions that must hold in every schedule."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from engagelab_mock.errors import NothingObserved
from engagelab_mock.explore.baseline import differing_leaves, noise, nothing_recognised, wrong_leaves
from engagelab_mock.explore.exploration import Violation
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.explore.state import MISSING, count_of, different_parts, names, part_of, status_in, taker
from engagelab_mock.protocol.status import PROGRESS, Meaning, Statuses, statuses_of, times

#: The part of a state that an invariant is about: a key, an attribute, or a callable that takes it from the state.
Part = str | Callable[[Any], Any] | None
#: A callable that gets a `Played`, and returns the fault or raises `AssertionError`.
Invariant = Callable[[Played], Any]


class _Invariant:
    """A named invariant, made by the functions of this module."""

    def __init__(
        self,
        name: str,
        judge: Callable[[Played], Violation | None],
        *,
        compares: bool = False,
        part: Part = None,
        recognises: Callable[[Played], bool] | None = None,
        seeks: object = None,
        causes: Sequence[str] | None = None,
        rank: Callable[[Any], int | None] | None = None,
    ) -> None:
        self.__name__ = name
        #: Whether it needs the result of in-order delivery.
        self.compares = compares
        #: Tells whether a playing has a state that it can judge. Default: a state that has its part.
        self.recognises = recognises or (lambda played: part is None or _has(played, part))
        #: The part of the state that it judges, and the statuses that change it, for an error if no state has the part.
        self.seeks = seeks or part
        self.causes = tuple(causes or ())
        #: Returns the rank of a state, if the greatest rank so far decides. Else a single step or state decides.
        self.rank = rank
        self._judge = judge

    def __call__(self, played: Played) -> Violation | None:
        return self._judge(played)

    def __repr__(self) -> str:
        return f"{self.__name__}()"


def converges(part: Part = None) -> Invariant:
    """Pass if the final state is the same as after delivering the events in order, each once and alone.

    `part` is a key or an attribute of the state, or a callable that takes a part of it; None compares the whole state.
    These are not compared: times, the message's id and recipient, the order of a list, counters of updates such as
    versions, and values that differ between two in-order deliveries, such as row numbers.

    >>> converges()
    converges()
    """
    take = taker(part)

    def judge(played: Played) -> Violation | None:
        in_order = played.in_order
        if in_order is None or in_order is played:
            return None
        for message in range(len(played.messages)):
            expected, final = take(_final(in_order, message)), take(_final(played, message))
            if expected != final and wrong_leaves(played, message, take):
                ours, theirs = different_parts(final, expected)
                what = f"expected {theirs!r} (the result of in-order delivery), got {ours!r}"
                return Violation(invariant="converges", what=what, record=_last(played), before=expected, after=final)
        return None

    return _Invariant("converges", judge, compares=True, part=part)


def never_regresses(part: Part = None, *, order: Sequence[Any] = PROGRESS) -> Invariant:
    """Pass if no state is followed by one that is earlier in `order`, or by None.

    States that are not in `order` are ignored. A set or a tuple in `order` holds states of equal rank. `part` is the
    part of the state to look at; default: the state itself, or its "status" if it is a mapping.

    >>> never_regresses(order=["sent", ("delivered", "delivered_failed"), "verified"])
    never_regresses()
    """
    take = _status if part is None else taker(part)
    ranks: dict[Any, int] = {None: -1}
    for rank, entry in enumerate(order):
        alike = entry if isinstance(entry, (set, frozenset, tuple, list)) else [entry]
        ranks.update((state, rank) for state in alike)

    def rank_of(after: Any) -> int | None:
        state = take(after)
        return ranks.get(state) if isinstance(state, (str, Hashable)) else None

    def judge(played: Played) -> Violation | None:
        for message in range(len(played.messages)):
            highest, best = -1, None
            for record, after in _changes(played, message):
                state, rank = take(after), rank_of(after)
                if rank is not None and rank < highest:
                    what = f"the state goes back from {best!r} to {state!r}"
                    return Violation(invariant="never_regresses", what=what, record=record, before=best, after=state)
                if rank is not None and rank > highest:
                    highest, best = rank, state
        return None

    def recognises(played: Played) -> bool:
        messages = range(len(played.messages))
        return any(rank_of(after) not in {None, -1} for each in messages for _, after in _changes(played, each))

    return _Invariant("never_regresses", judge, recognises=recognises, rank=rank_of)


def exactly_once(effect: Part, *, when: Statuses | None = None) -> Invariant:
    """Pass if an effect never happens twice, and happens as often as when the events are delivered in order.

    `effect` is a key or an attribute of the state, or a callable that takes it from the state. Its value is a number,
    a truth value, or a collection whose entries are counted. With `when`, one status or several, the effect must happen
    once for a message that had one of them. It must not happen before, and it must stay. An effect of `verified_failed`
    must happen once for each wrong code.

    >>> exactly_once("credits", when="verified")
    exactly_once()
    """
    take = taker(effect)
    name = effect if isinstance(effect, str) else getattr(effect, "__name__", "the effect")
    causes = None if when is None else statuses_of(when, "when")

    def judge(played: Played) -> Violation | None:
        found = (_miscounted(played, message, take, name, causes) for message in range(len(played.messages)))
        return next(filter(None, found), None)

    return _Invariant("exactly_once", judge, compares=when is None, causes=causes, part=effect)


def keeps_terminal(terminal: Statuses) -> Invariant:
    """Pass if the status is one of these once one of them was processed, and stays so.

    The status is the state itself, or its part `status`, in any spelling that names it, such as "VERIFIED".

    >>> keeps_terminal("verified")
    keeps_terminal()
    """
    ends = statuses_of(terminal, "terminal")

    def ended(state: Any) -> str:
        return next((status for status in ends if names(status_in(state), status)), "")

    def judge(played: Played) -> Violation | None:
        for message in range(len(played.messages)):
            status = ended(played.state_of(played.initial, message))
            for record, after in _changes(played, message):
                known, status = status, ended(after)
                if known and not status:
                    what = f"the status goes back from {known!r} to {status_in(after)!r}"
                    before = played.state_of(record.before, message)
                    return Violation(invariant="keeps_terminal", what=what, record=record, before=before, after=after)
            reached = [each for each in _delivered(played, message) if each in ends]
            if reached and not status:
                final = _final(played, message)
                what = f"the status is {status_in(final)!r}, and {reached[0]} was acknowledged"
                return Violation(invariant="keeps_terminal", what=what, record=_last(played), after=final)
        return None

    def recognises(played: Played) -> bool:
        return any(map(ended, _states(played)))

    return _Invariant("keeps_terminal", judge, recognises=recognises, seeks="status", causes=ends)


def meaning_invariants(meaning: Meaning) -> list[Invariant]:
    """Return the invariants that follow from the meaning that a receiver gives to its statuses.

    >>> meaning_invariants(Meaning.of({"credits": "verified"}, "verified"))
    [exactly_once(), keeps_terminal()]
    """
    effects = [exactly_once(effect, when=causes) for effect, causes in meaning.effects.items()]
    return [*effects, *([keeps_terminal(meaning.terminal)] if meaning.terminal else [])]


def idempotent(part: Part = None) -> Invariant:
    """Pass if a callback changes nothing once the receiver has processed all of its events before.

    >>> idempotent()
    idempotent()
    """
    take = taker(part)

    def judge(played: Played) -> Violation | None:
        sent: set[str] = set()
        for index, record in enumerate(played.records):
            # Of callbacks at the same time, the first has the change by all of them.
            events = [label for labels in played.schedule.steps[record.step].callbacks for label in labels]
            changed = record.after is not record.before
            if changed and sent.issuperset(events) and _were_processed(events, played.records[:index]):
                for message in range(len(played.messages)):
                    before, after = (take(played.state_of(state, message)) for state in (record.before, record.after))
                    if before != after and differing_leaves(played, before, after, message) - noise(
                        played, message, take
                    ):
                        was, became = different_parts(before, after)
                        what = f"a repeated {', '.join(record.events)} changes the state from {was!r} to {became!r}"
                        return Violation(invariant="idempotent", what=what, record=record, before=before, after=after)
            sent.update(record.events)
        return None

    return _Invariant("idempotent", judge, part=part)


def eventually(status: Any = None, part: Part = None) -> Invariant:
    """Pass if the final state is `status`, in every schedule that delivers the event of that status.

    The default is the last status of the lifecycle. A callable gets the final state of every schedule and returns
    whether it is right. `part` is as in `never_regresses`.

    >>> eventually("verified")
    eventually()
    """
    take = taker(part) if part is not None or callable(status) else _status

    def judge(played: Played) -> Violation | None:
        for message, scenario in enumerate(played.schedule.lifecycles):
            final = take(_final(played, message))
            if callable(status):
                if not status(final):
                    what = f"the final state is {final!r}"
                    return Violation(invariant="eventually", what=what, record=_last(played), after=final)
                continue
            wanted = status if status is not None else (scenario.statuses or [""])[-1]
            if wanted in _delivered(played, message, last=status is None) and final != wanted:
                what = f"expected the final state {wanted!r}, got {final!r}"
                return Violation(invariant="eventually", what=what, record=_last(played), before=wanted, after=final)
        return None

    return _Invariant("eventually", judge, part=part)


def recognises(invariant: Invariant, played: Played) -> bool:
    """Tell whether an invariant can judge a state of this playing; invariants of the user always can.

    >>> recognises(lambda played: None, None)
    True
    """
    return not isinstance(invariant, _Invariant) or invariant.recognises(played)


def unrecognised(invariant: Invariant, state: Any) -> NothingObserved:
    """Return the error for an invariant that has recognised no state; `state` is one of the states that it saw.

    >>> unrecognised(exactly_once("credts"), {"credits": 0}).hint.partition("?")[0]
    "did you mean 'credits'"
    """
    return nothing_recognised(repr(invariant), getattr(invariant, "seeks", None), causes_of(invariant), state)


def causes_of(invariant: Invariant) -> tuple[str, ...]:
    """Return the statuses after which an invariant recognises a state; empty if the invariant does not name them.

    >>> causes_of(exactly_once("credits", when="verified"))
    ('verified',)
    """
    return invariant.causes if isinstance(invariant, _Invariant) else ()


def needs_state(invariant: Invariant) -> bool:
    """Tell whether an invariant judges the state that `observe` returns, as those of this module do.

    >>> needs_state(converges())
    True
    """
    return isinstance(invariant, _Invariant)


def rank(invariant: Invariant, state: Any) -> int | None:
    """Return the rank of a message's state, if the invariant judges by the greatest rank so far.

    >>> rank(never_regresses(order=["sent", "delivered"]), "delivered"), rank(converges(), "delivered")
    (1, None)
    """
    return invariant.rank(state) if isinstance(invariant, _Invariant) and invariant.rank is not None else None


def compares(invariant: Invariant) -> bool:
    """Tell whether an invariant may need the result of in-order delivery; an invariant of the user may.

    >>> compares(converges()), compares(never_regresses())
    (True, False)
    """
    return not isinstance(invariant, _Invariant) or invariant.compares


# Concrete types first: a check against an abstract one takes much longer, and these run after every schedule.


def _status(state: Any) -> Any:
    return state.get("status") if isinstance(state, (dict, Mapping)) else state


def _final(played: Played, message: int) -> Any:
    """Return the state of one message after the last attempt."""
    return played.state_of(played.final, message)


def _has(played: Played, part: str | Callable[[Any], Any]) -> bool:
    """Tell whether a state has a part."""
    states = [state for state in _states(played) if state is not None]
    if isinstance(part, str):
        return any(part_of(state, part) is not MISSING for state in states)
    return any(part(state) is not None for state in states)


def _states(played: Played) -> list[Any]:
    """Return every state of every message."""
    return [played.state_of(state, message) for state in played.states for message in range(len(played.messages))]


def _changes(played: Played, message: int) -> list[tuple[Record, Any]]:
    """Return the attempts that changed the state, each with the state of one message after it."""
    # An unchanged state is the same object: see `look_again`.
    if len(played.messages) == 1:
        return [(record, record.after) for record in played.records if record.after is not record.before]
    return [(record, record.after[message]) for record in played.records if record.after is not record.before]


def _were_processed(events: Sequence[str], records: Sequence[Record]) -> bool:
    """Tell whether the receiver processed all of these events in some of these attempts."""
    return {event for record in records if record.processed for event in record.events}.issuperset(events)


def _last(played: Played) -> Record | None:
    return played.records[-1] if played.records else None


def _times(count: int) -> str:
    return "1 time" if count == 1 else f"{count} times"


def _miscounted(
    played: Played, message: int, take: Callable[[Any], Any], name: str, causes: Sequence[str] | None
) -> Violation | None:
    """Return the violation if an effect happened too often, too early or not at all, or was undone."""

    def violation(what: str, record: Record | None, before: Any = None) -> Violation:
        after = played.state_of(played.final if record is None else record.after, message)
        what = f"{name} happened {what}"
        return Violation(invariant="exactly_once", what=what, record=record, before=before, after=after)

    value = take(played.state_of(played.initial, message))
    count, most = count_of(value, name), 1
    for index, record in enumerate(played.records):
        if record.after is record.before:
            continue
        before, after = (played.state_of(state, message) for state in (record.before, record.after))
        known, value = count, take(after)
        count = count_of(value, name)
        if causes is not None:
            # The state after the first of several callbacks at the same time is the state after all of them.
            most = times(causes, _delivered(played, message, sent=index + _together(played, index)))
            if count < known:
                return violation(f"{_times(known)}, and is undone", record, before)
        if count > most and (causes is None or count > known):
            early = f", expected {most}" if causes is not None else ""
            return violation(_times(count) + early, record, before)
    least = most = count
    if causes is not None:
        least = times(causes, _delivered(played, message))
        most = times(causes, _delivered(played, message, sent=len(played.records)))
    elif played.in_order is not None and played.in_order is not played:
        least = most = count_of(take(_final(played.in_order, message)), name)
    if not min(least, 1 if isinstance(value, bool) else least) <= count <= most:
        return violation(f"{_times(count)}, expected {least if count < least else most}", _last(played))
    return None


def _together(played: Played, index: int) -> int:
    """Return how many attempts of the same step follow each other from an index on."""
    step = played.records[index].step
    return next((n for n, each in enumerate(played.records[index:]) if each.step != step), len(played.records) - index)


def _delivered(played: Played, message: int, *, last: bool = False, sent: int | None = None) -> Iterator[str]:
    """Yield the status of each event of a message that the receiver has processed; with `last`, only of its last event.

    With `sent`, yield the statuses of that many first attempts, processed or not.
    """
    scenario = played.schedule.lifecycles[message]
    places = labels_of(played.schedule.lifecycles).places
    records = [record for record in played.records if record.processed] if sent is None else played.records[:sent]
    for label in dict.fromkeys([label for record in records for label in record.events]):
        whose, index = places[label]
        if whose == message and (not last or index == len(scenario.transitions) - 1):
            yield scenario.transitions[index].status
