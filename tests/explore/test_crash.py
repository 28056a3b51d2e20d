"""Crashes: a handler that dies at a switch point, and is called again, leaves the state as if it had not died."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, NothingObserved, Receiver, ScheduleFailed, UnknownName, UsageError
from engagelab_mock.explore.crash import can_fork
from engagelab_mock.server.loopback import LoopbackServer
from tests.explore.failing import failure, refused
from tests.receivers import racing
from tests.receivers.racing import Handle, Store, flask_receiver

forked = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")


@forked
@pytest.mark.parametrize(
    ("handle", "token"),
    [(racing.mark_commit_effect, "eg1:verified!crash@3"), (racing.effect_commit_mark, "eg1:verified!crash@4")],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_crash_that_changes_the_outcome_is_found_with_its_token(store: Store, handle: Handle, token: str) -> None:
    receiver = flask_receiver(store, handle)
    error = failure(receiver, crashes="handler")
    assert error.failure.token == token
    assert error.failure.violation.invariant == "crash_safe"
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed, match="crash_safe"):
        engagelab.replay(token)


@pytest.mark.slow
@forked
@pytest.mark.parametrize(
    "handle",
    [racing.correct, racing.locks_at_once, racing.select_then_insert],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_transaction_is_right_at_every_point(store: Store, handle: Handle) -> None:
    with EngageLab(flask_receiver(store, handle)) as engagelab:
        found = engagelab.explore("plan-sent", crashes="handler")
    assert found.ok
    assert found.schedules == found.total >= 8
    assert found.notes == []


@pytest.mark.parametrize("forks", [pytest.param(True, marks=forked), False])
def test_work_after_the_answer_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch, forks: bool) -> None:
    if not forks:
        monkeypatch.delattr("os.fork", raising=False)
    error = failure(flask_receiver(store, racing.correct, after_answer=True), "plan-sent", crashes="handler")
    assert error.failure.token == "eg1:plan-sent:sent!crash@1"
    assert error.failure.played.acknowledged


def works_in_a_task(store: Store) -> Receiver:
    """Start a task of the event loop, and answer."""
    tasks: set[asyncio.Task[None]] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        rows = [*racing.statuses(json.loads((await receive())["body"]))]

        async def work() -> None:
            await asyncio.sleep(0)
            with store.opened() as db:
                for message_id, status in rows:
                    racing.correct(db, message_id, status)

        task = asyncio.get_running_loop().create_task(work())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return Receiver.asgi(app, observe=store.observe, reset=store.reset, lifespan=False)


@pytest.mark.slow
@forked
def test_work_of_a_task_after_the_answer_is_lost(store: Store) -> None:
    receiver = works_in_a_task(store)
    error = failure(receiver, "plan-sent", crashes="handler")
    assert error.failure.token == "eg1:plan-sent:sent!crash@2"
    assert error.failure.repeatable
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed, match="crash_safe"):
        engagelab.replay(error.failure.token)


@forked
def test_the_text_of_a_crash(store: Store) -> None:
    assert str(failure(flask_receiver(store, racing.mark_commit_effect), crashes="handler")).splitlines() == [
        "crash_safe: after `verified again`, the state is {'credits': 0}, and without the crash it is {'credits': 1} "
        "(sent once) or {'credits': 1} (sent twice)",
        "",
        "#  delivery        http  before             after",
        "1  verified        -     credits=0 marks=0  credits=0 marks=0",
        "2  verified again  200   credits=0 marks=0  credits=0 marks=0  <-- here",
        "",
        "the steps of the handlers, from switch point to switch point:",
        "a: verified",
        "1 BEGIN ; INSERT INTO claims VALUES ('IDverified') ON C…",
        "2 COMMIT",
        "3 db.execute(ADD_CREDIT, (message_id,)) <-- crashes before this",
        "",
        "found by schedule 3 of 6, eg1:plan,sent,delivered,verified!crash@3, and reduced",
        "replay: eg1:verified!crash@3",
        "  pytest --engagelab-replay 'eg1:verified!crash@3'",
        "  engagelab.replay('eg1:verified!crash@3')  # with the same invariants",
    ]


class InMemory(Store):
    """Keep orders in memory, in one connection."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        super().__init__(":memory:")

    def opened(self) -> Any:
        return self

    def __enter__(self) -> sqlite3.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.rollback()

    def close(self) -> None:
        self._db.close()


