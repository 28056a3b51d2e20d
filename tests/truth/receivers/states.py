"""Receivers that keep one message's events in an unusual form, or show an unusual state of them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import weakref
from collections import Counter
from itertools import count
from typing import Any, ClassVar

import msgspec

from tests.checks.receivers.correct import ALONG
from tests.truth.receivers.in_memory import AppendOnlyLog, InMemory, LastWins, OneStatus


class Numbers(OneStatus):
    """Show the status as a number of the app's own."""

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return 0 if status is None else 10 + ALONG[status]


class NumbersLastWins(LastWins, Numbers):
    """Show the number of the status that came last."""


class RemovedWhenDone(OneStatus):
    """Keep a row for a message in progress, and remove it when the message was delivered or has failed."""

    done = frozenset({"delivered", "delivered_failed", "sent_failed", "verified", "verified_failed"})

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return None if status is None or status in self.done else {"status": status}


class RemovedAndForgotten(RemovedWhenDone):
    """Remove the row of a delivered message, and make a new one for an event that comes late."""

    def replaces(self, status: str, old: str | None) -> bool:
        return old is None or old in self.done or ALONG[status] > ALONG[old]


class TotalsOnly(InMemory):
    """Count events by their status, over all messages: the state is the same for every id."""

    def __init__(self) -> None:
        super().__init__()
        self.totals: Counter[str] = Counter()

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.totals[status] += 1

    def observe(self, message_id: str) -> Any:
        return dict(self.totals)


class TotalsTwice(TotalsOnly):
    """Count an event that is sent again."""

    once = False


class StatusAndTotals(OneStatus):
    """Show the status of a message next to a total over all messages."""

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), "known": len(self.statuses)}


class StatusAndTotalsLastWins(LastWins, StatusAndTotals):
    """Show the status that came last, next to a total."""


class OneText(InMemory):
    """Append each event to one text, in the order of arrival, as `sent sms; delivered sms`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        text = self.texts.get(message_id)
        self.texts[message_id] = f"{text}; {status} {channel}" if text else f"{status} {channel}"

    def observe(self, message_id: str) -> Any:
        return self.texts.get(message_id, "")


class OneTextOverwritten(OneText):
    """Replace the text by each event that comes."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.texts[message_id] = f"{status} {channel}"


class OnePath(OneText):
    """Append each status to one text, as `sent/delivered`."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        text = self.texts.get(message_id)
        self.texts[message_id] = f"{text}/{status}" if text else status


class OnePathTwice(OnePath):
    """Append a status that is sent again."""

    once = False


class SetOfStatuses(InMemory):
    """Keep the set of the statuses that have come, without their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.sets: dict[str, set[str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.sets.setdefault(message_id, set()).add(status)

    def observe(self, message_id: str) -> Any:
        return self.sets.get(message_id, set())


class SetReplaced(SetOfStatuses):
    """Replace the set by each status that comes."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.sets[message_id] = {status}


class OnlyFailures(AppendOnlyLog):
    """Keep failed deliveries only."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        if status == "delivered_failed":
            super().event(message_id, status, channel)


class OnlyFailuresTwice(OnlyFailures):
    """Keep a failed delivery that is sent again."""

    once = False


class Rows(OneStatus):
    """Keep a row with an automatic number, the time of its last change and a version."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count(1)
        self.rows: dict[str, dict[str, Any]] = {}

    def replaced(self, message_id: str, status: str) -> None:
        row = self.rows.setdefault(message_id, {"id": next(self.numbers), "version": 0})
        row["version"] += 1
        row.update(status=status, updated_at=time.time())

    def observe(self, message_id: str) -> Any:
        return self.rows.get(message_id)


class RowsLastWins(LastWins, Rows):
    """Write the status that came last into the row."""


class JsonColumn(OneStatus):
    """Keep the status and the history of a message as JSON in one text column."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.history.setdefault(message_id, []).append(f"{status}/{channel}")

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return {"data": json.dumps({"status": status, "history": self.history.get(message_id, [])})}


class JsonColumnLastWins(LastWins, JsonColumn):
    """Keep the status that came last in the text column."""


class Folded(InMemory):
    """Keep events only, and fold them into a state when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, list[str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.events.setdefault(message_id, []).append(status)

    def fold(self, statuses: list[str]) -> str:
        return max(statuses, key=ALONG.__getitem__)

    def observe(self, message_id: str) -> Any:
        statuses = self.events.get(message_id)
        return _Folded(self.fold(statuses), "verified" in statuses, len({*statuses})) if statuses else None


class _Folded(msgspec.Struct):
    status: str
    verified: bool
    kinds: int


class FoldedByArrival(Folded):
    """Fold events in the order in which they arrived."""

    def fold(self, statuses: list[str]) -> str:
        return statuses[-1]


_SCHEMA = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT, status TEXT, channel TEXT, stored_at REAL, rank INTEGER
);
"""


class UniqueConstraint(InMemory):
    """Insert each event; a unique index alone keeps duplicates out."""

    unique: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self.db.close)
        self.db.executescript(_SCHEMA)
        if self.unique:
            self.db.execute("CREATE UNIQUE INDEX once ON events (message, status, channel)")

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG:
            values = message_id, status, detail, time.time(), ALONG[status]
            with contextlib.suppress(sqlite3.IntegrityError):
                self.db.execute(
                    "INSERT INTO events (message, status, channel, stored_at, rank) VALUES (?, ?, ?, ?, ?)", values
                )

    def observe(self, message_id: str) -> Any:
        query = "SELECT count(*), max(rank) FROM events WHERE message = ?"
        with self.lock:
            return self.db.execute(query, [message_id]).fetchone()


class NoConstraint(UniqueConstraint):
    """Insert each event, without the unique index."""

    unique = False
