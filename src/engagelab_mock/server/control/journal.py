"""/_mock/journal: everything that happened, one JSON object a line, and what happens from now on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, cast

import msgspec

from engagelab_mock.delivery.journal import Filters, Journal, check_filters, fits
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.record import attempt_record, records
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.control.call import Call, number, refused, text
from engagelab_mock.server.exchange import HttpAnswer

LINES = ("Content-Type", "application/x-ndjson")
#: The longest that one request can follow, in seconds.
LONGEST = 86_400.0
#: How often something is sent while nothing happens, in seconds: a line that is empty, or nobody would notice that
#: the client has gone.
_HEARTBEAT = 1.0
_Line = tuple[Delivery, Attempt]


def read_journal(call: Call) -> HttpAnswer:
    """Answer with what happened, and, to `follow`, with what happens within that many seconds."""
    given = call.parameters(
        status=text, kind=text, to=text, message_id=text, outcome=text, limit=_count, follow=_duration
    )
    limit = cast("int | None", given.pop("limit", None))
    follow = cast("float | None", given.pop("follow", None))
    filters = cast("Filters", given)
    call.engagelab.work_off()
    journal = call.engagelab.journal_as_it_is
    try:
        check_filters(filters, journal.statuses)
    except EngageLabMockError as error:
        raise refused(error) from None
    if follow is None:
        return HttpAnswer(200, b"".join(map(_line, _past(journal, filters)[-(limit or 0) :])), (LINES,))
    following = _Following(journal, filters, call.app.forget)
    call.app.on_close(following.end)
    return HttpAnswer(200, following.lines(limit, follow), (LINES,))


class _Following:
    """Listen to the journal for as long as somebody reads."""

    def __init__(self, journal: Journal, filters: Filters, over: Callable[[Callable[[], None]], object]) -> None:
        self._journal = journal
        self._filters = filters
        self._over = over
        self._news: SimpleQueue[_Line | None] = SimpleQueue()

    def end(self) -> None:
        """Send no more."""
        self._news.put(None)

    def lines(self, limit: int | None, seconds: float) -> Iterator[bytes]:
        """Yield what was, and then what comes."""

        def listener(delivery: Delivery, attempt: Attempt) -> None:
            self._news.put((delivery, attempt))

        deadline = monotonic() + seconds
        self._journal.listeners.append(listener)
        try:
            seen, past = self._past()
            yield b"".join(map(_line, past[-(limit or 0) :])) or b"\n"
            while (left := deadline - monotonic()) > 0:
                try:
                    news = self._news.get(timeout=min(left, _HEARTBEAT))
                except Empty:
                    yield b"\n"
                    continue
                if news is None:
                    return
                if id(news[1]) not in seen and fits(news[0], self._filters):
                    yield _line(attempt_record(*news))
        finally:
            self._journal.listeners.remove(listener)
            self._over(self.end)

    def _past(self) -> tuple[set[int], list[dict[str, Any]]]:
        """Return what has its outcome, and which attempts those are: their news may be on its way."""
        seen: set[int] = set()
        past: list[dict[str, Any]] = []
        for entry in self._journal:
            if not isinstance(entry, Delivery):
                past.extend([] if self._filters else records(entry))
            elif fits(entry, self._filters):
                done = [attempt for attempt in tuple(entry.attempts) if attempt.outcome is not Outcome.PENDING]
                seen.update(map(id, done))
                past.extend(attempt_record(entry, attempt) for attempt in done)
        return seen, past


def _past(journal: Journal, filters: Filters) -> list[dict[str, Any]]:
    entries = (entry for entry in journal if not filters or (isinstance(entry, Delivery) and fits(entry, filters)))
    return [record for entry in entries for record in records(entry)]


def _line(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _count(name: str, value: str) -> int:
    return int(number(name, value, least=1, most=1_000_000))


def _duration(name: str, value: str) -> float:
    # `?follow` alone is for as long as somebody reads.
    return LONGEST if value in {"", "true"} else _seconds(name, value)


_seconds = partial(number, most=LONGEST)
