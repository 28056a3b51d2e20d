"""Mutants that cannot handle a message that they do not know, or not yet."""

from __future__ import annotations

import sqlite3

from tests.checks.receivers.correct import ALONG, CorrectReceiver, Refused
from tests.checks.receivers.mutant import Mutant


class RefusesWhatItHasNotSent(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG and not _is_issued(db, message_id):
            raise Refused(404)
        super().keep(db, message_id, status, detail)


class UpdatesNoRowWhereThereIsNone(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status not in ALONG or _is_issued(db, message_id):
            super().keep(db, message_id, status, detail)


def _is_issued(db: sqlite3.Connection, message_id: str) -> bool:
    return db.execute("SELECT 1 FROM issued WHERE message_id = ?", [message_id]).fetchone() is not None


MUTANTS = [
    Mutant("C12", RefusesWhatItHasNotSent),
    Mutant("C13", UpdatesNoRowWhereThereIsNone),
]
