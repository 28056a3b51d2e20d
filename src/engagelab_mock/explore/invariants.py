"""Invariants: what must hold in every schedule. A violation says what does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence, Sized
from typing import Any, TypedDict

import msgspec

from engagelab_mock.errors import NothingObserved, UsageError, reduce_struct
from engagelab_mock.explore.baseline import differing_leaves, noise, wrong_leaves
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.player import Played, Record
from engagelab_mock.protocol.status import Status


class Violation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Hold which invariant failed, what is wrong, and after which attempt.

    >>> Violation(invariant="eventually", what="the state is 'sent'").record is None
    True
    """

    invariant: str
    what: str
    #: The attempt after which it was seen; None if no attempt caused it.
    record: Record | None = None
    #: The state it is compared with, and the wrong state.
    before: Any = None
    after: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "before", "after")


#: The name of the invariant that every callback is acknowledged in the end. It is always checked.
ACKNOWLEDGED = "acknowledged"


def given_up(record: Record) -> Violation:
    """Return the violation by a callback that was not acknowledged and will not be sent again."""
    what = f"the callback was given up: {record.attempt.error}"
    return Violation(invariant=ACKNOWLEDGED, what=what, record=record, before=record.before, after=record.after)


#: The part of a state that an invariant is about: a key, an attribute, or a callable that takes it from the state.
Part = str | Callable[[Any], Any] | None
#: A callable that gets a `Played`, and returns what is wrong or raises `AssertionError`.
Invariant = Callable[[Played], Any]

#: The statuses in the order of progress. Failures are not in it: another channel or another try may follow.
PROGRESS: tuple[str, ...] = (
    *(Status.PLAN, Status.TARGET_VALID, Status.SENT, Status.DELIVERED, Status.READ, Status.VERIFIED),
)


class _About(TypedDict, total=False):
    recognises: Callable[[Played], bool]
    missing: str


class _Invariant:
    """A named invariant, made by the functions of this module."""

    def __init__(
        self,
        name: str,
        judge: Callable[[Played], Violation | None],
        *,
        compares: bool = False,
        recognises: Callable[[Played], bool] = lambda played: True,
        missing: str = "",
    ) -> None:
        self.__name__ = name
        #: Whether it needs the result of in-order delivery.
        self.compares = compares
        #: Tells whether a playing has a state that it can judge; `missing` says what no state had.
        self.recognises = recognises
        self.missing = missing
        self._judge = judge

    def __call__(self, played: Played) -> Violation | None:
        return self._judge(played)

    def __repr__(self) -> str:
        return f"{self.__name__}()"


def converges(part: Part = None) -> Invariant:
    """Pass if the final state is the same as after delivering the events in order, each once and alone.

    `part` is a key or an attribute of the state, or a callable that takes a part of it; None compares all of it. Times,
    the message's own id and recipient, the order of a list, what two deliveries in order leave differently, such as row
    numbers, and versions, which count the updates, are not compared.

    >>> converges()
    converges()
    """
    take = _taker(part)

    def judge(played: Played) -> Violation | None:
        in_order = played.in_order
        if in_order is None or in_order is played:
            return None
        for message in range(len(played.messages)):
            expected, final = take(_final(in_order, message)), take(_final(played, message))
            if expected != final and wrong_leaves(played, message, take):
                ours, theirs = _different(final, expected)
                what = f"expected {theirs!r} (the result of in-order delivery), got {ours!r}"
                return Violation(invariant="converges", what=what, record=_last(played), before=expected, after=final)
        return None

    return _Invariant("converges", judge, compares=True, **_about(part, take))


