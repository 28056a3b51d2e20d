"""Deliveries on the clock: the entries, their labels, and how they are withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, Recorder, VirtualClock
from engagelab_mock.delivery.io import Io
from engagelab_mock.service.scheduler import ScheduledCallback
from engagelab_mock.service.sending import Sending

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

START = 1_700_000_000


class Watching:
    """An app that answers 500, and notes the entries that the sender still has on the clock then."""

    def __init__(self) -> None:
        self.engagelab: EngageLab | None = None
        self.seen: list[list[str]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        assert self.engagelab is not None
        self.seen.append([f"{timer.at - START:g} {timer.label}" for timer in self.engagelab.pending])
        start_response("500 no", [])
        return []


def test_pending_entries_are_labelled_and_in_the_order_of_time() -> None:
    app = Watching()
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab
        run = engagelab.send("+6591234567", scenario="delivered", retry=[60], check=False)
        whose = f"of {run.message_id}"
    assert app.seen[0] == [f"2 sent {whose}", f"5 delivered {whose}", f"300 verified_timeout {whose}"]
    assert app.seen[2] == [
        f"60 attempt 2 of plan {whose}",
        f"62 attempt 2 of sent {whose}",
        f"300 verified_timeout {whose}",
    ]
    # An attempt under way is on the clock no longer, nor is one that was the last.
    assert app.seen[-1] == [f"300 verified_timeout {whose}"]


def test_an_entry_about_the_account_says_so() -> None:
    app = Watching()
    labels: list[str] = []
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab
        engagelab.clock.call_at(START + 1, lambda: labels.extend(timer.label for timer in engagelab.pending))
        engagelab.notify("insufficient_balance", retry=[30], check=False)
    assert labels == ["attempt 2 of insufficient_balance of the account"]


def test_a_retry_can_be_cancelled_from_outside() -> None:
    app = Watching()
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab
        engagelab.clock.call_at(START + 30, lambda: engagelab.pending[0].cancel())
        run = engagelab.send(scenario=["plan"], retry=[60], check=False)
    [delivery] = run.deliveries
    assert len(delivery.attempts) == 1
    assert not delivery.closed
    assert engagelab.pending == []


def test_a_failed_check_takes_back_only_that_send_s_pending_callbacks() -> None:
    recorder = Recorder()
    with EngageLab(Receiver.wsgi(recorder), clock=VirtualClock(START)) as engagelab:
        earlier = engagelab.send("+6591234567", scenario="delivered")
        recorder.answer = 500
        with pytest.raises(NotAcknowledged):
            engagelab.send("+6591234568", scenario="delivered", retry=[1])
        assert [timer.label for timer in engagelab.pending] == [f"verified_timeout of {earlier.message_id}"]
        recorder.answer = 200
        engagelab.clock.advance(minutes=5)
        assert earlier.statuses[-1] == "verified_timeout"


def test_an_interrupted_send_ends_its_attempt_and_leaves_nothing_on_the_clock() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise KeyboardInterrupt

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        with pytest.raises(KeyboardInterrupt):
            engagelab.send("+6591234567", scenario="delivered")
        [attempt] = engagelab.journal.attempts
        assert attempt.outcome == "app_raised"
        assert engagelab.journal.deliveries[0].closed
        assert engagelab.pending == []


def test_a_callback_that_is_withdrawn_when_its_time_has_come_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may do so between the moment it is taken off the agenda and the moment it is sent."""
    recorder, deliver = Recorder(), Sending.deliver

    async def withdrawn(sending: Sending, io: Io, callback: ScheduledCallback) -> None:
        callback.cancel()
        await deliver(sending, io, callback)

    monkeypatch.setattr(Sending, "deliver", withdrawn)
    with EngageLab(Receiver.wsgi(recorder)) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered")
    assert recorder.received == []
    assert run.deliveries == []
