"""Receivers that verify and decode as the correct one of `tests/checks` does, and keep their data in memory.

The other modules of this package build on them.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from engagelab_mock import Receiver
from tests.checks.receivers.correct import ALONG, PATH, SETTINGS, CorrectReceiver, Refused
from tests.checks.receivers.frameworks import on_flask


class InMemory(CorrectReceiver):
    """Keep each event once, in memory; a subclass decides which data it keeps, and which of them `observe` returns."""

    #: Whether an event that was handled before is ignored.
    once: ClassVar[bool] = True

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.nonces: dict[str, str] = {}
        self.known_events: set[tuple[str, ...]] = set()
        self.row: dict[str, Any] = {}

    def now(self) -> float:
        return time.time()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.lock:
            self.check_nonce(nonce, body)
            self.work(envelope)

    def check_nonce(self, nonce: str, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if self.nonces.setdefault(nonce, digest) != digest:
            raise Refused(401)

    def work(self, envelope: dict[str, Any]) -> None:
        for row in envelope["rows"]:
            self.row = row
            self.apply(None, row)  # type: ignore[arg-type]

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG:
            key = message_id, status, detail
            if self.once and key in self.known_events:
                return
            self.known_events.add(key)
            self.event(message_id, status, detail)
        else:
            self.other(message_id, status, detail)

    def event(self, message_id: str, status: str, channel: str) -> None:
        """Handle a status of a message, for the first time."""
        raise NotImplementedError

    def other(self, message_id: str, kind: str, detail: str) -> None:
        """Handle a cost, or a user's reply; default: the app makes nothing of it."""

    def observe(self, message_id: str) -> Any:
        """Return the state of a message."""
        raise NotImplementedError


def supersedes(status: str, old: str | None) -> bool:
    return old is None or ALONG[status] > ALONG[old]


class AppendOnlyLog(InMemory):
    """Append every event to a log with numbers and times of arrival; the state is a message's part of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[dict[str, Any]] = []

    def event(self, message_id: str, status: str, channel: str) -> None:
        now = datetime.now(UTC)
        entry = {"id": len(self.log), "message": message_id, "status": status, "channel": channel, "at": now}
        self.log.append(entry)

    def observe(self, message_id: str) -> Any:
        return [entry for entry in self.log if entry["message"] == message_id]


class AppendsTwice(AppendOnlyLog):
    """Append an event that is sent again."""

    once = False


class OneStatus(InMemory):
    """Keep the status that is furthest along; a subclass shows it in another form."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, str] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        if self.replaces(status, self.statuses.get(message_id)):
            self.statuses[message_id] = status
            self.replaced(message_id, status)

    def replaces(self, status: str, old: str | None) -> bool:
        return supersedes(status, old)

    def replaced(self, message_id: str, status: str) -> None:
        """Note more than the status of an event that counts."""

    def observe(self, message_id: str) -> Any:
        return self.statuses.get(message_id)


class LastWins:
    """Replace the status by any status that comes."""

    def replaces(self, status: str, old: str | None) -> bool:
        return True


class PlainStatus(OneStatus):
    """Show only the status, as a text."""


class PlainStatusLastWins(LastWins, PlainStatus):
    """Show only the status that came last."""


def receiver_of(app: InMemory, **options: Any) -> Receiver:
    """Return a receiver for the app, in process, with its `observe`."""
    return Receiver.wsgi(on_flask(app), PATH, **{**SETTINGS, "observe": app.observe, **options})
