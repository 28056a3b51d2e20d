"""Receivers that are right, but built unusually, and for each a mutant with a bug that the checks must find.

`RIGHT` has the right ones by their names, `WRONG` the mutants: functions that return a new `Receiver` with its
`observe`. All of them verify and decode as the correct receiver of `tests/checks` does, and keep their data in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any, ClassVar

import msgspec

from engagelab_mock import Message, Receiver
from engagelab_mock.integrations.time_travel import time_machine_clock
from tests.checks.receivers.correct import ALONG, AUTHORIZATION, PATH, SECRET, USERNAME, CorrectReceiver, Refused
from tests.checks.receivers.frameworks import on_flask

#: What the correct receiver asks for in every callback.
SETTINGS: Any = {"username": USERNAME, "secret": SECRET, "authorization": AUTHORIZATION}


class InMemory(CorrectReceiver):
    """Keep each event once, in memory; a subclass decides which data it keeps, and which of them `observe` returns."""

    #: Whether an event that was handled before is ignored.
    once: ClassVar[bool] = True

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.nonces: dict[str, str] = {}
        self.known_events: set[tuple[str, ...]] = set()
        self.row: dict[str, Any] = {}

    def now(self) -> float:
        return time.time()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.lock:
            self.check_nonce(nonce, body)
            self.work(envelope)

    def check_nonce(self, nonce: str, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if self.nonces.setdefault(nonce, digest) != digest:
            raise Refused(401)

    def work(self, envelope: dict[str, Any]) -> None:
        for row in envelope["rows"]:
            self.row = row
            self.apply(None, row)  # type: ignore[arg-type]

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG:
            key = message_id, status, detail
            if self.once and key in self.known_events:
                return
            self.known_events.add(key)
            self.event(message_id, status, detail)
        else:
            self.other(message_id, status, detail)

    def event(self, message_id: str, status: str, channel: str) -> None:
        """Handle a status of a message, for the first time."""
        raise NotImplementedError

    def other(self, message_id: str, kind: str, detail: str) -> None:
        """Handle a cost, or a user's reply; default: the app makes nothing of it."""

    def observe(self, message_id: str) -> Any:
        """Return the state of a message."""
        raise NotImplementedError


def supersedes(status: str, old: str | None) -> bool:
    return old is None or ALONG[status] > ALONG[old]


class AppendOnlyLog(InMemory):
    """Append every event to a log with numbers and times of arrival; the state is a message's part of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[dict[str, Any]] = []

    def event(self, message_id: str, status: str, channel: str) -> None:
        now = datetime.now(UTC)
        entry = {"id": len(self.log), "message": message_id, "status": status, "channel": channel, "at": now}
        self.log.append(entry)

    def observe(self, message_id: str) -> Any:
        return [entry for entry in self.log if entry["message"] == message_id]


class AppendsTwice(AppendOnlyLog):
    """Append an event that is sent again."""

    once = False


class OneStatus(InMemory):
    """Keep the status that is furthest along; a subclass shows it in another form."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, str] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        if self.replaces(status, self.statuses.get(message_id)):
            self.statuses[message_id] = status
            self.replaced(message_id, status)

    def replaces(self, status: str, old: str | None) -> bool:
        return supersedes(status, old)

    def replaced(self, message_id: str, status: str) -> None:
        """Note more than the status of an event that counts."""

    def observe(self, message_id: str) -> Any:
        return self.statuses.get(message_id)


class LastWins:
    """Replace the status by any status that comes."""

    def replaces(self, status: str, old: str | None) -> bool:
        return True


class Numbers(OneStatus):
    """Show the status as a number of the app's own."""

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return 0 if status is None else 10 + ALONG[status]


class NumbersLastWins(LastWins, Numbers):
    """Show the number of the status that came last."""


class RemovedWhenDone(OneStatus):
    """Keep a row for a message in progress, and remove it when the message was delivered or has failed."""

    done = frozenset({"delivered", "delivered_failed", "sent_failed", "verified", "verified_failed"})

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return None if status is None or status in self.done else {"status": status}


class RemovedAndForgotten(RemovedWhenDone):
    """Remove the row of a delivered message, and make a new one for an event that comes late."""

    def replaces(self, status: str, old: str | None) -> bool:
        return old is None or old in self.done or ALONG[status] > ALONG[old]


class TotalsOnly(InMemory):
    """Count events by their status, over all messages: the state is the same for every id."""

    def __init__(self) -> None:
        super().__init__()
        self.totals: Counter[str] = Counter()

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.totals[status] += 1

    def observe(self, message_id: str) -> Any:
        return dict(self.totals)


