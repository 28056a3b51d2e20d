"""Receivers that refuse a copy while they are busy, answer slowly, or work after the answer."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any, ClassVar

from tests.checks.receivers.correct import Refused
from tests.truth.receivers.in_memory import AppendOnlyLog, LastWins, OneStatus, PlainStatus


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
