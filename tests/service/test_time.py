"""Time: codes that expire, signatures of other times, and libraries that freeze or move Python's own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import freezegun
import pytest
import time_machine
import trio
from engagelab_otp import WebhookSignatureError, WebhookVerifier

from engagelab_mock import (
    EngageLab,
    NotAcknowledged,
    Outcome,
    Receiver,
    Recorder,
    RetryPolicy,
    SystemClock,
    VirtualClock,
)
from tests.eventloops import answering
from tests.peers import Peer, answer
from tests.peers import answering as wire_answering

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from engagelab_mock import Run

START = 1_700_000_000
NOON = 1_704_283_200
LIMIT = 0.2


def verifying(now: Callable[[], float]) -> WSGIApplication:
    """Make an app that has the vendor's own verifier judge each callback, by a clock."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        try:
            WebhookVerifier("acme", "s3cret").verify(environ["HTTP_X_CALLBACK_ID"], now=int(now()))
        except WebhookSignatureError as error:
            start_response("401 Unauthorized", [])
            return [str(error).encode()]
        start_response("200 OK", [])
        return []

    return app


def receiver_for(now: Callable[[], float], **settings: Any) -> Receiver:
    return Receiver.wsgi(verifying(now), username="acme", secret="s3cret", **settings)


# ---- expiry ----


def test_a_code_expires_at_its_time_however_late_its_status_was_acknowledged() -> None:
    recorder = Recorder(answer=500)
    with EngageLab(Receiver.wsgi(recorder), clock=VirtualClock(START)) as engagelab:
        engagelab.clock.call_at(START + 3600, lambda: setattr(recorder, "answer", 200))
        run = engagelab.send("+6591234567", scenario="delivered", retry=RetryPolicy.vendor())
    assert run.statuses == ["plan", "sent", "delivered", "verified_timeout"]
    assert run.acknowledged
    assert [delivery.attempts[0].at - START for delivery in run.deliveries] == [0, 2, 5, 300]
    assert run.events[-1].itime == START + 300


def test_messages_expire_each_at_its_own_time() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        first = engagelab.send("+6591234561", scenario="delivered")
        engagelab.clock.advance(minutes=2)
        second = engagelab.send("+6591234562", scenario="delivered")
        labels = [f"verified_timeout of {run.message_id}" for run in (first, second)]
        assert [timer.label for timer in engagelab.pending] == labels
        assert [timer.at for timer in engagelab.pending] == [
            first.message.accepted + 300,
            second.message.accepted + 300,
        ]
        engagelab.clock.advance_to(first.message.accepted + 300)
        assert (first.statuses[-1], second.statuses[-1]) == ("verified_timeout", "delivered")
        [left] = engagelab.pending
        left.cancel()
        engagelab.clock.advance(days=1)
        assert second.statuses[-1] == "delivered"


def test_an_expiry_that_fails_is_retried_and_then_given_up() -> None:
    recorder = Recorder()
    with EngageLab(Receiver.wsgi(recorder), clock=VirtualClock(START)) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", retry=[60, 60])
        recorder.answer = 500
        engagelab.clock.advance_to(START + 301)
        expired = run.deliveries[-1]
        assert (len(expired.attempts), expired.closed) == (1, False)
        with pytest.raises(NotAcknowledged, match="verified_timeout was not acknowledged in 3 attempts"):
            engagelab.clock.advance(minutes=5)
        assert expired.given_up
        assert [attempt.at - START for attempt in expired.attempts] == [300, 360, 420]


# ---- the signature's clock ----


@pytest.mark.parametrize(("skew", "genuine"), [(-299, True), (299, True), (-302, False), (302, False), (-600, False)])
def test_a_skewed_sender_is_genuine_within_the_window(skew: int, genuine: bool) -> None:
    now = NOON  # given to both, so that no second passes in between
    receiver = receiver_for(lambda: now, skew=skew, signature_clock="virtual")
    with EngageLab(receiver, clock=VirtualClock(now)) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], check=False)
    assert run.acknowledged is genuine