class TotalsTwice(TotalsOnly):
    """Count an event that is sent again."""

    once = False


class StatusAndTotals(OneStatus):
    """Show the status of a message next to a total over all messages."""

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), "known": len(self.statuses)}


class StatusAndTotalsLastWins(LastWins, StatusAndTotals):
    """Show the status that came last, next to a total."""


class OneText(InMemory):
    """Append each event to one text, in the order of arrival, as `sent sms; delivered sms`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        text = self.texts.get(message_id)
        self.texts[message_id] = f"{text}; {status} {channel}" if text else f"{status} {channel}"

    def observe(self, message_id: str) -> Any:
        return self.texts.get(message_id, "")


class OneTextOverwritten(OneText):
    """Replace the text by each event that comes."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.texts[message_id] = f"{status} {channel}"


class OnePath(OneText):
    """Append each status to one text, as `sent/delivered`."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        text = self.texts.get(message_id)
        self.texts[message_id] = f"{text}/{status}" if text else status


class OnePathTwice(OnePath):
    """Append a status that is sent again."""

    once = False


class SetOfStatuses(InMemory):
    """Keep the set of the statuses that have come, without their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.sets: dict[str, set[str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.sets.setdefault(message_id, set()).add(status)

    def observe(self, message_id: str) -> Any:
        return self.sets.get(message_id, set())


class SetReplaced(SetOfStatuses):
    """Replace the set by each status that comes."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.sets[message_id] = {status}


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


class OnlyFailures(AppendOnlyLog):
    """Keep failed deliveries only."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        if status == "delivered_failed":
            super().event(message_id, status, channel)


class OnlyFailuresTwice(OnlyFailures):
    """Keep a failed delivery that is sent again."""

    once = False


class PlainStatus(OneStatus):
    """Show only the status, as a text."""


class PlainStatusLastWins(LastWins, PlainStatus):
    """Show only the status that came last."""


class Rows(OneStatus):
    """Keep a row with an automatic number, the time of its last change and a version."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count(1)
        self.rows: dict[str, dict[str, Any]] = {}

    def replaced(self, message_id: str, status: str) -> None:
        row = self.rows.setdefault(message_id, {"id": next(self.numbers), "version": 0})
        row["version"] += 1
        row.update(status=status, updated_at=time.time())

    def observe(self, message_id: str) -> Any:
        return self.rows.get(message_id)


class RowsLastWins(LastWins, Rows):
    """Write the status that came last into the row."""


class JsonColumn(OneStatus):
    """Keep the status and the history of a message as JSON in one text column."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        self.history.setdefault(message_id, []).append(f"{status}/{channel}")

    def observe(self, message_id: str) -> Any:
        status = self.statuses.get(message_id)
        return {"data": json.dumps({"status": status, "history": self.history.get(message_id, [])})}


class JsonColumnLastWins(LastWins, JsonColumn):
    """Keep the status that came last in the text column."""


class Folded(InMemory):
    """Keep events only, and fold them into a state when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, list[str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.events.setdefault(message_id, []).append(status)

    def fold(self, statuses: list[str]) -> str:
        return max(statuses, key=ALONG.__getitem__)

    def observe(self, message_id: str) -> Any:
        statuses = self.events.get(message_id)
        return _Folded(self.fold(statuses), "verified" in statuses, len({*statuses})) if statuses else None


class _Folded(msgspec.Struct):
    status: str
    verified: bool
    kinds: int


class FoldedByArrival(Folded):
    """Fold events in the order in which they arrived."""

    def fold(self, statuses: list[str]) -> str:
        return statuses[-1]


_SCHEMA = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT, status TEXT, channel TEXT, stored_at REAL, rank INTEGER
);
"""


class UniqueConstraint(InMemory):
    """Insert each event; a unique index alone keeps duplicates out."""

    unique: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self.db.close)
        self.db.executescript(_SCHEMA)
        if self.unique:
            self.db.execute("CREATE UNIQUE INDEX once ON events (message, status, channel)")

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG:
            values = message_id, status, detail, time.time(), ALONG[status]
            with contextlib.suppress(sqlite3.IntegrityError):
                self.db.execute(
                    "INSERT INTO events (message, status, channel, stored_at, rank) VALUES (?, ?, ?, ?, ?)", values
                )

    def observe(self, message_id: str) -> Any:
        query = "SELECT count(*), max(rank) FROM events WHERE message = ?"
        with self.lock:
            return self.db.execute(query, [message_id]).fetchone()


class NoConstraint(UniqueConstraint):
    """Insert each event, without the unique index."""

    unique = False


class BusyConflict(OneStatus):
    """Answer 409 to a copy of an event that another thread is handling at this moment."""

    busy_status: ClassVar[int] = 409

    def __init__(self) -> None:
        super().__init__()
        self.busy: set[bytes] = set()
        self.guard = threading.Lock()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.guard:
            if body in self.busy:
                raise Refused(self.busy_status)
            self.busy.add(body)
        try:
            time.sleep(0.0005)
            super().commit(nonce, body, envelope)
        finally:
            with self.guard:
                self.busy.discard(body)


class BusyUnavailable(BusyConflict):
    """Answer 503 to such a copy."""

    busy_status = 503


class BusyUnavailableLastWins(LastWins, BusyUnavailable):
    """Answer 503 to such a copy, and keep the status that came last."""


class DuplicateConflict(AppendOnlyLog):
    """Answer 409 to an event that was handled before, so that it is sent again for days."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.lock:
            rows = [row for row in envelope["rows"] if isinstance(row, dict) and isinstance(row.get("status"), dict)]
            statuses = {(str(row.get("message_id")), str(row["status"].get("message_status"))) for row in rows}
            if statuses and statuses <= {key[:2] for key in self.known_events}:
                raise Refused(409)
            super().commit(nonce, body, envelope)


class ByRecipient(InMemory):
    """Keep one row for each recipient, with the status of each of its messages, and show their totals."""

    def __init__(self) -> None:
        super().__init__()
        self.people: dict[str, dict[str, str]] = {}
        self.ids: dict[str, str] = {}
        self.credits: Counter[str] = Counter()

    def event(self, message_id: str, status: str, channel: str) -> None:
        to = self.ids.setdefault(message_id, str(self.row.get("to")))
        messages = self.people.setdefault(to, {})
        self.credits[to] += status == "verified"
        if self.replaces(status, messages.get(self.key(message_id))):
            messages[self.key(message_id)] = status

    def key(self, message_id: str) -> str:
        return message_id

    def replaces(self, status: str, old: str | None) -> bool:
        return supersedes(status, old)

    def observe(self, message_id: str) -> Any:
        to = self.ids.get(message_id)
        if to is None:
            return None
        messages = self.people[to]
        known = {"number": to, "messages": len(messages), "credits": self.credits[to]}
        return {**known, "status": messages[self.key(message_id)]}


class ByRecipientLastWins(LastWins, ByRecipient):
    """Keep the status that came last for each message."""


class ByRecipientWithBest(ByRecipient):
    """Show also the best status that any message to the recipient has had."""

    def observe(self, message_id: str) -> Any:
        known = super().observe(message_id)
        return known and {**known, "best": max(self.people[known["number"]].values(), key=ALONG.__getitem__)}


class OneForEachRecipient(ByRecipient):
    """Keep one status for each recipient, across all its messages."""

    def key(self, message_id: str) -> str:
        return ""


class CreditsOfRecipient(ByRecipient):
    """Show only how many credits the recipient of a message has."""

    def observe(self, message_id: str) -> Any:
        return self.credits[self.ids[message_id]] if message_id in self.ids else None


class OneCreditForRecipient(CreditsOfRecipient):
    """Give a recipient one credit for any number of verified messages."""

    def event(self, message_id: str, status: str, channel: str) -> None:
        super().event(message_id, status, channel)
        to = self.ids[message_id]
        self.credits[to] = min(1, self.credits[to])


class Replaced(OneStatus):
    """Keep only the last message to each recipient: `prepare` marks the one before it as replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, str] = {}

    def prepare(self, message: Message) -> None:
        replaced, self.last[message.to] = self.last.get(message.to), message.id
        if replaced:
            self.statuses[replaced] = "replaced"

    def replaces(self, status: str, old: str | None) -> bool:
        return old != "replaced" and supersedes(status, old)


