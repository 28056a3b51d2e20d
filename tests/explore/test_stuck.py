"""A lock that a handler keeps after its answer: the exploration ends, and says where the next handler waits."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from fastapi import FastAPI, Request
from flask import Flask, request

from engagelab_mock import EngageLab, ProbeFailed, Receiver, ScheduleFailed, UsageError
from engagelab_mock.explore.stuck import Watch
from tests.receivers import racing
from tests.receivers.racing import Store, flask_receiver

pytestmark = pytest.mark.slow

#: A handler is stuck if it waits for two to three times as long, in seconds.
LIMIT = 0.25


class Keeps:
    """Take a lock for each callback, and do not give it back."""

    def __init__(self) -> None:
        self.lock: Any = threading.Lock()
        self.count: dict[str, int] = {}

    def apply(self, message_id: str) -> None:
        self.lock.acquire()
        self.count[message_id] = self.count.get(message_id, 0) + 1

    def flask(self, apply: Callable[[str], object]) -> Receiver:
        app = Flask("keeps")

        @app.post("/")
        def engagelab_callback() -> str:
            for message_id, _ in racing.statuses(request.get_json(force=True)):
                apply(message_id)
            return ""

        return Receiver.wsgi(app, observe=self.count.get, limit=LIMIT)

    def fastapi(self, kind: str) -> Receiver:
        app = FastAPI()
        if kind == "waits in a thread":

            @app.post("/")
            def in_thread(envelope: dict[str, Any]) -> None:
                for message_id, _ in racing.statuses(envelope):
                    self.apply(message_id)
        else:

            @app.post("/")
            async def in_loop(request: Request) -> None:
                envelope = await request.json()
                if kind == "awaits":
                    await self.lock.acquire()
                for message_id, _ in racing.statuses(envelope):
                    if kind == "blocks the loop":
                        self.apply(message_id)
                    self.count[message_id] = 1

        if kind == "awaits":
            self.lock = asyncio.Lock()
        return Receiver.asgi(app, observe=self.count.get, limit=LIMIT)


def finished(result: Any) -> None:
    if asyncio.iscoroutine(result):
        asyncio.run(result)


def explored(receiver: Receiver, *, in_loop: bool = False, **options: Any) -> ScheduleFailed:
    with EngageLab(receiver) as engagelab:
        explore = engagelab.aexplore if in_loop else engagelab.explore
        with pytest.raises(ScheduleFailed) as caught:
            finished(explore("plan-sent", **options))
    error = caught.value
    assert error.failure.violation.invariant == "deadlock"
    assert error.failure.token == "eg1:plan-sent:plan,sent"
    assert "release each before the answer" in str(error)
    assert "waits here:" in str(error)
    assert "self.lock.acquire()" in str(error)
    return error


@pytest.mark.parametrize("crashes", [None, "handler"])
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_handler_of_flask_that_waits_is_shown(in_loop: bool, crashes: str | None) -> None:
    keeps = Keeps()
    error = explored(keeps.flask(keeps.apply), in_loop=in_loop, crashes=crashes)
    assert [record.events for record in error.failure.played.records] == [("plan",), ("sent",)]


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize("kind", ["awaits", "blocks the loop", "waits in a thread"])
def test_a_handler_of_fastapi_that_waits_is_shown(kind: str, in_loop: bool) -> None:
    explored(Keeps().fastapi(kind), in_loop=in_loop)


def test_a_forked_handler_that_waits_for_a_thread_is_refused(store: Store) -> None:
    """Only a thread of this process makes the calls of the database, and a forked process has no copy of it."""
    jobs: SimpleQueue[tuple[str, str, threading.Event]] = SimpleQueue()

    def work() -> None:
        with store.opened() as db:
            while True:
                message_id, status, done = jobs.get()
                racing.correct(db, message_id, status)
                done.set()

    def handle(db: Any, message_id: str, status: str) -> None:
        racing.is_marked(db, message_id)
        done = threading.Event()
        jobs.put((message_id, status, done))
        done.wait()

    threading.Thread(target=work, daemon=True).start()
    receiver = flask_receiver(store, handle)
    receiver.limit = LIMIT
    with EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent").ok
        with pytest.raises(UsageError, match="the forked handler of `plan` waits here:") as caught:
            engagelab.explore("plan-sent", crashes="handler")
    assert "done.wait()" in str(caught.value)
    assert "Threads are not copied into a forked process" in str(caught.value)


def test_an_app_that_catches_the_interruption_does_not_pass() -> None:
    keeps = Keeps()

    def apply(message_id: str) -> None:
        try:
            keeps.apply(message_id)
        except BaseException:
            keeps.count[message_id] = 1

    explored(keeps.flask(apply), retry=[60])


def test_a_function_of_the_user_that_waits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.explore.stuck._SEEN_PROBE", 3)
    keeps = Keeps()
    receiver = keeps.flask(keeps.apply)

    def observe(message_id: str) -> int | None:
        with keeps.lock:
            return keeps.count.get(message_id)

    receiver.observe = observe
    with EngageLab(receiver) as engagelab, pytest.raises(ProbeFailed, match="does a handler keep a lock") as caught:
        engagelab.explore("plan-sent")
    assert caught.value.where == "observe"
    assert "with keeps.lock:" in str(caught.value)


def test_wait_idle_keeps_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.delivery.probe.IDLE_LIMIT", LIMIT)
    keeps = Keeps()
    receiver = keeps.flask(lambda message_id: None)
    receiver.wait_idle = threading.Event().wait
    with EngageLab(receiver) as engagelab, pytest.raises(ProbeFailed, match="wait_idle: it did not return within"):
        engagelab.explore("plan-sent")


def test_a_transaction_that_a_handler_leaves_open_is_found_when_the_tables_are_emptied(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setattr("engagelab_mock.explore.stuck._SEEN_PROBE", 3)
    keeps = Keeps()
    db, of_app = psycopg.connect(postgres, autocommit=True), psycopg.connect(postgres)
    db.execute("CREATE TABLE kept (id TEXT)")
    receiver = keeps.flask(lambda message_id: of_app.execute("INSERT INTO kept VALUES (%s)", (message_id,)))
    receiver.observe = lambda message_id: of_app.execute("SELECT id FROM kept").fetchall()
    receiver.reset = lambda: db.execute("TRUNCATE kept")
    with EngageLab(receiver) as engagelab, pytest.raises(ProbeFailed, match="TRUNCATE kept") as caught:
        engagelab.explore("plan-sent")
    assert caught.value.where == "reset"
    of_app.close()
    db.close()  # it was interrupted
    with psycopg.connect(postgres, autocommit=True) as another:
        another.execute("DROP TABLE kept")


def test_a_handler_that_is_late_and_comes_again_passes() -> None:
    """It takes longer than EngageLab waits, and gives one credit all the same."""
    keeps = Keeps()
    naps = iter([1.5 * LIMIT])

    def apply(message_id: str) -> None:
        time.sleep(next(naps, 0.0))
        keeps.count[message_id] = 1

    with EngageLab(keeps.flask(apply)) as engagelab:
        found = engagelab.explore("plan-sent", retry=[60])
    assert found.ok
    assert found.schedules == found.total


def test_a_handler_that_computes_for_long_is_not_interrupted() -> None:
    keeps = Keeps()
    jobs = iter([3.5])

    def apply(message_id: str) -> None:
        ends = time.monotonic() + next(jobs, 0.0)
        while time.monotonic() < ends:
            json.dumps([0] * 10_000)
        keeps.count[message_id] = 1

    receiver = keeps.flask(apply)
    receiver.limit = 1.0
    with EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent", retry=[60], limit=1).ok


def test_the_timer_of_the_process_is_left_to_those_who_use_it() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with Watch(30.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        with Watch(60.0):  # within another block, nothing changes
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 30.0
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before
    with Watch(None):
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
