"""Invariants: what must hold in every schedule, and the violation when it does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence, Sized
from typing import Any

import msgspec

from engagelab_mock.errors import UsageError
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.protocol.status import Status


class Violation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Say which invariant does not hold, what is wrong, and after which attempt.

    >>> Violation(invariant="eventually", what="the state is 'sent'").record is None
    True
    """

    invariant: str
    what: str
    #: The attempt after which it was seen; None where no attempt is to blame.
    record: Record | None = None
    #: The state that is wrong, and the one it is compared with.
    before: Any = None
    after: Any = None


#: The name under which it is reported that a callback was not acknowledged, which holds without being asked for.
ACKNOWLEDGED = "acknowledged"


def given_up(record: Record) -> Violation:
    """Say that a callback was not acknowledged, and will not be sent again."""
    what = f"the callback was given up: {record.attempt.error}"
    return Violation(invariant=ACKNOWLEDGED, what=what, record=record, before=record.before, after=record.after)


#: Takes a state, or names the part of it that an invariant is about: a key, an attribute.
Part = str | Callable[[Any], Any] | None
#: Anything that is called with what a schedule did, and returns what is wrong or raises `AssertionError`.
Invariant = Callable[[Played], Any]

#: How far a message has got; failures are left out, since another channel, or another try, may follow them.
PROGRESS: tuple[str, ...] = (
    *(Status.PLAN, Status.TARGET_VALID, Status.SENT, Status.DELIVERED, Status.READ, Status.VERIFIED),
)


class _Invariant:
    """An invariant of a name; made by the functions of this module."""

    def __init__(self, name: str, judge: Callable[[Played], Violation | None], *, compares: bool = False) -> None:
        self.__name__ = name
        #: Whether it looks at what the same events come to in order.
        self.compares = compares
        self._judge = judge

    def __call__(self, played: Played) -> Violation | None:
        return self._judge(played)

    def __repr__(self) -> str:
        return f"{self.__name__}()"


def converges(part: Part = None) -> Invariant:
    """Hold if the final state is the one that the same events come to in order, each once and alone.

    `part` is a key or an attribute of the state, or a callable that takes what matters from it; None is all of it.

    >>> converges()
    converges()
    """
    take = _taker(part)

    def judge(played: Played) -> Violation | None:
        usual = played.in_order
        if usual is None or usual is played:
            return None
        for message in range(len(played.messages)):
            expected, final = take(_of(usual, usual.final, message)), take(_of(played, played.final, message))
            if expected != final and _anonymous(expected, usual) != _anonymous(final, played):
                ours, theirs = _different(final, expected)
                what = f"the final state is {ours!r}, and {theirs!r} where the same events come in order"
                return Violation(invariant="converges", what=what, record=_last(played), before=expected, after=final)
        return None

    return _Invariant("converges", judge, compares=True)


