"""Races: handlers that run at the same time reach states that no order one after the other reaches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, request

from engagelab_mock import (
    EngageLab,
    Played,
    Receiver,
    Schedule,
    ScheduleFailed,
    exactly_once,
    idempotent,
)
from tests.explore.failing import failure
from tests.receivers import racing
from tests.receivers.racing import Handle, Store, flask_receiver

RACES = [
    (racing.select_then_insert, "eg1:verified|verified@a2b"),
    (racing.lost_update, "eg1:verified|verified@a2b"),
    (racing.effect_commit_mark, "eg1:verified|verified@a2b"),
    (racing.Cached(), "eg1:verified|verified@a1b"),
]


def name(value: Any) -> str | None:
    return getattr(value, "__name__", type(value).__name__) if callable(value) else None


@pytest.mark.parametrize(("handle", "token"), RACES, ids=name)
def test_a_race_is_found_with_its_shortest_token(store: Store, handle: Handle, token: str) -> None:
    receiver = flask_receiver(store, handle)
    error = failure(receiver)
    assert error.failure.token == token
    assert error.failure.violation.invariant == "serializable"
    assert error.failure.number <= 50
    assert error.failure.repeatable
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed, match="serializable"):
        engagelab.replay(token)


@pytest.mark.slow
@pytest.mark.parametrize("handle", [racing.correct, racing.locks_at_once, racing.mark_commit_effect], ids=name)
def test_a_correct_receiver_is_clean_in_every_order(store: Store, handle: Handle) -> None:
    with EngageLab(flask_receiver(store, handle)) as engagelab:
        found = engagelab.explore("plan-sent", concurrent=2)
    assert found.ok
    assert found.schedules == found.total > 20


def test_the_text_of_a_race(store: Store) -> None:
    assert str(failure(flask_receiver(store, racing.lost_update))).splitlines() == [
        "serializable: after `verified`, the state is {'credits': 1}, and one after the other it is {'credits': 2} "
        "(a, b)",
        "",
        "#  delivery  http  before     after",
        "1  verified  200   credits=0  credits=1",
        "2  verified  200   credits=1  credits=1  <-- here",
        "",
        "the steps of the handlers, from switch point to switch point:",
        "a: verified                                               b: verified",
        "1 SELECT credits FROM orders WHERE id = 'ID'",
        f"{'':58}1 SELECT credits FROM orders WHERE id = 'ID'",
        f"{'':58}2 BEGIN ; INSERT INTO orders VALUES ('ID', 1) ON CONFLI…",
        f"{'':58}3 COMMIT",
        "2 BEGIN ; INSERT INTO orders VALUES ('ID', 1) ON CONFLI…",
        "3 COMMIT",
        "",
        "found by schedule 3 of 9, eg1:plan,sent,delivered,verified|verified@a2b, and reduced",
        "replay: eg1:verified|verified@a2b",
        "  pytest --engagelab-replay 'eg1:verified|verified@a2b'",
        "  engagelab.replay('eg1:verified|verified@a2b')  # with the same invariants",
    ]


@pytest.mark.slow
def test_neighbours_race_as_well(store: Store) -> None:
    """The two rows of one message are counted in one place, and only different callbacks collide."""

    def handle(db: Any, message_id: str, status: str) -> None:
        if db.execute("INSERT OR IGNORE INTO claims VALUES (?)", (message_id + status,)).rowcount:
            db.commit()
            racing.lost_update(db, message_id, status)
        db.commit()

    assert failure(flask_receiver(store, handle)).failure.token == "eg1:delivered|verified@a2b"


def test_three_handlers_at_the_same_time(store: Store) -> None:
    error = failure(flask_receiver(store, racing.select_then_insert), "sent_failed", concurrent=3)
    assert error.failure.token == "eg1:sent_failed|sent_failed|sent_failed@a2b"


def test_the_invariants_of_the_user_hold_as_well(store: Store) -> None:
    """In every order, one after the other, this receiver gives a credit for each copy."""

    def handle(db: Any, message_id: str, status: str) -> None:
        racing.add_credit(db, message_id)
        db.commit()

    with EngageLab(flask_receiver(store, handle)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=1).ok
    error = failure(flask_receiver(store, handle), "plan-sent", invariants=[exactly_once("credits", when="sent")])
    assert error.failure.violation.invariant == "exactly_once"


def credit_for_sent(db: Any, message_id: str, status: str) -> None:
    """Keep a mark for each status, and give a credit for `sent` alone, once."""
    if db.execute("INSERT OR IGNORE INTO claims VALUES (?)", (message_id + status,)).rowcount:
        racing.mark(db, message_id + status)
        if status == "sent":
            racing.add_credit(db, message_id)
    db.commit()


def credit_for_plan(db: Any, message_id: str, status: str) -> None:
    credit_for_sent(db, message_id, "sent" if status == "plan" else "plan")


def test_an_effect_counts_for_all_callbacks_at_the_same_time(store: Store) -> None:
    """The state is read once for `plan` and `sent` together, and has the effect of both."""
    once = [exactly_once("credits", when="sent"), idempotent()]
    with EngageLab(flask_receiver(store, credit_for_sent)) as engagelab:
        for token in ("plan|sent", "sent|plan", "sent,sent|plan", "plan,plan|sent"):
            engagelab.play(f"eg1:plan-sent:{token}", once)
    with EngageLab(flask_receiver(store, credit_for_plan)) as engagelab:
        with pytest.raises(ScheduleFailed, match="after `plan`, credits happened 1 time, expected 0"):
            engagelab.play("eg1:plan-sent:plan,plan|sent", once)
        with pytest.raises(ScheduleFailed, match="exactly_once"):
            engagelab.play("eg1:plan-sent:plan|plan,sent", once)


def test_a_race_that_makes_observe_fail_is_a_failure(store: Store) -> None:
    def observe(message_id: str) -> int:
        with store.opened() as db:
            marks = db.execute("SELECT key FROM marks WHERE key = ?", (f"{message_id}sent",)).fetchall()
        if len(marks) > 1:
            raise LookupError("more than one row")
        return len(marks)

    receiver = flask_receiver(store, racing.select_then_insert)
    receiver.observe = observe
    error = failure(receiver, "plan-sent")
    assert "observe raised LookupError: more than one row" in str(error)
    assert error.failure.token == "eg1:plan-sent:sent|sent@a2b"


@pytest.mark.slow
def test_the_loser_of_a_race_may_be_refused_if_the_callback_comes_again(store: Store) -> None:
    receiver = flask_receiver(store, racing.refuses_the_loser)
    error = failure(receiver, "plan-sent")
    assert "the answers are 500 and 200, and sent is not acknowledged" in str(error)
    assert "give retry=[60]" in str(error)
    with EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, retry=[60]).ok


# Right receivers of an unusual kind.


def append_only(db: Any, message_id: str, status: str) -> None:
    """Write down every callback; its meaning is computed when it is read."""
    racing.mark(db, f"{message_id}{status}")
    db.commit()


def optimistic(db: Any, message_id: str, status: str) -> None:
    """Count the callbacks, and try again if another handler was faster."""
    db.execute("INSERT OR IGNORE INTO orders VALUES (?, 0)", (message_id,))
    db.commit()
    while True:
        [known] = db.execute("SELECT credits FROM orders WHERE id = ?", (message_id,)).fetchone()
        update = "UPDATE orders SET credits = ? WHERE id = ? AND credits = ?"
        changed = db.execute(update, (known + 1, message_id, known)).rowcount
        db.commit()
        if changed:
            return


def observes_different(store: Store) -> Callable[[str], Any]:
    def observe(message_id: str) -> Any:
        with store.opened() as db:
            rows = db.execute("SELECT DISTINCT key FROM marks WHERE key LIKE ?", (f"{message_id}%",)).fetchall()
        return {"statuses": len(rows), **store.observe(message_id), "marks": None}

    return observe


@pytest.mark.parametrize("handle", [append_only, optimistic], ids=name)
def test_an_unusual_receiver_is_clean(store: Store, handle: Handle) -> None:
    receiver = flask_receiver(store, handle)
    receiver.observe = observes_different(store)
    with EngageLab(receiver) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=1).ok


def test_values_that_differ_in_each_playing_are_not_compared(store: Store) -> None:
    """A reference is made again for each order."""
    references: dict[str, str] = {}

    def observe(message_id: str) -> Any:
        credits = store.observe(message_id)["credits"]
        return {"credits": credits, "reference": references.get(message_id)}

    def handle(db: Any, message_id: str, status: str) -> None:
        racing.correct(db, message_id, status)
        references.setdefault(message_id, uuid4().hex)

    def loses(db: Any, message_id: str, status: str) -> None:
        handle(db, message_id, status)
        racing.lost_update(db, message_id, status)

    def reset() -> None:
        store.reset()
        references.clear()

    def receiver(handle: Handle) -> Receiver:
        made = flask_receiver(store, handle)
        made.observe, made.reset = observe, reset
        return made

    with EngageLab(receiver(handle)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=1).ok
    assert failure(receiver(loses), "plan-sent").failure.violation.invariant == "serializable"


# Switch points that the user adds.


class Memory:
    """Keep orders in memory, behind functions."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}

    def load(self, message_id: str) -> int:
        return self.kept.get(message_id, 0)

    def store(self, message_id: str, count: int) -> None:
        self.kept[message_id] = count


