"""Receivers whose memory ends with time, and some that drop, refuse or count what comes late."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from tests.checks.receivers.correct import ALONG, Refused
from tests.truth.receivers.in_memory import AppendOnlyLog

if TYPE_CHECKING:
    from engagelab_mock import Clock

START = 1_704_283_200.0
HOUR, DAY = 3600, 86400
UNSIGNED: Any = {"username": "", "secret": ""}


class OnAClock(AppendOnlyLog):
    """Read the time from a clock, and count the credits that `verified` gives, next to the log."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self.clock = clock
        self.at: dict[tuple[str, ...], float] = {}

    def now(self) -> float:
        return time.time() if self.clock is None else self.clock.time()

    def is_timely(self, timestamp: str) -> bool:
        return abs(self.now() - int(timestamp)) <= 300

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        self.forget()
        self.at.setdefault((message_id, status, detail), self.now())
        super().keep(db, message_id, status, detail)

    def forget(self) -> None:
        """Forget old events; the right receiver keeps everything."""

    def observe(self, message_id: str) -> Any:
        statuses = [entry["status"] for entry in super().observe(message_id)]
        return {"status": max(statuses, key=ALONG.__getitem__, default=None), "credits": statuses.count("verified")}


class ForgetsKeys(OnAClock):
    """Forget the keys of events after a time."""

    ttl: ClassVar[float] = HOUR / 2

    def forget(self) -> None:
        for key in [key for key, at in self.at.items() if self.now() - at > self.ttl]:
            self.known_events.discard(key)
            del self.at[key]


class ForgetsKeysAfterAWeek(ForgetsKeys):
    ttl = 7 * DAY


class RemovesMessages(ForgetsKeys):
    """Remove a message with all that belongs to it after five days, and begin it again when an event comes."""

    ttl = 5 * DAY

    def forget(self) -> None:
        old = {key[0] for key, at in self.at.items() if self.now() - at > self.ttl}
        super().forget()
        self.log = [entry for entry in self.log if entry["message"] not in old]

    def observe(self, message_id: str) -> Any:
        self.forget()
        return super().observe(message_id) if any(message_id == each["message"] for each in self.log) else None


class KeepsATombstone(RemovesMessages):
    """Remove a message after five days, and keep the keys of its events."""

    def forget(self) -> None:
        known = set(self.known_events)
        super().forget()
        self.known_events |= known


class AfterThirtyDays(RemovesMessages):
    """Remove a message after thirty days."""

    ttl = 30 * DAY


class NoNonces(OnAClock):
    """Remember no nonces, as the official SDK."""

    def check_nonce(self, nonce: str, body: bytes) -> None:
        pass


class NoWindow(OnAClock):
    """Accept a signature for ever."""

    def is_timely(self, timestamp: str) -> bool:
        return True


class DropsOld(OnAClock):
    """Acknowledge an event of more than an hour ago, and make nothing of it."""

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        if self.now() - self.row["itime"] <= HOUR:
            super().keep(db, message_id, status, detail)


class DropsOldStatuses(OnAClock):
    """Count the credits of an old event, and do not set its status."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, "plan" if self.now() - self.row["itime"] > HOUR else status, channel)

    def observe(self, message_id: str) -> Any:
        credits = sum((message_id, "verified") == key[:2] for key in self.known_events)
        return {**super().observe(message_id), "credits": credits}


class RefusesOld(OnAClock):
    """Answer 400 to an event of yesterday."""

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        if self.now() - self.row["itime"] > DAY:
            raise Refused(400)
        super().keep(db, message_id, status, detail)


class CountsReplies(OnAClock):
    """Count users' replies, each once."""

    ttl: ClassVar[float] = 30 * DAY

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.replies: dict[str, float] = {}
        self.count = 0

    def other(self, message_id: str, kind: str, detail: str) -> None:
        if kind == "uplink" and self.replies.get(detail, 0.0) < self.now() - self.ttl:
            self.replies[detail] = self.now()
            self.count += 1

    def observe(self, message_id: str) -> Any:
        return {**super().observe(message_id), "replies": self.count if message_id == "0" else 0}


class ForgetsReplies(CountsReplies):
    """Take a reply that comes again after half a day for a new one."""

    ttl = DAY / 2


class CountsEachReply(CountsReplies):
    """Count a reply each time that it comes."""

    ttl = -DAY
