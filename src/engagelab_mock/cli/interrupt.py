"""End in good order on SIGTERM, as Python does on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """Be raised by SIGTERM wherever the main thread is; what handles Ctrl-C handles this.

    >>> issubclass(Terminated, KeyboardInterrupt)
    True
    """


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` while the block lasts."""
    if threading.current_thread() is not threading.main_thread():
        # Signal handlers belong to the main thread; a program that runs a command elsewhere keeps its own.
        yield
        return
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
