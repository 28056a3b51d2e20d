"""Handlers that never meet: the report names them, and does not count their schedules as judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engagelab_mock import EngageLab, NothingObserved, Receiver
from engagelab_mock.explore.parallel import Starts
from tests.explore.failing import failure, refused
from tests.explore.test_parallel import Shop, serving
from tests.receivers import racing
from tests.receivers.racing import Store, flask_receiver


def for_sent_alone(db: Any, message_id: str, status: str) -> None:
    """Pay no heed to `plan`."""
    if status == "sent":
        racing.correct(db, message_id, status)


def test_callbacks_that_the_app_ignores_are_not_judged(store: Store) -> None:
    with EngageLab(flask_receiver(store, for_sent_alone)) as engagelab:
        found = engagelab.explore("plan-sent", concurrent=2, preemptions=1)
        assert found.ok
        [note] = found.notes
        assert note == (
            "not judged: plan|plan: there was no switch point at which one handler could run inside of the other"
        )
        assert 0 < found.schedules < found.total
        every = engagelab.explore("plan-sent", "plan-verified", concurrent=2, preemptions=0)
        assert "not judged: plan-verified verified|verified, plan-sent plan|plan, plan-verified " in repr(every)


def test_a_race_in_one_callback_is_found_although_another_is_not_judged(store: Store) -> None:
    def handle(db: Any, message_id: str, status: str) -> None:
        if status == "sent":
            racing.select_then_insert(db, message_id, status)

    assert failure(flask_receiver(store, handle), "plan-sent").failure.token == "eg1:plan-sent:sent|sent@a2b"


def test_a_handler_without_a_switch_point_has_no_crash(store: Store) -> None:
    with EngageLab(flask_receiver(store, for_sent_alone)) as engagelab:
        found = engagelab.explore("plan-sent", crashes="handler")
    assert found.ok
    assert found.notes == ["not judged: plan!crash: the handler came to no switch point"]
    assert found.schedules == found.total - 1


def test_a_crash_does_not_make_up_for_handlers_that_never_meet(store: Store) -> None:
    """A coroutine that calls SQLite directly can crash there, and no other coroutine can run there."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        with store.opened() as db:
            for message_id, status in racing.statuses(json.loads(body)):
                racing.correct(db, message_id, status)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    receiver = Receiver.asgi(app, lifespan=False, observe=store.observe, reset=store.reset)
    with EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent", crashes="handler").ok
    refused(receiver, NothingObserved, "no handler came to a switch point", concurrent=2, crashes="handler")


@pytest.mark.slow
def test_requests_that_never_meet_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def draw(self: Starts, requests: int) -> list[float]:
        drawn.append(requests)
        return [0.0, 0.2 * (len(drawn) == 2)]

    monkeypatch.setattr(Starts, "draw", draw)
    with serving(Shop()) as engagelab:
        found = engagelab.explore("plan-sent", concurrent=2, rounds=1)
    assert found.ok
    assert "not judged: plan|plan: its requests were never under way at the same time" in found.notes
    assert (found.schedules, found.total) == (2, 3)
    monkeypatch.setattr(Starts, "draw", lambda self, requests: [0.0, 0.2])
    with serving(Shop()) as engagelab, pytest.raises(NothingObserved, match="no two requests were under way"):
        engagelab.replay("eg1:plan|plan", rounds=1)
