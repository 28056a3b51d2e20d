"""How threads and tasks wait: those that a change concerns wake up, and no others."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock.clock.condition import Condition
from tests.patience import PATIENCE

#: None stands for all objects.
OBJECTS = [None, "a", "b", "c"]
#: How many threads or tasks wait for changes of each.
WAITERS = 3


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Look:
    """Be ready once `done` is set, and count the looks; the lock is held, so the caller waits after the first one."""

    def __init__(self) -> None:
        self.done = False
        self.number = 0
        self.first = threading.Event()

    def __call__(self) -> bool:
        self.number += 1
        self.first.set()
        return self.done


def change(condition: Condition, *objects: str | None) -> None:
    for each in objects:
        with condition.lock:
            condition.notify(each)


def test_a_thread_sleeps_on_when_other_objects_change() -> None:
    condition, look = Condition(), Look()
    with ThreadPoolExecutor() as threads, condition.narrow("a") as narrow:
        waiting = threads.submit(narrow.wait_for, look, PATIENCE)
        assert look.first.wait(PATIENCE)
        change(condition, "b", "c", "b")
        look.done = True
        change(condition, "a")
        assert waiting.result(PATIENCE)
    assert look.number == 2


@pytest.mark.anyio
async def test_a_task_sleeps_on_when_other_objects_change() -> None:
    condition, look = Condition(), Look()

    async def notify() -> None:
        change(condition, "b", "c", "b")
        look.done = True
        change(condition, "a")

    with condition.narrow("a") as narrow:
        async with anyio.create_task_group() as group:
            group.start_soon(notify)  # it begins when this task first waits
            assert await narrow.await_for(look, PATIENCE)
    assert look.number == 2


@pytest.mark.parametrize("waits_for", OBJECTS)
@pytest.mark.parametrize("changed", OBJECTS)
def test_a_change_counts_for_those_that_it_concerns(waits_for: str | None, changed: str | None) -> None:
    condition = Condition()
    with condition.narrow("c"), condition.narrow(waits_for) if waits_for else nullcontext(condition) as waited:
        change(condition, changed)
        assert waited.changes == (changed is None or waits_for in {None, changed})


def test_a_wait_without_a_change_ends_at_its_timeout() -> None:
    with Condition().narrow("a") as narrow:
        assert not narrow.wait_for(lambda: False, 0.001)


def test_a_change_after_the_end_of_a_wait_concerns_the_others_alone() -> None:
    condition = Condition()
    with condition.narrow("a") as first:
        with condition.narrow("a") as second:
            change(condition, "a")
        change(condition, "a", None)
    change(condition, "a", None)
    assert (first.changes, second.changes, condition.changes) == (3, 1, 5)


class Counts:
    """Count the changes of each object, and wait for numbers of them as the engine does."""

    def __init__(self, changes: list[str | None]) -> None:
        self.condition = Condition()
        self.done: Counter[str | None] = Counter()
        self.expected = Counter(changes)

    def change(self, *objects: str | None) -> None:
        for each in objects:
            with self.condition.lock:
                self.done[each] += 1
                self.condition.notify(each)

    def _reached(self, each: str | None) -> bool:
        wanted = self.expected if each is None else {None: self.expected[None], each: self.expected[each]}
        return all(self.done[other] >= number for other, number in wanted.items())

    def wait(self, each: str | None) -> bool:
        """Look without the lock, then wait for a change since; return False if none came in time."""
        narrowed = nullcontext(self.condition) if each is None else self.condition.narrow(each)
        with narrowed as condition:
            while True:
                seen = condition.changes
                if self._reached(each):
                    return True
                if not condition.wait_for(_changed(condition, seen), PATIENCE):
                    return False

    async def await_(self, each: str | None) -> None:
        narrowed = nullcontext(self.condition) if each is None else self.condition.narrow(each)
        with narrowed as condition:
            while True:
                seen = condition.changes
                if self._reached(each):
                    return
                assert await condition.await_for(_changed(condition, seen), PATIENCE)


def _changed(condition: Condition, seen: int) -> Callable[[], bool]:
    return lambda: condition.changes != seen


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.sampled_from(OBJECTS), max_size=30))
def test_no_thread_misses_the_last_change_that_concerns_it(changes: list[str | None]) -> None:
    counts = Counts(changes)
    with ThreadPoolExecutor(len(OBJECTS) * WAITERS + 2) as threads:
        waiting = [threads.submit(counts.wait, each) for each in OBJECTS * WAITERS]
        for half in (changes[::2], changes[1::2]):
            threads.submit(counts.change, *half)
        assert all(each.result() for each in waiting)


@pytest.mark.anyio
async def test_no_task_misses_the_last_change_that_concerns_it() -> None:
    draw = random.Random(17)
    counts = Counts(draw.choices(OBJECTS, k=200))
    changes = list(counts.expected.elements())
    draw.shuffle(changes)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for each in OBJECTS * WAITERS:
                group.start_soon(counts.await_, each)
            await anyio.to_thread.run_sync(counts.change, *changes)


def test_an_endless_wait_ends_with_a_change() -> None:
    condition, look = Condition(), Look()
    with ThreadPoolExecutor() as threads, condition.narrow("a") as narrow:
        waiting = threads.submit(narrow.wait_for, look, math.inf)
        assert look.first.wait(PATIENCE)
        look.done = True
        change(condition, None)
        assert waiting.result(PATIENCE)
