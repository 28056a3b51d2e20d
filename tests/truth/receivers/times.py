"""Receivers that show the time, or forget with time."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any, ClassVar

from tests.truth.receivers.in_memory import AppendOnlyLog, LastWins, OneStatus, PlainStatus


class Touched(OneStatus):
    """Note the time of every callback in several forms, and a new tag, also for one that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: dict[str, dict[str, Any]] = {}
        self.credits: Counter[str] = Counter()

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        now = datetime.now(UTC)
        tag = hashlib.sha256(f"{time.time_ns()} {message_id}".encode()).hexdigest()
        self.touched[message_id] = {"updated_at": now, "seen": f"{now:%d.%m.%Y %H:%M:%S.%f}", "etag": tag}
        super().keep(db, message_id, status, detail)

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.credits[message_id] += 1

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), **self.touched.get(message_id, {})}


class TouchedTwice(Touched):
    """Give a credit for each event, also for one that is sent again."""

    once = False

    def observe(self, message_id: str) -> Any:
        return {**super().observe(message_id), "credits": self.credits[message_id]}


class Lateness(OneStatus):
    """Note by how many seconds each event was late, and how late the last one was."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[str, dict[str, int]] = {}

    def replaced(self, message_id: str, status: str) -> None:
        self.late.setdefault(message_id, {})[status] = int(time.time() - int(self.row["itime"]))

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), "late_by": self.late.get(message_id, {})}


class LatenessAddedUp(Lateness):
    """Count the events of a message, also those that are sent again."""

    once = False

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        counts = self.late.setdefault(message_id, {})
        counts["events"] = counts.get("events", 0) + 1


class Dates(OneStatus):
    """Show the time of the last event as 28.11.2026, as 11/28/26, as a list and as one integer."""

    def __init__(self) -> None:
        super().__init__()
        self.dates: dict[str, datetime] = {}
        self.credits: Counter[str] = Counter()

    def replaced(self, message_id: str, status: str) -> None:
        self.dates[message_id] = datetime.fromtimestamp(int(self.row["itime"]), UTC)

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.credits[message_id] += status == "delivered"

    def observe(self, message_id: str) -> Any:
        at = self.dates.get(message_id)
        if at is None:
            return None
        return {
            "status": self.statuses[message_id],
            "on": f"{at:%d.%m.%Y %H:%M:%S}",
            "us": f"{at:%m/%d/%y %I:%M:%S %p}",
            "parts": list(at.timetuple()[:6]),
            "number": int(f"{at:%Y%m%d%H%M%S}"),
            "credits": self.credits[message_id],
        }


class DatesTwice(Dates):
    """Give a credit for each `delivered`, also for one that is sent again."""

    once = False


class ArrivalDates(Dates):
    """Show the time of arrival of the last event that counted, in the same forms."""

    def replaced(self, message_id: str, status: str) -> None:
        self.dates[message_id] = datetime.now(UTC)


class ArrivalDatesTwice(ArrivalDates):
    """Give a credit for each `delivered`, also for one that is sent again."""

    once = False


class DatedText(OneStatus):
    """Show one text with the status and the time of the event, as `delivered on 28.11.2026 07:13:23`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}

    def replaced(self, message_id: str, status: str) -> None:
        at = datetime.fromtimestamp(int(self.row["itime"]), UTC)
        self.texts[message_id] = f"{status} on {at:%d.%m.%Y %H:%M:%S}"

    def observe(self, message_id: str) -> Any:
        return self.texts.get(message_id)


class DatedTextLastWins(LastWins, DatedText):
    """Show the text of the event that came last."""


class RemovesOldLogs(AppendOnlyLog):
    """Remove the log of a message after five days, and keep the keys of its events and its credits."""

    def __init__(self) -> None:
        super().__init__()
        self.credits: Counter[str] = Counter()
        self.began: dict[str, float] = {}

    def is_old(self, message_id: str) -> bool:
        return time.time() - self.began.setdefault(message_id, time.time()) > 5 * 86400

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.credits[message_id] += status == "verified"

    def observe(self, message_id: str) -> Any:
        log = [] if self.is_old(message_id) else super().observe(message_id)
        return {"log": log, "credits": self.credits[message_id]}


class RemovesOldKeys(RemovesOldLogs):
    """Remove the keys of a message's events, too."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if self.is_old(message_id):
            self.known_events.discard((message_id, status, detail))
        super().keep(db, message_id, status, detail)


class ByRank(PlainStatus):
    """Take each event whose status is further along, and remember nothing else."""

    once = False


class ByRankDropsOld(ByRank):
    """Acknowledge events of more than an hour ago, and make nothing of them."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        if time.time() - self.row["itime"] <= 3600:
            super().event(message_id, status, channel)


class NoncesForTenMinutes(AppendOnlyLog):
    """Forget a nonce after ten minutes, when its signature is old."""

    seconds: ClassVar[float] = 600

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, float] = {}

    def check_nonce(self, nonce: str, body: bytes) -> None:
        if time.time() - self.came.get(nonce, 0.0) > self.seconds:
            self.nonces.pop(nonce, None)
        self.came[nonce] = time.time()
        super().check_nonce(nonce, body)


class NoncesForAMinute(NoncesForTenMinutes):
    """Forget a nonce after a minute, when its signature is still genuine."""

    seconds = 60
