"""Every mutant of the correct receiver."""

from __future__ import annotations

from tests.checks.receivers import (
    acknowledging,
    duplicating,
    meaning,
    ordering,
    reading,
    unknown_messages,
    verifying,
    wired,
)

MUTANTS = [
    *acknowledging.MUTANTS,
    *verifying.MUTANTS,
    *duplicating.MUTANTS,
    *ordering.MUTANTS,
    *unknown_messages.MUTANTS,
    *reading.MUTANTS,
    *wired.MUTANTS,
    *meaning.MUTANTS,
]