@pytest.mark.parametrize("name", [Memory.store, "tests.explore.test_races.Memory.store"])
def test_switch_points_can_be_added(name: Any) -> None:
    memory = Memory()
    app = Flask("memory")

    @app.post("/")
    def engagelab_callback() -> str:
        for message_id, _ in racing.statuses(request.get_json(force=True)):
            memory.store(message_id, memory.load(message_id) + 1)
        return ""

    receiver = Receiver.wsgi(app, observe=memory.kept.get)
    error = failure(receiver, "plan-sent", switch_points=[name])
    assert error.failure.token == "eg1:plan-sent:sent|sent@a1b"
    assert "memory.store(message_id, memory.load(message_id) + 1)" in str(error)


def test_played_step_by_step(store: Store) -> None:
    with EngageLab(flask_receiver(store, racing.select_then_insert)) as engagelab:
        played: Played = engagelab.play("eg1:sent|sent@a2b,plan", check=False)
    assert [record.events for record in played.records] == [("sent",), ("sent",), ("plan",)]
    assert [state["credits"] for state in played.states] == [0, 2, 2, 3]
    assert [(moment.handler, moment.point) for moment in played.traces[0].moments] == [
        *((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (0, 2), (0, 3), (0, 4))
    ]


def test_races_with_a_snapshot_of_the_database(store: Store) -> None:
    """A playing of the callbacks one after the other is not the beginning of a race of them."""

    def snapshot() -> str:
        with store.opened() as db:
            return "\n".join(db.iterdump())

    def restore(script: str) -> None:
        with store.opened() as db:
            db.executescript("DROP TABLE marks; DROP TABLE claims; DROP TABLE orders")
            db.executescript(script)

    receiver = flask_receiver(store, racing.lost_update)
    error = failure(receiver, "plan-sent", concurrent=2, snapshot=snapshot, restore=restore)
    assert error.failure.token == "eg1:plan-sent:sent|sent@a2b"
    with EngageLab(flask_receiver(store, racing.correct)) as engagelab:
        assert engagelab.explore("plan-sent", concurrent=2, preemptions=1, snapshot=snapshot, restore=restore).ok


def test_an_exploration_can_be_limited(store: Store) -> None:
    with EngageLab(flask_receiver(store, racing.correct)) as engagelab:
        found = engagelab.explore("verified", concurrent=2, limit=3)
        assert (found.schedules, found.ok) == (3, True)
        assert found.total > 3
        assert engagelab.explore("verified", concurrent=2, time_budget=0, check=False).stopped == "time_budget"


def test_all_failures_are_kept_if_they_are_not_raised(store: Store) -> None:
    with EngageLab(flask_receiver(store, racing.lost_update)) as engagelab:
        found = engagelab.explore("plan-sent", concurrent=2, preemptions=1, check=False)
    assert len(found.failures) > 1
    assert found.failures[0].token == "eg1:plan-sent:sent|sent@a2b"


def test_a_schedule_with_a_race_can_be_given(store: Store) -> None:
    chosen = Schedule.parse("eg1:plan,sent|delivered,verified")
    error = failure(flask_receiver(store, racing.lost_update), chosen)
    assert error.failure.token == "eg1:sent|delivered@a2b"


def test_races_of_a_wsgi_app_in_an_event_loop(store: Store) -> None:
    async def test() -> str:
        engagelab = EngageLab(flask_receiver(store, racing.lost_update))
        with pytest.raises(ScheduleFailed) as caught:
            await engagelab.aexplore("plan-sent", concurrent=2)
        return caught.value.failure.token

    assert asyncio.run(test()) == "eg1:plan-sent:sent|sent@a2b"
