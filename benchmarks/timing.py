"""Time several things in turn, so that a change of the machine's speed affects all of them alike."""

from __future__ import annotations

import gc
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import msgspec


class Effort(msgspec.Struct, frozen=True):
    """Say how often each thing is measured; more rounds make the ratios steadier."""

    #: Rounds of a loop of calls, and calls in a loop.
    rounds: int
    calls: int
    #: Pytest sessions, and tests of each kind in one of them.
    sessions: int
    tests: int
    #: Fresh processes.
    processes: int
    #: Rounds over HTTP, and the seconds that each client has in one of them.
    http_rounds: int
    seconds: float
    #: Whether to count instructions, which takes valgrind about fifty times as long as the run itself.
    instructions: bool
    #: Callbacks sent while memory is measured, which makes each about five times as slow.
    deliveries: int
    #: Seconds of load on each server, and on ours alone while its memory is measured.
    crowd_seconds: float = 4.0
    endurance_seconds: float = 30.0


FULL = Effort(
    rounds=60,
    calls=200,
    sessions=7,
    tests=300,
    processes=11,
    http_rounds=5,
    seconds=0.7,
    instructions=True,
    deliveries=20_000,
)
QUICK = Effort(
    rounds=5,
    calls=50,
    sessions=2,
    tests=60,
    processes=3,
    http_rounds=2,
    seconds=0.2,
    instructions=False,
    deliveries=6_000,
    crowd_seconds=1.0,
    endurance_seconds=6.0,
)


def interleaved(
    effort: Effort, calls: Mapping[str, Callable[[], object]], *, between: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """Return the seconds that each call takes in its best round; `between` is called after each loop of calls.

    Other work on the machine makes a loop longer, never shorter, so the shortest is the one that repeats.
    """
    best = dict.fromkeys(calls, math.inf)
    with collector_off():
        for call in calls.values():
            call()
        for _ in range(effort.rounds):
            for name, call in calls.items():
                started = perf_counter()
                for _ in range(effort.calls):
                    call()
                best[name] = min(best[name], (perf_counter() - started) / effort.calls)
                between()
    return best


async def ainterleaved(effort: Effort, calls: Mapping[str, Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """Do what `interleaved` does, in the running event loop."""
    best = dict.fromkeys(calls, math.inf)
    with collector_off():
        for call in calls.values():
            await call()
        for _ in range(effort.rounds):
            for name, call in calls.items():
                started = perf_counter()
                for _ in range(effort.calls):
                    await call()
                best[name] = min(best[name], (perf_counter() - started) / effort.calls)
    return best


def microseconds(taken: Mapping[str, float]) -> dict[str, float]:
    """Return each in microseconds, named for a row's context."""
    return {f"{name}_us": seconds * 1e6 for name, seconds in taken.items()}


@contextmanager
def collector_off() -> Iterator[None]:
    """Turn the garbage collector off inside the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
