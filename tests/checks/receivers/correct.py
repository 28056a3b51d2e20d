"""A receiver that passes every check, without a framework; `frameworks` puts a framework in front of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from tests.checks.receivers.store import Store

USERNAME = "acme"
SECRET = "s3cret"
AUTHORIZATION = "Basic YWNtZTpzM2NyZXQ="
PATH = "/engagelab"
#: What it requires of every callback.
SETTINGS: Any = {"username": USERNAME, "secret": SECRET, "authorization": AUTHORIZATION}

#: The rank of each status in a message's life. A message has the highest status that came.
ALONG = {
    "plan": 0,
    "target_valid": 1,
    "target_invalid": 2,
    "sent_failed": 3,
    "sent": 4,
    "delivered_failed": 5,
    "delivered": 6,
    "read": 7,
    "verified_timeout": 8,
    "verified_failed": 9,
    "verified": 10,
}
_SAME = {"sent_fail": "sent_failed"}


class Incoming(msgspec.Struct):
    """A request in a form that every framework can give; a repeated header has several values."""

    method: str
    signatures: list[str]
    headers: dict[str, str]
    body: bytes
    #: The headers as they were sent, if the server gives them.
    raw: list[tuple[str, str]] = []


class Refused(Exception):
    """Answer with this status, and store nothing."""

    def __init__(self, status: int) -> None:
        self.status = status


class CorrectReceiver:
    """Verify, decode, and apply each event once; a mutant overrides one step with a bug."""

    #: Restarts the receiver, if its server can do that.
    restart: Callable[[], None] | None = None

    def __init__(self, store: Store) -> None:
        self.store = store

    def kill(self) -> None:
        """End the threads, if there are any."""

    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        """Return the status, the body and the headers of the answer."""
        try:
            return self.handle(incoming)
        except Refused as refused:
            return refused.status, self.say(refused, incoming), {}

    def say(self, refused: Refused, incoming: Incoming) -> str:
        return "refused"

    def handle(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        if incoming.method != "POST":
            raise Refused(405)
        body = self.read(incoming)
        if self.is_ping(incoming, body):
            return self.acknowledge_ping()
        self.authorize(incoming.headers.get("authorization", ""))
        nonce = self.verify(incoming.signatures)
        envelope = self.decode(body)
        self.commit(nonce, body, envelope)
        return self.acknowledge()

    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return body in {b"", b"{}"}

    def acknowledge_ping(self) -> tuple[int, str, dict[str, str]]:
        return 200, "", {}

    def acknowledge(self) -> tuple[int, str, dict[str, str]]:
        return 200, "", {}

    def read(self, incoming: Incoming) -> bytes:
        if incoming.headers.get("content-encoding"):
            raise Refused(415)
        return incoming.body

    def authorize(self, given: str) -> None:
        scheme, _, credentials = given.partition(" ")
        wanted = AUTHORIZATION.partition(" ")[2]
        if scheme.lower() != "basic" or not hmac.compare_digest(credentials.encode(), wanted.encode()):
            raise Refused(401)

    def verify(self, signatures: list[str]) -> str:
        """Return the nonce of a genuine signature."""
        if len(signatures) != 1:
            raise Refused(401)
        parts = self.parts(signatures[0])
        self.check_username(parts["username"])
        self.check_digest(parts)
        if not self.is_timely(parts["timestamp"]):
            raise Refused(401)
        return parts["nonce"]

    def parts(self, signature: str) -> dict[str, str]:
        segments = [segment.strip().partition("=") for segment in signature.split(";")]
        parts = {name: value for name, _, value in segments}
        sound = len(parts) == len(segments) == 4 and {"timestamp", "nonce", "username", "signature"} == {*parts}
        timestamp = parts.get("timestamp", "")
        # Exactly ten digits (until the year 2286), so that a digit moved from or to the nonce is noticed.
        if not sound or not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) == 10):
            raise Refused(401)
        return parts

    def check_username(self, username: str) -> None:
        if username != USERNAME:
            raise Refused(401)

    def check_digest(self, parts: dict[str, str]) -> None:
        digest = self.digest(parts["timestamp"], parts["nonce"], parts["username"])
        if not hmac.compare_digest(digest.encode(), parts["signature"].encode()):
            raise Refused(401)

    def digest(self, timestamp: str, nonce: str, username: str) -> str:
        return hmac.new(SECRET.encode(), f"{timestamp}{nonce}{username}".encode(), "sha256").hexdigest()

    def is_timely(self, timestamp: str) -> bool:
        return abs(self.now() - int(timestamp)) <= 300

    def now(self) -> float:
        return self.store.now()

    def decode(self, body: bytes) -> dict[str, Any]:
        try:
            envelope = json.loads(body, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise Refused(400) from None
        if not isinstance(envelope, dict) or not isinstance(envelope.get("rows"), list):
            raise Refused(400)
        return envelope

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        """Apply the rows and store the nonce, all or nothing."""
        with self.store.transaction() as db:
            self.remember(db, nonce, body)
            for row in envelope["rows"]:
                self.apply(db, row)

    def remember(self, db: sqlite3.Connection, nonce: str, body: bytes) -> None:
        """Refuse a nonce that came with another body before. With the same body, it is the same callback again."""
        digest = hashlib.sha256(body).hexdigest()
        db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?)", [nonce, digest])
        if db.execute("SELECT body FROM nonces WHERE nonce = ?", [nonce]).fetchone() != (digest,):
            raise Refused(401)

    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        if not isinstance(row, dict):
            return
        if isinstance(row.get("status"), dict):
            self.apply_status(db, row)
        elif isinstance(row.get("response"), dict):
            self.apply_response(db, row)

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        status = self.known(row["status"].get("message_status"))
        if status is None:
            return
        data = row["status"].get("status_data")
        channel = data.get("current_send_channel", "") if isinstance(data, dict) else ""
        self.keep(db, str(row.get("message_id")), status, str(channel))
        billing = row["status"].get("billing")
        if isinstance(billing, dict):
            self.keep(db, str(row.get("message_id")), f"cost of {channel}", self.cost(billing.get("cost")))

    def known(self, status: Any) -> str | None:
        """Return a known status in its standard spelling, or None."""
        status = _SAME.get(status, status) if isinstance(status, str) else None
        return status if status in ALONG else None

    def cost(self, given: Any) -> str:
        return str(given)

    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        # All replies have the message id "0", so they are identified by their content.
        self.keep(db, str(row.get("message_id")), "uplink", json.dumps(row["response"], sort_keys=True))

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        """Have an effect, once."""
        db.execute(
            "INSERT INTO effects SELECT ?, ?, ? WHERE NOT EXISTS "
            "(SELECT 1 FROM effects WHERE message_id = ? AND status = ? AND detail = ?)",
            [message_id, status, detail] * 2,
        )


def observe(store: Store, message_id: str) -> dict[str, Any]:
    """Return the state of a message: its status and all effects."""
    effects = store.effects(message_id)
    known = [status for status, _ in effects if status in ALONG]
    return {"status": max(known, key=ALONG.__getitem__, default=None), "effects": sorted(effects)}


def observe_account(store: Store) -> dict[str, Any]:
    """Return how many effects all messages together have had, by their kinds."""
    return store.totals()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
