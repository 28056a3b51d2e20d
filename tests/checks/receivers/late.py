"""Mutants that go wrong when time has passed."""

from __future__ import annotations

import sqlite3
from typing import Any

from tests.checks.receivers.correct import CorrectReceiver, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store

_HOUR, _DAY = 3600, 86400


class KnowsEventsForAWhile(CorrectReceiver):
    """Know events by a cache, which forgets each after a time."""

    ttl: float = 1800

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._until: dict[tuple[str, str, str], float] = {}

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        event = (message_id, status, detail)
        if self._until.get(event, 0.0) < self.now():
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", event)
            self._until[event] = self.now() + self.ttl


class KnowsEventsForHalfADay(KnowsEventsForAWhile):
    ttl = _DAY / 2


class KnowsEventsForAWeek(KnowsEventsForAWhile):
    ttl = 7 * _DAY


class RemovesOldKeys(CorrectReceiver):
    """Know events by a table, from which each callback removes the rows of more than three days ago."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.store.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, at REAL)")
            db.execute("DELETE FROM keys WHERE at < ?", [self.now() - 3 * _DAY])
        super().commit(nonce, body, envelope)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        key = f"{message_id} {status} {detail}"
        if db.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", [key, self.now()]).rowcount:
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])


class AnswersStopAgain(KnowsEventsForAWhile):
    """Know replies by a cache, and statuses for ever."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status == "uplink":
            super().keep(db, message_id, status, detail)
        else:
            CorrectReceiver.keep(self, db, message_id, status, detail)


class RemembersNoncesForAWhile(CorrectReceiver):
    """Remember nonces for a shorter time than their signatures are genuine."""

    seconds = 50

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._seen: dict[str, tuple[float, bytes]] = {}

    def remember(self, db: sqlite3.Connection, nonce: str, body: bytes) -> None:
        now = self.now()
        self._seen = {each: kept for each, kept in self._seen.items() if now - kept[0] < self.seconds}
        if self._seen.setdefault(nonce, (now, body))[1] != body:
            raise Refused(401)


class RemembersNoncesForTwoMinutes(RemembersNoncesForAWhile):
    seconds = 110


class RemembersNoncesForFourMinutes(RemembersNoncesForAWhile):
    seconds = 240


class DropsOldEvents(CorrectReceiver):
    """Acknowledge an event of more than an hour ago, and make nothing of it."""

    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        if not isinstance(row, dict) or not self.is_old(row.get("itime")):
            super().apply(db, row)

    def is_old(self, itime: Any) -> bool:
        return isinstance(itime, int) and self.now() - itime > _HOUR


class RefusesOldEvents(DropsOldEvents):
    """Answer 400 to an event of yesterday."""

    def is_old(self, itime: Any) -> bool:
        if isinstance(itime, int) and self.now() - itime > _DAY:
            raise Refused(400)
        return False


MUTANTS = [
    Mutant("C22", KnowsEventsForAWhile, also=("C24",)),
    Mutant("C22", KnowsEventsForHalfADay, also=("C24",)),
    Mutant("C22", KnowsEventsForAWeek),
    Mutant("C22", RemovesOldKeys),
    Mutant("B26", RemembersNoncesForAWhile),
    Mutant("B26", RemembersNoncesForTwoMinutes),
    Mutant("B26", RemembersNoncesForFourMinutes),
    Mutant("C24", AnswersStopAgain),
    Mutant("C23", DropsOldEvents),
    Mutant("C23", RefusesOldEvents),
]
