"""T1: how much real time the vendor's whole ladder of retries takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from benchmarks import subject
from benchmarks.row import Row
from benchmarks.timing import Effort, interleaved, microseconds
from engagelab_mock import EngageLab, Journal, Receiver, RetryPolicy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def measure(effort: Effort) -> Iterator[Row]:
    """Send to an app that never acknowledges, with and without retries, until the delivery is given up."""
    receiver = Receiver.wsgi(_refusing, subject.PATH, username=subject.USERNAME, secret=subject.SECRET)
    journal = Journal()
    engagelab = EngageLab(receiver, journal=journal)
    ladder = RetryPolicy.vendor()
    taken = interleaved(
        effort,
        {
            "once": lambda: engagelab.send("+6591234567", scenario=["plan"], check=False),
            "ladder": lambda: engagelab.send("+6591234567", scenario=["plan"], check=False, retry=ladder),
        },
        between=journal.clear,
    )
    attempts = len(ladder.waits) + 1
    yield Row(
        goal="T1",
        what=f"the vendor's policy to its end, {attempts} attempts over {sum(ladder.waits) / 86400:.0f} virtual days",
        value=taken["ladder"] * 1e3,
        budget=100,
        unit="ms",
        context={"attempts": float(attempts), "ladder / once": taken["ladder"] / taken["once"]} | microseconds(taken),
    )


def _refusing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [])
    return [b""]
