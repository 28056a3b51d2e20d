"""Finding the ordering bug of a receiver: explore, read, replay, correct."""

from __future__ import annotations

from queue import Queue
from threading import Thread
from typing import Any

import pytest
from engagelab_otp import MessageStatusEvent, WebhookVerifier
from flask import Flask, request

from engagelab_mock import (
    EngageLab,
    Message,
    Played,
    Receiver,
    Schedule,
    ScheduleFailed,
    converges,
    eventually,
    exactly_once,
    never_regresses,
    schedules,
)

# [receiver]
orders: dict[str, dict[str, Any]] = {}


def create_app() -> Flask:
    app = Flask("shop")

    @app.post("/engagelab")
    def engagelab_callback() -> str:
        for row in request.get_json(force=True)["rows"]:
            if "status" in row:
                order = orders.setdefault(row["message_id"], {"status": None, "credits": 0})
                order["status"] = row["status"]["message_status"]
                if order["status"] == "verified":
                    order["credits"] += 1
        return ""

    return app


# [observe]
@pytest.fixture
def engagelab_receiver() -> Receiver:
    orders.clear()
    return Receiver.wsgi(create_app(), path="/engagelab", observe=orders.get)


# [explore]
def explore(engagelab: EngageLab) -> None:
    engagelab.explore("verified", invariants=[converges()])


# [shown]
def test_it_fails(engagelab: EngageLab) -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(engagelab)
    assert caught.value.failure.token == "eg1:verified,delivered"


# [replay]
def test_that_one_again(engagelab: EngageLab) -> None:
    with pytest.raises(ScheduleFailed):
        engagelab.replay("eg1:verified,delivered", invariants=[converges()])


def test_step_by_step(engagelab: EngageLab) -> None:
    played = engagelab.play("eg1:verified,delivered")
    assert [record.after["status"] for record in played.records] == ["verified", "delivered"]


# [twice]
def test_the_other_bug(engagelab: EngageLab) -> None:
    with pytest.raises(ScheduleFailed) as caught:
        engagelab.explore("verified", invariants=[exactly_once("credits")], faults="at-least-once", reset=orders.clear)
    assert caught.value.failure.token == "eg1:verified!ackloss"


# [corrected]
STEPS = ["plan", "sent", "delivered", "verified"]


def create_corrected_app() -> Flask:
    app = Flask("shop")
    had: dict[str, set[str]] = {}

    @app.post("/engagelab")
    def engagelab_callback() -> str:
        for row in request.get_json(force=True)["rows"]:
            if "status" in row:
                statuses = had.setdefault(row["message_id"], set())
                statuses.add(row["status"]["message_status"])
                furthest = max(statuses & {*STEPS}, key=STEPS.index, default=None)
                orders[row["message_id"]] = {"status": furthest, "credits": int("verified" in statuses)}
        return ""

    return app


@pytest.fixture
def corrected() -> EngageLab:
    orders.clear()
    return EngageLab(Receiver.wsgi(create_corrected_app(), path="/engagelab", observe=orders.get))


def test_everything(corrected: EngageLab) -> None:
    found = corrected.explore(
        "verified",
        invariants=[converges(), never_regresses(), exactly_once("credits", when="verified")],
        duplicates=1,
        batchings=True,
        faults="at-least-once",
    )
    assert found.schedules == 75 + 240 + 384


# [probe]
sent: dict[str, str] = {}  # the app's own messages
jobs: Queue[list[Any]] = Queue()  # its worker takes them


def status_of(message_id: str) -> str | None:
    return sent.get(message_id)


def insert(message: Message) -> None:
    sent[message.id] = "new"


def create_receiver(app: Flask) -> Receiver:
    return Receiver.wsgi(
        app,
        path="/engagelab",
        observe=status_of,
        prepare=insert,
        reset=sent.clear,
        wait_idle=jobs.join,
    )


# [end of probe]
def create_app_with_a_worker() -> Flask:
    app = Flask("shop")

    @app.post("/engagelab")
    def engagelab_callback() -> str:
        jobs.put(request.get_json(force=True)["rows"])
        return ""

    return app


