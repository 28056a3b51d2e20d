"""Which deliveries are meant, when the journal is asked for some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import UnknownName
from engagelab_mock.protocol.dialect import DIALECTS
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.protocol.events import KINDS, UnknownEvent

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver


class Filters(TypedDict, total=False):
    """Say which deliveries are meant; every key can be left out, and those given must all fit."""

    #: A status, or another event's name, that the callback carries.
    status: str
    #: A kind of event that the callback carries: status, notification, response, system_event.
    kind: str
    #: The recipient of an event that the callback carries.
    to: str
    message_id: str
    receiver: Receiver
    #: What came of the last attempt.
    outcome: str


#: What a delivery has for a filter to fit, which one of them must.
_HAS: Mapping[str, Callable[[Delivery], list[Any]]] = {
    "status": lambda delivery: delivery.statuses,
    "kind": lambda delivery: [event.kind for event in delivery.events],
    "to": lambda delivery: [getattr(event, "to", None) for event in delivery.events],
    "message_id": lambda delivery: [getattr(event, "message_id", None) for event in delivery.events],
    "receiver": lambda delivery: [delivery.receiver],
    "outcome": lambda delivery: [delivery.outcome],
}


def check_filters(filters: Filters, names: Iterable[str]) -> None:
    """Raise `UnknownName` for a misspelt filter, or a value that no delivery can have; `names` are events' own.

    >>> check_filters({"status": "sent"}, [])
    """
    for name in filters:
        if name not in _HAS:
            raise UnknownName("filter", name, _HAS, where="journal")
    if "outcome" in filters and filters["outcome"] not in list(Outcome):
        raise UnknownName("outcome", filters["outcome"], Outcome, where="journal")
    if "kind" in filters and filters["kind"] not in {*KINDS, UnknownEvent.kind}:
        raise UnknownName("kind", filters["kind"], KINDS, where="journal")
    if "status" in filters:
        spellings = (known.sent_failed for known in DIALECTS.values())
        known = dict.fromkeys([*EVENTS, *spellings, *names])
        if filters["status"] not in known:
            raise UnknownName("status", filters["status"], known, where="journal")


def fits(delivery: Delivery, filters: Filters) -> bool:
    """Tell whether all filters fit a delivery."""
    return all(wanted in _HAS[name](delivery) for name, wanted in filters.items())


def list_filters(filters: Filters) -> str:
    """Write filters as they were given.

    >>> list_filters({"status": "sent", "to": "+6591234567"})
    "status='sent', to='+6591234567'"
    """
    return ", ".join(f"{name}={value!r}" for name, value in filters.items())


def describe(filters: Filters) -> str:
    """Say which delivery is meant, in words.

    >>> describe({"outcome": "acknowledged", "status": "sent"})
    "acknowledged delivery with status='sent'"
    """
    others: Any = {name: value for name, value in filters.items() if name != "outcome"}
    outcome = f"{filters['outcome']} delivery" if "outcome" in filters else "delivery"
    return f"{outcome} with {list_filters(others)}" if others else outcome


def nearest_miss(deliveries: Iterable[Delivery], filters: Filters) -> str:
    """Name the delivery that most filters fit, though not all, and in what it differs; nothing if none fits at all.

    An outcome alone, which most deliveries share, brings none any nearer.
    """
    best: tuple[int, Delivery] | None = None
    for delivery in deliveries:
        fitting = sum(wanted in _HAS[name](delivery) for name, wanted in filters.items() if name != "outcome")
        if fitting and not fits(delivery, filters) and (best is None or fitting >= best[0]):
            best = fitting, delivery
    if best is None:
        return ""
    delivery = best[1]
    differing = [name for name, wanted in filters.items() if wanted not in _HAS[name](delivery)]
    what = ", ".join(delivery.statuses) or "ping"
    has = (f"{name} is {' and '.join(dict.fromkeys(map(str, _HAS[name](delivery)))) or 'none'}" for name in differing)
    return f"the nearest is {what}, whose {', '.join(has)}"
