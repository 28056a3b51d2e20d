"""A receiver that has effects, and says which status has which; mutants have them twice, too early, wrongly or not."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any

from tests.checks.receivers.correct import ALONG, CorrectReceiver
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store

#: What the receiver says.
MEANING: dict[str, Any] = {
    "effects": {"credits": "verified", "refunds": ["sent_failed", "target_invalid"], "wrong_codes": "verified_failed"},
    "terminal": ["verified"],
}


class Accounts(CorrectReceiver):
    """Keep every event, give one credit and one refund for a message, and count wrong codes. This one is correct."""

    def apply_status(self, db: sqlite3.Connection, row: dict[str, Any]) -> None:
        super().apply_status(db, row)
        if row["status"].get("message_status") == "verified_failed":
            self.count_code(db, str(row.get("message_id")), str(row.get("itime")))

    def count_code(self, db: sqlite3.Connection, message_id: str, itime: str) -> None:
        super().keep(db, message_id, "wrong_codes", itime)

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        effect = self.effect(status)
        if effect:
            self.have(db, message_id, effect, detail)
        super().keep(db, message_id, status, detail)

    def effect(self, status: str) -> str:
        return {"verified": "credits", "sent_failed": "refunds", "target_invalid": "refunds"}.get(status, "")

    def have(self, db: sqlite3.Connection, message_id: str, effect: str, detail: str) -> None:
        super().keep(db, message_id, effect, "")


def account(store: Store, message_id: str, *, top: str = "verified") -> dict[str, Any]:
    """Return the state of a message: its status, with the highest rank for `top`, and its effects."""
    kept = store.effects(message_id)
    statuses = [status for status, _ in kept if status in ALONG]
    count = {name: sum(status == name for status, _ in kept) for name in MEANING["effects"]}
    return {"status": max(statuses, key=lambda status: (status == top, ALONG[status]), default=None), **count}


class RefundsEachChannel(Accounts):
    def have(self, db: sqlite3.Connection, message_id: str, effect: str, detail: str) -> None:
        CorrectReceiver.keep(self, db, message_id, effect, "" if detail == "sms" else detail)


class CreditsWhatBeginsWithVerified(Accounts):
    def effect(self, status: str) -> str:
        return "credits" if status.startswith("verified") else super().effect(status)


class RefundsWhatEndsWithFailed(Accounts):
    def effect(self, status: str) -> str:
        return "refunds" if status.endswith("failed") else super().effect(status)


class CreditsAtDelivered(Accounts):
    """Give the one credit as soon as the message is delivered."""

    def effect(self, status: str) -> str:
        return "credits" if status == "delivered" else super().effect(status)


class RefundsEachReason(Accounts):
    """Take another reason for another refund."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        CorrectReceiver.keep(self, db, message_id, status, detail)
        if effect := self.effect(status):
            CorrectReceiver.keep(self, db, message_id, effect, status)


class ForgetsTheCodeAfterATimeout(Accounts):
    def have(self, db: sqlite3.Connection, message_id: str, effect: str, detail: str) -> None:
        query = "SELECT 1 FROM effects WHERE message_id = ? AND status = 'verified_timeout'"
        if effect != "credits" or not db.execute(query, [message_id]).fetchone():
            super().have(db, message_id, effect, detail)


class TakesTheRefundBack(Accounts):
    """Undo the refund when the message is delivered over another channel."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        super().keep(db, message_id, status, detail)
        if status == "delivered":
            db.execute("DELETE FROM effects WHERE message_id = ? AND status = 'refunds'", [message_id])


class CountsAWrongCodeOnce(Accounts):
    def count_code(self, db: sqlite3.Connection, message_id: str, itime: str) -> None:
        super().count_code(db, message_id, "")


class CountsARetriedCodeTwice(Accounts):
    def count_code(self, db: sqlite3.Connection, message_id: str, itime: str) -> None:
        db.execute("INSERT INTO effects VALUES (?, 'wrong_codes', ?)", [message_id, itime])


class RanksATimeoutHighest(Accounts):
    """Keep the right data, but show wrong data."""


class RanksReadHighest(Accounts):
    """Keep the right data, but show wrong data."""


_meant = partial(Mutant, options=MEANING, observe=account)
RIGHT = _meant("", Accounts)

MUTANTS = [
    _meant("F01", RefundsEachChannel),
    _meant("F01", RefundsEachReason),
    _meant("F02", CreditsWhatBeginsWithVerified),
    _meant("F02", RefundsWhatEndsWithFailed),
    _meant("F02", CreditsAtDelivered),
    _meant("F03", ForgetsTheCodeAfterATimeout),
    _meant("F03", TakesTheRefundBack),
    Mutant("F04", RanksATimeoutHighest, options=MEANING, observe=partial(account, top="verified_timeout")),
    Mutant("F04", RanksReadHighest, options=MEANING, observe=partial(account, top="read")),
    _meant("F05", CountsAWrongCodeOnce),
    _meant("F05", CountsARetriedCodeTwice, also=("F01",)),
]
