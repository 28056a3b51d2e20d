"""Handlers behind a server that wait for each other, so that a race over HTTP fails in each round, and not by luck."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engagelab_mock.explore import handlers
from tests.patience import PATIENCE


class Meeting:
    """Know how many requests are sent at the same time, and let each handler wait until so many are here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.expected = 1
        self._here = 0
        self._changed = threading.Condition()
        deliver: Any = vars(handlers)["deliver_in_parallel"]

        async def deliver_in_parallel(io: Any, sender: Any, deliveries: Any, starts: Any) -> Any:
            self.expected, self._here = len(deliveries), 0
            try:
                return await deliver(io, sender, deliveries, starts)
            finally:
                self.expected = 1

        monkeypatch.setattr(handlers, "deliver_in_parallel", deliver_in_parallel)

    def wait(self) -> None:
        """Wait for the other handlers."""
        with self._changed:
            self._here += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._here >= self.expected, PATIENCE)
