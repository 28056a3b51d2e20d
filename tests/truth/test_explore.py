"""No judge is red if a receiver is right but built unusually; the bug of its mutant is found."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import (
    EngageLab,
    Exploration,
    Invariant,
    Message,
    Receiver,
    ScheduleFailed,
    StatusEvent,
    converges,
    decode,
    exactly_once,
    idempotent,
    never_regresses,
)
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.strategies import ReceiverMachine
from tests.checks.receivers.correct import PATH, SETTINGS
from tests.checks.receivers.frameworks import on_flask
from tests.django_settings import configure
from tests.explore.books import Books, LastWriteWins
from tests.receivers.correct import SECRET, USERNAME
from tests.truth.receivers.in_memory import InMemory, receiver_of
from tests.truth.receivers.pairs import PAIRS
from tests.truth.receivers.work import WorksInQueue

#: These are wrong in what explorations do not send: costs, account events, two messages to one recipient, late events.
NOT_EXPLORED = {
    *("costs in another currency", "users' replies", "alerts of the account"),
    *("totals of each recipient", "credits of each recipient", "one message for each recipient"),
    *("users' replies next to their messages", "replies of several users"),
    *("a log that is removed after days", "ranks alone", "nonces for a limited time"),
}
#: These answer 202, which acknowledges nothing [S].
NOT_ACKNOWLEDGED = {"work after the answer"}
#: The state of these tells in which order the events came, so that it cannot be the same in every order.
TELLS_THE_ORDER = {"one text of all events", "lateness in seconds"}
#: What shows the bug of the mutant, where `verified` does not.
LIFECYCLES = {"failures only": "delivered_failed"}
EXPLORED = [name for name in PAIRS if name not in NOT_EXPLORED | NOT_ACKNOWLEDGED]
QUICK = settings(max_examples=5, derandomize=True, deadline=None, database=None, stateful_step_count=4)


def invariants(name: str) -> list[Invariant]:
    return [idempotent()] if name in TELLS_THE_ORDER else [converges(), idempotent()]


def probe(app: InMemory, name: str, *, reset: bool) -> dict[str, Any]:
    given: dict[str, Any] = {"observe": app.observe}
    if reset or name == "totals over all messages":
        given["reset"] = app.__init__  # type: ignore[misc]  # it empties everything
    if isinstance(app, WorksInQueue):
        given |= {"wait_idle": lambda: app.jobs.join()}
    return given


def explore(receiver: Receiver, name: str) -> Exploration:
    with EngageLab(receiver) as engagelab:
        slow = "queue" in name or "slow" in name
        return engagelab.explore(LIFECYCLES.get(name, "verified"), invariants=invariants(name), limit=6 if slow else 40)


@pytest.mark.parametrize("reset", [False, True], ids=["fresh messages", "reset"])
@pytest.mark.parametrize("name", EXPLORED)
def test_a_right_receiver_passes_every_schedule(name: str, reset: bool) -> None:
    app = PAIRS[name].right()
    receiver = receiver_of(app, **probe(app, name, reset=reset))
    assert explore(receiver, name).ok


@pytest.mark.parametrize("name", EXPLORED)
def test_a_right_receiver_passes_over_a_socket(name: str) -> None:
    app = PAIRS[name].right()
    with LoopbackServer(on_flask(app)) as server:
        receiver = Receiver.http(f"{server.url}{PATH}", **SETTINGS, **probe(app, name, reset=False))
        assert explore(receiver, name).ok


@pytest.mark.parametrize("name", [name for name in EXPLORED if name not in TELLS_THE_ORDER])
def test_its_mutant_is_found(name: str) -> None:
    app = PAIRS[name].wrong()
    receiver = receiver_of(app, **probe(app, name, reset=False))
    with pytest.raises(ScheduleFailed):
        explore(receiver, name)


@pytest.mark.parametrize("name", [name for name in EXPLORED if "queue" not in name])
def test_a_right_receiver_passes_the_state_machine(name: str) -> None:
    class Machine(ReceiverMachine):
        must_hold = invariants(name)
        lifecycles = (LIFECYCLES.get(name, "verified"),)

        def receiver(self) -> Receiver:
            app = PAIRS[name].right()
            return receiver_of(app, **probe(app, name, reset=True))

    run_state_machine_as_test(Machine, settings=QUICK)


# Others, each with what its user gives.

ALL = [converges(), never_regresses(), exactly_once("credits"), idempotent()]


class Known(Books):
    """Update its own rows only: an id must be known first."""

    def apply(self, rows: list[StatusEvent]) -> None:
        super().apply([row for row in rows if row.message_id in self.kept])

    def send(self, message: Message) -> None:
        self.kept[message.id] = {"status": None, "credits": 0}


class KnownLastWins(Known, LastWriteWins):
    pass


def passes(receiver: Receiver) -> None:
    with EngageLab(receiver) as engagelab:
        assert engagelab.explore("verified", invariants=ALL, limit=40).ok


def fails(receiver: Receiver) -> None:
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed):
        engagelab.explore("verified", invariants=ALL, limit=40)


def test_ids_that_must_be_known_first() -> None:
    for books, judge in ((Known(), passes), (KnownLastWins(), fails)):
        judge(Receiver.wsgi(books, observe=books.kept.get, prepare=books.send))


def test_work_in_a_thread_that_is_joined() -> None:
    for books, judge in ((Books(), passes), (LastWriteWins(), fails)):
        jobs: queue.Queue[list[StatusEvent] | None] = queue.Queue()

        def app(environ: Any, start_response: Any, jobs: Any = jobs) -> list[bytes]:
            jobs.put([row for row in decode(environ["wsgi.input"].read()).rows if isinstance(row, StatusEvent)])
            start_response("200 OK", [])
            return [b""]

        def work(books: Books = books, jobs: Any = jobs) -> None:
            while (rows := jobs.get()) is not None:
                books.apply(rows)
                jobs.task_done()

        thread = threading.Thread(target=work)
        thread.start()
        judge(Receiver.wsgi(app, observe=books.kept.get, wait_idle=jobs.join))
        jobs.put(None)
        thread.join()


def test_jobs_that_wait_idle_runs_in_the_tests_own_thread(tmp_path: Path) -> None:
    """A worker in burst mode, whose database connection belongs to the thread of the test."""
    database = sqlite3.connect(tmp_path / "jobs.sqlite")
    database.execute("CREATE TABLE jobs (body BLOB)")
    books = Books()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        with database:
            database.execute("INSERT INTO jobs VALUES (?)", [environ["wsgi.input"].read()])
        start_response("200 OK", [])
        return [b""]

    def burst() -> None:
        for (body,) in database.execute("SELECT body FROM jobs ORDER BY rowid").fetchall():
            books.apply([row for row in decode(body).rows if isinstance(row, StatusEvent)])
        with database:
            database.execute("DELETE FROM jobs")

    passes(Receiver.wsgi(app, observe=books.kept.get, wait_idle=burst))
    database.close()


def _keep(pipe: Any) -> None:
    """Keep statuses in another process."""
    books = Books()
    while (asked := pipe.recv()) is not None:
        if isinstance(asked, bytes):
            books.apply([row for row in decode(asked).rows if isinstance(row, StatusEvent)])
            pipe.send(None)
        else:
            pipe.send(books.kept.get(asked))


@pytest.fixture
def other_process() -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_keep, args=(theirs,))
    process.start()
    yield ours
    ours.send(None)
    process.join()


def test_a_state_in_another_process(other_process: Any) -> None:
    def ask(what: Any) -> Any:
        other_process.send(what)
        return other_process.recv()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        ask(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return [b""]

    passes(Receiver.wsgi(app, observe=ask))


def test_an_async_django_view_and_an_async_observe() -> None:
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.test import override_settings
    from django.urls import path

    configure()
    books = Books()

    async def view(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        books.apply([row for row in decode(request.body).rows if isinstance(row, StatusEvent)])
        return HttpResponse()

    async def observe(message_id: str) -> Any:
        await asyncio.sleep(0)
        return books.kept.get(message_id)

    async def test(receiver: Receiver) -> None:
        with EngageLab(receiver) as engagelab:
            assert (await engagelab.aexplore("verified", invariants=ALL, limit=40)).ok

    with override_settings(ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=(path(PATH[1:], view),), MIDDLEWARE=[]):
        asyncio.run(test(Receiver.asgi(ASGIHandler(), PATH, lifespan=False, observe=observe)))
        receiver = Receiver.asgi(ASGIHandler(), PATH, lifespan=False, observe=books.kept.get)
        with EngageLab(receiver, seed="other messages") as engagelab:
            assert engagelab.explore("verified", invariants=ALL, limit=40, duplicates=0).ok


@pytest.mark.parametrize("stack", ["flask", "django", "fastapi"])
def test_a_shop_on_a_framework(stack: str) -> None:
    from tests.receivers.gallery.stacks import shop

    with shop(stack) as opened:
        receiver = opened.receiver
        assert (receiver.settings.username, receiver.settings.secret) == (USERNAME, SECRET)
        with EngageLab(receiver) as engagelab:
            assert engagelab.explore("fallback", reset=opened.reset, duplicates=0, limit=10).ok
