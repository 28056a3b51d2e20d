"""Percentiles of times, from a histogram of constant size: it does not grow with the number of deliveries."""

from __future__ import annotations

from typing import Any

from hdrh.histogram import HdrHistogram

from engagelab_mock.load.summary import Latency

#: The unit of the histogram, and its greatest value, in seconds.
_UNIT, _GREATEST = 1e-6, 3600.0


class Histogram:
    """Record times, and return their percentiles, to `digits` significant digits.

    >>> histogram = Histogram()
    >>> for milliseconds in range(1, 101):
    ...     histogram.record(milliseconds / 1000)
    >>> round(histogram.latency.p50, 3), round(histogram.latency.p99, 3), histogram.latency.maximum
    (0.05, 0.099, 0.1)

    An engine such as Locust, which keeps two digits, reads any time from 2.95 to 3.05 s as 3 s.
    """

    def __init__(self, digits: int = 3) -> None:
        self._histogram: Any = HdrHistogram(1, int(_GREATEST / _UNIT), digits)
        self._maximum = 0.0
        self.count = 0

    def record(self, seconds: float) -> None:
        """Record a time."""
        self.count += 1
        self._maximum = max(self._maximum, seconds)
        self._histogram.record_value(int(min(max(seconds, _UNIT), _GREATEST) / _UNIT))

    @property
    def latency(self) -> Latency:
        """Return the percentiles so far."""
        if not self.count:
            return Latency()
        found = [self._histogram.get_value_at_percentile(percent) * _UNIT for percent in (50, 90, 99, 99.9)]
        p50, p90, p99, p999 = [round(min(seconds, self._maximum), 6) for seconds in found]
        return Latency(self.count, p50, p90, p99, p999, round(self._maximum, 6))
