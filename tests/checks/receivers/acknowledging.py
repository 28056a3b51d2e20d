"""Mutants that acknowledge wrongly."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from tests.checks.receivers import downstream
from tests.checks.receivers.correct import PATH, CorrectReceiver, Incoming, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store

#: The time limit in tests of receivers that take too long, in seconds: a busy machine answers within it otherwise.
LIMIT = 1.5

Answer = tuple[int, str, dict[str, str]]


class TakesAnEmptyBodyForForged(CorrectReceiver):
    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return body == b"{}" or (not body and bool(incoming.signatures))


class KnowsTheOlderPingAlone(CorrectReceiver):
    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return not body


class KnowsUnsignedPingsAlone(CorrectReceiver):
    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return super().is_ping(incoming, body) and not incoming.signatures


class WantsACsrfToken(CorrectReceiver):
    def verify(self, signatures: list[str]) -> str:
        raise Refused(403)


class WorksBeforeItAnswers(CorrectReceiver):
    def acknowledge(self) -> Answer:
        time.sleep(LIMIT * 1.1)
        return super().acknowledge()


class WorksThemOffOneByOne(CorrectReceiver):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._lock = threading.Lock()
        self._waiting = 0

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._waiting += 1
        # A single callback is handled quickly. The long work for one of three stands for a long queue.
        crowded = self._waiting == 3
        try:
            with self._lock:
                time.sleep(LIMIT * 1.1 if crowded else 0.01)
                super().commit(nonce, body, envelope)
        finally:
            self._waiting -= 1


class WaitsForTheMailServer(CorrectReceiver):
    def acknowledge(self) -> Answer:
        downstream.call()
        return super().acknowledge()


class LivesAtTheAddressWithASlash(CorrectReceiver):
    def handle(self, incoming: Incoming) -> Answer:
        return 308, "", {"Location": f"{PATH}/"}


class TakesEveryMethod(CorrectReceiver):
    def handle(self, incoming: Incoming) -> Answer:
        incoming.method = "POST"
        return super().handle(incoming)


class CountsItsBytesByHand(CorrectReceiver):
    def acknowledge(self) -> Answer:
        return 200, "ok", {"Content-Length": "20"}


class KeepsConnectionsOfRefusedCallbacks(CorrectReceiver):
    """Give a connection back only when a callback is accepted; the pool has 15."""

    pool: ClassVar[int] = 15

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._taken = 0

    def handle(self, incoming: Incoming) -> Answer:
        if self._taken >= self.pool:
            # The pool waits, gives up, and is made again.
            self._taken = 0
            raise TimeoutError("QueuePool limit of size 5 overflow 10 reached")
        self._taken += 1
        answer = super().handle(incoming)
        self._taken = 0
        return answer


class HasALargerPool(KeepsConnectionsOfRefusedCallbacks):
    """Use all connections for refused callbacks, so that the valid one after them gets none."""

    pool = 20


MUTANTS = [
    Mutant("A01", TakesAnEmptyBodyForForged),
    Mutant("A02", KnowsTheOlderPingAlone),
    Mutant("A03", KnowsUnsignedPingsAlone),
    Mutant("A04", WantsACsrfToken),
    Mutant("A05", WorksBeforeItAnswers, options={"limit": LIMIT}, slow=True),
    # The eight copies of C02 and C17 may also be three at once.
    Mutant("A06", WorksThemOffOneByOne, not_asked=("C02", "C17"), options={"limit": LIMIT}, over=("http",), slow=True),
    Mutant("A07", WaitsForTheMailServer, options={"limit": LIMIT}),
    # It answers every request in this way, so nothing is acknowledged.
    Mutant("A08", LivesAtTheAddressWithASlash, also=("A01", "A02", "A04")),
    Mutant("A09", TakesEveryMethod),
    # Half an answer is not an answer.
    Mutant("A10", CountsItsBytesByHand, also=("A04",)),
    # It also refuses many forged signatures in a row.
    Mutant("A11", KeepsConnectionsOfRefusedCallbacks, also=("B05",)),
    Mutant("A11", HasALargerPool, also=("B05",)),
]
