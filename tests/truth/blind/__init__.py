"""Cases in which nothing can be judged, or the visible state misleads: none of them may be green.

Each is a function that runs one judge, and the error that must come of it. The page `docs/explanation/truth.md` lists
them; `python docs/tables` writes it.
"""

from __future__ import annotations

from tests.truth.blind import failing_probe, misleading, no_effect, nothing_to_judge, unheard, wrong_meaning

CASES = [
    *no_effect.blind,
    *wrong_meaning.blind,
    *nothing_to_judge.blind,
    *misleading.blind,
    *failing_probe.blind,
    *unheard.blind,
]
