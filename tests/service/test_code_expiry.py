"""A code that is not entered expires when virtual time passes."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, Recorder, Scenario, VirtualClock

START = 1_700_000_000


def test_a_delivered_code_times_out_after_five_minutes() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered")
        engagelab.clock.advance(seconds=294)
        assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
        engagelab.clock.advance(seconds=1)
        assert engagelab.journal.statuses[-1] == "verified_timeout"
        assert run.statuses == ["plan", "sent", "delivered", "verified_timeout"]
        assert run.acknowledged
        event = run.events[-1]
        assert (event.itime, event.message_id) == (START + 300, run.message_id)
        assert event.status.error_code == 0
        engagelab.clock.advance(days=7)
        assert len(engagelab.journal) == 4


def test_as_the_manual_shows_it() -> None:
    with EngageLab() as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        engagelab.clock.advance(minutes=5)
        assert engagelab.journal.statuses[-1] == "verified_timeout"


@pytest.mark.parametrize("scenario", ["verified", "verified_failed", "verified_timeout", "sent_failed", "lost"])
def test_nothing_expires_if_a_scenario_ends_otherwise(scenario: str) -> None:
    with EngageLab() as engagelab:
        engagelab.send("+6591234567", scenario=scenario)
        before = engagelab.journal.statuses
        assert engagelab.clock.pending == []
        engagelab.clock.advance(days=1)
        assert engagelab.journal.statuses == before


def test_a_code_that_was_read_but_not_entered_expires_too() -> None:
    with EngageLab() as engagelab:
        engagelab.send("+6591234567", scenario="read")
        engagelab.clock.advance(minutes=5)
        assert engagelab.journal.statuses[-2:] == ["read", "verified_timeout"]


def test_codes_can_live_for_ever_or_for_another_time() -> None:
    with EngageLab(code_ttl=None) as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        engagelab.clock.advance(days=365)
        assert engagelab.journal.statuses[-1] == "delivered"
    with EngageLab(code_ttl=60) as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        engagelab.clock.advance(seconds=55)
        assert engagelab.journal.statuses[-1] == "verified_timeout"


@pytest.mark.parametrize("channel", ["sms", "voice", "whatsapp"])
def test_it_expires_on_the_channel_it_came_by(channel: str) -> None:
    with EngageLab() as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", channel=channel)
        named = engagelab.send(
            "+6591234567", scenario=Scenario("s").then("plan").then("sent", channel=channel).then("delivered")
        )
        engagelab.clock.advance(minutes=5)
    assert run.events[-1].status.status_data.current_send_channel == channel
    assert named.events[-1].status.status_data.current_send_channel == channel


def test_several_expire_in_the_order_of_their_sending() -> None:
    with EngageLab() as engagelab:
        runs = [engagelab.send(scenario="delivered") for _ in range(3)]
        engagelab.clock.advance(minutes=6)
        expired = [event for event in engagelab.journal.events if event.name == "verified_timeout"]
    assert expired == [run.events[-1] for run in runs]
    assert [run.statuses[-1] for run in runs] == ["verified_timeout"] * 3


def test_a_receiver_that_fails_by_then_fails_the_test_at_the_line_that_advances_time() -> None:
    recorder = Recorder()
    with EngageLab(Receiver.wsgi(recorder)) as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        recorder.answer = 500
        with pytest.raises(NotAcknowledged, match="verified_timeout was not acknowledged: answered 500") as caught:
            engagelab.clock.advance(minutes=5)
        assert len(caught.traceback.filter(caught)) == 1
        assert not engagelab.journal.attempts[-1].acknowledged


def test_a_send_without_check_expires_without_check() -> None:
    recorder = Recorder(answer=500)
    with EngageLab(Receiver.wsgi(recorder)) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", check=False)
        engagelab.clock.advance(minutes=5)
    assert run.statuses[-1] == "verified_timeout"


@pytest.mark.asyncio
async def test_after_asend_it_expires_as_after_send() -> None:
    with EngageLab() as engagelab:
        await engagelab.asend("+6591234567", scenario="delivered")
        engagelab.clock.advance(minutes=5)
        assert engagelab.journal.statuses[-1] == "verified_timeout"
