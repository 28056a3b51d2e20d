"""Testing a receiver with Hypothesis."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask, request
from hypothesis import Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

from engagelab_mock import AT_LEAST_ONCE, EngageLab, Receiver, Scenario, ScheduleFailed, converges, exactly_once
from engagelab_mock.strategies import ReceiverMachine, nearly_bodies, scenarios

RANKS = ["plan", "target_valid", "target_invalid", "sent", "sent_failed", "delivered_failed", "delivered", "read"]
RANKS += ["verified_failed", "verified_timeout", "verified"]
orders: dict[str, dict[str, Any]] = {}


def create_app() -> Flask:
    app = Flask("shop")

    @app.post("/engagelab")
    def engagelab_callback() -> tuple[str, int]:
        try:
            rows = json.loads(request.get_data())["rows"]
            found = [(row["message_id"], row["status"]["message_status"]) for row in rows if "status" in row]
        except (ValueError, TypeError, KeyError):
            return "", 400
        for message_id, status in found:
            order = orders.setdefault(str(message_id), {"status": "plan", "credits": 0})
            if status in RANKS and RANKS.index(status) > RANKS.index(order["status"]):
                order["status"] = status
                order["credits"] += status == "verified"
        return "", 200

    return app


def a_receiver() -> Receiver:
    return Receiver.wsgi(create_app(), path="/engagelab", observe=orders.get)


# [machine]
class Machine(ReceiverMachine):
    lifecycles = ("verified", "fallback", "verified")
    faults = AT_LEAST_ONCE
    must_hold = (converges(), exactly_once("credits"))

    def receiver(self) -> Receiver:
        return a_receiver()

    def reset(self) -> None:
        orders.clear()


TestReceiver = Machine.TestCase
TestReceiver.settings = settings(max_examples=20, stateful_step_count=12, deadline=None, derandomize=True)


# [strategies]
@settings(max_examples=25, deadline=None, derandomize=True)
@given(scenarios())
def test_any_course_that_the_graph_allows(scenario: Scenario) -> None:
    with EngageLab(a_receiver(), code_ttl=None) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    if "verified" in scenario.statuses:
        assert orders[run.message_id]["status"] == "verified"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(nearly_bodies())
def test_no_body_crashes_it(body: bytes) -> None:
    response = create_app().test_client().post("/engagelab", data=body)
    assert response.status_code in {200, 400}


# [end]
def test_the_machine_finds_a_bug() -> None:
    class Broken(Machine):
        def receiver(self) -> Receiver:
            receiver = a_receiver()
            receiver.observe = lambda message_id: {"credits": 2 * orders.get(message_id, {"credits": 0})["credits"]}
            return receiver

    bounded = settings(TestReceiver.settings, phases=[Phase.generate], database=None)
    with pytest.raises(ScheduleFailed) as raised:
        run_state_machine_as_test(Broken, settings=bounded)
    assert raised.value.failure.schedule.deliveries == 1
