"""Let faults work on a draft, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engagelab_mock.delivery.fault.model import STAGES, Draft, Fault
from engagelab_mock.protocol.signature import HEADER, sign


def spoil(draft: Draft, faults: Sequence[Fault]) -> Draft:
    """Make an attempt's body, signature and headers, with each fault striking at its stage.

    The body is made before the signature and the headers after it, as an honest sender makes them.
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
    return pairs
