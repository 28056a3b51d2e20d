"""Jobs of one key run in order, those of several at once, never more than said; no error ends an executor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from engagelab_mock.service.worker import KeyedExecutor as Executor
from tests.patience import PATIENCE

#: The name of an executor's threads, so that a test can count them.
NAME = "counted"


@pytest.fixture
def errors() -> list[BaseException]:
    return []


@pytest.fixture
def make(errors: list[BaseException]) -> Iterator[Callable[[int], Executor]]:
    made: list[Executor] = []

    def make(abreast: int) -> Executor:
        made.append(Executor(concurrency=abreast, on_error=errors.append, name=NAME))
        return made[-1]

    yield make
    for executor in made:
        assert executor.stop(grace=PATIENCE)


def threads() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


def await_idle(executor: Executor) -> None:
    """Wait until an executor has nothing left to do."""
    for _ in range(10_000):
        if not executor.busy:
            return
        threading.Event().wait(0.001)
    pytest.fail("stuck")


class Counted:
    """A job that waits until it may go on, and counts how many of its kind are under way."""

    def __init__(self) -> None:
        self.most = 0
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self._inside = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self.begun.release()
        assert self.go_on.acquire(timeout=PATIENCE)
        with self._lock:
            self._inside -= 1

    def await_begun(self, number: int) -> None:
        for _ in range(number):
            assert self.begun.acquire(timeout=PATIENCE)


def test_each_key_keeps_its_order(make: Callable[[int], Executor], errors: list[BaseException]) -> None:
    executor = make(4)
    done: dict[int, list[int]] = {key: [] for key in range(20)}
    over = threading.Semaphore(0)

    def work(key: int, number: int) -> None:
        done[key].append(number)
        over.release()

    for number in range(20):
        for key in done:
            executor.submit(key, partial(work, key, number))
    for _ in range(400):
        assert over.acquire(timeout=PATIENCE)
    assert (set(map(tuple, done.values())), errors) == ({tuple(range(20))}, [])


def test_two_jobs_of_one_key_are_never_under_way_at_once(make: Callable[[int], Executor]) -> None:
    executor, job = make(4), Counted()
    for _ in range(5):
        executor.submit("a", job)
    for _ in range(5):
        job.await_begun(1)
        job.go_on.release()
    assert job.most == 1


def test_as_many_keys_as_said_are_under_way_at_once(
    make: Callable[[int], Executor], errors: list[BaseException]
) -> None:
    executor = make(3)
    meeting = threading.Barrier(4)
    for key in "abcdef":
        executor.submit(key, partial(meeting.wait, PATIENCE))
    # Each of the first three waits for the others and for us; then so do the second three.
    meeting.wait(PATIENCE)
    meeting.wait(PATIENCE)
    assert errors == []


@pytest.mark.parametrize("bound", [1, 2, 5])
def test_never_more_than_said_are_under_way_at_once(make: Callable[[int], Executor], bound: int) -> None:
    before = threads()
    executor, job = make(bound), Counted()
    for key in range(20):
        executor.submit(key, job)
    job.await_begun(bound)
    # A job that was one too many would have a thread by now: it is started when the job is put.
    assert threads() - before == bound
    for _ in range(20 - bound):
        job.go_on.release()
        job.await_begun(1)
        assert threads() - before == bound
    for _ in range(bound):
        job.go_on.release()
    assert executor.stop(grace=PATIENCE)
    assert job.most == bound
    assert threads() == before


def test_no_more_threads_are_started_than_there_are_keys(make: Callable[[int], Executor]) -> None:
    before = threads()
    executor, job = make(16), Counted()
    for _ in range(5):
        executor.submit("a", job)
        executor.submit("b", job)
    job.await_begun(2)
    assert threads() - before == 2
    for _ in range(10):
        job.go_on.release()
    await_idle(executor)
    for key in "cdef":
        executor.submit(key, job)
        job.go_on.release()
        await_idle(executor)
    assert threads() - before == 2


def test_a_key_with_many_jobs_does_not_go_before_the_others(make: Callable[[int], Executor]) -> None:
    executor, first = make(1), Counted()
    done: list[str] = []
    over = threading.Event()
    executor.submit("a", first)
    first.await_begun(1)
    for number in range(3):
        executor.submit("a", partial(done.append, f"a{number}"))
    executor.submit("a", over.set)
    for key in "bc":
        executor.submit(key, partial(done.append, key))
    first.go_on.release()
    assert over.wait(PATIENCE)
    assert done == ["b", "c", "a0", "a1", "a2"]


def test_a_job_may_put_another(make: Callable[[int], Executor]) -> None:
    executor, over = make(1), threading.Event()
    executor.submit("a", lambda: executor.submit("a", lambda: executor.submit("b", over.set)))
    assert over.wait(PATIENCE)


def test_an_exception_of_a_job_is_reported_and_the_next_one_runs(
    make: Callable[[int], Executor], errors: list[BaseException]
) -> None:
    executor, over = make(1), threading.Event()

    def fail() -> None:
        raise LookupError("this one")

    executor.submit("a", fail)
    executor.submit("a", over.set)
    assert over.wait(PATIENCE)
    assert [str(error) for error in errors] == ["this one"]
    assert executor.stop(grace=PATIENCE)
    assert not executor.busy


def test_jobs_that_wait_are_taken_back_by_their_tags(
    make: Callable[[int], Executor], errors: list[BaseException]
) -> None:
    executor, first, over = make(1), Counted(), threading.Event()
    done: list[str] = []
    executor.submit("a", first, "mine")
    first.await_begun(1)
    jobs = {name: partial(done.append, name) for name in ("a1", "a2", "b1", "c1")}
    executor.submit("a", jobs["a1"], "mine")
    executor.submit("a", jobs["a2"], "other")
    executor.submit("b", jobs["b1"], "mine")
    executor.submit("c", jobs["c1"], "mine")
    executor.submit("d", over.set)
    assert executor.take("a", ["mine"]) == [jobs["a1"]]
    assert executor.take("b", ["mine"]) == [jobs["b1"]]
    assert executor.take("c", ["other"]) == []
    assert executor.take("e", ["mine"]) == []
    executor.submit("b", jobs["b1"], "again")
    first.go_on.release()
    assert over.wait(PATIENCE)
    await_idle(executor)
    assert (done, errors) == (["c1", "b1", "a2"], [])


def test_stopped_it_begins_nothing_more(make: Callable[[int], Executor]) -> None:
    executor, job, second = make(1), Counted(), threading.Event()
    executor.submit("a", job)
    executor.submit("a", second.set)
    job.await_begun(1)
    assert not executor.stop(grace=0)
    executor.submit("b", second.set)
    job.go_on.release()
    assert executor.stop(grace=PATIENCE)
    assert not second.is_set()


def test_a_job_may_stop_its_own_executor(make: Callable[[int], Executor]) -> None:
    executor, over = make(1), threading.Event()

    def stop() -> None:
        assert executor.stop(grace=PATIENCE)
        over.set()

    executor.submit("a", stop)
    assert over.wait(PATIENCE)


def test_any_exception_of_a_job_is_told_and_the_next_one_done(
    make: Callable[[int], Executor], errors: list[BaseException]
) -> None:
    executor, done = make(1), threading.Event()

    def fail() -> None:
        raise SystemExit("this one")

    executor.submit("a", fail)
    executor.submit("a", done.set)
    assert done.wait(PATIENCE)
    await_idle(executor)
    assert [str(error) for error in errors] == ["this one"]
