"""Mutants of the correct receiver: each has one bug, of a kind that is really written."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flask import Request, abort, request

from tests.receivers.correct import USERNAME, CorrectReceiver, refuse, unique
from tests.receivers.store import Store

# --- The signature


class NeverVerifies(CorrectReceiver):
    def verify(self, header: str | None) -> str:
        return (header or "nonce=").partition("nonce=")[2].partition(";")[0]


class BelievesTheHeadersUsername(CorrectReceiver):
    def verify(self, header: str | None) -> str:
        parts = dict(part.split("=", 1) for part in (header or "").split(";") if "=" in part)
        if parts["signature"] != self.digest(parts["timestamp"], parts["nonce"], parts["username"]):
            abort(401)
        return parts["nonce"]


class NeverLooksAtTheTime(CorrectReceiver):
    def is_timely(self, timestamp: int) -> bool:
        return True


class LooksAtThePastAlone(CorrectReceiver):
    def is_timely(self, timestamp: int) -> bool:
        return time.time() - timestamp <= 300


class ForgetsNonces(CorrectReceiver):
    def remember(self, db: sqlite3.Connection, nonce: str, body: bytes) -> None:
        pass


class VerifiesWhatIsThere(CorrectReceiver):
    def verify(self, header: str | None) -> str:
        return super().verify(header) if header else ""


class SplitsWithoutLooking(CorrectReceiver):
    def verify(self, header: str | None) -> str:
        if header is None:
            abort(401)
        dict(part.split("=", 1) for part in header.split(";"))
        return super().verify(header)


class ComparesAsFarAsItGoes(CorrectReceiver):
    def verify(self, header: str | None) -> str:
        parts = dict(part.split("=", 1) for part in (header or "").split(";") if "=" in part)
        digest = self.digest(parts["timestamp"], parts["nonce"], USERNAME)
        if not all(ours == theirs for ours, theirs in zip(digest, parts["signature"], strict=False)):
            abort(401)
        return parts["nonce"]


class TakesTheFirstOfSeveral(CorrectReceiver):
    def verify(self, header: str | None) -> str:
        return super().verify((header or "").split(",")[0])


class ConcatenatesAndForgetsTheTime(CorrectReceiver):
    """It defends itself by remembering nonces alone: the shifted header has a nonce it has never seen."""

    def verify(self, header: str | None) -> str:
        parts = dict(part.split("=", 1) for part in (header or "").split(";") if "=" in part)
        if parts["signature"] != self.digest(parts["timestamp"], parts["nonce"], USERNAME):
            abort(401)
        return parts["nonce"]


# --- The body


class BelievesTheBody(CorrectReceiver):
    def check_recipient(self, db: sqlite3.Connection, message_id: str, recipient: str) -> None:
        db.execute("INSERT OR REPLACE INTO messages VALUES (?, ?)", [message_id, recipient])


class CountsByTheTotal(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, envelope: dict[str, Any]) -> None:
        for number in range(envelope["total"]):
            self.apply_status(db, envelope["rows"][number])


class TellsKindsByTheKeyAlone(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, envelope: dict[str, Any]) -> None:
        for row in envelope["rows"]:
            if "notification" in row:
                str(row["notification"]["event"])
            else:
                self.apply_status(db, row)


class Known(Enum):
    PLAN = "plan"
    SENT = "sent"
    DELIVERED = "delivered"


class KnowsEveryStatus(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        Known(row["status"]["message_status"])
        super().apply_status(db, row)


class KnowsEveryKind(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, envelope: dict[str, Any]) -> None:
        for row in envelope["rows"]:
            self.apply_status(db, row)


@dataclass
class Row:
    message_id: str
    to: str
    server: str
    channel: str
    itime: int
    status: dict[str, Any]


class KnowsEveryField(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        Row(**row)
        super().apply_status(db, row)


class TakesIdsForStrings(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        row["message_id"] = row["message_id"].strip()
        super().apply_status(db, row)


class NeedsEveryField(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        str(row["status"]["status_data"]["business_id"])
        super().apply_status(db, row)


class SwallowsWhatItCannotRead(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        try:
            decoded: dict[str, Any] = json.loads(body)
        except ValueError:
            return {"rows": []}
        return decoded


class DecodesTextFirst(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(body.decode("utf-8"))
        return decoded


class ReadsWhatPythonReads(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(body)
        return decoded


class TakesAnySize(CorrectReceiver):
    body_limit = None


class CatchesValueErrorsAlone(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        try:
            decoded: dict[str, Any] = json.loads(body, object_pairs_hook=unique, parse_constant=refuse)
        except ValueError:
            abort(400)
        return decoded


class TakesTheFirstOfTwoKeys(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(body, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        return decoded


# --- The wire


class OverlooksTheEncoding(CorrectReceiver):
    def read(self, request: Request) -> bytes:
        return request.get_data()

    def decode(self, body: bytes) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(body)
        return decoded


class ReadsByContentLength(CorrectReceiver):
    """Without a length it finds no body, which it takes for the ping."""

    def view(self) -> tuple[str, int]:
        if not request.content_length:
            return "", 200
        return super().view()


class AppliesRowsAsTheyCome(CorrectReceiver):
    """It keeps every row that is there, before it knows that the body is whole."""

    def view(self) -> tuple[str, int]:
        self.verify(request.headers.get("X-CALLBACK-ID"))
        read = request.environ["wsgi.input"].read(int(request.environ.get("CONTENT_LENGTH") or 0))
        text = read.decode().partition("[")[2]
        with self.store.transaction() as db:
            while text.startswith("{"):
                try:
                    row, end = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    break
                self.apply_status(db, row)
                text = text[end:].lstrip(",")
        return "", 200


class RefusesOldHttp(CorrectReceiver):
    def read(self, request: Request) -> bytes:
        if request.environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            abort(505)
        return super().read(request)


class RefusesToBeAsked(CorrectReceiver):
    def read(self, request: Request) -> bytes:
        if request.headers.get("Expect"):
            abort(417)
        return super().read(request)


class KeepsHeadersInAColumn(CorrectReceiver):
    def read(self, request: Request) -> bytes:
        if len(str(request.headers)) > 4000:
            raise sqlite3.IntegrityError("value too long for type character varying(4000)")
        return super().read(request)


# --- The exchange


class NeverLooksWhetherItWasThereBefore(CorrectReceiver):
    def is_first(self, db: sqlite3.Connection, message_id: str, status: str) -> bool:
        return True


class LooksAndThenActs(CorrectReceiver):
    """It asks whether the event is new in one transaction and keeps it in another; `between` happens between."""

    def __init__(self, store: Store, between: Callable[[], object] = lambda: None) -> None:
        super().__init__(store)
        self._between = between

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        [row] = envelope["rows"]
        new = row["status"]["message_status"] not in self.store.effects
        self._between()
        if new:
            with self.store.transaction() as db:
                db.execute("INSERT INTO effects VALUES (?, ?)", [row["message_id"], row["status"]["message_status"]])


class Gated:
    """Hold the handler of a receiver up after it has committed, until the test lets it go."""

    def __init__(self, receiver: CorrectReceiver) -> None:
        self.committed = threading.Event()
        self.release = threading.Event()
        self._app = receiver.app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        answer = self._app(environ, start_response)
        self.committed.set()
        self.release.wait(10)
        return answer