def test_the_window_ends_after_300_seconds() -> None:
    for skew, status in [(-300, 200), (-301, 401), (300, 200), (301, 401)]:
        receiver = receiver_for(lambda: NOON, skew=skew, signature_clock="virtual")
        with EngageLab(receiver, clock=VirtualClock(NOON)) as engagelab:
            run = engagelab.send(scenario=["plan"], check=False)
        response = run.deliveries[0].attempts[0].response
        assert response is not None
        assert response.status == status


def test_the_wall_clock_is_genuine_however_far_virtual_time_has_run() -> None:
    with EngageLab(receiver_for(time.time)) as engagelab:
        engagelab.clock.advance(days=1000)
        assert engagelab.send("+6591234567", retry=RetryPolicy.vendor()).acknowledged


def test_the_virtual_clock_is_genuine_to_who_lives_by_it() -> None:
    clock = VirtualClock(START)
    with EngageLab(receiver_for(clock.time, signature_clock="virtual"), clock=clock) as engagelab:
        run = engagelab.send("+6591234567")
        engagelab.clock.advance(days=1000)
        assert engagelab.send("+6591234567").acknowledged
    assert run.acknowledged
    with EngageLab(receiver_for(time.time, signature_clock="virtual"), clock=VirtualClock(START)) as engagelab:
        assert not engagelab.send("+6591234567", check=False).acknowledged


# ---- frozen and travelled ----


def frozen() -> Any:
    return freezegun.freeze_time(datetime.datetime(2024, 1, 3, 12))


def frozen_and_ticking_by_itself() -> Any:
    return freezegun.freeze_time(datetime.datetime(2024, 1, 3, 12), auto_tick_seconds=15)


def travelled() -> Any:
    return time_machine.travel(NOON, tick=False)


def travelled_and_running() -> Any:
    return time_machine.travel(NOON, tick=True)


