"""Every mutant of the correct receiver, by the check that each is made for."""

from __future__ import annotations

from tests.checks.receivers import acknowledging, reading, verifying

MUTANTS = [*acknowledging.MUTANTS, *verifying.MUTANTS, *reading.MUTANTS]
