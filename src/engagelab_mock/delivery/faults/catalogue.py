"""Every built-in fault by name, and how faults are applied to an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engagelab_mock.delivery.faults.body import BODY_FAULTS
from engagelab_mock.delivery.faults.fault import STAGES, Draft, Fault, with_options
from engagelab_mock.delivery.faults.signature import SIGNATURE_FAULTS
from engagelab_mock.delivery.faults.wire import EXCHANGE_FAULTS, WIRE_FAULTS
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.protocol.signature import HEADER, sign

#: Every fault, by its name.
FAULTS: dict[str, Fault] = {
    known.name: known for known in (*SIGNATURE_FAULTS, *BODY_FAULTS, *WIRE_FAULTS, *EXCHANGE_FAULTS)
}

FaultChoice = str | Fault | Sequence[str | Fault]


def fault(name: str | Fault, *, on: str | Sequence[str] = (), attempts: int | None = None, **options: Any) -> Fault:
    """Return a fault by name: for all callbacks, those that carry a status in `on`, or a delivery's first attempts.

    >>> print(fault("stale", by=900, on="delivered"))
    stale(by=900)

    With a `Fault`, returns it with the given options changed. Raises `UnknownName`, with the nearest name, for a
    misspelt fault, option, status or event, and `UsageError` for an invalid value of an option.
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


def apply_faults(draft: Draft, faults: Sequence[Fault]) -> Draft:
    """Return an attempt's draft with body, signature and headers, each fault applied at its stage.

    As in a correct sender, the body comes before the signature and the headers come after it.
    """
    for stage in STAGES:
        here = [fault for fault in faults if fault.stage == stage]
        if stage == "rows" and here:
            envelope = msgspec.json.decode(draft.body)
            draft.total, draft.rows = envelope["total"], envelope["rows"]
        for fault in here:
            fault.apply(draft)
        if stage == "rows" and here:
            draft.body = msgspec.json.encode({"total": draft.total, "rows": draft.rows})
        if stage == "signing":
            draft.headers = _headers(draft)
    return draft


def _headers(draft: Draft) -> list[tuple[str, str]]:
    pairs = [("Content-Type", draft.content_type), *draft.headers]
    if draft.username:
        signature = sign(draft.username, draft.secret, timestamp=draft.timestamp, nonce=draft.nonce)
        pairs.append((HEADER, signature.header))
    if draft.authorization:
        pairs.append(("Authorization", draft.authorization))
    changed = {name.lower() for name, _ in draft.changes}
    pairs = [pair for pair in pairs if pair[0].lower() not in changed]
    return pairs + [(name, value) for name, value in draft.changes if value is not None]
