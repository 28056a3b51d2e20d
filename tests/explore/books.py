"""A small receiver that keeps its state in memory: correct, with one bug, or hard to explore."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Any

from engagelab_mock import (
    Message,
    Receiver,
    SnapshotOptions,
    StatusEvent,
    converges,
    decode,
    exactly_once,
    idempotent,
    never_regresses,
    verify,
)
from engagelab_mock.protocol.status import PROGRESS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from engagelab_mock import Clock

#: What must hold for a correct receiver.
ALL = [converges(), never_regresses(), exactly_once("credits"), idempotent()]
#: Schedules of every kind.
EVERYTHING: dict[str, Any] = {"duplicates": 1, "batchings": True, "faults": "at-least-once"}
#: When the tests' virtual clocks start.
START = 1_700_000_000
STATUSES = ["plan", "sent", "delivered", "verified", "checking", None]


class Books:
    """Keep the status of each message, and give one credit when it is verified."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.seen: set[tuple[str, str, str]] = set()
        self.requests = 0

    @property
    def receiver(self) -> Receiver:
        return Receiver.wsgi(self, observe=self.kept.get)

    def reset(self) -> None:
        self.kept.clear()
        self.seen.clear()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.requests += 1
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if len(body) < int(environ["CONTENT_LENGTH"]):
            start_response("400 Bad Request", [])
            return [b""]
        self.apply([row for row in decode(body).rows if isinstance(row, StatusEvent)])
        start_response("200 OK", [])
        return [b""]

    def apply(self, rows: list[StatusEvent]) -> None:
        for row in rows:
            self.handle(self.kept.setdefault(row.message_id, {"status": None, "credits": 0}), row)

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        if self.is_new(row):
            book["status"] = self.later(book["status"], row.name)
            book["credits"] += row.name == "verified"

    def is_new(self, row: StatusEvent) -> bool:
        key = (row.message_id, row.name, row.status.status_data.current_send_channel)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def later(self, known: str | None, status: str) -> str | None:
        ranks = {name: rank for rank, name in enumerate(PROGRESS)}
        return status if ranks.get(status, -1) > ranks.get(known or "", -1) else known


class LastWriteWins(Books):
    def later(self, known: str | None, status: str) -> str | None:
        return status


class NeverDedupes(Books):
    def is_new(self, row: StatusEvent) -> bool:
        return True


class ReadsTheFirstRow(Books):
    def apply(self, rows: list[StatusEvent]) -> None:
        super().apply(rows[:1])


class KeepsHalfBodies(Books):
    """Apply the readable part of a body before checking that the body is complete."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        for name in PROGRESS:
            if f'"{name}"'.encode() in body:
                message_id = body.partition(b'"message_id":"')[2].partition(b'"')[0].decode()
                book = self.kept.setdefault(message_id, {"status": None, "credits": 0})
                book["status"] = self.later(book["status"], name)
                book["half"] = book.get("half", 0) + (not body.endswith(b"}"))
        start_response("200 OK", [])
        return [b""]


class RefusesWhatIsEarly(Books):
    """Answer 503 to a status whose predecessor has not come, and rely on a retry."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        [row] = [row for row in decode(body).rows if isinstance(row, StatusEvent)]
        order = ["plan", "sent", "delivered", "verified"]
        had = {name for message_id, name, _ in self.seen if message_id == row.message_id}
        if not set(order[: order.index(row.name)]) <= had:
            start_response("503 Service Unavailable", [])
            return [b""]
        self.apply([row])
        start_response("200 OK", [])
        return [b""]


class OnTheClock(Books):
    """Refuse signatures and events that are old by the clock that the app is given."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.ages: list[float] = []

    def reached_by(self, **options: Any) -> Receiver:
        given: dict[str, Any] = {"username": "acme", "secret": "s3cret", "signature_clock": "virtual", **options}
        return Receiver.wsgi(self, observe=self.kept.get, **given)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        header, now = environ.get("HTTP_X_CALLBACK_ID", ""), self.clock.time()
        length = int(environ["CONTENT_LENGTH"])
        if length and not verify(header, username="acme", secret="s3cret", now=now):
            start_response("401 Unauthorized", [])
            return [b""]
        if not length:
            start_response("200 OK", [])
            return [b""]
        return super().__call__(environ, start_response)

    def apply(self, rows: list[Any]) -> None:
        self.ages += [self.clock.time() - row.itime for row in rows]
        super().apply(rows)


class CountsInSecret(Books):
    """Give a second credit for `verified` if `delivered` came before `sent`; the state does not show that it did."""

    def __init__(self) -> None:
        super().__init__()
        self.early: set[str] = set()

    def reset(self) -> None:
        super().reset()
        self.early.clear()

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        had = {status for message, status, _ in self.seen if message == row.message_id}
        if row.name == "sent" and "delivered" in had:
            self.early.add(row.message_id)
        super().handle(book, row)
        book["credits"] += row.name == "verified" and row.message_id in self.early

    def later(self, known: str | None, status: str) -> str | None:
        # The status is the same in every order, so only the credits differ.
        return "seen"


class AtRandom(Books):
    """Decide what a callback does by the seed and the state, which shows all that it depends on."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random_seed = seed

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        random = Random(f"{self.random_seed} {book} {row.name}")
        bug = random.random()
        status = row.name if bug < 0.05 else self.later(book["status"], row.name)
        book["status"] = random.choice(STATUSES) if 0.05 < bug < 0.08 else status
        book["credits"] += row.name == "verified" and (not book["credits"] or random.random() < 0.1)


def in_memory(books: Books) -> SnapshotOptions:
    def snapshot() -> object:
        return copy.deepcopy((books.kept, books.seen))

    def restore(saved: Any) -> None:
        kept, seen = copy.deepcopy(saved)
        books.reset()
        books.kept.update(kept)
        books.seen.update(seen)

    return {"snapshot": snapshot, "restore": restore}


# What each playing takes over from the one before.


class KeepsCredits(NeverDedupes):
    """Give a credit for each callback, and let `reset` forget the table of the credits."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0
        self.credits: dict[str, int] = {}

    def send(self, message: Message) -> None:
        self.rows += 1
        self.kept[message.id] = {"row": self.rows, "status": None}
        self.credits.setdefault(message.id, 0)

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        book["status"] = self.later(book["status"], row.name)
        self.credits[row.message_id] = self.credits.get(row.message_id, 0) + 1

    def look(self, message_id: str) -> dict[str, Any] | None:
        book = self.kept.get(message_id)
        return None if book is None else {**book, "credits": self.credits.get(message_id, 0)}

    def prepared(self, **options: Any) -> Receiver:
        return Receiver.wsgi(self, observe=self.look, reset=self.kept.clear, prepare=self.send, **options)
