"""Time travel: `set_time` for an app in this process, with time-machine or freezegun."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

from engagelab_mock.errors import UsageError


def time_machine_clock() -> Callable[[float | None], None]:
    """Return a `set_time` that moves Python's clock with time-machine. The clock runs on from the time that is set.

    It moves the clock of this process only: `time.time()`, `datetime.now()` and all that use them, in every thread.
    `time.monotonic()` and the timers of event loops stay real. Raises `UsageError` without time-machine 3 or newer: an
    older one moves these timers, too.

    >>> import time
    >>> set_time = time_machine_clock()
    >>> set_time(1_700_000_000.0)
    >>> int(time.time())
    1700000000
    >>> set_time(None)
    >>> time.time() > 1_750_000_000
    True
    """
    library = _library("time_machine", "time-machine", 3, 0)
    return _Travels(float, lambda now: library.travel(now, tick=True))


def freezegun_clock() -> Callable[[float | None], None]:
    """Return a `set_time` that moves Python's clock with freezegun. The clock runs on from the time that is set.

    It moves the clock of this process only. The timers of asyncio stay real, those of trio do not: use time-machine
    with trio. freezegun leaves the real time to code that `threading`, `queue` or another module of its `ignore` list
    calls. Raises `UsageError` without freezegun 1.5 or newer.

    >>> import time
    >>> set_time = freezegun_clock()
    >>> set_time(1_700_000_000.0)
    >>> int(time.time())
    1700000000
    >>> set_time(None)
    >>> time.time() > 1_750_000_000
    True
    """
    library = _library("freezegun", "freezegun", 1, 5)
    return _Travels(
        lambda now: datetime.fromtimestamp(now, UTC),
        lambda moment: library.freeze_time(moment, tick=True, real_asyncio=True),
    )


class _Travels:
    """Start a travel at the first time that is set, move it to the next ones, and stop it at the end."""

    def __init__(self, moment: Callable[[float], Any], travel: Callable[[Any], Any]) -> None:
        self._moment = moment
        self._travel = travel
        self._under_way: Any = None
        self._traveller: Any = None

    def __call__(self, now: float | None) -> None:
        if now is None:
            under_way, self._under_way = self._under_way, None
            if under_way is not None:
                under_way.stop()
        elif self._under_way is None:
            self._under_way = self._travel(self._moment(now))
            self._traveller = self._under_way.start()
        else:
            self._traveller.move_to(self._moment(now))


def _library(module: str, package: str, *oldest: int) -> ModuleType:
    """Import a library, or raise `UsageError` with the package to install."""
    wanted = ".".join(map(str, oldest))
    where, hint = f"{module}_clock", f"python -m pip install '{package}>={wanted}'"
    try:
        library = import_module(module)
    except ImportError:
        raise UsageError(f"{package} is not installed", where=where, hint=hint) from None
    installed = metadata.version(package)
    if tuple(map(int, installed.split(".")[: len(oldest)])) < oldest:
        raise UsageError(f"{package} {installed} is too old", where=where, hint=hint)
    return library
