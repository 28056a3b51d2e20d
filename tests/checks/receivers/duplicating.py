"""Mutants that have the effect of one event twice."""

from __future__ import annotations

import json
import select
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.checks.receivers import downstream
from tests.checks.receivers.correct import CorrectReceiver, observe
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.servers import Handler, handling
from tests.checks.receivers.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Event = tuple[str, str, str]

#: How long the sender may take to break a connection before the answer, in seconds.
_TURN = 0.1


class KnowsARequestByItsNonce(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.store.transaction() as db:
            known = db.execute("SELECT 1 FROM nonces WHERE nonce = ?", [nonce]).fetchone()
            self.remember(db, nonce, body)
            for row in [] if known else {json.dumps(row): row for row in envelope["rows"]}.values():
                self.apply(db, row)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])


class LooksBeforeItWrites(CorrectReceiver):
    """Check in one transaction if an event is known, and insert it in another."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._here = threading.local()
        self._looked = threading.Condition()
        self._requests = 0

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._here.new = []
        super().commit(nonce, body, envelope)
        if self._here.new:
            with self._looked:
                # A copy that comes at once also looks now, however busy the machine is.
                self._requests += 1
                others = self._requests
                self._looked.notify_all()
                self._looked.wait_for(lambda: self._requests > others, 0.03)
            with self.store.transaction() as db:
                db.executemany("INSERT INTO effects VALUES (?, ?, ?)", self._here.new)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        event = (message_id, status, detail)
        query = "SELECT 1 FROM effects WHERE message_id = ? AND status = ? AND detail = ?"
        if event not in self._here.new and db.execute(query, event).fetchone() is None:
            self._here.new.append(event)


class LooksBeforeItGivesACredit(LooksBeforeItWrites):
    """Have an effect of `verified` alone, and of failures, so that the first status that has one is not the one."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status == "verified":
            super().keep(db, message_id, status, detail)
        else:
            CorrectReceiver.keep(self, db, message_id, status, detail)


class CountsEachWrongCode(CorrectReceiver):
    """Count wrong codes, also one that is sent again."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status == "verified_failed":
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])
        else:
            super().keep(db, message_id, status, detail)


class KnowsACallbackByItsBody(CorrectReceiver):
    """Know a callback by a digest of its body, and each row only within its callback."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.store.transaction() as db:
            self.remember(db, nonce, body)
            db.execute("CREATE TABLE IF NOT EXISTS bodies (body TEXT PRIMARY KEY)")
            rows = {json.dumps(row): row for row in envelope["rows"]}
            if db.execute("INSERT OR IGNORE INTO bodies VALUES (?)", [json.dumps([*rows])]).rowcount:
                for row in rows.values():
                    self.apply(db, row)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])


class KnowsTheLastHundredEvents(CorrectReceiver):
    """Remember events in a cache that has place for a hundred."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._cache: dict[Event, bool] = {}

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        event = (message_id, status, detail)
        if not self._cache.pop(event, False):
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", event)
        self._cache[event] = True
        while len(self._cache) > 100:
            del self._cache[next(iter(self._cache))]


class AnswersEachStop(CorrectReceiver):
    """Keep a reply each time that it comes."""

    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        text = json.dumps(row["response"], sort_keys=True)
        db.execute("INSERT INTO effects VALUES (?, 'uplink', ?)", [str(row.get("message_id")), text])


class LooksBeforeItAnswersStop(LooksBeforeItWrites):
    """Look in one transaction whether a reply is known, and keep it in another."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status == "uplink":
            super().keep(db, message_id, status, detail)
        else:
            CorrectReceiver.keep(self, db, message_id, status, detail)


class SendsAnAlertForEach(CorrectReceiver):
    """Count an alert for each notification, also for one that is sent again."""

    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        if isinstance(row, dict) and isinstance(row.get("notification"), dict):
            db.execute("INSERT INTO effects VALUES ('alerts', '', '')")
        super().apply(db, row)

    @staticmethod
    def observe(store: Store, message_id: str) -> dict[str, Any]:
        return {**observe(store, message_id), "alerts": len(store.effects("alerts"))}


