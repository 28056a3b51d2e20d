"""M1: how much memory a delivery keeps, and how much a journal with a limit grows."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

from benchmarks import subject
from benchmarks.row import Row
from benchmarks.timing import Effort
from engagelab_mock import EngageLab, Journal, Receiver

#: How many entries the journal with a limit keeps.
_LIMIT = 1000


def measure(effort: Effort) -> Iterator[Row]:
    """Send the same number of callbacks with and without a limit; measure the memory in use halfway and at the end."""
    halfway, end = _weigh(effort.deliveries, None)
    kept = (end - halfway) / (effort.deliveries / 2)
    bounded_halfway, bounded_end = _weigh(effort.deliveries, _LIMIT)
    context = {
        "deliveries": float(effort.deliveries),
        "unlimited_end_bytes": float(end),
        "limited_halfway_bytes": float(bounded_halfway),
        "limited_end_bytes": float(bounded_end),
        "limit": float(_LIMIT),
    }
    yield Row(
        goal="M1",
        what="memory that one delivery keeps in the journal: body, headers, event, attempt, response",
        value=kept,
        budget=2500,
        unit="bytes",
        context=context,
    )
    yield Row(
        goal="M1",
        what=f"growth per delivery over the second half, Journal(limit={_LIMIT})",
        value=max(0.0, (bounded_end - bounded_halfway) / (effort.deliveries / 2)),
        budget=1,
        unit="bytes",
        context=context,
    )


def _weigh(deliveries: int, limit: int | None) -> tuple[int, int]:
    """Return the bytes allocated after half the deliveries and after all, over those before the first."""
    receiver = Receiver.wsgi(subject.wsgi_app, subject.PATH, username=subject.USERNAME, secret=subject.SECRET)
    with EngageLab(receiver, journal=Journal(limit=limit), code_ttl=None) as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        weights = []
        tracemalloc.start()
        try:
            before = _allocated()
            for _ in range(2):
                # Each send has three callbacks.
                for _ in range(deliveries // 6):
                    engagelab.send("+6591234567", scenario="delivered")
                weights.append(_allocated() - before)
        finally:
            tracemalloc.stop()
    return weights[0], weights[1]


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
