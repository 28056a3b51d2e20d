"""Retries: when they come, what each carries, and when they end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from engagelab_otp import WebhookVerifier

from engagelab_mock import (
    EngageLab,
    InvalidDelay,
    NotAcknowledged,
    Outcome,
    Receiver,
    RetryPolicy,
    SystemClock,
    UsageError,
    VirtualClock,
    fault,
)
from engagelab_mock.delivery.retry import NO_RETRY, retry_policy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

START = 1_700_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400
#: The ladder as the guides print it.
LADDER = [MINUTE, 10 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR, 10 * HOUR] + [DAY] * 18


class Failing:
    """An app that answers 503 to the first so many callbacks that carry a status, and 200 to all others."""

    def __init__(self, times: float, status: str = "") -> None:
        self.times = times
        self.status = status.encode()
        self.bodies: list[bytes] = []
        self.headers: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read()
        self.bodies.append(body)
        self.headers.append(environ.get("HTTP_X_CALLBACK_ID", ""))
        fails = self.times > 0 and b'"message_status":"' + self.status in body
        self.times -= fails
        start_response("503 Busy" if fails else "200 OK", [])
        return [b""]


def engine(app: Failing, **settings: Any) -> EngageLab:
    return EngageLab(Receiver.wsgi(app, username="acme", secret="s3cret", **settings), clock=VirtualClock(START))


def moments(attempts: Sequence[Any]) -> list[float]:
    return [attempt.at - START for attempt in attempts]


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_the_vendors_ladder_ends_acknowledged_after_23_failures(clock: str) -> None:
    app = Failing(23)
    with engine(app, signature_clock=clock) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], retry=RetryPolicy.vendor())
    [delivery] = run.deliveries
    assert delivery.acknowledged
    assert not delivery.given_up
    assert [attempt.number for attempt in delivery.attempts] == list(range(1, 25))
    assert [attempt.outcome for attempt in delivery.attempts] == [Outcome.NOT_200] * 23 + [Outcome.ACKNOWLEDGED]
    assert moments(delivery.attempts) == [sum(LADDER[:retries]) for retries in range(24)]
    assert engagelab.clock.time() == START + sum(LADDER[:23])
    assert set(app.bodies) == {delivery.body}
    assert len(engagelab.journal) == 1


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_each_attempt_is_signed_again_at_its_own_time(clock: str) -> None:
    app = Failing(23)
    began = time.time()
    with engine(app, signature_clock=clock) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], retry=RetryPolicy.vendor()).deliveries
    assert len(set(app.headers)) == 24
    assert len({header.split(";")[1] for header in app.headers}) == 24  # nonces
    for attempt, header in zip(delivery.attempts, app.headers, strict=True):
        assert attempt.callback.headers["X-CALLBACK-ID"] == header
        now = attempt.at if clock == "virtual" else time.time()
        WebhookVerifier("acme", "s3cret").verify(header, now=int(now))
        timestamp = int(header.split(";")[0].removeprefix("timestamp="))
        if clock == "virtual":
            assert timestamp == attempt.at
        else:
            assert int(began) <= timestamp <= time.time()


def test_the_ladder_is_given_up_after_24_retries() -> None:
    app = Failing(math.inf)
    with engine(app) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.send("+6591234567", retry=RetryPolicy.vendor())
        assert caught.value.what.startswith("plan was not acknowledged in 25 attempts: answered 503 Busy")
        delivery = caught.value.delivery
        assert (delivery.given_up, delivery.acknowledged, len(delivery.attempts)) == (True, False, 25)
        assert engagelab.clock.time() == START + sum(LADDER)
        # Later statuses had their own retries on the clock; none of them is left.
        assert engagelab.pending == []
        count = len(engagelab.journal.attempts)
        engagelab.clock.advance(days=30)
        assert len(engagelab.journal.attempts) == count


def test_unchecked_every_delivery_is_tried_to_its_end() -> None:
    with engine(Failing(math.inf)) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", retry=[10, 20], check=False)
    assert [len(delivery.attempts) for delivery in run.deliveries] == [3, 3, 3]
    assert all(delivery.given_up for delivery in run.deliveries)
    assert [moments(delivery.attempts) for delivery in run.deliveries] == [[0, 10, 30], [2, 12, 32], [5, 15, 35]]


def test_the_first_failure_is_the_last_without_a_policy() -> None:
    app = Failing(1)
    with engine(app) as engagelab, pytest.raises(NotAcknowledged, match="plan was not acknowledged: answered 503"):
        engagelab.send("+6591234567")
    assert len(app.bodies) == 1


def test_later_statuses_overtake_the_retries_of_earlier_ones() -> None:
    with engine(Failing(6, "plan")) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", retry=RetryPolicy.every(10 * MINUTE, times=10))
    # A delivery is entered at the time of its first attempt. Its attempts have the answers, with their times.
    assert run.statuses == ["plan", "sent", "delivered", "verified_timeout"]
    answered = {delivery.statuses[0]: delivery.attempts[-1].at - START for delivery in run.deliveries}
    assert answered == {"plan": HOUR, "sent": 2, "delivered": 5, "verified_timeout": 5 * MINUTE}
    assert run.acknowledged


def test_the_receiver_sees_them_in_the_order_of_time() -> None:
    app = Failing(3, "plan")
    with engine(app) as engagelab:
        engagelab.send("+6591234567", scenario="delivered", retry=[1, 3, 30])
    names = [body.split(b'"message_status":"')[1].split(b'"')[0].decode() for body in app.bodies]
    assert names == ["plan", "plan", "sent", "plan", "delivered", "plan"]  # at 0, 1, 2, 4, 5 and 34 s


@pytest.mark.parametrize("verb", ["notify", "uplink", "system_event"])
def test_an_event_about_the_account_is_retried_too(verb: str) -> None:
    answers = [500, 500, 200]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response(f"{answers.pop(0)} x", [])
        return []

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        if verb == "uplink":
            [delivery] = engagelab.uplink("+6591234567", body="STOP", retry=[1, 2])
        else:
            event = {"notify": "insufficient_balance", "system_event": "account_login"}[verb]
            [delivery] = getattr(engagelab, verb)(event, retry=[1, 2])
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3]
    assert delivery.acknowledged


def test_each_receiver_is_retried_on_its_own() -> None:
    good, bad = Failing(0), Failing(2)
    receivers = [Receiver.wsgi(app, username="acme", secret="s3cret") for app in (good, bad)]
    with EngageLab(receivers) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], retry=[1, 1])
    assert [len(delivery.attempts) for delivery in run.deliveries] == [1, 3]
    assert run.acknowledged


def test_a_policy_can_be_the_default_and_a_call_goes_over_it() -> None:
    app = Failing(3)
    with EngageLab(Receiver.wsgi(app), defaults={"retry": [1, 1, 1]}) as engagelab:
        assert len(engagelab.send(scenario=["plan"]).deliveries[0].attempts) == 4
        app.times = 1
        with pytest.raises(NotAcknowledged):
            engagelab.send(scenario=["plan"], retry=[])


def test_the_default_is_for_notifications_too() -> None:
    answers = [500, 200]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response(f"{answers.pop(0)} x", [])
        return []

    with EngageLab(Receiver.wsgi(app), defaults={"retry": [1]}) as engagelab:
        assert engagelab.notify("insufficient_balance")[0].acknowledged


def test_duplicates_are_one_try() -> None:
    with engine(Failing(3)) as engagelab:
        struck = fault("duplicate", copies=3, attempts=1)
        [delivery] = engagelab.send(scenario=["plan"], fault=struck, retry=[7, 70]).deliveries
    assert moments(delivery.attempts) == [0, 0, 0, 7]
    assert delivery.acknowledged


def test_in_real_time_retries_wait_by_the_clock_s_own_seconds() -> None:
    with EngageLab(Receiver.wsgi(Failing(2)), clock=SystemClock(speed=1000)) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], retry=[10, 40]).deliveries
    first, second, third = [attempt.at for attempt in delivery.attempts]
    assert second - first >= 10
    assert third - second >= 40


def test_custom_waits_may_be_nothing_and_fractions() -> None:
    with engine(Failing(3)) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], retry=(0, 0.5, 0)).deliveries
    assert moments(delivery.attempts) == [0, 0, 0.5, 0.5]


def test_the_ladder() -> None:
    assert list(RetryPolicy.vendor().waits) == LADDER
    assert RetryPolicy.every(30, times=3).waits == (30, 30, 30)
    assert RetryPolicy.every(30, times=0) == NO_RETRY
    assert retry_policy(None) is NO_RETRY
    assert [NO_RETRY.wait_after(1), RetryPolicy((5,)).wait_after(1), RetryPolicy((5,)).wait_after(2)] == [None, 5, None]


@pytest.mark.parametrize("waits", [[-1], [math.nan], [math.inf], [True], ["5"], [1, None]])
def test_waits_that_cannot_pass_are_refused_and_named(waits: Any) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(InvalidDelay, match=f"RetryPolicy, wait {len(waits)}: "):
            engagelab.send("+6591234567", retry=waits)
        assert len(engagelab.journal.refusals) == 1
        assert engagelab.pending == []


@pytest.mark.parametrize("chosen", ["vendor", True, 5, {1, 2}])
def test_an_invalid_policy_is_refused(chosen: Any) -> None:
    with pytest.raises(UsageError, match="retry is a RetryPolicy or a list of seconds") as caught:
        EngageLab().send("+6591234567", retry=chosen)
    assert "RetryPolicy.vendor()" in caught.value.hint


@pytest.mark.parametrize("waits", [5, None, "55"])
def test_a_policy_holds_a_list(waits: Any) -> None:
    with pytest.raises(UsageError, match="waits are a list of seconds"):
        RetryPolicy(waits)


@pytest.mark.parametrize("times", [-1, 1.5, True, "3"])
def test_a_number_of_times_is_one(times: Any) -> None:
    with pytest.raises(UsageError, match="times is a number from 0"):
        RetryPolicy.every(5, times=times)
