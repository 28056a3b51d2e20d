"""A small receiver, correct or with one bug, that keeps its state in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engagelab_mock import Receiver, StatusEvent, decode
from engagelab_mock.protocol.status import PROGRESS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


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