def work() -> None:
    while rows := jobs.get():
        for row in rows:
            status = row["status"]["message_status"]
            known = sent.get(row["message_id"])
            if known is not None and (known == "new" or STEPS.index(status) > STEPS.index(known)):
                sent[row["message_id"]] = status
        jobs.task_done()


def test_an_app_that_knows_only_what_it_sent_and_works_later() -> None:
    Thread(target=work, daemon=True).start()
    with EngageLab(create_receiver(create_app_with_a_worker())) as engagelab:
        assert engagelab.explore("verified").states == 4
    jobs.put([])


# [ties]
def create_app_that_orders_by_time() -> Flask:
    app = Flask("shop")

    @app.post("/engagelab")
    def engagelab_callback() -> str:
        for row in request.get_json(force=True)["rows"]:
            known = orders.get(row["message_id"])
            if known is None or row["itime"] >= known["itime"]:
                orders[row["message_id"]] = {"status": row["status"]["message_status"], "itime": row["itime"]}
        return ""

    return app


def test_events_of_one_second() -> None:
    receiver = Receiver.wsgi(create_app_that_orders_by_time(), path="/engagelab", observe=orders.get)
    with EngageLab(receiver) as engagelab:
        engagelab.explore("verified", invariants=[converges("status")], reset=orders.clear)
        with pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("plan-sent-delivered", invariants=[converges("status")], reset=orders.clear)
    assert caught.value.failure.token == "eg1:plan-sent-delivered:delivered,sent"


# [each]
@pytest.mark.parametrize("schedule", schedules("verified", limit=10))
def test_each(corrected: EngageLab, schedule: Schedule) -> None:
    assert corrected.play(schedule).final["status"] == "verified"


# [own]
def no_credit_too_early(played: Played) -> None:
    for record in played.records:
        assert record.after["status"] == "verified" or not record.after["credits"], "a credit came too early"


def test_credits(corrected: EngageLab) -> None:
    corrected.explore("verified", invariants=[no_credit_too_early], limit=50)


# [collect]
def test_how_many_fail(engagelab: EngageLab) -> None:
    found = engagelab.explore("verified", duplicates=0, reset=orders.clear, time_budget=20, check=False)
    assert (len(found.failures), found.schedules) == (18, 24)


# [terminal]
settled: dict[str, str] = {}


def keep_the_first(events: list[object]) -> None:
    for event in events:
        if isinstance(event, MessageStatusEvent) and event.is_terminal:
            settled.setdefault(event.message_id, event.status)


def keep_the_last(events: list[object]) -> None:
    for event in events:
        if isinstance(event, MessageStatusEvent) and event.is_terminal:
            settled[event.message_id] = event.status


@pytest.fixture
def sdk_receiver(request: pytest.FixtureRequest) -> Receiver:
    settled.clear()
    app = Flask("shop")
    view = WebhookVerifier("acme", "s3cret").flask_view(request.param)
    app.add_url_rule("/engagelab", "engagelab", view, methods=["POST"])
    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret", observe=settled.get)


IN_ORDER = "eg1:plan,sent/whatsapp,delivered_failed,sent/sms,delivered,verified"


@pytest.mark.parametrize("sdk_receiver", [keep_the_first], indirect=True)
def test_the_first_terminal_status_is_not_the_end(sdk_receiver: Receiver) -> None:
    with EngageLab(sdk_receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.play(IN_ORDER, [eventually("verified")])
    assert caught.value.failure.played.final == "delivered_failed"


@pytest.mark.parametrize("sdk_receiver", [keep_the_last], indirect=True)
def test_the_last_that_comes_need_not_be_the_last_that_happened(sdk_receiver: Receiver) -> None:
    with EngageLab(sdk_receiver) as engagelab:
        engagelab.play(IN_ORDER, [eventually("verified")])
        with pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("fallback", invariants=[eventually("verified")], reset=settled.clear)
    assert caught.value.failure.token == "eg1:verified,delivered"
