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

    Workers send their histograms as text, and the master adds them up:

    >>> total = Histogram()
    >>> total.add(Histogram.decode(histogram.encode()))
    >>> total.count, total.percentile(99) == histogram.percentile(99)
    (100, True)
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

    def add(self, other: Histogram) -> None:
        """Record the times of another histogram, which has the same digits."""
        self._histogram.add(other._histogram)
        self.count += other.count
        self._maximum = max(self._maximum, other._maximum)

    def encode(self) -> str:
        """Return the recorded times as a short text."""
        encoded: bytes = self._histogram.encode()
        return encoded.decode("ascii")

    @classmethod
    def decode(cls, encoded: str) -> Histogram:
        """Return the histogram of a text. Its greatest time has only its digits, as all others."""
        found = cls()
        found._histogram = HdrHistogram.decode(encoded)
        found.count = found._histogram.get_total_count()
        found._maximum = found._histogram.get_max_value() * _UNIT
        return found

    def percentile(self, percent: float) -> float:
        """Return the seconds within which so many percent of the times are; 0 without times."""
        if not self.count:
            return 0.0
        found: int = self._histogram.get_value_at_percentile(percent)
        return round(min(found * _UNIT, self._maximum), 6)

    @property
    def latency(self) -> Latency:
        """Return the percentiles so far."""
        if not self.count:
            return Latency()
        p50, p90, p99, p999 = map(self.percentile, (50, 90, 99, 99.9))
        return Latency(self.count, p50, p90, p99, p999, round(self._maximum, 6))
