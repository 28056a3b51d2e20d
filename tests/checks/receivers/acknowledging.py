"""Mutants that acknowledge wrongly."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.checks.receivers import downstream
from tests.checks.receivers.correct import PATH, CorrectReceiver, Incoming, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store

#: How long a receiver may take where the test is about its taking too long, in seconds.
LIMIT = 0.3

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
        time.sleep(LIMIT * 1.2)
        return super().acknowledge()


class WorksThemOffOneByOne(CorrectReceiver):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._lock = threading.Lock()
        self._waiting = 0

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self._waiting += 1
        # Alone it is as quick as any other. One long work stands for a queue of many, however slowly that fills.
        crowded = self._waiting == 3
        try:
            with self._lock:
                time.sleep(LIMIT * 2 if crowded else 0.01)
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


MUTANTS = [
    Mutant("A01", TakesAnEmptyBodyForForged),
    Mutant("A02", KnowsTheOlderPingAlone),
    Mutant("A03", KnowsUnsignedPingsAlone),
    Mutant("A04", WantsACsrfToken),
    Mutant("A05", WorksBeforeItAnswers, options={"limit": LIMIT}, slow=True),
    # Eight copies at once may be a crowd, too.
    Mutant("A06", WorksThemOffOneByOne, not_asked=("C02",), options={"limit": 0.5}, over=("http",), slow=True),
    Mutant("A07", WaitsForTheMailServer, options={"limit": 0.5}),
    # It answers everything in this way, so nothing is acknowledged.
    Mutant("A08", LivesAtTheAddressWithASlash, also=("A01", "A02", "A04")),
    Mutant("A09", TakesEveryMethod),
    # Over a socket half an answer is none.
    Mutant("A10", CountsItsBytesByHand, also_over_a_socket=("A04",)),
]
