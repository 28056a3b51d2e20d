"""Mutants that verify wrongly."""

from __future__ import annotations

from tests.checks.receivers.correct import CorrectReceiver
from tests.checks.receivers.mutant import Mutant


class ComparesNothing(CorrectReceiver):
    def check_digest(self, parts: dict[str, str]) -> None:
        pass


MUTANTS = [
    Mutant("B02", ComparesNothing),
]
