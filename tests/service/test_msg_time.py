"""`msg_time` is the time of the message or of the event, in everything that makes rows; `itime` is the row's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from engagelab_mock import (
    DIALECTS,
    Dialect,
    EngageLab,
    Message,
    Receiver,
    Schedule,
    StatusEvent,
    UnknownName,
    VirtualClock,
)
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.trial import Trial
from engagelab_mock.protocol.events import MsgTime
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.service.rest.client import Client

READINGS: list[MsgTime] = ["message", "event"]
TO = "+6591234567"


def enter_the_code(engagelab: EngageLab) -> None:
    client = Client(engagelab)
    message_id = client.sent(TO)
    engagelab.settle()
    engagelab.clock.advance(seconds=60)
    for code in ("wrong", engagelab.inbox(TO).code):
        client.post("/v1/verifications", {"message_id": message_id, "verify_code": code})
    engagelab.settle()


def let_the_code_expire(engagelab: EngageLab) -> None:
    engagelab.send(TO, scenario="delivered")
    engagelab.clock.advance(minutes=6)


SENDS: dict[str, Callable[[EngageLab], object]] = {
    "send": lambda engagelab: engagelab.send(TO),
    "asend": lambda engagelab: asyncio.run(engagelab.asend(TO)),
    "a batch": lambda engagelab: engagelab.send(TO, batch="all"),
    "a bulk send": lambda engagelab: engagelab.send_many(3, concurrency=2),
    "a fallback": lambda engagelab: engagelab.send(TO, scenario="fallback"),
    "the REST API": enter_the_code,
    "an expired code": let_the_code_expire,
    "a schedule": lambda engagelab: engagelab.play("eg1:verified,plan"),
    "an exploration": lambda engagelab: engagelab.explore("verified", limit=3),
    "a made event": lambda engagelab: engagelab.deliver(
        [
            engagelab.send(TO, scenario=["plan"]).message.event(status, at=engagelab.clock.time() + later)
            for later, status in enumerate(["sent", "delivered"])
        ]
    ),
}


def rows(receiver: Receiver) -> dict[str, list[StatusEvent]]:
    """Return the status rows that a receiver got, by message."""
    assert receiver.recorder is not None
    found: dict[str, list[StatusEvent]] = {}
    for received in receiver.recorder.received:
        for event in received.events:
            assert isinstance(event, StatusEvent)
            found.setdefault(event.message_id, []).append(event)
    assert found
    return found


def check_times(receiver: Receiver, msg_time: MsgTime) -> None:
    for events in rows(receiver).values():
        times = [event.status.status_data.msg_time for event in events]
        if msg_time == "event":
            assert times == [event.itime for event in events]
        else:
            assert len({*times}) == 1
            assert times[0] <= min(event.itime for event in events)


@pytest.mark.parametrize("start", [0.0, 1704265712.9])
@pytest.mark.parametrize("msg_time", READINGS)
@pytest.mark.parametrize("sends", SENDS)
def test_every_row_of_a_message_has_its_time_or_each_has_its_own(sends: str, msg_time: MsgTime, start: float) -> None:
    receiver = Receiver.recording()
    with EngageLab(receiver, clock=VirtualClock(start), dialect=Dialect(msg_time=msg_time)) as engagelab:
        SENDS[sends](engagelab)
    check_times(receiver, msg_time)
    assert any(len({event.itime for event in events}) > 1 for events in rows(receiver).values())


@pytest.mark.parametrize("msg_time", READINGS)
def test_a_message_from_a_store_keeps_its_reading(msg_time: MsgTime, tmp_path: Path) -> None:
    receiver = Receiver.recording()
    make = partial(EngageLab, receiver, dialect=Dialect(msg_time=msg_time))
    with SqliteStore(tmp_path / "mock.sqlite") as store, make() as engagelab:
        restore(engagelab, store)
        message_id = Client(engagelab).sent(TO)
        engagelab.settle()
        moment = engagelab.clock.time()
    with SqliteStore(tmp_path / "mock.sqlite") as store, make(clock=VirtualClock(moment + 60)) as engagelab:
        restore(engagelab, store)
        code = engagelab.inbox(TO).code
        Client(engagelab).post("/v1/verifications", {"message_id": message_id, "verify_code": code})
        engagelab.settle()
    assert [event.name for event in rows(receiver)[message_id]] == ["plan", "sent", "delivered", "verified"]
    check_times(receiver, msg_time)


@pytest.mark.parametrize("msg_time", READINGS)
def test_a_check_sends_rows_of_the_same_reading(msg_time: MsgTime) -> None:
    receiver = Receiver.recording()
    trial = Trial(Context(receiver, dialect=Dialect(msg_time=msg_time)), seconds=20)
    message = trial.message()
    for _ in trial.play(Schedule.of("verified", "plan", "sent"), message):
        pass
    trial.send(message)
    check_times(receiver, msg_time)


@pytest.mark.parametrize("name", DIALECTS)
def test_in_the_documents_dialects_it_is_the_message_s(name: str) -> None:
    receiver = Receiver.recording()
    with EngageLab(receiver, dialect=name) as engagelab:
        run = engagelab.send(TO, scenario="sent_failed")
    check_times(receiver, "message")
    assert {event.status.status_data.msg_time for event in run.events} == {int(run.message.accepted)}


def test_an_event_that_the_test_made_stays_as_it_is() -> None:
    made = Message(id="1", to=TO, accepted=100).event("sent", at=105)
    data = msgspec.structs.replace(made.status.status_data, msg_time=7)
    own = msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, status_data=data))
    for msg_time in READINGS:
        receiver = Receiver.recording()
        with EngageLab(receiver, dialect=Dialect(msg_time=msg_time)) as engagelab:
            engagelab.deliver([own])
        assert rows(receiver) == {"1": [own]}


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("mesage", "did you mean 'message'? Known: event, message"), ("itime", "Known: event, message"), (None, "Known:")],
)
def test_another_reading_is_refused_with_the_nearest(wrong: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=f"Dialect: unknown msg_time {wrong!r}") as caught:
        Dialect(msg_time=wrong)  # type: ignore[arg-type]
    assert hint in caught.value.hint
    with pytest.raises(UnknownName, match="unknown msg_time"):
        msgspec.structs.replace(DIALECTS["newer"], msg_time=wrong)
    if wrong is not None:
        with pytest.raises(UnknownName, match="Message: unknown msg_time"):
            Message(id="1", to=TO, msg_time=wrong)  # type: ignore[arg-type]
