"""Time: codes that expire, delays that cost nothing, and the two clocks of a signature."""

from __future__ import annotations

import time

import pytest

from engagelab_mock import EngageLab, Receiver, SystemClock, VirtualClock


# [expiry]
def test_nobody_enters_the_code(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario="delivered")
    engagelab.clock.advance(minutes=5)
    assert engagelab.journal.statuses[-1] == "verified_timeout"
    assert run.statuses == ["plan", "sent", "delivered", "verified_timeout"]


# [ttl]
@pytest.mark.engagelab(scenario="delivered", code_ttl=60)
def test_a_code_of_one_minute(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567")  # plan, 2 s, sent, 3 s, delivered: 5 of the 60 seconds
    engagelab.clock.advance(54)
    assert run.statuses[-1] == "delivered"
    engagelab.clock.advance(1)
    assert run.statuses[-1] == "verified_timeout"


@pytest.mark.engagelab(scenario="delivered", code_ttl=None)
def test_a_code_that_never_expires(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567")
    engagelab.clock.advance(days=30)
    assert run.statuses[-1] == "delivered"


# [itime]
def test_the_callbacks_tell_virtual_time(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567")  # plan, 2 s, sent, 3 s, delivered, 15 s, verified
    assert [event.itime - run.events[0].itime for event in run.events] == [0, 2, 5, 20]
    assert {event.status.status_data.msg_time for event in run.events} == {int(run.message.accepted)}


# [signature]
def test_the_signature_carries_the_wall_clock(engagelab: EngageLab) -> None:
    engagelab.clock.advance(days=365)
    run = engagelab.send("+6591234567")
    signed = int(run.deliveries[0].callback.headers["X-CALLBACK-ID"].split(";")[0].removeprefix("timestamp="))
    assert abs(time.time() - signed) < 300  # what receivers check
    assert run.events[0].itime > time.time() + 364 * 86400


# [frozen]
def test_with_a_receiver_whose_clock_is_frozen() -> None:
    noon = 1_704_283_200
    receiver = Receiver.wsgi(
        app_at(noon), path="/engagelab", username="acme", secret="s3cret", signature_clock="virtual"
    )
    with EngageLab(receiver, clock=VirtualClock(noon)) as engagelab:
        assert engagelab.send("+6591234567", scenario="sent_failed").acknowledged


# [end frozen]
def app_at(now: int):  # type: ignore[no-untyped-def]
    from engagelab_otp import WebhookVerifier
    from flask import Flask, request

    app = Flask("frozen")
    verifier = WebhookVerifier("acme", "s3cret")

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        verifier.verify(request.headers["X-CALLBACK-ID"], now=now)
        return "", 200

    return app


# [real]
def test_in_real_time_a_thousand_times_as_fast() -> None:
    with EngageLab(clock=SystemClock(speed=1000)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
