"""Every mutant of the correct receiver, by the check that each is made for."""

from __future__ import annotations

from tests.checks.receivers import acknowledging, duplicating, estranged, ordering, reading, verifying, wired

MUTANTS = [
    *acknowledging.MUTANTS,
    *verifying.MUTANTS,
    *duplicating.MUTANTS,
    *ordering.MUTANTS,
    *estranged.MUTANTS,
    *reading.MUTANTS,
    *wired.MUTANTS,
]