@pytest.fixture(params=[frozen, frozen_and_ticking_by_itself, travelled, travelled_and_running])
def elsewhen(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Move the test's own lines to another time, but not pytest's."""
    move: Callable[[], Any] = request.param
    return move


@pytest.fixture(params=[frozen, travelled])
def stopped(request: pytest.FixtureRequest) -> Callable[[], Any]:
    stop: Callable[[], Any] = request.param
    return stop


def sends(engagelab: EngageLab) -> Iterator[Run]:
    yield engagelab.send("+6591234567", scenario="delivered", retry=[60])
    yield asyncio.run(engagelab.asend("+6591234567", scenario="delivered", retry=[60]))
    yield trio.run(lambda: engagelab.asend("+6591234567", scenario="delivered", retry=[60]))


def test_everything_is_sent_and_genuine_at_that_time(elsewhen: Callable[[], Any]) -> None:
    with elsewhen(), EngageLab(receiver_for(time.time)) as engagelab:
        assert engagelab.clock.time() < NOON + 3600
        for run in sends(engagelab):
            assert run.acknowledged
            assert run.events[0].itime - NOON < 3600
        engagelab.clock.advance(minutes=5)
        assert engagelab.journal.statuses[-1] == "verified_timeout"


def test_over_a_socket_too(elsewhen: Callable[[], Any]) -> None:
    with (
        elsewhen(),
        Peer(wire_answering(*[answer()] * 20)) as peer,
        EngageLab(Receiver.http(peer.url, limit=60)) as engagelab,
    ):
        for run in sends(engagelab):
            assert run.acknowledged
            assert all(attempt.elapsed < 60 for delivery in run.deliveries for attempt in delivery.attempts)


def test_an_app_in_process_too(elsewhen: Callable[[], Any]) -> None:
    with elsewhen(), EngageLab(Receiver.asgi(answering(), lifespan=False)) as engagelab:
        for run in sends(engagelab):
            assert run.acknowledged


def test_the_journal_is_waited_for(elsewhen: Callable[[], Any]) -> None:
    with elsewhen(), EngageLab() as engagelab:
        engagelab.send(scenario=["plan"])
        engagelab.journal.wait_for(status="plan")
        with pytest.raises(AssertionError, match=r"within 0\.05 s"):
            engagelab.journal.wait_for(status="sent", timeout=0.05)
        for run in (asyncio.run, lambda program: trio.run(lambda: program)):
            with pytest.raises(AssertionError, match=r"within 0\.05 s"):
                run(engagelab.journal.await_for(status="sent", timeout=0.05))


@pytest.mark.parametrize("how", ["silent", "dripping"])
@pytest.mark.parametrize("verb", ["send", "asend in asyncio", "asend in trio"])
def test_the_limit_over_a_socket_is_in_real_seconds(stopped: Callable[[], Any], how: str, verb: str) -> None:
    def script(conversation: Any) -> None:
        conversation.request()
        if how == "dripping":
            conversation.drip(answer(), every=LIMIT / 10)
        else:
            conversation.await_departure()

    with stopped(), Peer(script) as peer, EngageLab(Receiver.http(peer.url, limit=LIMIT)) as engagelab:
        run = sent(engagelab, verb)
    [attempt] = run.deliveries[0].attempts
    assert attempt.outcome is Outcome.TIMEOUT
    assert attempt.elapsed >= LIMIT


@pytest.mark.parametrize("verb", ["send", "asend in asyncio", "asend in trio"])
def test_the_limit_in_process_is_in_real_seconds(stopped: Callable[[], Any], verb: str) -> None:
    async def hang() -> None:
        if verb == "asend in trio":
            await trio.sleep_forever()
        await asyncio.Event().wait()

    receiver = Receiver.asgi(answering(before=hang), lifespan=False, limit=LIMIT)
    with stopped(), EngageLab(receiver) as engagelab:
        run = sent(engagelab, verb)
    assert run.deliveries[0].outcome is Outcome.TIMEOUT


def test_an_app_that_blocks_too_long_is_found_out(stopped: Callable[[], Any]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        until = time.thread_time() + 0.02  # which no library stops
        while time.thread_time() < until:
            pass
        start_response("200 OK", [])
        return []

    with stopped(), EngageLab(Receiver.wsgi(app, limit=0.01)) as engagelab:
        run = engagelab.send(scenario=["plan"], check=False)
    assert run.deliveries[0].outcome is Outcome.TIMEOUT


def test_a_receiver_may_move_time_without_being_late() -> None:
    with frozen() as control:

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
            control.tick(3600)
            start_response("200 OK", [])
            return []

        with EngageLab(Receiver.wsgi(app)) as engagelab:
            assert engagelab.send("+6591234567").acknowledged


def test_an_app_in_its_own_loop_can_wait_while_time_stands(stopped: Callable[[], Any]) -> None:
    receiver = Receiver.asgi(answering(before=lambda: asyncio.sleep(0.001)), lifespan=False, limit=10)
    with stopped(), EngageLab(receiver) as engagelab:
        assert engagelab.send("+6591234567").acknowledged


@pytest.mark.parametrize("verb", ["send", "asend in asyncio", "asend in trio"])
def test_real_time_passes_on_a_stopped_clock_too(stopped: Callable[[], Any], verb: str) -> None:
    with stopped(), EngageLab(clock=SystemClock(speed=1000)) as engagelab:
        assert sent(engagelab, verb).acknowledged


def test_time_that_jumps_between_sends_is_followed_by_the_signature() -> None:
    with time_machine.travel(NOON, tick=False) as traveller, EngageLab(receiver_for(time.time)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
        traveller.shift(86_400 * 365)
        assert engagelab.send("+6591234567").acknowledged
        traveller.move_to(START)
        assert engagelab.send("+6591234567").acknowledged


def sent(engagelab: EngageLab, verb: str) -> Run:
    if verb == "send":
        return engagelab.send(scenario=["plan"], check=False)
    if verb == "asend in asyncio":
        return asyncio.run(engagelab.asend(scenario=["plan"], check=False))
    return trio.run(lambda: engagelab.asend(scenario=["plan"], check=False))


def test_nothing_of_ours_patches_time() -> None:
    before = [time.time, time.monotonic, time.perf_counter, time.sleep]
    with contextlib.suppress(NotAcknowledged), EngageLab() as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        engagelab.clock.advance(days=1)
        assert [time.time, time.monotonic, time.perf_counter, time.sleep] == before
