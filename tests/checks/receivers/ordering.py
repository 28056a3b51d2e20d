"""Mutants whose final state depends on the order of arrival."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from tests.checks.receivers.correct import ALONG, CorrectReceiver, observe
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store


class KeepsOneStatus(CorrectReceiver):
    """Store one status of each message, and replace it by a status that supersedes it. This receiver is correct."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status not in ALONG:
            super().keep(db, message_id, status, detail)
            return
        old = db.execute("SELECT status FROM effects WHERE message_id = ?", [message_id]).fetchone()
        if old is None or self.supersedes(status, old[0]):
            db.execute("DELETE FROM effects WHERE message_id = ?", [message_id])
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])

    def supersedes(self, new: str, old: str) -> bool:
        return self.rank(new) > self.rank(old)

    def rank(self, status: str) -> int:
        return ALONG[status]


class KeepsWhatCameLast(KeepsOneStatus):
    def supersedes(self, new: str, old: str) -> bool:
        return True


class TakesAPlanForANewBeginning(KeepsOneStatus):
    def supersedes(self, new: str, old: str) -> bool:
        return new == "plan" or super().supersedes(new, old)


class WantsSentBeforeDelivered(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        query = "SELECT 1 FROM effects WHERE message_id = ? AND status = 'sent'"
        if status != "delivered" or db.execute(query, [message_id]).fetchone():
            super().keep(db, message_id, status, detail)


class TakesDeliveredForTheEnd(KeepsOneStatus):
    def rank(self, status: str) -> int:
        return 99 if status == "delivered" else super().rank(status)


class TakesAWrongCodeForTheEnd(KeepsOneStatus):
    def rank(self, status: str) -> int:
        return 99 if status == "verified_failed" else super().rank(status)


class TakesTheLaterOfTwoReports(KeepsOneStatus):
    def supersedes(self, new: str, old: str) -> bool:
        return {new, old} == {"delivered", "delivered_failed"} or super().supersedes(new, old)


class TakesOneEventOfEachStatus(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        query = "SELECT 1 FROM effects WHERE message_id = ? AND status = ?"
        if status not in ALONG or db.execute(query, [message_id, status]).fetchone() is None:
            super().keep(db, message_id, status, detail)


class OrdersByTime(CorrectReceiver):
    """Keep the row with the greatest `itime`, and the later one of two with the same."""

    def moment(self, row: dict[str, Any]) -> Any:
        return row.get("itime", 0)

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        if self.known(row["status"].get("message_status")) is None:
            return
        db.execute("CREATE TABLE IF NOT EXISTS times (message_id TEXT PRIMARY KEY, moment INTEGER NOT NULL)")
        message_id, moment = str(row.get("message_id")), self.moment(row)
        known = db.execute("SELECT moment FROM times WHERE message_id = ?", [message_id]).fetchone()
        if known is None or moment >= known[0]:
            db.execute("REPLACE INTO times VALUES (?, ?)", [message_id, moment])
            db.execute("DELETE FROM effects WHERE message_id = ?", [message_id])
            super().apply_status(db, row)


class OrdersByMsgTime(OrdersByTime):
    """Keep the row with the greatest `msg_time`, which is the last one if all rows of a message have the same."""

    def moment(self, row: dict[str, Any]) -> Any:
        return row["status"]["status_data"].get("msg_time", 0)


class KeepsOneStateOfEachRecipient(CorrectReceiver):
    """Store the events of all messages to a number under that number."""

    def key(self, row: dict[str, Any]) -> str:
        return str(row.get("to"))

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        db.execute("CREATE TABLE IF NOT EXISTS people (message_id TEXT, key TEXT)")
        db.execute("INSERT INTO people VALUES (?, ?)", [str(row.get("message_id")), self.key(row)])
        super().apply_status(db, {**row, "message_id": self.key(row)})

    @staticmethod
    def observe(store: Store, message_id: str) -> dict[str, Any]:
        with store.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS people (message_id TEXT, key TEXT)")
            found = db.execute("SELECT key FROM people WHERE message_id = ?", [message_id]).fetchone()
        return observe(store, found[0] if found else message_id)


class KeepsOneStateOfEachReference(KeepsOneStateOfEachRecipient):
    """Store the events of all messages with the same reference of the app under that reference."""

    def key(self, row: dict[str, Any]) -> str:
        reference = row.get("custom_args")
        return str(
            reference["order"] if isinstance(reference, dict) and "order" in reference else row.get("message_id")
        )


class RemembersTheLastMessageOfARecipient(CorrectReceiver):
    """Have one row for each recipient, which the next message to it replaces."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        db.execute("CREATE TABLE IF NOT EXISTS people (message_id TEXT, recipient TEXT PRIMARY KEY)")
        known = db.execute("SELECT message_id FROM people WHERE recipient = ?", [str(row.get("to"))]).fetchone()
        if known is not None and known[0] != str(row.get("message_id")):
            db.execute("DELETE FROM effects WHERE message_id = ?", known)
        db.execute("REPLACE INTO people VALUES (?, ?)", [str(row.get("message_id")), str(row.get("to"))])
        super().apply_status(db, row)


class TakesTheSameStatusOfARecipientForADuplicate(CorrectReceiver):
    """Know an event by its recipient, its template, its status and its second."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        db.execute("CREATE TABLE IF NOT EXISTS known (message_id TEXT, event TEXT PRIMARY KEY)")
        data = row["status"].get("status_data")
        names = ("template_key", "current_send_channel")
        parts = {name: data.get(name) for name in names} if isinstance(data, dict) else {}
        event = json.dumps(
            [row.get("to"), row.get("itime"), row["status"].get("message_status"), parts], sort_keys=True
        )
        db.execute("INSERT OR IGNORE INTO known VALUES (?, ?)", [str(row.get("message_id")), event])
        first = db.execute("SELECT message_id FROM known WHERE event = ?", [event]).fetchone()
        if first == (str(row.get("message_id")),):
            super().apply_status(db, row)


MUTANTS = [
    Mutant("C06", KeepsWhatCameLast, also=("C07", "C09", "C11", "C15")),
    Mutant("C07", TakesAPlanForANewBeginning),
    # It loses events that come too early.
    Mutant("C08", WantsSentBeforeDelivered, also=("C06",)),
    Mutant("C09", TakesDeliveredForTheEnd),
    Mutant("C10", TakesAWrongCodeForTheEnd),
    Mutant("C11", TakesTheLaterOfTwoReports),
    Mutant("C14", TakesOneEventOfEachStatus),
    Mutant("C15", OrdersByTime),
    Mutant("C16", KeepsOneStateOfEachRecipient, observe=KeepsOneStateOfEachRecipient.observe),
    Mutant("C16", KeepsOneStateOfEachReference, observe=KeepsOneStateOfEachReference.observe),
    Mutant("C16", RemembersTheLastMessageOfARecipient),
    Mutant("C16", TakesTheSameStatusOfARecipientForADuplicate),
    Mutant("C06", OrdersByMsgTime, also=("C07", "C09", "C11", "C15")),
]