class ReplacedLater(Replaced):
    """Take each message to a recipient for replaced by the one before it."""

    def prepare(self, message: Message) -> None:
        if self.last.setdefault(message.to, message.id) != message.id:
            self.statuses[message.id] = "replaced"


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


class Euros(OneStatus):
    """Keep the price of a message in euros, and the margin, but not the price in dollars."""

    def __init__(self) -> None:
        super().__init__()
        self.money: dict[str, dict[str, float]] = {}

    def other(self, message_id: str, kind: str, detail: str) -> None:
        if kind.startswith("cost"):
            dollars = float(detail)
            self.money[message_id] = {"euros": round(dollars * 0.8617, 7), "margin": round(0.1 - dollars, 7)}

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), **self.money.get(message_id, {})}


class RoundsToCents(OneStatus):
    """Keep the cost rounded to cents."""

    def __init__(self) -> None:
        super().__init__()
        self.costs: dict[str, float] = {}

    def other(self, message_id: str, kind: str, detail: str) -> None:
        if kind.startswith("cost"):
            self.costs[message_id] = round(float(detail), 2)

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), "cost": self.costs.get(message_id)}


#: How long an app that is slow takes, in seconds. Real ones take longer, but a test does not.
SLOW = 0.01


class AnswersSlowly(PlainStatus):
    """Take time for each answer."""

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        time.sleep(SLOW / 4)
        super().commit(nonce, body, envelope)


