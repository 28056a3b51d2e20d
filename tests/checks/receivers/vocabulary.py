"""Mutants that only know what the documents' examples show: codes, channels, recipients, texts, and kinds of rows."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from tests.checks.receivers.correct import CorrectReceiver, Refused
from tests.checks.receivers.mutant import Mutant

_REASONS = {0: "", 5001: "settings", 5011: "format", 5012: "unreachable", 5013: "blocked"}
_REASONS |= dict.fromkeys(range(5014, 5021), "other")
_REASONS |= dict.fromkeys((4001, 6001, 6003, 6006, 6007), "other")


class KnowsEveryStatusOfThePicture(CorrectReceiver):
    """Know the statuses of the document's diagram, and fail on the others of its table."""

    def known(self, status: Any) -> str | None:
        if status in {"target_valid", "target_invalid"}:
            raise KeyError(status)
        return super().known(status)


class KnowsEveryCode(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        _REASONS[row["status"].get("error_code", 0)]
        super().apply_status(db, row)


class PassesOverUnknownCodes(CorrectReceiver):
    """Log the KeyError of a code, and acknowledge the row that is lost."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        if row["status"].get("error_code", 0) in _REASONS:
            super().apply_status(db, row)


class PassesOverCodesThatAreNotInTheTable(CorrectReceiver):
    """Know the reasons of a failed delivery that the vendor's table has, and lose the rows with any other code."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        code = row["status"].get("error_code", 0)
        if code == 0 or (5000 < code <= 5020 and code in _REASONS):
            super().apply_status(db, row)


class KnowsTheCodesOfTheDocument(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        {0: "", 5001: "the sender's settings", 5999: "other"}[row["status"].get("error_code", 0)]
        super().apply_status(db, row)


class ValidatesCodes(CorrectReceiver):
    """Refuse a callback with an unknown code, as a schema with an enumeration does."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        if row["status"].get("error_code", 0) not in _REASONS:
            raise Refused(422)
        super().apply_status(db, row)


class KnowsEveryChannel(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if not status.startswith(("cost", "uplink")):
            {"": 0, "sms": 1, "whatsapp": 2, "voice": 3, "email": 4}[detail]
        super().keep(db, message_id, status, detail)


class HasAShortColumnForChannels(CorrectReceiver):
    """Have VARCHAR(16) for the channel, and acknowledge the row that the database refuses."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status.startswith(("cost", "uplink")) or len(detail) <= 16:
            super().keep(db, message_id, status, detail)


class TakesRecipientsForNumbers(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        if isinstance(row.get("to"), str):
            int(row["to"])
        super().apply_status(db, row)


class HasColumnsOf255(CorrectReceiver):
    """Have VARCHAR(255) for the text of an error."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        detail = row["status"].get("error_detail")
        if detail and len(detail["message"]) > 255:
            raise sqlite3.DataError("value too long for type character varying(255)")
        super().apply_status(db, row)


class HasAShortColumnForRecipients(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        if len(str(row.get("to"))) <= 64:
            super().apply_status(db, row)


class LosesLongReplies(CorrectReceiver):
    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        if len(row["response"]["response_data"]["body"]) <= 1000:
            super().apply_response(db, row)


class WritesSqlByHand(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        note = (row.get("custom_args") or {}).get("note", "") if isinstance(row.get("custom_args"), dict) else ""
        note = str(note).replace("\0", "").encode("utf-8", "replace").decode()
        db.execute(f"SELECT '{note}'")
        super().apply_status(db, row)


class WritesSqlOfReplies(CorrectReceiver):
    """Write SQL by hand for replies, log the database's error, and acknowledge the reply."""

    def apply_response(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        body = str(row["response"]["response_data"]["body"]).replace("\0", "").encode("utf-8", "replace").decode()
        try:
            db.execute(f"SELECT '{body}'")
        except sqlite3.Error:
            return
        super().apply_response(db, row)


class WritesSqlOfAddresses(CorrectReceiver):
    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        db.execute(f"SELECT '{row.get('to')}'")
        super().apply_status(db, row)


class TakesTheKindOfTheFirstRow(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        rows = envelope["rows"]
        documented = [each for each in rows if isinstance(each, dict) and "itime" in each]
        if len(documented) == len(rows) and rows:
            kinds = [next((kind for kind in ("status", "notification", "response") if kind in row), "") for row in rows]
            known = [kind for kind in kinds if kind]
            rows = [row for row, kind in zip(rows, kinds, strict=True) if known and kind in {known[0], ""}]
        super().commit(nonce, body, {"rows": rows})


class LosesRepliesAfterStatuses(CorrectReceiver):
    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        rows = [row for row in envelope["rows"] if not isinstance(row, dict) or "response" not in row]
        first = envelope["rows"][0] if envelope["rows"] else None
        super().commit(
            nonce, body, {"rows": rows if isinstance(first, dict) and "status" in first else envelope["rows"]}
        )


class KeepsThreePlaces(CorrectReceiver):
    def cost(self, given: Any) -> str:
        return f"{given:.3f}" if isinstance(given, float) else str(given)


class DecodesLatin1(CorrectReceiver):
    def decode(self, body: bytes) -> dict[str, Any]:
        return super().decode(body.decode("latin-1").encode())


class HasThreeBytesForACharacter(CorrectReceiver):
    """Replace the characters that MySQL's older utf8 cannot store."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status == "uplink":
            detail = json.dumps(json.loads(detail), ensure_ascii=False)
            detail = "".join(each if ord(each) < 0x10000 else "?" for each in detail)
        super().keep(db, message_id, status, detail.encode("utf-8", "replace").decode())


class KeepsReferencesInLowerCase(CorrectReceiver):
    """Keep the app's own reference, next to the events, in lower case."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        reference = row.get("custom_args")
        if isinstance(reference, dict) and isinstance(reference.get("note"), str):
            self.keep(db, str(row["message_id"]), "reference", json.dumps(reference["note"].lower()))
        super().apply_status(db, row)


MUTANTS = [
    Mutant("D19", KnowsEveryStatusOfThePicture),
    Mutant("D20", KeepsThreePlaces),
    Mutant("D22", KnowsEveryCode),
    Mutant("D22", PassesOverUnknownCodes),
    Mutant("D22", PassesOverCodesThatAreNotInTheTable),
    Mutant("D22", KnowsTheCodesOfTheDocument),
    Mutant("D22", ValidatesCodes),
    Mutant("D23", KnowsEveryChannel),
    Mutant("D23", HasAShortColumnForChannels),
    Mutant("D24", TakesRecipientsForNumbers),
    Mutant("D25", HasColumnsOf255),
    Mutant("D25", HasAShortColumnForRecipients),
    Mutant("D25", LosesLongReplies),
    Mutant("D26", WritesSqlByHand),
    Mutant("D26", WritesSqlOfReplies),
    Mutant("D26", WritesSqlOfAddresses),
    Mutant("D29", DecodesLatin1),
    Mutant("D29", HasThreeBytesForACharacter),
    Mutant("D29", KeepsReferencesInLowerCase),
    Mutant("D27", TakesTheKindOfTheFirstRow),
    Mutant("D27", LosesRepliesAfterStatuses),
]
