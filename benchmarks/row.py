"""One measured ratio beside its budget."""

from __future__ import annotations

from typing import Literal

import msgspec

Sense = Literal["at most", "at least"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what was measured, in `unit`, and what it may be; `context` holds what the value was computed from.

    >>> Row(goal="G4", what="a signed callback / the bare call", value=50.0, budget=45.0).verdict
    'misses by 5 x'
    """

    goal: str
    what: str
    value: float
    budget: float
    sense: Sense = "at most"
    #: "x" for a ratio, "%" for what comes on top, "ms" where the budget itself is a time.
    unit: str = "x"
    context: dict[str, float] = {}

    @property
    def meets(self) -> bool:
        return self.value <= self.budget if self.sense == "at most" else self.value >= self.budget

    @property
    def verdict(self) -> str:
        """Say whether the budget is met, and else by how much it is missed."""
        return "meets" if self.meets else f"misses by {abs(self.value - self.budget):.2g} {self.unit}"