class RemembersLater(CorrectReceiver):
    """Have the effect at once, and store the events of a callback after everything else."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._here = threading.local()
        self._known: set[Event] = set()
        self._under_way: set[Event] = set()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._here.new = set()
        super().commit(nonce, body, envelope)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        event = (message_id, status, detail)
        if event not in self._known | self._under_way:
            db.execute("INSERT INTO effects VALUES (?, ?, ?)", event)
            self._under_way.add(event)
            self._here.new.add(event)

    def has_new(self) -> bool:
        return bool(getattr(self._here, "new", None))

    def end(self, *, well: bool) -> None:
        new: set[Event] = getattr(self._here, "new", set())
        if well:
            self._known |= new
        self._under_way -= new


class ForgetsWhatNobodyWaitsFor(RemembersLater):
    def acknowledge(self) -> tuple[int, str, dict[str, str]]:
        downstream.call()
        return super().acknowledge()


class _Answer:
    def __init__(self, chunks: list[bytes], receiver: RemembersLater) -> None:
        self._chunks = chunks
        self._receiver = receiver
        self._read = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        self._read = True

    def close(self) -> None:
        self._receiver.end(well=self._read)


def when_read(receiver: RemembersLater) -> WSGIApplication:
    """Make an app that stores the events after its answer was read."""
    flask = on_flask(receiver)
    return lambda environ, start_response: _Answer(list(flask(environ, start_response)), receiver)


class WhenWritten(Handler):
    """Store the events after the answer was written without an error."""

    receiver: Any

    def answer(self) -> None:
        well = False
        try:
            super().answer()
            well = True
        finally:
            self.receiver.end(well=well)

    def end_headers(self) -> None:
        if self.receiver.has_new():
            select.select([self.connection], [], [], _TURN)
        super().end_headers()


class UnlessGone(Handler):
    """Store the events before the answer is written, unless the sender disconnected during a stall."""

    receiver: Any

    def end_headers(self) -> None:
        self.receiver.end(well=not (downstream.is_stalled() and _is_gone(self.connection)))
        super().end_headers()


@contextmanager
def when_written(receiver: RemembersLater) -> Iterator[str]:
    with handling(receiver, WhenWritten) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def unless_gone(receiver: RemembersLater) -> Iterator[str]:
    with handling(receiver, UnlessGone) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def _is_gone(connection: socket.socket) -> bool:
    try:
        return bool(select.select([connection], [], [], _TURN)[0]) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


MUTANTS = [
    # It takes every retry for a new event.
    Mutant(
        "C01",
        KnowsARequestByItsNonce,
        also=("C02", "C03", "C17", "D28"),
        also_in_process=("C05",),
        also_over_a_socket=("C04",),
    ),
    Mutant("C02", LooksBeforeItWrites, also=("C17",), slow=True),
    Mutant("C02", LooksBeforeItGivesACredit, slow=True),
    Mutant("C01", CountsEachWrongCode, also=("C02", "D03", "D28")),
    Mutant("D28", KnowsACallbackByItsBody),
    Mutant("C18", KnowsTheLastHundredEvents),
    Mutant("C17", AnswersEachStop),
    Mutant("C17", LooksBeforeItAnswersStop, slow=True),
    Mutant("C17", SendsAnAlertForEach, observe=SendsAnAlertForEach.observe),
    # A sender that disconnects may be gone in time or not; after a reset it is gone. It passes C01 and C02 in process.
    Mutant("C03", RemembersLater, not_asked=("C01", "C02", "C04"), over=("http",), serve=when_written, slow=True),
    # It also waits for downstream calls. A sender that resets the connection may be gone in time or not.
    Mutant(
        "C04",
        ForgetsWhatNobodyWaitsFor,
        also=("A07",),
        not_asked=("C03",),
        options={"limit": 1.5},
        over=("http",),
        serve=unless_gone,
        slow=True,
    ),
    Mutant("C05", RemembersLater, over=("wsgi",), app=when_read),
]
