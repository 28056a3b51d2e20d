"""Lanes: in order within one, at once across several, and nothing that is raised ends them."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from engagelab_mock.service.lanes import Lanes

PATIENCE = 10.0


@pytest.fixture
def errors() -> list[Exception]:
    return []


def test_each_lane_keeps_its_order(errors: list[Exception]) -> None:
    lanes = Lanes(abreast=4, on_error=errors.append)
    done: dict[int, list[int]] = {lane: [] for lane in range(20)}
    over = threading.Semaphore(0)

    def work(lane: int, number: int) -> None:
        done[lane].append(number)
        over.release()

    for number in range(20):
        for lane in done:
            lanes.put(lane, partial(work, lane, number))
    for _ in range(400):
        assert over.acquire(timeout=PATIENCE)
    assert lanes.stop(grace=PATIENCE)
    assert (set(map(tuple, done.values())), errors) == ({tuple(range(20))}, [])


def test_as_many_lanes_as_said_are_under_way_at_once(errors: list[Exception]) -> None:
    lanes = Lanes(abreast=3, on_error=errors.append)
    meeting = threading.Barrier(4)
    for lane in "abcdef":
        lanes.put(lane, partial(meeting.wait, PATIENCE))
    # Each of the first three waits for the others and for us; then so do the second three.
    meeting.wait(PATIENCE)
    meeting.wait(PATIENCE)
    assert lanes.stop(grace=PATIENCE)
    assert errors == []


def test_more_at_once_than_said_would_be_noticed(errors: list[Exception]) -> None:
    lanes = Lanes(abreast=2, on_error=errors.append)
    meeting = threading.Barrier(3)
    for lane in "abc":
        lanes.put(lane, partial(meeting.wait, 0.05))
    lanes.put("a", meeting.abort)
    assert lanes.stop(grace=PATIENCE)
    assert all(isinstance(error, threading.BrokenBarrierError) for error in errors)


def test_what_a_job_raises_is_told_and_the_next_one_done(errors: list[Exception]) -> None:
    lanes = Lanes(abreast=1, on_error=errors.append)
    over = threading.Event()

    def fail() -> None:
        raise LookupError("this one")

    lanes.put("a", fail)
    lanes.put("a", over.set)
    assert over.wait(PATIENCE)
    assert [str(error) for error in errors] == ["this one"]
    assert lanes.stop(grace=PATIENCE)
    assert not lanes.busy


def test_halted_it_begins_nothing_more(errors: list[Exception]) -> None:
    lanes = Lanes(abreast=1, on_error=errors.append)
    begun, go_on, second = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    lanes.put("a", first)
    lanes.put("a", second.set)
    assert begun.wait(PATIENCE)
    assert not lanes.stop(grace=0)
    lanes.put("b", second.set)
    go_on.set()
    assert lanes.stop(grace=PATIENCE)
    assert not second.is_set()
