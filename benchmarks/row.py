"""One measured ratio and its budget."""

from __future__ import annotations

from typing import Literal

import msgspec

Sense = Literal["at most", "at least"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a measured value, in `unit`, and its budget; `context` holds the figures that the value was computed from.

    >>> Row(goal="G4", what="a signed callback / the bare call", value=50.0, budget=45.0).verdict
    'misses by 5 x'
    >>> Row(goal="G2", what="ours / a peer's", budget=1.0, missing="the peer is not installed").verdict
    'not measured: the peer is not installed'
    """

    goal: str
    what: str
    #: None if it could not be measured.
    value: float | None = None
    budget: float
    sense: Sense = "at most"
    #: "x" for a ratio, "%" for an addition, "ms" or "s" if the budget itself is a time, "callbacks" or "runs" if it is
    #: their number.
    unit: str = "x"
    context: dict[str, float] = {}
    #: Why it could not be measured.
    missing: str = ""

    @property
    def meets(self) -> bool:
        """Tell whether the budget is met; a value that is not there meets nothing."""
        if self.value is None:
            return False
        return self.value <= self.budget if self.sense == "at most" else self.value >= self.budget

    @property
    def verdict(self) -> str:
        """Say whether the budget is met, and else by how much it is missed."""
        if self.value is None:
            return f"not measured: {self.missing}"
        return "meets" if self.meets else f"misses by {abs(self.value - self.budget):.2g} {self.unit}"
