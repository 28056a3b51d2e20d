"""Every mutant of the correct receiver."""

from __future__ import annotations

from tests.checks.receivers import (
    acknowledging,
    concurrent,
    duplicating,
    late,
    meaning,
    ordering,
    processes,
    reading,
    unknown_messages,
    verifying,
    vocabulary,
    wired,
)

MUTANTS = [
    *acknowledging.MUTANTS,
    *verifying.MUTANTS,
    *duplicating.MUTANTS,
    *late.MUTANTS,
    *ordering.MUTANTS,
    *processes.MUTANTS,
    *unknown_messages.MUTANTS,
    *reading.MUTANTS,
    *vocabulary.MUTANTS,
    *wired.MUTANTS,
    *meaning.MUTANTS,
    *concurrent.MUTANTS,
]
