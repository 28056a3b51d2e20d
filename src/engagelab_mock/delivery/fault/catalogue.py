"""Every fault by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engagelab_mock.delivery.fault.body import BODY_FAULTS
from engagelab_mock.delivery.fault.model import Fault
from engagelab_mock.delivery.fault.option import with_options
from engagelab_mock.delivery.fault.signature import SIGNATURE_FAULTS
from engagelab_mock.delivery.fault.wire import EXCHANGE_FAULTS, WIRE_FAULTS
from engagelab_mock.errors import UnknownName, UsageError

#: Every fault, by its name.
FAULTS: dict[str, Fault] = {
    known.name: known for known in (*SIGNATURE_FAULTS, *BODY_FAULTS, *WIRE_FAULTS, *EXCHANGE_FAULTS)
}

FaultChoice = str | Fault | Sequence[str | Fault]


def fault(name: str | Fault, *, on: str | Sequence[str] = (), attempts: int | None = None, **options: Any) -> Fault:
    """Return a fault by name: on all callbacks, or those carrying a status in `on`, or a delivery's first attempts.

    >>> print(fault("stale", by=900, on="delivered"))
    stale(by=900)

    A `Fault` is taken as it is, with the options given changed. Raises `UnknownName` with the nearest name for a
    misspelt fault, option, status or event, and `UsageError` for a value that an option cannot have.
    """
    if isinstance(name, Fault):
        return with_options(name, options, on=on or name.on, attempts=name.attempts if attempts is None else attempts)
    try:
        known = FAULTS[name]
    except (KeyError, TypeError):
        raise UnknownName("fault", name, FAULTS, where="fault") from None
    return with_options(known, options, on=on, attempts=attempts)


def faults(chosen: FaultChoice | None) -> tuple[Fault, ...]:
    """Return the faults named by one name, one fault, or a list of either.

    >>> [str(each) for each in faults(["bom", "chunked"])]
    ['bom', 'chunked']
    """
    if chosen is None:
        return ()
    if isinstance(chosen, (str, Fault)):
        return (fault(chosen),)
    if not isinstance(chosen, Sequence):
        raise UsageError(f"a fault is a name or a fault(…), or a list of them, not {chosen!r}", where="fault")
    return tuple(fault(each) for each in chosen)
