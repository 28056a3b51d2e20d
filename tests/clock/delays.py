"""Numbers that are not a delay."""

from __future__ import annotations

import math

#: None of these seconds can pass.
NO_DELAYS = [-1, -0.001, math.nan, math.inf, -math.inf]
