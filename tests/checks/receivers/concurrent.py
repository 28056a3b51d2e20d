"""Mutants that are right as long as callbacks come one after another."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from engagelab_mock import Attempt, Event, Fault
from engagelab_mock.checks.trial import Trial
from tests.checks.receivers.correct import CorrectReceiver, Incoming
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store

#: How long a callback waits for another one that never comes, in seconds.
_LIMIT = 5
#: The same if it is not known whether one comes, in seconds.
_TURN = 0.02


class Together:
    """Make callbacks that are sent at once meet, however busy the machine is.

    Two of them are at the same place at the same time. A callback that is sent alone does not wait.
    """

    #: The callbacks that are being sent at once.
    now: ClassVar[Together | None] = None

    def __init__(self, count: int) -> None:
        self._count = count
        self._condition = threading.Condition()
        self._arrived = self._waiting = self._finished = 0

    @classmethod
    def meet(cls) -> None:
        """Wait until another callback is here too, or all others are finished."""
        if cls.now is not None:
            cls.now._meet()

    @classmethod
    def finish(cls) -> None:
        """Tell the others that the handler of a callback is done."""
        if cls.now is not None:
            with cls.now._condition:
                cls.now._finished += 1
                cls.now._condition.notify_all()

    def _meet(self) -> None:
        with self._condition:
            self._arrived += 1
            self._waiting += 1
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._arrived > 1 or self._waiting + self._finished >= self._count, _LIMIT)
            self._waiting -= 1


class Unannounced(Together):
    """Make callbacks meet in a process that does not know how many come at once."""

    def __init__(self) -> None:
        super().__init__(0)

    def _meet(self) -> None:
        with self._condition:
            self._arrived += 1
            number = self._arrived
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._arrived > number, _TURN)


def let_them_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell the receivers when a check sends callbacks at once."""
    send = Trial.send_together

    def send_together(trial: Trial, callbacks: Sequence[Sequence[Event]], *faults: Fault) -> list[Attempt]:
        Together.now = Together(len(callbacks))
        try:
            return send(trial, callbacks, *faults)
        finally:
            Together.now = None

    monkeypatch.setattr(Trial, "send_together", send_together)


class Meets(CorrectReceiver):
    def answer(self, incoming: Incoming) -> tuple[int, str, dict[str, str]]:
        try:
            return super().answer(incoming)
        finally:
            Together.finish()


class AcknowledgesWhatALockKeepsOut(Meets):
    """Log "database is locked", and answer 200."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._lock = threading.Lock()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        if self._lock.acquire(blocking=False):
            try:
                Together.meet()
                super().commit(nonce, body, envelope)
            finally:
                self._lock.release()


class WritesTheMessageBack(Meets):
    """Read the known messages, and write them back together with the new ones."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._here = threading.local()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        ids = {str(row.get("message_id")) for row in envelope["rows"] if isinstance(row, dict)}
        self._here.known = {id: self.store.effects(id) for id in ids}
        Together.meet()
        super().commit(nonce, body, envelope)
        with self.store.transaction() as db:
            for id, effects in self._here.known.items():
                db.execute("DELETE FROM effects WHERE message_id = ?", [id])
                db.executemany("INSERT INTO effects VALUES (?, ?, ?)", [(id, *effect) for effect in effects])

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        effects = self._here.known[message_id]
        if (status, detail) not in effects:
            effects.append((status, detail))


class LocksRowAfterRow(Meets):
    """Lock the messages of a batch one after another; the database ends one of two that wait for each other."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._changed = threading.Condition()
        self._owners: dict[str, object] = {}
        self._wanted: dict[object, str] = {}

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        me = object()
        ids = [*dict.fromkeys(str(row.get("message_id")) for row in envelope["rows"] if isinstance(row, dict))]
        try:
            for number, id in enumerate(ids):
                self._lock(me, id)
                if number == 0 and len(ids) > 1:
                    Together.meet()
            super().commit(nonce, body, envelope)
        finally:
            with self._changed:
                self._owners = {id: owner for id, owner in self._owners.items() if owner is not me}
                self._changed.notify_all()

    def _lock(self, me: object, id: str) -> None:
        with self._changed:
            while self._owners.get(id, me) is not me:
                self._wanted[me] = id
                try:
                    if self._waits_for_itself(me):
                        raise RuntimeError("deadlock detected")
                    self._changed.wait(1)
                finally:
                    del self._wanted[me]
            self._owners[id] = me

    def _waits_for_itself(self, me: object) -> bool:
        owner = self._owners[self._wanted[me]]
        while owner in self._wanted and owner is not me:
            owner = self._owners[self._wanted[owner]]
        return owner is me


class AddsToATotal(Meets):
    """Read the number of all effects, add to it, and write it back."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._here = threading.local()
        with store.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS total (effects INTEGER)")
            db.execute("INSERT INTO total VALUES (0)")

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._here.new = 0
        super().commit(nonce, body, envelope)
        if self._here.new:
            total = self.observe_account(self.store)["effects"] + self._here.new
            Together.meet()
            with self.store.transaction() as db:
                db.execute("UPDATE total SET effects = ?", [total])

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        before = db.total_changes
        super().keep(db, message_id, status, detail)
        self._here.new += db.total_changes - before

    @staticmethod
    def observe_account(store: Store) -> dict[str, Any]:
        with store.transaction() as db:
            [effects] = db.execute("SELECT effects FROM total").fetchone()
        return {"effects": effects}


MUTANTS = [
    # What it loses are also events of one message, rows of batches, and counts.
    Mutant("A12", AcknowledgesWhatALockKeepsOut, also=("C19", "C20", "C21"), slow=True),
    Mutant("C19", WritesTheMessageBack, also=("C20",), slow=True),
    Mutant("C20", LocksRowAfterRow),
    Mutant("C21", AddsToATotal, observe_account=AddsToATotal.observe_account, slow=True),
]
