"""Handlers that wait for a lock or sleep: others go on, and handlers that wait for each other are a deadlock."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from engagelab_mock import (
    EngageLab,
)
from engagelab_mock.explore import interleave
from tests.explore.failing import failure
from tests.receivers import racing
from tests.receivers.racing import Store, flask_receiver


def test_a_handler_that_waits_for_a_lock_of_the_app_is_not_switched_to(store: Store) -> None:
    lock = threading.Lock()

    def handle(db: Any, message_id: str, status: str) -> None:
        with lock:
            racing.select_then_insert(db, message_id, status)

    with EngageLab(flask_receiver(store, handle)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2).ok


def test_a_handler_that_sleeps_lets_the_others_run(store: Store) -> None:
    """A receiver that tries again until it has the lock is right."""

    def handle(db: Any, message_id: str, status: str) -> None:
        db.isolation_level = None
        db.execute("PRAGMA busy_timeout = 0")
        for _ in range(5):
            try:
                db.execute("BEGIN IMMEDIATE")
                break
            except Exception:
                time.sleep(0.001)
        if db.execute("INSERT OR IGNORE INTO claims VALUES (?)", (message_id + status,)).rowcount:
            racing.add_credit(db, message_id)
        db.execute("COMMIT")

    with EngageLab(flask_receiver(store, handle)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=1).ok


def test_locks_in_two_orders_are_a_deadlock_with_both_stacks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleave, "PATIENCE", 0.3)
    one, two = threading.Lock(), threading.Lock()

    def handle(db: Any, message_id: str, status: str) -> None:
        first, second = (one, two) if status == "plan" else (two, one)
        with first:
            racing.is_marked(db, "")
            with second:
                racing.select_then_insert(db, message_id, status)

    error = failure(flask_receiver(store, handle), "plan-sent")
    assert error.failure.violation.invariant == "deadlock"
    assert error.failure.token == "eg1:plan-sent:plan|sent@a1b"
    assert "handler a of `plan` waits here:" in str(error)
    assert "handler b of `sent` waits here:" in str(error)
    assert str(error).count("with second:") == 2


def test_a_lock_that_is_held_across_requests_is_a_deadlock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleave, "PATIENCE", 0.3)
    lock = threading.Lock()

    def handle(db: Any, message_id: str, status: str) -> None:
        lock.acquire()
        racing.select_then_insert(db, message_id, status)

    error = failure(flask_receiver(store, handle), "plan-sent")
    assert error.failure.violation.invariant == "deadlock"
    assert "lock.acquire()" in str(error)