def never_regresses(part: Part = None, *, order: Sequence[Any] = PROGRESS) -> Invariant:
    """Pass if no state is followed by one that is earlier in `order`, or by None.

    States that are not in `order` are ignored. A set or a tuple in `order` holds states of equal rank. `part` is the
    part of the state to look at; default: the state itself, or its "status" if it is a mapping.

    >>> never_regresses(order=["sent", ("delivered", "delivered_failed"), "verified"])
    never_regresses()
    """
    take = _status if part is None else _taker(part)
    ranks: dict[Any, int] = {None: -1}
    for rank, entry in enumerate(order):
        alike = entry if isinstance(entry, (set, frozenset, tuple, list)) else [entry]
        ranks.update((state, rank) for state in alike)

    def judge(played: Played) -> Violation | None:
        for message in range(len(played.messages)):
            highest, best = -1, None
            for record, after in _changes(played, message):
                state = take(after)
                rank = ranks.get(state) if isinstance(state, (str, Hashable)) else None
                if rank is not None and rank < highest:
                    what = f"the state goes back from {best!r} to {state!r}"
                    return Violation(invariant="never_regresses", what=what, record=record, before=best, after=state)
                if rank is not None and rank > highest:
                    highest, best = rank, state
        return None

    def recognises(played: Played) -> bool:
        states = [take(after) for message in range(len(played.messages)) for _, after in _changes(played, message)]
        return any(state is not None and isinstance(state, Hashable) and state in ranks for state in states)

    return _Invariant("never_regresses", judge, recognises=recognises, missing="was in its order")


def exactly_once(effect: Part, *, when: str | None = None) -> Invariant:
    """Pass if an effect never happens twice, and happens as often as when the events are delivered in order.

    `effect` is a key or an attribute of the state, or a callable that takes it from the state. Its value is a number,
    a truth value, or a collection whose entries are counted. With `when`, a status, the effect must happen once if that
    status was delivered, and must not happen otherwise.

    >>> exactly_once("credits", when="verified")
    exactly_once()
    """
    take = _taker(effect)
    name = effect if isinstance(effect, str) else getattr(effect, "__name__", "the effect")

    def judge(played: Played) -> Violation | None:
        for message in range(len(played.messages)):
            after = played.state_of(played.initial, message)
            count = _count(take(after))
            for record, after in _changes(played, message):
                if (count := _count(take(after))) > 1:
                    before = played.state_of(record.before, message)
                    what = f"{name} happened {_times(count)}"
                    return Violation(invariant="exactly_once", what=what, record=record, before=before, after=after)
            wanted = _wanted(played, message, when, take)
            if wanted is not None and count != wanted:
                what = f"{name} happened {_times(count)}, expected {wanted}"
                return Violation(invariant="exactly_once", what=what, record=_last(played), after=after)
        return None

    return _Invariant("exactly_once", judge, compares=when is None, **_about(effect, take))


def idempotent(part: Part = None) -> Invariant:
    """Pass if a callback changes nothing once the receiver has processed all of its events before.

    >>> idempotent()
    idempotent()
    """
    take = _taker(part)

    def judge(played: Played) -> Violation | None:
        sent: set[str] = set()
        for index, record in enumerate(played.records):
            changed = record.after is not record.before
            if changed and sent.issuperset(record.events) and _were_processed(record.events, played.records[:index]):
                for message in range(len(played.messages)):
                    before, after = (take(played.state_of(state, message)) for state in (record.before, record.after))
                    if before != after and differing_leaves(played, before, after, message) - noise(
                        played, message, take
                    ):
                        was, became = _different(before, after)
                        what = f"a repeated {', '.join(record.events)} changes the state from {was!r} to {became!r}"
                        return Violation(invariant="idempotent", what=what, record=record, before=before, after=after)
            sent.update(record.events)
        return None

    return _Invariant("idempotent", judge, **_about(part, take))


def eventually(status: Any = None, part: Part = None) -> Invariant:
    """Pass if the final state is `status`, in every schedule that delivers the event of that status.

    The default is the last status of the lifecycle. A callable gets the final state of every schedule and returns
    whether it is right. `part` is as in `never_regresses`.

    >>> eventually("verified")
    eventually()
    """
    take = _taker(part) if part is not None or callable(status) else _status

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

    return _Invariant("eventually", judge, **_about(part, take))


def _about(part: Part, take: Callable[[Any], Any]) -> _About:
    """Say how an invariant recognises a state that has its part; without a part, it judges any state."""
    if part is None:
        return {}

    def recognises(played: Played) -> bool:
        states = [after for message in range(len(played.messages)) for _, after in _changes(played, message)]
        return any(state is not None and take(state) is not None for state in states)

    return {"recognises": recognises, "missing": f"had {part if callable(part) else repr(part)}"}