@pytest.fixture
def memory() -> Iterator[InMemory]:
    made = InMemory()
    yield made
    made.close()


def test_a_database_in_memory_gets_an_exception_and_the_report_says_so(memory: InMemory) -> None:
    error = failure(flask_receiver(memory, racing.mark_commit_effect), crashes="handler")
    assert error.failure.token == "eg1:verified!crash@3"
    assert "the crash was an exception at the switch point" in str(error)
    assert "this is weaker" in str(error)
    with EngageLab(flask_receiver(memory, racing.correct)) as engagelab:
        found = engagelab.explore("plan-sent", crashes="handler")
    assert found.ok
    assert "weaker" in found.notes[0]
    assert "weaker" in repr(found)


def test_without_fork_an_exception_is_raised(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.fork", raising=False)
    error = failure(flask_receiver(store, racing.effect_commit_mark), crashes="handler")
    assert error.failure.token == "eg1:verified!crash@4"
    assert "this is weaker" in str(error)


def test_races_and_crashes_in_one_exploration(store: Store) -> None:
    with EngageLab(flask_receiver(store, racing.mark_commit_effect)) as engagelab:
        found = engagelab.explore("plan-sent", concurrent=2, crashes="handler", preemptions=0, check=False)
    assert {failure.violation.invariant for failure in found.failures} == {"crash_safe"}


# What cannot be explored.


def test_an_unknown_kind_of_crash_is_refused(store: Store) -> None:
    refused(flask_receiver(store, racing.correct), UnknownName, "unknown kind of crash 'power'", crashes="power")


def test_a_receiver_without_observe_is_refused(store: Store) -> None:
    receiver = flask_receiver(store, racing.correct)
    receiver.observe = None
    refused(receiver, UsageError, "this receiver has no observe", crashes="handler")


def test_a_receiver_behind_http_is_refused(store: Store) -> None:
    with LoopbackServer(Flask("elsewhere")) as server:
        refused(
            Receiver.http(server.url, observe=store.observe),
            UsageError,
            "the handlers run in another process",
            crashes="handler",
        )


def test_handlers_that_never_come_to_a_switch_point_are_refused() -> None:
    kept: dict[str, str] = {}
    app = Flask("memory")

    @app.post("/")
    def engagelab_callback() -> str:
        kept.update(racing.statuses(request.get_json(force=True)))
        return ""

    refused(
        Receiver.wsgi(app, observe=kept.get), NothingObserved, "no handler came to a switch point", crashes="handler"
    )


@pytest.mark.parametrize("forks", [pytest.param(True, marks=forked), False])
def test_a_handler_that_starts_a_thread_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch, forks: bool) -> None:
    if not forks:
        monkeypatch.delattr("os.fork", raising=False)

    def handle(db: Any, message_id: str, status: str) -> None:
        racing.correct(db, message_id, status)
        threading.Thread(target=list).start()

    receiver = flask_receiver(store, handle)
    said = r"the handler of `\w+` starts a thread, at test_crash.py:\d+; the steps of that thread"
    refused(receiver, UsageError, said, crashes="handler")


def test_a_point_that_the_handler_does_not_come_to_is_refused(store: Store) -> None:
    with EngageLab(flask_receiver(store, racing.correct)) as engagelab, pytest.raises(UsageError) as caught:
        engagelab.replay("eg1:sent!crash@9")
    assert "the handler of `sent` ended before its switch point 9" in str(caught.value)


@forked
def test_crashes_of_a_wsgi_app_in_an_event_loop(store: Store) -> None:
    async def test() -> str:
        engagelab = EngageLab(flask_receiver(store, racing.mark_commit_effect))
        with pytest.raises(ScheduleFailed) as caught:
            await engagelab.aexplore("plan-sent", crashes="handler")
        return caught.value.failure.token

    assert asyncio.run(test()) == "eg1:plan-sent:sent!crash@3"
