"""What an app does with callbacks, on any stack; a mutant overrides one step with a bug."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

USERNAME = "acme"
SECRET = "s3cret"
PATH = "/engagelab"

#: How much a status says: of two, the later one in this list is kept, in any order of arrival. A failure stands below
#: every status that shows that another channel, or another try, made up for it.
RANKS = {
    status: rank
    for rank, status in enumerate(
        (
            *("plan", "target_valid", "target_invalid", "sent", "sent_failed", "delivered_failed"),
            *("delivered", "read", "verified_failed", "verified_timeout", "verified"),
        )
    )
}

_HEADER = re.compile(r"timestamp=([0-9]{10});nonce=([^;,]+);username=([^;,]+);signature=([0-9a-f]{64})")

#: What an app holds of a message, as plain values.
State = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One status of one message, as far as the app cares."""

    message_id: str
    status: str
    channel: str
    #: When this row was made: `itime`. The documents do not say that `msg_time` differs between the rows of a message.
    at: int
    #: The `msg_time`.
    msg_time: int
    #: What a `sent` cost, in thousandths of a dollar: integers add up to the same in every order.
    cost: int


class Ledger(Protocol):
    """Where a stack keeps its orders."""

    def transaction(self) -> AbstractContextManager[object]:
        """Commit the changes of the block if it ends well, undo them if not."""

    def claim(self, key: str) -> bool:
        """Tell whether a key is new, and remember it."""

    def status(self, message_id: str) -> str | None:
        """Return a message's status, None for one that is not known."""

    def keep(self, row: Row, status: str) -> None:
        """Set a message's status, and the time of that status; make the message if it does not exist."""

    def moment(self, message_id: str) -> int:
        """Return the time that the status is from."""

    def add(self, message_id: str, **amounts: int) -> None:
        """Add to a message's credits, refunds or cost."""

    def observe(self, message_id: str) -> State:
        """Return all there is about a message."""

    def reset(self) -> None:
        """Forget everything."""


class Orders:
    """Verify, read every row, apply each event once, keep what says most; refunds are not a callback's business.

    Whether a failure is final cannot be told from callbacks: a fallback channel may follow. So nothing is done about
    it here; a job does, once the code has expired.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        #: Called before a credit is given; raises when what gives it is down.
        self.downstream: Callable[[str], object] = lambda message_id: None
        self.nonce = ""

    def reset(self) -> None:
        """Forget everything, as a fixture does between tests."""
        self.ledger.reset()

    def receive(self, header: str | None, body: bytes) -> int:
        """Answer one request with an HTTP status."""
        if body in {b"", b"{}"}:
            return 200
        if not self.genuine(header):
            return 401
        try:
            envelope = json.loads(body)
        except (ValueError, RecursionError):
            return 400
        self.apply(envelope)
        return 200

    def genuine(self, header: str | None) -> bool:
        parts = _HEADER.fullmatch(header or "")
        if parts is None:
            return False
        timestamp, self.nonce, username, signature = parts.groups()
        keyed = hmac.new(SECRET.encode(), f"{timestamp}{self.nonce}{username}".encode(), "sha256")
        fresh = abs(time.time() - int(timestamp)) <= 300
        return fresh and username == USERNAME and hmac.compare_digest(signature, keyed.hexdigest())

    def apply(self, envelope: Any) -> None:
        with self.ledger.transaction():
            for row in self.readable(self.rows(envelope)):
                self.handle(row)

    def rows(self, envelope: Any) -> list[Any]:
        rows = envelope.get("rows") if isinstance(envelope, dict) else None
        return rows if isinstance(rows, list) else []

    def readable(self, rows: list[Any]) -> Iterator[Row]:
        """Skip rows that are not a status of a message, or malformed."""
        for row in rows:
            try:
                yield self.read(row)
            except (KeyError, TypeError, ValueError):
                continue

    def read(self, row: Any) -> Row:
        status = row["status"]
        data, billing = status["status_data"], status.get("billing") or {}
        return Row(
            message_id=str(row["message_id"]),
            status=status["message_status"],
            channel=data["current_send_channel"],
            at=int(row["itime"]),
            msg_time=int(data["msg_time"]),
            cost=round(1000 * billing.get("cost", 0)),
        )

    def handle(self, row: Row) -> None:
        if row.status in RANKS and self.is_new(row):
            self.advance(row)
            self.have_effect(row)

    def is_new(self, row: Row) -> bool:
        return self.ledger.claim(self.key(row))

    def key(self, row: Row) -> str:
        """Name the event: a fallback has a status once for each channel, and a code can be wrong several times."""
        return f"{row.message_id}:{row.status}:{row.channel}:{row.at}"

    def advance(self, row: Row) -> None:
        known = self.ledger.status(row.message_id)
        if known is None or RANKS[row.status] > RANKS[known]:
            self.ledger.keep(row, row.status)

    def have_effect(self, row: Row) -> None:
        if row.status == "verified":
            self.downstream(row.message_id)
            self.ledger.add(row.message_id, credits=1)
        if row.cost:
            self.ledger.add(row.message_id, cost=row.cost)
