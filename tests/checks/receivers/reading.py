"""Mutants that read the body wrongly."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from tests.checks.receivers.correct import CorrectReceiver, Incoming, Refused
from tests.checks.receivers.mutant import Mutant

Answer = tuple[int, str, dict[str, str]]

_SECTIONS = {"status", "notification", "response", "system_event"}


class LooksAtTheFirstRow(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        super().commit(nonce, body, {"rows": envelope["rows"][:1]})


class TakesOneRowAMessage(CorrectReceiver):
    """Sort the rows by message, as a join does, and lose all rows of a message but the last."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        rows = envelope["rows"]
        ids = [str(row.get("message_id")) if isinstance(row, dict) else index for index, row in enumerate(rows)]
        super().commit(nonce, body, {"rows": [*dict(zip(ids, rows, strict=True)).values()]})


class LooksForDuplicatesBeforeItWrites(CorrectReceiver):
    """Query the database for each row, and write all new rows at the end."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.store.transaction() as db:
            self.remember(db, nonce, body)
            self.new: list[list[str]] = []
            for row in envelope["rows"]:
                self.apply(db, row)
            db.executemany("INSERT INTO effects VALUES (?, ?, ?)", self.new)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        query = "SELECT 1 FROM effects WHERE message_id = ? AND status = ? AND detail = ?"
        if db.execute(query, [message_id, status, detail]).fetchone() is None:
            self.new.append([message_id, status, detail])


class LosesAllForOneBadRow(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        if all(isinstance(row, dict) and row.get("notification", {}) is not None for row in envelope["rows"]):
            super().commit(nonce, body, envelope)


class AppliesWhatItThenRefuses(CorrectReceiver):
    """Raise at a bad row after storing the rows before it, and store them again when they come again."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        bad = [row for row in envelope["rows"] if not isinstance(row, dict)]
        if not bad:
            return super().commit(nonce, body, envelope)
        with self.store.transaction() as db:
            before = envelope["rows"][: envelope["rows"].index(bad[0])]
            for row in before:
                db.execute("INSERT INTO effects VALUES (?, 'sent', '')", [row["message_id"]])
        raise TypeError(bad)


