"""Receivers that keep data by recipient, and costs, replies and alerts of the account."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import Any

from engagelab_mock import Message
from tests.checks.receivers.correct import ALONG
from tests.truth.receivers.in_memory import InMemory, LastWins, OneStatus, supersedes


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
