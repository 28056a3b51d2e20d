"""What receivers call downstream, such as a mail server, and a way to make it stall."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_stalled = 0.0


def call() -> None:
    """Take as long as it takes."""
    time.sleep(_stalled)


def is_stalled() -> bool:
    return _stalled > 0


@contextmanager
def stall(seconds: float) -> Iterator[None]:
    """Have every call take so long while the block lasts."""
    global _stalled
    _stalled = seconds
    try:
        yield
    finally:
        _stalled = 0.0
