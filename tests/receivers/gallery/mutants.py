"""Mutants of the orders: each has one bug, of a kind that is really written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from engagelab_otp import TERMINAL_STATUSES

from tests.receivers.gallery.orders import Ledger, Orders, Row


class LastWriteWins(Orders):
    def advance(self, row: Row) -> None:
        self.ledger.keep(row, row.status)


class TerminalWritesWin(Orders):
    """It keeps a late `sent` from undoing `delivered`, and takes `delivered` for as final as `verified`."""

    def advance(self, row: Row) -> None:
        if row.status in TERMINAL_STATUSES or self.ledger.status(row.message_id) not in TERMINAL_STATUSES:
            self.ledger.keep(row, row.status)


class FirstTerminalStays(Orders):
    """It takes a wrong code for the end, and so the right one after it for late."""

    def advance(self, row: Row) -> None:
        if self.ledger.status(row.message_id) not in TERMINAL_STATUSES:
            super().advance(row)


class OrdersByTime(Orders):
    """It believes the latest `itime`, to the second, and in doubt the one that came last."""

    def advance(self, row: Row) -> None:
        if row.at >= self.ledger.moment(row.message_id):
            self.ledger.keep(row, row.status)


class WantsALaterTime(Orders):
    """It believes the latest `itime`, to the second, and in doubt the one that came first."""

    def advance(self, row: Row) -> None:
        if row.at > self.ledger.moment(row.message_id):
            self.ledger.keep(row, row.status)


class OrdersByMsgTime(Orders):
    """It keeps the row with the greatest `msg_time`, and so the last one if all rows of a message have the same."""

    def advance(self, row: Row) -> None:
        if row.msg_time >= self.ledger.moment(row.message_id):
            self.ledger.keep(replace(row, at=row.msg_time), row.status)


class WantsALaterMsgTime(Orders):
    """It keeps the row with the greatest `msg_time`, and so the first one if all rows of a message have the same."""

    def advance(self, row: Row) -> None:
        if row.msg_time > self.ledger.moment(row.message_id):
            self.ledger.keep(replace(row, at=row.msg_time), row.status)


class DedupesByMessage(Orders):
    def key(self, row: Row) -> str:
        return row.message_id


class DedupesByStatus(Orders):
    """It forgets that a fallback sends the same message twice, over two channels."""

    def key(self, row: Row) -> str:
        return f"{row.message_id}:{row.status}"


class DedupesAcrossMessages(Orders):
    def key(self, row: Row) -> str:
        return f"{row.status}:{row.channel}"


class DedupesByNonce(Orders):
    """It takes the nonce for the event's name, and a retry has another."""

    def key(self, row: Row) -> str:
        return f"{self.nonce}:{row.status}"


class NeverDedupes(Orders):
    def is_new(self, row: Row) -> bool:
        return True


class ReadsTheFirstRow(Orders):
    def rows(self, envelope: Any) -> list[Any]:
        return super().rows(envelope)[:1]


class TrustsTotal(Orders):
    def rows(self, envelope: Any) -> list[Any]:
        return [envelope["rows"][index] for index in range(envelope["total"])]


class LosesTheRest(Orders):
    """It stops at the first row that it cannot read, and says that all is well."""

    def readable(self, rows: list[Any]) -> Iterator[Row]:
        try:
            for row in rows:
                yield self.read(row)
        except (KeyError, TypeError, ValueError):
            return


class CommitsBeforeVerifying(Orders):
    def receive(self, header: str | None, body: bytes) -> int:
        if body not in {b"", b"{}"}:
            self.apply(json.loads(body))
        return super().receive(header, body)


class RefundsEveryFailure(Orders):
    """It gives the user up when one channel fails, and another may be on its way."""

    def have_effect(self, row: Row) -> None:
        super().have_effect(row)
        if row.status in {"sent_failed", "delivered_failed", "target_invalid"}:
            self.ledger.add(row.message_id, refunds=1)


class ActsOnTerminal(Orders):
    """It follows the vendor's advice to act on a status that the SDK calls terminal: it settles the order only once."""

    def have_effect(self, row: Row) -> None:
        if row.status not in TERMINAL_STATUSES or not self.ledger.claim(f"{row.message_id}:settled"):
            return
        failed = row.status.endswith(("failed", "invalid", "timeout"))
        self.ledger.add(row.message_id, **{"refunds" if failed else "credits": 1})


class KnowsPlannedOnesOnly(Orders):
    """It makes the message on `plan`, and crashes on any status before that."""

    def advance(self, row: Row) -> None:
        if row.status != "plan" and self.ledger.status(row.message_id) is None:
            raise LookupError(row.message_id)
        super().advance(row)


class CountsInFloats(Orders):
    """It reads ids as numbers, as a spreadsheet does."""

    def read(self, row: Any) -> Row:
        return super().read({**row, "message_id": f"{float(row['message_id']):.0f}"})


class Flaky(Orders):
    """Right, but for what gives credits, which is down the first time it is asked for each message."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.asked: set[str] = set()
        self.downstream = self._fail_once

    def reset(self) -> None:
        super().reset()
        self.asked.clear()

    def _fail_once(self, message_id: str) -> None:
        if message_id not in self.asked:
            self.asked.add(message_id)
            raise ConnectionError("the credits are down")


class MarksBeforeItWorks(Flaky):
    """It commits that it has seen the event, fails, and ignores the retry."""

    def apply(self, envelope: Any) -> None:
        for row in self.readable(self.rows(envelope)):
            if self.is_new(row):
                self.advance(row)
                self.have_effect(row)


class WorksBeforeItMarks(Flaky):
    """It gives the credit, fails before it has committed that it did, and gives it again."""

    def apply(self, envelope: Any) -> None:
        for row in self.readable(self.rows(envelope)):
            self.advance(row)
            if row.status == "verified":
                self.ledger.add(row.message_id, credits=1)
                self.downstream(row.message_id)
            self.is_new(row)
