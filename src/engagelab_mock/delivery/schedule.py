"""Which callbacks go out, and when: events grouped into callbacks, at Unix times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from engagelab_mock.errors import UsageError, did_you_mean
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Fault

Batch = int | Literal["all"]


class Verbatim(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what a callback that was taped is to go out with; a receiver that wants all of its events gets that body."""

    body: bytes
    content_type: str
    signed: bool
    faults: tuple[Fault, ...] = ()


class Planned(msgspec.Struct, frozen=True):
    """Hold one callback to be sent: `at`, in Unix seconds, and the events it carries."""

    at: float
    events: tuple[Event, ...]
    #: What it goes out with; None is what the events, the dialect and the play's options make.
    verbatim: Verbatim | None = None


def schedule(events: Iterable[tuple[float, Event]], *, batch: Batch = 1) -> list[Planned]:
    """Group timed events into callbacks of `batch` events each, sent when the last of them has happened.

    >>> from engagelab_mock import Message
    >>> message = Message(id="1", to="+6591234567")
    >>> timed = [(at, message.event(status, at=at)) for at, status in [(0, "plan"), (2, "sent"), (5, "delivered")]]
    >>> [(planned.at, len(planned.events)) for planned in schedule(timed, batch=2)]
    [(2, 2), (5, 1)]
    """
    timed = list(events)
    size = len(timed) or 1 if batch == "all" else check_batch(batch)
    groups: list[Sequence[tuple[float, Event]]] = [timed[start : start + size] for start in range(0, len(timed), size)]
    return [Planned(group[-1][0], tuple(event for _, event in group)) for group in groups]


def check_batch(batch: Batch) -> int:
    """Return how many events a callback carries, or raise `UsageError`.

    >>> check_batch(2)
    2
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        hint = did_you_mean(batch, ["all"]) if isinstance(batch, str) else ""
        raise UsageError(
            f"a batch is a number of events from 1, or 'all', not {batch!r}", where="batch", hint=hint or "batch=2"
        )
    return batch
