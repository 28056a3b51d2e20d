"""The statistics of callbacks in Locust: percentiles from our histogram, which the master merges from all workers.

Locust rounds a response time to two digits, and counts how often each occurs. The entries of callbacks keep a histogram
in addition, and answer from it; so does the row "Aggregated", over all requests. Entries of other users stay Locust's.
The histograms travel in the reports that Locust's workers send to its master.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from locust.env import Environment
from locust.runners import MasterRunner
from locust.stats import CURRENT_RESPONSE_TIME_PERCENTILE_WINDOW, RequestStats, StatsEntry, StatsEntryDict

from engagelab_mock.load.histogram import Histogram

#: The name of the histogram in the report of a worker.
_FIELD = "engagelab_histogram"


class HistogramEntry(StatsEntry):
    """Count requests as Locust does, and return percentiles in milliseconds from a histogram.

    >>> entry = HistogramEntry(RequestStats(), "verified", "CALLBACK")
    >>> entry.log(2964.2, 0)
    >>> entry.get_response_time_percentile(0.99), entry.median_response_time
    (2964.2, 2964.2)

    Locust itself would answer 3000.
    """

    def reset(self) -> None:
        """Forget all requests."""
        super().reset()
        self._histogram = Histogram()
        #: The histograms of the last seconds, each with its second.
        self._recent: deque[tuple[int, Histogram]] = deque()

    def log(self, response_time: Any, content_length: int) -> None:
        """Count a request. Its time may be None, as everywhere in Locust."""
        super().log(response_time, content_length)
        if response_time is not None:
            for histogram in self._current():
                histogram.record(response_time / 1000)

    def add(self, encoded: str) -> None:
        """Add the histogram of a worker, whose requests Locust has counted."""
        for histogram in self._current():
            histogram.add(Histogram.decode(encoded))

    def serialize(self) -> StatsEntryDict:
        """Return what a worker reports of this entry."""
        return cast("StatsEntryDict", {**super().serialize(), _FIELD: self._histogram.encode()})

    def get_response_time_percentile(self, percent: float) -> Any:
        """Return the milliseconds within which a share of the requests was answered."""
        return self._milliseconds(self._histogram, percent)

    @property
    def median_response_time(self) -> Any:
        """Return the milliseconds within which half of the requests were answered."""
        return self.get_response_time_percentile(0.5)

    def get_current_response_time_percentile(self, percent: float) -> Any:
        """Return the percentile of about the last 10 seconds; None if they had no request."""
        oldest, recent = int(time.time()) - CURRENT_RESPONSE_TIME_PERCENTILE_WINDOW, Histogram()
        for second, histogram in self._recent:
            if second >= oldest:
                recent.add(histogram)
        return self._milliseconds(recent, percent) if recent.count else None

    def _current(self) -> Iterable[Histogram]:
        """Return the histograms that a request belongs to that is counted now."""
        if not self.use_response_times_cache:  # a worker shows nothing
            return (self._histogram,)
        now = int(time.time())
        if not self._recent or self._recent[-1][0] != now:
            self._recent.append((now, Histogram()))
        while self._recent[0][0] < now - CURRENT_RESPONSE_TIME_PERCENTILE_WINDOW:
            self._recent.popleft()
        return self._histogram, self._recent[-1][1]

    def _milliseconds(self, histogram: Histogram, percent: float) -> float:
        # Locust keeps the greatest time of all workers unrounded.
        return round(min(histogram.percentile(percent * 100) * 1000, self.max_response_time), 1)


def entry_of(stats: RequestStats, name: str, method: str) -> HistogramEntry:
    """Return the entry of callbacks with a name. If Locust made one before, it is replaced.

    >>> stats = RequestStats()
    >>> stats.log_request("CALLBACK", "verified", 2964, 0)
    >>> entry_of(stats, "verified", "CALLBACK").num_requests, len(stats.entries)
    (1, 1)
    """
    known = stats.entries.get((name, method))
    if not isinstance(known, HistogramEntry):
        known = stats.entries[name, method] = _replacement(known, stats, name, method)
    return known


def use_histograms(environment: Environment) -> None:
    """Let the row "Aggregated" of every test of an environment answer from a histogram, and merge those of workers."""
    stats = environment.stats

    def replace_total(**_: Any) -> None:
        if not isinstance(stats.total, HistogramEntry):
            stats.total = _replacement(stats.total, stats, stats.total.name, stats.total.method)

    def merge(data: dict[str, Any], **_: Any) -> None:
        # Locust's own listener was there first, and has added the counts.
        for report in data["stats"]:
            if _FIELD in report:
                entry_of(stats, report["name"], report["method"]).add(report[_FIELD])
        if isinstance(stats.total, HistogramEntry) and _FIELD in data["stats_total"]:
            stats.total.add(data["stats_total"][_FIELD])

    environment.events.test_start.add_listener(replace_total)
    if isinstance(environment.runner, MasterRunner):
        environment.events.worker_report.add_listener(merge)


def _replacement(known: StatsEntry | None, stats: RequestStats, name: str, method: str) -> HistogramEntry:
    entry = HistogramEntry(stats, name, method, stats.use_response_times_cache)
    if known is not None:
        entry.extend(known)
    return entry
