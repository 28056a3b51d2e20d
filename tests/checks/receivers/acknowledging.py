"""Mutants that acknowledge wrongly."""

from __future__ import annotations

from tests.checks.receivers.correct import CorrectReceiver, Incoming
from tests.checks.receivers.mutant import Mutant


class TakesAnEmptyBodyForForged(CorrectReceiver):
    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return body == b"{}" or (not body and bool(incoming.signatures))


class KnowsTheOlderPingAlone(CorrectReceiver):
    def is_ping(self, incoming: Incoming, body: bytes) -> bool:
        return not body


MUTANTS = [
    Mutant("A01", TakesAnEmptyBodyForForged),
    Mutant("A02", KnowsTheOlderPingAlone),
]