class AnswersSlowlyLastWins(LastWins, AnswersSlowly):
    """Take time for each answer, and keep the status that came last."""


class WorksAfterAnswer(AppendOnlyLog):
    """Answer 202 at once, and do the work a little later, in a thread for each callback, one after another."""

    delay: ClassVar[float] = SLOW

    def __init__(self) -> None:
        super().__init__()
        self.last: threading.Thread | None = None

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.lock:
            self.check_nonce(nonce, body)
            self.last = timer = threading.Timer(self.delay, self.later, [envelope, self.last])
            timer.daemon = True
            timer.start()

    def later(self, envelope: dict[str, Any], before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        with self.lock:
            self.work(envelope)

    def acknowledge(self) -> tuple[int, str, dict[str, str]]:
        return 202, "", {}


class WorksAfterAnswerTwice(WorksAfterAnswer):
    """Do the work of an event that is sent again."""

    once = False


class WorksInQueue(OneStatus):
    """Answer at once, and do the work in the order of arrival, in one worker thread."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self.work_off, daemon=True).start()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.lock:
            self.check_nonce(nonce, body)
        self.jobs.put(envelope)

    def work_off(self) -> None:
        while True:
            envelope = self.jobs.get()
            time.sleep(SLOW / 10)
            with self.lock:
                self.work(envelope)
            self.jobs.task_done()


class WorksInQueueLastWins(LastWins, WorksInQueue):
    """Keep the status that came last, in a worker thread."""


class KeepsReplies(OneStatus):
    """Keep users' replies, next to the status."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: dict[str, str] = {}

    def reply_key(self, message_id: str, detail: str) -> str:
        return detail

    def other(self, message_id: str, kind: str, detail: str) -> None:
        if kind == "uplink":
            self.replies.setdefault(self.reply_key(message_id, detail), detail)

    def observe(self, message_id: str) -> Any:
        replies = len(self.replies) if message_id == "0" else 0
        return {"status": self.statuses.get(message_id), "replies": replies}


class KeepsOneReply(KeepsReplies):
    """Take every user's reply after the first for a duplicate."""

    def reply_key(self, message_id: str, detail: str) -> str:
        return message_id


class Conversation(OneStatus):
    """Show a user's replies next to the status of each message to that user; show nothing for an unknown message."""

    def __init__(self) -> None:
        super().__init__()
        self.recipients: dict[str, str] = {}
        self.replies: dict[str, dict[str, str]] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        self.recipients.setdefault(message_id, self.row["to"])
        super().event(message_id, status, channel)

    def other(self, message_id: str, kind: str, detail: str) -> None:
        if kind == "uplink":
            reply = self.row["response"]["response_data"]
            self.replies.setdefault(reply["from"], {})[self.reply_key(reply)] = reply["body"]

    def reply_key(self, reply: dict[str, str]) -> str:
        return reply["message_sid"]

    def observe(self, message_id: str) -> Any:
        if message_id not in self.statuses:
            return None
        replies = self.replies.get(self.recipients[message_id], {})
        return {"status": self.statuses[message_id], "replies": [*replies.values()], "answered": len(replies)}


class AnswersEveryCopy(Conversation):
    """Answer a reply again if it is sent again."""

    def reply_key(self, reply: dict[str, str]) -> str:
        return f"{len(self.replies.get(reply['from'], {}))}"


class AnswersOneReply(Conversation):
    """Take every reply of any user after the first for a duplicate."""

    answered = False

    def other(self, message_id: str, kind: str, detail: str) -> None:
        if kind == "uplink" and not self.answered:
            self.answered = True
            super().other(message_id, kind, detail)


class Alerts(OneStatus):
    """Count the notifications of the account, and show their number next to the status of any message."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, str] = {}

    def apply(self, db: sqlite3.Connection, row: Any) -> None:
        if isinstance(row, dict) and isinstance(row.get("notification"), dict):
            self.alerts[self.alert_key(row)] = json.dumps(row)
        super().apply(db, row)

    def alert_key(self, row: dict[str, Any]) -> str:
        return json.dumps(row, sort_keys=True)

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id), "alerts": len(self.alerts)}


class AlertsTwice(Alerts):
    """Count a notification that is sent again."""

    def alert_key(self, row: dict[str, Any]) -> str:
        return str(len(self.alerts))


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


Making = Callable[[], Receiver]


def _making(kind: type[InMemory]) -> Making:
    def make() -> Receiver:
        app = kind()
        hooks: Any = {"prepare": getattr(app, "prepare", None), "set_time": time_machine_clock()}
        return Receiver.wsgi(on_flask(app), PATH, **SETTINGS, observe=app.observe, **hooks)

    make.__doc__ = kind.__doc__
    make.__name__ = kind.__name__
    return make


class Pair(msgspec.Struct, frozen=True):
    """Hold a right receiver, a wrong one that is built the same way, and the checks that must find its bug."""

    right: Making
    wrong: Making
    fails: tuple[str, ...]


def _pair(right: type[InMemory], wrong: type[InMemory], *fails: str) -> Pair:
    return Pair(_making(right), _making(wrong), fails)


PAIRS = {
    "an append-only log": _pair(AppendOnlyLog, AppendsTwice, "C01"),
    "numbers for statuses": _pair(Numbers, NumbersLastWins, "C06"),
    "a row that is removed when the message is done": _pair(RemovedWhenDone, RemovedAndForgotten, "C06"),
    "totals over all messages": _pair(TotalsOnly, TotalsTwice, "C01"),
    "a status next to a total": _pair(StatusAndTotals, StatusAndTotalsLastWins, "C06"),
    "one text of all events": _pair(OneText, OneTextOverwritten, "C06"),
    "one text with slashes": _pair(OnePath, OnePathTwice, "C01"),
    "a set of statuses": _pair(SetOfStatuses, SetReplaced, "C06"),
    "a row that every callback touches": _pair(Touched, TouchedTwice, "B16", "C01"),
    "failures only": _pair(OnlyFailures, OnlyFailuresTwice, "B16", "C01", "C02"),
    "one text, the status": _pair(PlainStatus, PlainStatusLastWins, "C06"),
    "rows with numbers, times and versions": _pair(Rows, RowsLastWins, "C06"),
    "JSON in a text column": _pair(JsonColumn, JsonColumnLastWins, "C06"),
    "a state folded from events": _pair(Folded, FoldedByArrival, "C06"),
    "a unique index": _pair(UniqueConstraint, NoConstraint, "C01"),
    "409 while a copy is handled": _pair(BusyConflict, DuplicateConflict, "C01"),
    "503 while a copy is handled": _pair(BusyUnavailable, BusyUnavailableLastWins, "C06"),
    "a row for each recipient": _pair(ByRecipient, ByRecipientLastWins, "C06"),
    "totals of each recipient": _pair(ByRecipientWithBest, OneForEachRecipient, "C16"),
    "credits of each recipient": _pair(CreditsOfRecipient, OneCreditForRecipient, "C16"),
    "one message for each recipient": _pair(Replaced, ReplacedLater, "C16"),
    "lateness in seconds": _pair(Lateness, LatenessAddedUp, "C01"),
    "dates in other forms": _pair(Dates, DatesTwice, "C01"),
    "dates of arrival in other forms": _pair(ArrivalDates, ArrivalDatesTwice, "C01"),
    "one text with a date": _pair(DatedText, DatedTextLastWins, "C06"),
    "costs in another currency": _pair(Euros, RoundsToCents, "D20"),
    "slow answers": _pair(AnswersSlowly, AnswersSlowlyLastWins, "C06"),
    "work after the answer": _pair(WorksAfterAnswer, WorksAfterAnswerTwice, "C01"),
    "work in a queue": _pair(WorksInQueue, WorksInQueueLastWins, "C06"),
    "alerts of the account": _pair(Alerts, AlertsTwice, "C17"),
    "users' replies": _pair(KeepsReplies, KeepsOneReply, "D15"),
    "users' replies next to their messages": _pair(Conversation, AnswersEveryCopy, "C17"),
    "replies of several users": _pair(Conversation, AnswersOneReply, "D15"),
    "a log that is removed after days": _pair(RemovesOldLogs, RemovesOldKeys, "C22"),
    "ranks alone": _pair(ByRank, ByRankDropsOld, "C23"),
    "nonces for a limited time": _pair(NoncesForTenMinutes, NoncesForAMinute, "B26"),
}
RIGHT = {name: pair.right for name, pair in PAIRS.items()}
WRONG = {name: pair.wrong for name, pair in PAIRS.items()}
