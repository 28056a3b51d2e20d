"""Retries: a receiver that is down for a while, in virtual time."""

from __future__ import annotations

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, RetryPolicy

down = {"failures": 0}
seen: list[str] = []


@pytest.fixture
def app() -> Flask:
    seen.clear()
    app = Flask("retries")

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        if down["failures"]:
            down["failures"] -= 1
            return "the database is down", 503
        seen.extend(row["status"]["message_status"] for row in request.get_json()["rows"])
        return "", 200

    return app


@pytest.fixture
def engagelab_receiver(app: Flask) -> Receiver:
    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")


# [vendor]
def test_down_for_two_hours(engagelab: EngageLab) -> None:
    down["failures"] = 4
    run = engagelab.send("+6591234567", scenario=["plan"], retry=RetryPolicy.vendor())
    [delivery] = run.deliveries
    assert delivery.acknowledged
    first = delivery.attempts[0].at
    assert [attempt.at - first for attempt in delivery.attempts] == [0, 60, 660, 4260, 11460]


# [custom]
def test_every_ten_seconds(engagelab: EngageLab) -> None:
    down["failures"] = 2
    run = engagelab.send("+6591234567", scenario=["plan"], retry=RetryPolicy.every(10, times=3))
    assert len(run.deliveries[0].attempts) == 3


def test_waits_of_your_own(engagelab: EngageLab) -> None:
    down["failures"] = 2
    run = engagelab.send("+6591234567", scenario=["plan"], retry=[1, 60])
    assert len(run.deliveries[0].attempts) == 3


# [order]
def test_what_was_retried_comes_late(engagelab: EngageLab) -> None:
    down["failures"] = 1
    engagelab.send("+6591234567", scenario="delivered", retry=[60])
    assert seen == ["sent", "delivered", "plan"]


# [marker]
@pytest.mark.engagelab(retry=[5, 5])
def test_all_of_a_test_is_retried(engagelab: EngageLab) -> None:
    down["failures"] = 2
    assert engagelab.send("+6591234567").acknowledged


# [given up]
def test_down_for_too_long(engagelab: EngageLab) -> None:
    down["failures"] = 100
    with pytest.raises(NotAcknowledged, match="plan was not acknowledged in 3 attempts") as caught:
        engagelab.send("+6591234567", scenario=["plan"], retry=[60, 60])
    assert caught.value.delivery.given_up
    down["failures"] = 0


# [pending]
def test_what_is_still_to_come(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered")
    [timer] = engagelab.pending
    assert timer.label == f"verified_timeout of {run.message_id}"
    assert timer.at == run.message.accepted + 300
    timer.cancel()
    engagelab.clock.advance(days=1)
    assert run.statuses[-1] == "delivered"
