"""The journal over HTTP: its lines, and a client that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from werkzeug import Response

from engagelab_mock.delivery.journal import Filters, Journal, check_filters, fits
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import attempt_record, records
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.server import schemas
from engagelab_mock.server.app import Call
from engagelab_mock.server.operations import answers

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp

_LINES = "application/x-ndjson"
#: How often a follower gets an empty line, in seconds: only writing shows that it has gone.
_HEARTBEAT = 1.0


@answers(
    "GET",
    "/_mock/journal",
    "Read the journal, and follow it",
    "JSON Lines; while nothing happens, an empty line each second.",
    content=schemas.Record,
    media_type=_LINES,
    query=schemas.JournalQuery,
)
def read_journal(call: Call) -> Response:
    """Read the journal, and follow it."""
    given = {name: value for name, value in msgspec.structs.asdict(call.query).items() if value is not UNSET}
    limit: int | None = given.pop("limit", None)
    follow: float | str | None = given.pop("follow", None)
    filters: Any = given
    call.engagelab._engine.outbox.settle_quietly()
    journal = call.engagelab._engine.journal
    try:
        check_filters(filters, journal.statuses)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    lines: bytes | Iterator[bytes]
    if follow is None:
        lines = b"".join(map(_line, _records_of(journal, filters)[-(limit or 0) :]))
    else:
        seconds = float(schemas.FOLLOW_LIMIT) if isinstance(follow, str) else follow
        lines = _Follower(call.app, journal, filters).lines(limit, seconds)
    return Response(lines, mimetype=_LINES)


class _Follower:
    """Listen to the journal while a client reads."""

    def __init__(self, app: ServerApp, journal: Journal, filters: Filters) -> None:
        self._app = app
        self._journal = journal
        self._filters = filters
        self._news: SimpleQueue[tuple[Delivery, Attempt] | None] = SimpleQueue()

    def end(self) -> None:
        """Send nothing more."""
        self._news.put(None)

    def lines(self, limit: int | None, seconds: float) -> Iterator[bytes]:
        """Yield the lines so far, and then each new one."""
        deadline = stopwatch() + seconds
        self._journal.listeners.append(self._heard)
        self._app.on_close(self.end)
        try:
            seen, past = self._past()
            yield b"".join(map(_line, past[-(limit or 0) :])) or b"\n"
            beat = stopwatch() + _HEARTBEAT
            while (now := stopwatch()) < deadline:
                line = b"\n"
                if now < beat:
                    try:
                        news = self._news.get(timeout=min(deadline, beat) - now)
                    except Empty:
                        continue
                    if news is None:
                        return
                    if news[1] in seen or not fits(news[0], self._filters):
                        continue
                    line = _line(attempt_record(*news))
                yield line
                beat = stopwatch() + _HEARTBEAT
        finally:
            self._journal.listeners.remove(self._heard)
            self._app.forget(self.end)

    def _heard(self, delivery: Delivery, attempt: Attempt) -> None:
        self._news.put((delivery, attempt))

    def _past(self) -> tuple[set[Attempt], list[dict[str, Any]]]:
        """Return the completed attempts, and the records of everything: the listener may still hear of the former."""
        # The attempts and not their ids: a journal with a limit frees attempts, and ids of those come again.
        seen: set[Attempt] = set()
        past: list[dict[str, Any]] = []
        for entry in self._journal:
            if not isinstance(entry, Delivery):
                past.extend([] if self._filters else records(entry))
            elif fits(entry, self._filters):
                done = [attempt for attempt in tuple(entry.attempts) if attempt.outcome is not Outcome.PENDING]
                seen.update(done)
                past.extend(attempt_record(entry, attempt) for attempt in done)
        return seen, past


def _records_of(journal: Journal, filters: Filters) -> list[dict[str, Any]]:
    entries = (entry for entry in journal if not filters or (isinstance(entry, Delivery) and fits(entry, filters)))
    return [record for entry in entries for record in records(entry)]


def _line(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record) + b"\n"
