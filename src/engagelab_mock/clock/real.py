"""Real seconds, whatever the date is said to be."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable


def _unpatched() -> Callable[[], float]:
    # Libraries that freeze or move time replace `time.monotonic` and `time.perf_counter` wherever they find them.
    if sys.platform == "win32":
        return functools.partial(time.perf_counter)
    return functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)


#: Seconds that pass, from no particular moment: an attempt's limit is about real ones, whatever the date is said to be.
stopwatch: Callable[[], float] = _unpatched()
