"""A downstream service of receivers, such as a mail server, and a way to slow it down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_stalled = 0.0


def call() -> None:
    """Call the service. This takes as long as `stall` says."""
    time.sleep(_stalled)


def is_stalled() -> bool:
    return _stalled > 0


@contextmanager
def stall(seconds: float) -> Iterator[None]:
    """Make every call take so many seconds while the context is open."""
    global _stalled
    _stalled = seconds
    try:
        yield
    finally:
        _stalled = 0.0
