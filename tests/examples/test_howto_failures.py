"""Failures: what `NotAcknowledged` holds, and how to expect one."""

from __future__ import annotations

import pytest
from flask import Flask

from engagelab_mock import EngageLab, NotAcknowledged, Outcome, Receiver


@pytest.fixture
def engagelab_receiver() -> Receiver:
    app = Flask("broken")

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        return "try later", 503

    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")


# [raises]
def test_the_failure_holds_the_exchange(engagelab: EngageLab) -> None:
    with pytest.raises(NotAcknowledged) as caught:
        engagelab.send("+6591234567")
    attempt = caught.value.delivery.attempts[0]
    assert attempt.outcome is Outcome.NOT_200
    assert attempt.error == "answered 503 SERVICE UNAVAILABLE; only 200 acknowledges"
    assert attempt.response is not None
    assert attempt.response.text == "try later"


# [check]
def test_what_the_app_does_while_callbacks_fail(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", check=False)
    assert not run.acknowledged
    assert [delivery.outcome for delivery in run.deliveries] == ["not_200"] * 4


# [refused]
def test_a_port_where_nothing_listens() -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/engagelab")) as engagelab:
        run = engagelab.send("+6591234567", scenario="sent_failed", check=False)
    assert run.deliveries[0].outcome.unreachable
    assert run.deliveries[0].attempts[0].error == "connection refused: nothing listens on 127.0.0.1:1"


# [journal]
def test_the_journal_keeps_everything(engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario="delivered", check=False)
    assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
    assert len(engagelab.journal.attempts) == 3
    assert not engagelab.journal.refusals
