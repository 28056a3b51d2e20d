"""An app that works soon after its answer: its state is read before that or after it, so it proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, ProbeFailed, Receiver, ScheduleFailed, StateNotSettled, StatusEvent, converges
from engagelab_mock.server.loopback import LoopbackServer
from tests.explore.books import Books, LastWriteWins, in_memory

pytestmark = pytest.mark.slow


class WorksSoon(Books):
    """Do the work of some callbacks after the first look at the state, as an app that takes a millisecond does."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.late: list[StatusEvent] = []

    def apply(self, rows: list[StatusEvent]) -> None:
        self.late += rows
        if self.requests % self.every:
            self.work()

    def work(self) -> None:
        rows, self.late = self.late, []
        super().apply(rows)

    def look(self, message_id: str) -> dict[str, Any]:
        found = {"id": message_id, "kind": "otp", **self.kept.get(message_id, {})}
        self.work()
        return found


class WrongAndSoon(LastWriteWins, WorksSoon):
    """Take the last status, soon after the answer."""


@pytest.mark.parametrize("every", [3, 6, 7, 8])
@pytest.mark.parametrize("merge", [False, True])
def test_a_wrong_app_that_works_soon_after_its_answer_does_not_pass(every: int, merge: bool) -> None:
    books = WrongAndSoon(every)
    receiver = Receiver.wsgi(books, observe=books.look)
    with EngageLab(receiver) as engagelab, pytest.raises((StateNotSettled, ScheduleFailed)):
        engagelab.explore("verified", invariants=[converges()], merge=merge)


@pytest.mark.parametrize("every", [3, 6, 7, 8])
@pytest.mark.parametrize("merge", [False, True])
def test_nor_does_it_pass_with_snapshots(every: int, merge: bool) -> None:
    books = WrongAndSoon(every)
    receiver = Receiver.wsgi(books, observe=books.look)
    with EngageLab(receiver) as engagelab, pytest.raises((StateNotSettled, ScheduleFailed, ProbeFailed)) as caught:
        engagelab.explore("verified", invariants=[converges()], merge=merge, **in_memory(books))
    assert not isinstance(caught.value, ProbeFailed) or "if the app works after its answer" in str(caught.value)


@pytest.mark.parametrize("every", [2, 3, 4, 5])
def test_a_right_app_over_http_is_not_said_to_be_wrong(every: int) -> None:
    books = WorksSoon(every)
    with LoopbackServer(books) as server:
        receiver = Receiver.http(server.url, observe=books.look)
        with EngageLab(receiver) as engagelab, pytest.raises(StateNotSettled, match="no callback was sent") as raised:
            engagelab.explore("verified", duplicates=0, merge=False)
    assert "the app works after its answer: give wait_idle" in raised.value.hint
