"""A receiver that works after its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.checks.receivers.correct import CorrectReceiver
from tests.checks.receivers.store import Store


class WorksAfterwards:
    """Acknowledge at once, and apply the callback later in a thread, like a job queue."""

    def __init__(self, store: Store, kind: type[CorrectReceiver], delay: float) -> None:
        self.threads: list[threading.Thread] = []
        later = self._later

        class Receiving(kind):  # type: ignore[misc,valid-type]
            def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
                later(lambda: kind.commit(self, nonce, body, envelope), delay)

        self.receiver = Receiving(store)

    def _later(self, work: Callable[[], object], delay: float) -> None:
        def run() -> None:
            threading.Event().wait(delay)
            work()

        thread = threading.Thread(target=run)
        self.threads.append(thread)
        thread.start()