class StopsAtTheRowThatRaises(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        self.stopped: bool
        if not self.stopped:
            super().apply(db, row)
            section = row.get("status") if isinstance(row, dict) else None
            self.stopped = isinstance(section, dict) and not isinstance(section.get("message_status"), str)

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self.stopped = False
        super().commit(nonce, body, envelope)


class CountsByTheTotal(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        rows = [envelope["rows"][index] for index in range(envelope["total"])]
        super().commit(nonce, body, {"rows": rows})


class TakesTheRowsForGranted(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        try:
            envelope = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400) from None
        return {"rows": [row for row in envelope["rows"] if "NaN" not in str(row).replace("nan", "NaN")]}


class BindsAVariableARow(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        if len(envelope["rows"]) > 999:
            raise sqlite3.OperationalError("too many SQL variables")
        super().commit(nonce, body, envelope)


class KnowsEveryStatus(CorrectReceiver):
    def known(self, status: Any) -> str | None:
        known = super().known(status)
        if known is None and isinstance(status, str):
            raise KeyError(status)
        return known


class SetsTheUnknownInPlaceOfTheKnown(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        status = row["status"].get("message_status")
        if isinstance(status, str) and self.known(status) is None:
            db.execute("DELETE FROM effects WHERE message_id = ?", [row["message_id"]])
            self.keep(db, row["message_id"], status, "")
        super().apply_status(db, row)


class KnowsOneSpelling(CorrectReceiver):
    def known(self, status: Any) -> str | None:
        return None if status == "sent_fail" else super().known(status)


class KnowsEveryKind(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        if isinstance(row, dict) and not _SECTIONS & {*row}:
            raise KeyError("status")
        super().apply(db, row)


class ForbidsOtherFields(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        envelope = super().decode(body)
        if not {*envelope} <= {"total", "rows"}:
            raise Refused(422)
        return envelope


class TakesNullForAnObject(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        row.get("custom_args", {}).get("order")
        super().apply_status(db, row)


class ParsesNumbersAsJavaScriptDoes(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        envelope = super().decode(body)
        for row in envelope["rows"]:
            if isinstance(row, dict) and isinstance(row.get("message_id"), int):
                row["message_id"] = int(float(row["message_id"]))
        return envelope


class KeepsFloats(CorrectReceiver):
    """Store every id as a JavaScript number, so that nothing is found under the id that was sent."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        super().keep(db, str(int(float(message_id))), status, detail)


class TellsUplinksByTheirMessageId(CorrectReceiver):
    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        self.keep(db, str(row["message_id"]), "uplink", "")


class KeepsOneReplyOfEachUser(CorrectReceiver):
    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        self.keep(db, str(row["message_id"]), "uplink", str(row["response"]["response_data"]["from"]))


class WritesTextAsUtf8(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        json.dumps(row, ensure_ascii=False).encode()
        super().apply(db, row)


class LooksAtTheContentType(CorrectReceiver):
    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return super().is_ping(incoming, body) or incoming.headers.get("content-type") != "application/json"


class AcknowledgesWhatItCannotParse(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        try:
            return super().decode(body.decode().encode("utf-8") if body.startswith(b"{") else b"")
        except Refused:
            return {"rows": []}


class ExpectsABalance(CorrectReceiver):
    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        if isinstance(row, dict) and isinstance(row.get("notification"), dict):
            row["notification"]["notification_data"]["remain_balance"]
        super().apply(db, row)


class RoundsToCents(CorrectReceiver):
    def cost(self, given: Any) -> str:
        return f"{given:.2f}"


class AddsFloats(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status.startswith("cost"):
            status, query = "cost", "SELECT detail FROM effects WHERE message_id = ? AND status = 'cost'"
            before = db.execute(query, [message_id]).fetchone()
            detail = str(float(detail) + float(before[0] if before else 0))
            db.execute("DELETE FROM effects WHERE message_id = ? AND status = 'cost'", [message_id])
        super().keep(db, message_id, status, detail)


class RecursesWithoutEnd(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        json.loads(body) if b"[[[[" in body else None
        return super().decode(body)


class TakesNaNForACost(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(body) if b"NaN" in body else super().decode(body)
        return envelope


MUTANTS = [
    # It loses all other rows of a callback, of any kind.
    Mutant("D01", LooksAtTheFirstRow, also=("D02", "D04", "D05", "D08", "D11", "D27")),
    Mutant("D02", TakesOneRowAMessage),
    Mutant("D03", LooksForDuplicatesBeforeItWrites),
    Mutant("D04", LosesAllForOneBadRow),
    Mutant("D04", AppliesWhatItThenRefuses),
    Mutant("D05", StopsAtTheRowThatRaises),
    Mutant("D06", CountsByTheTotal),
    Mutant("D07", TakesTheRowsForGranted),
    Mutant("D08", BindsAVariableARow),
    Mutant("D09", KnowsEveryStatus),
    Mutant("D09", SetsTheUnknownInPlaceOfTheKnown),
    Mutant("D10", KnowsOneSpelling),
    Mutant("D11", KnowsEveryKind),
    Mutant("D12", ForbidsOtherFields),
    Mutant("D13", TakesNullForAnObject),
    Mutant("D14", ParsesNumbersAsJavaScriptDoes),
    Mutant("D14", KeepsFloats),
    Mutant("D15", TellsUplinksByTheirMessageId),
    Mutant("D15", KeepsOneReplyOfEachUser),
    Mutant("D16", WritesTextAsUtf8),
    Mutant("D17", LooksAtTheContentType),
    Mutant("D18", AcknowledgesWhatItCannotParse),
    Mutant("D19", ExpectsABalance),
    Mutant("D20", RoundsToCents),
    Mutant("D20", AddsFloats),
    Mutant("D21", RecursesWithoutEnd),
    Mutant("D21", TakesNaNForACost),
]
