"""What one playing of a schedule did: every attempt, with the receiver's state before and after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import msgspec

from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.sender import REPLACED
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message

#: Types whose values cannot change, so that they need no copy; and of plain values in a row.
_FIXED = frozenset({str, int, float, bool, bytes, type(None)})
_ROWS = frozenset({tuple, list, set, frozenset})
_PLAIN = frozenset({*_FIXED, *_ROWS, dict})


class Record(msgspec.Struct, frozen=True, eq=False):
    """Hold one attempt, with the state of the receiver before and after it, as its `observe` returned it.

    With several messages a state is a tuple, one for each.
    """

    #: The step of the schedule, counted from 0.
    step: int
    #: The labels of the events in the callback.
    events: tuple[str, ...]
    delivery: Delivery
    attempt: Attempt
    before: Any
    after: Any

    @property
    def processed(self) -> bool:
        """Tell whether the receiver answered 200, even if that answer never arrived."""
        response = self.attempt.response
        return response is not None and (response.status == 200 or response.reason == REPLACED)


class Played(msgspec.Struct, eq=False):
    """Hold what became of a schedule: its messages, and a record of every attempt in the order in which it was made.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     played = engagelab.play("eg1:plan,sent!ackloss")
    >>> [(record.events, str(record.attempt.outcome)) for record in played.records]
    [(('plan',), 'acknowledged'), (('sent',), 'abandoned'), (('sent',), 'acknowledged')]
    """

    schedule: Schedule
    receiver: Receiver
    messages: tuple[Message, ...]
    #: The state before the first delivery; None where the receiver has no `observe`.
    initial: Any
    records: list[Record]
    #: What the events of this schedule come to when each is delivered once, alone and in order.
    in_order: Played | None = None

    @property
    def states(self) -> list[Any]:
        """Return the state before anything was delivered, and after every attempt."""
        return [self.initial, *(record.after for record in self.records)]

    @property
    def final(self) -> Any:
        """Return the state after the last attempt."""
        return self.records[-1].after if self.records else self.initial

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, in the order in which they were opened."""
        return list({id(record.delivery): record.delivery for record in self.records}.values())

    @property
    def acknowledged(self) -> bool:
        """Tell whether every delivery was acknowledged in the end."""
        return all(delivery.acknowledged for delivery in self.deliveries)

    def __repr__(self) -> str:
        return f"<Played {self.schedule.token}: {len(self.records)} attempts>"


def snapshot(state: Any) -> Any:
    """Return a copy of a state that stays as it is, whatever becomes of the original.

    >>> live = {"status": "sent"}
    >>> kept = snapshot(live)
    >>> live["status"] = "delivered"
    >>> kept
    {'status': 'sent'}

    Raises `UsageError` for what cannot be copied, or does not equal its copy.
    """
    try:
        return _copied(state)
    except (_NotPlain, RecursionError):
        pass
    hint = "return plain values, such as a str, a tuple or a dict"
    try:
        copied = deepcopy(state)
    except Exception as error:
        what = f"what observe returned cannot be copied: {type(error).__name__}: {error}"
        raise UsageError(what, where="observe", hint=hint) from None
    if copied != state:
        raise UsageError(
            f"{state!r:.100} does not equal its own copy, and cannot be compared", where="observe", hint=hint
        )
    return copied


class _NotPlain(Exception):
    """Something that is not made of plain values alone, which takes longer to copy."""


def _copied(state: Any) -> Any:
    kind = type(state)
    if kind in _FIXED:
        return state
    if kind is dict:
        return {_copied(key): _copied(value) for key, value in state.items()}
    if kind in _ROWS:
        return kind([_copied(entry) for entry in state])
    raise _NotPlain


def look_again(state: Any, before: Any) -> Any:
    """Return a snapshot of a state that is looked at after every attempt: the one before, where nothing has changed.

    >>> before = {"status": "sent"}
    >>> look_again({"status": "sent"}, before) is before
    True
    """
    kind = type(state)
    if kind is type(before) and kind in _PLAIN and state == before:
        return before
    if kind not in _PLAIN and isinstance(state, Awaitable):
        getattr(state, "close", lambda: None)()
        hint = "await the async twin, with an a in front"
        raise UsageError("observe is asynchronous, and this call is not", where="observe", hint=hint)
    return snapshot(state)


Observe = Callable[[str], Any]


def look(observe: Observe, messages: tuple[Message, ...], before: Any) -> Any:
    """Return a snapshot of the receiver's state, or of one state for each of several messages."""
    if len(messages) == 1:
        return look_again(observe(messages[0].id), before)
    return tuple(look_again(observe(message.id), None) for message in messages)


async def alook(observe: Observe, messages: tuple[Message, ...]) -> Any:
    """Do what `look` does, in the running event loop: `observe` may be a coroutine function."""
    states = []
    for message in messages:
        state = observe(message.id)
        states.append(snapshot(await state if isinstance(state, Awaitable) else state))
    return states[0] if len(states) == 1 else tuple(states)
