"""An app that works after its answer: `wait_idle` sees the finished work, and without it nothing is green."""

from __future__ import annotations

import threading
from queue import Queue
from typing import Any

import pytest

from engagelab_mock import Receiver, ScheduleFailed, StateNotSettled
from tests.explore.baselines import explore
from tests.explore.books import ALL, Books, LastWriteWins


class Works:
    """Answer at once, and work in a thread: once for each callback, when `go` is called, or all the time."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.jobs: Queue[Any] = Queue()
        self.receiver = Receiver.wsgi(self._app, observe=books.kept.get)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _app(self, environ: Any, start_response: Any) -> Any:
        answers: list[Any] = []
        self.jobs.put(({**environ, "wsgi.input": environ["wsgi.input"]}, answers))
        start_response("200 OK", [])
        return [b""]

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            # The work begins when the answer is out.
            self.books(job[0], lambda status, headers: None)  # type: ignore[arg-type]
            self.jobs.task_done()
        self.jobs.task_done()

    def stop(self) -> None:
        self.jobs.put(None)
        self._thread.join()


def test_wait_idle_sees_the_finished_work_and_the_bug() -> None:
    works = Works(LastWriteWins())
    works.receiver.wait_idle = works.jobs.join
    with pytest.raises(ScheduleFailed, match="converges"):
        explore(works.receiver, duplicates=0)
    works.stop()


def test_wait_idle_passes_a_right_app() -> None:
    works = Works(Books())
    works.receiver.wait_idle = works.jobs.join
    assert explore(works.receiver, invariants=ALL, duplicates=0).states == 4
    works.stop()


class WorksAtTheNextLook:
    """Answer at once, and work when the state is read for so many times since the last answer: no test waits."""

    def __init__(self, books: Books, look: int) -> None:
        self.books, self.look, self.looks = books, look, 0
        self.waiting: list[Any] = []

    def app(self, environ: Any, start_response: Any) -> Any:
        self.looks = 0
        self.waiting.append(environ)
        start_response("200 OK", [])
        return [b""]

    def observe(self, message_id: str) -> Any:
        self.looks += 1
        while self.looks >= self.look and self.waiting:
            self.books(self.waiting.pop(0), lambda status, headers: None)  # type: ignore[arg-type]
        return self.books.kept.get(message_id)


def test_seconds_wait_until_the_work_is_done() -> None:
    right, wrong = WorksAtTheNextLook(Books(), 2), WorksAtTheNextLook(LastWriteWins(), 2)
    assert explore(Receiver.wsgi(right.app, observe=right.observe, wait_idle=0.001), duplicates=0, limit=6).ok
    with pytest.raises(ScheduleFailed, match="converges"):
        explore(Receiver.wsgi(wrong.app, observe=wrong.observe, wait_idle=0.001), duplicates=0, limit=6)


def test_work_after_the_answer_is_named_without_wait_idle() -> None:
    works = WorksAtTheNextLook(Books(), 3)
    with pytest.raises(StateNotSettled, match=r"the state changed from None to .* but no callback was sent") as raised:
        explore(Receiver.wsgi(works.app, observe=works.observe))
    assert "give wait_idle" in raised.value.hint


def test_a_state_that_changes_on_every_read_is_an_error() -> None:
    books, reads = Books(), iter(range(10_000))

    def observe(message_id: str) -> Any:
        return {**(books.kept.get(message_id) or {}), "read": next(reads)}

    with pytest.raises(StateNotSettled, match="no callback was sent") as raised:
        explore(Receiver.wsgi(books, observe=observe))
    assert "do not return a value that changes on every read, such as the current time" in raised.value.hint