def never_regresses(part: Part = None, *, order: Sequence[Any] = PROGRESS) -> Invariant:
    """Hold if no state is followed by one that stands before it in `order`, or by None.

    States that `order` does not have are passed over; several that rank alike stand in it as a set or a tuple. It is
    about `part` of the state; left out, about the state itself, or its "status" where it is a mapping.

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
            for record in played.records:
                if record.after is record.before:
                    continue  # as most repeated ones leave it
                state = take(_of(played, record.after, message))
                rank = ranks.get(state) if isinstance(state, Hashable) else None
                if rank is not None and rank < highest:
                    what = f"the state goes back from {best!r} to {state!r}"
                    return Violation(invariant="never_regresses", what=what, record=record, before=best, after=state)
                if rank is not None and rank > highest:
                    highest, best = rank, state
        return None

    return _Invariant("never_regresses", judge)


def exactly_once(effect: Part, *, when: str | None = None) -> Invariant:
    """Hold if an effect is never had twice, and is had once where the same events in order have it.

    `effect` is a key or an attribute of the state, or a callable that takes it from the state: a number, a truth
    value, or a collection that is counted. With `when`, a status, it is had once if that status was delivered, and
    else not at all.

    >>> exactly_once("credits", when="verified")
    exactly_once()
    """
    take = _taker(effect)
    name = effect if isinstance(effect, str) else getattr(effect, "__name__", "the effect")

    def judge(played: Played) -> Violation | None:
        for message in range(len(played.messages)):
            for record in played.records:
                if record.after is record.before:
                    continue
                if (count := _count(take(_of(played, record.after, message)))) > 1:
                    return Violation(
                        invariant="exactly_once",
                        what=f"{name} was had {count} times",
                        record=record,
                        before=_of(played, record.before, message),
                        after=_of(played, record.after, message),
                    )
            final, wanted = _count(take(_of(played, played.final, message))), _wanted(played, message, when, take)
            if wanted is not None and final != wanted:
                what = f"{name} was had {_times(final)}, not {_times(wanted)}"
                return Violation(
                    invariant="exactly_once", what=what, record=_last(played), after=_of(played, played.final, message)
                )
        return None

    return _Invariant("exactly_once", judge, compares=when is None)


def idempotent(part: Part = None) -> Invariant:
    """Hold if a callback changes nothing when the receiver has processed all of its events before.

    >>> idempotent()
    idempotent()
    """
    take = _taker(part)

    def judge(played: Played) -> Violation | None:
        processed: set[str] = set()
        for record in played.records:
            if record.after is not record.before and processed.issuperset(record.events):
                for message in range(len(played.messages)):
                    before, after = (take(_of(played, state, message)) for state in (record.before, record.after))
                    if before != after:
                        was, became = _different(before, after)
                        what = f"a repeated {', '.join(record.events)} changes the state from {was!r} to {became!r}"
                        return Violation(invariant="idempotent", what=what, record=record, before=before, after=after)
            if record.processed:
                processed.update(record.events)
        return None

    return _Invariant("idempotent", judge)


def eventually(status: Any = None, part: Part = None) -> Invariant:
    """Hold if the final state is `status`, in every schedule that delivers the event of that status.

    Left out, it is the status that the lifecycle ends with; a callable is asked whether the final state is right, in
    every schedule. `part` is as in `never_regresses`.

    >>> eventually("verified")
    eventually()
    """
    take = _taker(part) if part is not None or callable(status) else _status

    def judge(played: Played) -> Violation | None:
        for message, scenario in enumerate(played.schedule.lifecycles):
            final = take(_of(played, played.final, message))
            if callable(status):
                if not status(final):
                    what = f"the final state is {final!r}"
                    return Violation(invariant="eventually", what=what, record=_last(played), after=final)
                continue
            wanted = status if status is not None else (scenario.statuses or [""])[-1]
            if wanted in _delivered(played, message, last=status is None) and final != wanted:
                what = f"the final state is {final!r}, not {wanted!r}"
                return Violation(invariant="eventually", what=what, record=_last(played), before=wanted, after=final)
        return None

    return _Invariant("eventually", judge)


def needs_state(invariant: Invariant) -> bool:
    """Tell whether an invariant is of this module, and so about the state that `observe` returns.

    >>> needs_state(converges())
    True
    """
    return isinstance(invariant, _Invariant)


def compares(invariant: Invariant) -> bool:
    """Tell whether an invariant may look at what the same events come to in order; one of the user's own may.

    >>> compares(converges()), compares(never_regresses())
    (True, False)
    """
    return not isinstance(invariant, _Invariant) or invariant.compares


def check_invariants(given: object) -> list[Invariant]:
    """Return invariants as a list, or raise `UsageError` for what is none.

    >>> check_invariants(converges())
    [converges()]
    """
    several = [given] if callable(given) else given
    if isinstance(several, str) or not isinstance(several, Collection):
        raise UsageError(f"invariants are a list, not {given!r:.100}", where="invariants", hint="[converges()]")
    for invariant in several:
        if not callable(invariant):
            raise UsageError(f"an invariant is callable, {invariant!r:.100} is not", where="invariants")
        if invariant in _MAKERS:
            raise UsageError(
                f"{invariant.__name__} makes an invariant", where="invariants", hint=f"{invariant.__name__}()"
            )
    return list(several)


_MAKERS = (converges, never_regresses, exactly_once, idempotent, eventually)


def _taker(part: Part) -> Callable[[Any], Any]:
    if part is None:
        return lambda state: state
    if callable(part):
        return part

    def take(state: Any) -> Any:
        if state is None:
            return None
        return state.get(part) if isinstance(state, Mapping) else getattr(state, part)

    return take


def _status(state: Any) -> Any:
    return state.get("status") if isinstance(state, Mapping) else state


def _of(played: Played, state: Any, message: int) -> Any:
    """Return one message's part of a state."""
    return state if len(played.messages) == 1 else state[message]


def _last(played: Played) -> Record | None:
    return played.records[-1] if played.records else None


def _count(effect: Any) -> int:
    if effect is None:
        return 0
    return len(effect) if isinstance(effect, Sized) else int(effect)


def _times(count: int) -> str:
    return {0: "not at all", 1: "once"}.get(count, f"{count} times")


def _wanted(played: Played, message: int, when: str | None, take: Callable[[Any], Any]) -> int | None:
    """Return how often an effect should have been had in the end, None where there is nothing to tell it by."""
    if when is not None:
        return int(when in _delivered(played, message))
    usual = played.in_order
    return None if usual is None or usual is played else _count(take(_of(usual, usual.final, message)))


def _delivered(played: Played, message: int, *, last: bool = False) -> Iterator[str]:
    """Yield the statuses of a message that the receiver has processed; `last` leaves all but its last event out."""
    scenario = played.schedule.lifecycles[message]
    places = labels_of(played.schedule.lifecycles).places
    for record in played.records:
        for label in record.events if record.processed else ():
            whose, index = places[label]
            if whose == message and (not last or index == len(scenario.transitions) - 1):
                yield scenario.transitions[index].status


def _different(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two states with only what differs in them."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return one, other
    keys = [key for key in {**one, **other} if key not in one or key not in other or one[key] != other[key]]
    return {key: one[key] for key in keys if key in one}, {key: other[key] for key in keys if key in other}


def _anonymous(state: Any, played: Played) -> Any:
    """Return a state with the messages' ids taken out: in another playing they are others."""
    if isinstance(state, str):
        for number, message in enumerate(played.messages, 1):
            state = state.replace(message.id, f"message {number}")
        return state
    if isinstance(state, Mapping):
        return {_anonymous(key, played): _anonymous(value, played) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_anonymous(entry, played) for entry in state) if type(state) in {list, tuple} else state
    return state