def judged_nothing(invariant: Invariant, state: Any) -> NothingObserved:
    """Return the error for an invariant that recognised no state; `state` is an example of those that were seen."""
    missing = getattr(invariant, "missing", "")
    return NothingObserved(
        f"{invariant!r} judged nothing: no state {missing}, but for example {state!r:.100}",
        where="invariants",
        hint="correct its part, or its order",
    )


def recognises(invariant: Invariant, played: Played) -> bool:
    """Tell whether an invariant can judge a state of this playing; the user's own always can.

    >>> recognises(lambda played: None, None)
    True
    """
    return not isinstance(invariant, _Invariant) or invariant.recognises(played)


def needs_state(invariant: Invariant) -> bool:
    """Tell whether an invariant judges the state that `observe` returns: those of this module do.

    >>> needs_state(converges())
    True
    """
    return isinstance(invariant, _Invariant)


def compares(invariant: Invariant) -> bool:
    """Tell whether an invariant may need the result of in-order delivery; the user's own may.

    >>> compares(converges()), compares(never_regresses())
    (True, False)
    """
    return not isinstance(invariant, _Invariant) or invariant.compares


def check_invariants(given: object) -> list[Invariant]:
    """Return invariants as a list, or raise `UsageError` for anything else.

    >>> check_invariants(converges())
    [converges()]
    """
    several = [given] if callable(given) else given
    if isinstance(several, str) or not isinstance(several, Collection):
        raise UsageError(f"invariants is a list, not {given!r:.100}", where="invariants", hint="[converges()]")
    for invariant in several:
        if not callable(invariant):
            raise UsageError(f"an invariant is a callable, not {invariant!r:.100}", where="invariants")
        if invariant in _MAKERS:
            raise UsageError(
                f"{invariant.__name__} is not an invariant until it is called",
                where="invariants",
                hint=f"{invariant.__name__}()",
            )
    return list(several)


_MAKERS = (converges, never_regresses, exactly_once, idempotent, eventually)


# Concrete types first: a check against an abstract one takes much longer, and these run after every schedule.


def _taker(part: Part) -> Callable[[Any], Any]:
    if part is None:
        return lambda state: state
    if callable(part):
        return part

    def take(state: Any) -> Any:
        if state is None:
            return None
        if isinstance(state, (dict, Mapping)):
            return state.get(part)
        try:
            return getattr(state, part)
        except AttributeError:
            hint = "leave it out to judge the whole state, or give a callable"
            raise UsageError(f"the state {state!r:.100} has no {part!r}", where="invariants", hint=hint) from None

    return take


def _status(state: Any) -> Any:
    return state.get("status") if isinstance(state, (dict, Mapping)) else state


def _final(played: Played, message: int) -> Any:
    """Return the state of one message after the last attempt."""
    return played.state_of(played.final, message)


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


def _count(effect: Any) -> int:
    if isinstance(effect, int):
        return int(effect)
    if effect is None:
        return 0
    return len(effect) if isinstance(effect, Sized) else int(effect)


def _times(count: int) -> str:
    return "1 time" if count == 1 else f"{count} times"


def _wanted(played: Played, message: int, when: str | None, take: Callable[[Any], Any]) -> int | None:
    """Return how often an effect should have happened in the end; None if there is nothing to compare with."""
    if when is not None:
        return int(when in _delivered(played, message))
    in_order = played.in_order
    return None if in_order is None or in_order is played else _count(take(_final(in_order, message)))


def _delivered(played: Played, message: int, *, last: bool = False) -> Iterator[str]:
    """Yield the statuses of a message that the receiver has processed; with `last`, only that of its last event."""
    scenario = played.schedule.lifecycles[message]
    places = labels_of(played.schedule.lifecycles).places
    for record in played.records:
        for label in record.events if record.processed else ():
            whose, index = places[label]
            if whose == message and (not last or index == len(scenario.transitions) - 1):
                yield scenario.transitions[index].status


def _different(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two states, reduced to the keys that differ if they are mappings."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return one, other
    keys = [key for key in {**one, **other} if key not in one or key not in other or one[key] != other[key]]
    return {key: one[key] for key in keys if key in one}, {key: other[key] for key in keys if key in other}
