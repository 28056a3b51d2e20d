"""A trial delivers a schedule as `EngageLab.play` does: the token of a finding sends the same again."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, Receiver, Schedule, StatusEvent, decode
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.trial import Trial

SCHEDULES = [
    Schedule.of("verified", "delivered", "plan", "verified", "sent"),
    Schedule.parse("eg1:plan*2,sent,plan"),
    Schedule.of("fallback_exhausted", ["plan", "sent/whatsapp"], ["delivered_failed/sms", "sent/voice"]),
    Schedule.of("plan-sent+2-delivered+3-delivered_failed+3%5012", "delivered_failed", "delivered"),
    Schedule.of("delivered", "sent#2", ["plan", "plan#2"], "sent", others=["verified"]),
]


def rows_of(bodies: list[bytes]) -> list[list[tuple[object, ...]]]:
    """Return the status rows of callbacks, with messages numbered and times counted from the first event."""
    callbacks = [[row for row in decode(body).rows if isinstance(row, StatusEvent)] for body in bodies]
    ids = list(dict.fromkeys(row.message_id for rows in callbacks for row in rows))
    first = {id: min(row.itime for rows in callbacks for row in rows if row.message_id == id) for id in ids}
    return [
        [
            (
                *(ids.index(row.message_id), row.itime - first[row.message_id], row.name),
                *(row.status.status_data.current_send_channel, row.status.error_code, row.status.error_detail),
            )
            for row in rows
        ]
        for rows in callbacks
    ]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_trial_delivers_a_schedule_as_play_does(schedule: Schedule) -> None:
    with EngageLab(Receiver.recording()) as engagelab:
        played = [record.attempt.callback.body for record in engagelab.play(schedule).records]
    trial = Trial(Context(Receiver.recording()), seconds=20)
    messages = [trial.message() for _ in schedule.lifecycles]
    delivered = [attempt.callback.body for attempt in trial.play(schedule, *messages)]
    assert rows_of(delivered) == rows_of(played)


def test_a_trial_that_ends_delivers_no_more_callbacks() -> None:
    receiver = Receiver.recording()
    trial = Trial(Context(receiver), seconds=20)
    attempts = trial.play(Schedule.of("verified", "plan", "sent"), trial.message())
    assert next(attempts).acknowledged
    assert receiver.recorder is not None
    assert [received.statuses for received in receiver.recorder.received] == [["plan"]]


def test_the_events_of_a_trial_have_the_same_time_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(Receiver.recording())
    trial = Trial(context, seconds=20)
    first, second = trial.message(), trial.message()
    earlier = trial.event(first)
    now = context.engagelab.clock.time()
    monkeypatch.setattr(context.engagelab.clock, "time", lambda: now + 3600)
    later = trial.event(second)
    assert isinstance(earlier, StatusEvent)
    assert isinstance(later, StatusEvent)
    assert (earlier.itime, earlier.status.status_data.msg_time) == (later.itime, later.status.status_data.msg_time)
