"""A tape is read, replayed and played as a schedule; a damaged one is reported."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from engagelab_mock import (
    Dialect,
    EngageLab,
    Headers,
    InvalidTape,
    Message,
    NotAcknowledged,
    Receiver,
    Scenario,
    Schedule,
    UsageError,
    VirtualClock,
    converges,
    never_regresses,
)
from engagelab_mock.explore.tape.file import TapeWriter
from tests.explore.tape.recorded import receiver, write
from tests.receivers.gallery.mutants import LastWriteWins
from tests.receivers.gallery.stacks import shop

MONTH = 30 * 24 * 3600.0


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A tape of a month ago: a message over two channels, a notification, a reply, a ping."""
    with EngageLab(receiver(), clock=VirtualClock(VirtualClock().time() - MONTH)) as engagelab:
        engagelab.validate_address()
        engagelab.send("+6591234567", scenario="fallback")
        engagelab.notify("insufficient_balance")
        engagelab.uplink("+6591234567", body="STOP")
        return write(tmp_path / "day.jsonl", engagelab)


def test_the_contents_of_a_tape(day: Path) -> None:
    with EngageLab() as engagelab:
        tape = engagelab.tape(day)

    assert tape.head is not None
    assert tape.head.sanitised
    assert len(tape.callbacks) == 9
    assert tape.statuses[:3] == ["plan", "sent", "delivered_failed"]
    assert tape.statuses[-2:] == ["insufficient_balance", "uplink_message"]
    assert tape.duration == pytest.approx(30)
    assert {entry.answer.status for entry in tape.entries if entry.answer} == {200}
    assert repr(tape) == "<Tape of 9 callbacks>"


def test_a_replay_sends_the_same_callbacks_with_new_signatures_and_times(day: Path) -> None:
    target = receiver()
    with EngageLab(target) as engagelab:
        start = engagelab.clock.time()
        tape = engagelab.tape(day)
        deliveries = tape.replay()

    assert target.recorder is not None
    received = target.recorder.received
    assert [delivery.acknowledged for delivery in deliveries] == [True] * 9
    assert [each.ping for each in received] == [True] + [False] * 8
    assert [each.verdict.reason for each in received] == ["valid"] * 9
    assert "X-Callback-Id" not in received[0].headers
    assert [name for each in received for name in each.statuses] == tape.statuses
    gaps = [delivery.attempts[0].at - start for delivery in deliveries]
    assert gaps == pytest.approx([entry.at - tape.entries[0].at for entry in tape.callbacks])
    times = [event.itime for each in received for event in each.events if hasattr(event, "itime")]
    assert min(times) == pytest.approx(start, abs=2)


def test_without_rebase_bodies_are_sent_byte_for_byte(day: Path) -> None:
    target = receiver()
    with EngageLab(target) as engagelab:
        tape = engagelab.tape(day)
        tape.replay(rebase=None)

    assert target.recorder is not None
    assert [each.body for each in target.recorder.received] == [entry.content for entry in tape.callbacks]


def test_a_tape_can_be_rebased_to_any_time(day: Path) -> None:
    target = receiver()
    with EngageLab(target) as engagelab:
        engagelab.tape(day).replay(rebase=1_000_000_000.0)

    assert target.recorder is not None
    first = json.loads(target.recorder.received[1].body)["rows"][0]
    assert (first["itime"], first["status"]["status_data"]["msg_time"]) == (1_000_000_000, 1_000_000_000)


def test_the_async_twin_does_the_same(day: Path) -> None:
    target = receiver()

    async def replayed() -> int:
        with EngageLab(target) as engagelab:
            return len(await engagelab.tape(day).areplay())

    assert asyncio.run(replayed()) == 9
    assert target.recorder is not None
    assert all(each.verdict for each in target.recorder.received)


def test_a_receiver_gets_only_subscribed_events(day: Path) -> None:
    with EngageLab(Receiver.recording(events=["notification"])) as engagelab:
        deliveries = engagelab.tape(day).replay()

    assert [delivery.statuses for delivery in deliveries] == [[], ["insufficient_balance"]]


def test_a_refused_callback_is_raised_or_returned(day: Path) -> None:
    def refusing() -> EngageLab:
        return EngageLab(receiver().with_settings(secret="another"))

    with refusing() as engagelab, pytest.raises(NotAcknowledged):
        engagelab.tape(day).replay()
    with refusing() as engagelab:
        assert not all(delivery.acknowledged for delivery in engagelab.tape(day).replay(check=False))


def test_the_options_of_deliver_apply_to_a_replay(day: Path) -> None:
    target = receiver()
    with EngageLab(target) as engagelab:
        engagelab.tape(day).replay(retry=[60], fault="ack_lost")
        assert target.recorder is not None
        assert len(target.recorder.received) == 18


def test_the_recorded_signature_expires(tmp_path: Path) -> None:
    source = receiver().with_settings(secret="sandbox_webhook_secret")
    source.skew = -3600
    with EngageLab(source) as engagelab:
        engagelab.send("+6591234567", scenario=["plan"], check=False)
        path = write(tmp_path / "raw.jsonl", engagelab, sanitise=False)

    target = receiver()
    with EngageLab(target) as engagelab:
        [delivery] = engagelab.tape(path).replay(resign=False)
        assert target.recorder is not None
        assert target.recorder.received[-1].verdict.reason == "stale"
        assert not delivery.acknowledged
        [again] = engagelab.tape(path).replay(resign=True)
        assert again.acknowledged


def test_a_sanitised_tape_has_no_signatures(day: Path) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError, match="has no signatures"):
            engagelab.tape(day).replay(resign=False)
        assert len(engagelab.journal) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rebase": "yesterday"}, "rebase is 'now'"),
        ({"rebase": True}, "rebase is 'now'"),
        ({"total": 3}, "keeps the total"),
        ({"retries": [1]}, "did you mean 'retry'"),
    ],
)
def test_wrong_arguments_of_a_replay_raise(day: Path, options: dict[str, object], message: str) -> None:
    with EngageLab() as engagelab, pytest.raises(UsageError, match=message):
        engagelab.tape(day).replay(**options)  # type: ignore[arg-type]


# --- A tape as a schedule


@pytest.fixture(params=["message", "event"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """What `msg_time` holds on the tape: the time of the message, or of the event."""
    return Dialect(msg_time=request.param)


def test_a_tape_has_a_schedule(tmp_path: Path, dialect: Dialect) -> None:
    with EngageLab(receiver(), dialect=dialect) as engagelab:
        for scenario in ("verified", "fallback"):
            engagelab.send(scenario=scenario)
        path = write(tmp_path / "day.jsonl", engagelab)
        schedule = engagelab.tape(path).schedule

    assert [scenario.name for scenario in schedule.lifecycles] == ["verified", "fallback"]
    assert schedule.deliveries == 10
    assert Schedule.parse(schedule.token) == schedule
    with shop("flask") as orders, EngageLab(orders.receiver) as engagelab:
        assert engagelab.play(schedule, [converges(), never_regresses("status")]).acknowledged


def test_a_status_that_comes_twice_is_two_events(tmp_path: Path, dialect: Dialect) -> None:
    scenario = Scenario("wrong codes", graph=None).then("plan").then("verified_failed", after=9)
    with EngageLab(receiver(), dialect=dialect) as engagelab:
        engagelab.send(scenario=scenario.then("verified_failed", after=9).then("verified", after=9))
        schedule = engagelab.tape(write(tmp_path / "day.jsonl", engagelab)).schedule

    [lifecycle] = schedule.lifecycles
    assert [(step.status, step.after) for step in lifecycle.transitions] == [
        ("plan", 0),
        ("verified_failed", 9),
        ("verified_failed", 9),
        ("verified", 9),
    ]


def test_events_are_ordered_by_what_tells_them_apart(tmp_path: Path) -> None:
    """Rows that the sender made in one second, with `msg_time` further apart, came late and in the wrong order."""
    made = [
        Message(id="1", to="+6591234567", accepted=at, msg_time="message").event(status, at=100)
        for at, status in ((95, "delivered"), (90, "sent"), (80, "plan"))
    ]
    with EngageLab(receiver()) as engagelab:
        for event in made:
            engagelab.deliver([event])
        schedule = engagelab.tape(write(tmp_path / "day.jsonl", engagelab)).schedule

    assert schedule.lifecycles[0].statuses == ["plan", "sent", "delivered"]
    assert [step.events for step in schedule.steps] == [("delivered",), ("sent",), ("plan",)]


def test_a_failure_on_a_tape_is_reduced(tmp_path: Path, dialect: Dialect) -> None:
    with EngageLab(receiver(), dialect=dialect) as engagelab:
        engagelab.play("eg1:verified,verified:plan,plan#2,delivered@2s,verified#2@4s,delivered,sent@1s,verified")
        path = write(tmp_path / "day.jsonl", engagelab)

    with shop("flask", LastWriteWins) as orders, EngageLab(orders.receiver) as engagelab:
        schedule = engagelab.tape(path).schedule
        [failure] = engagelab.explore([schedule], invariants=[never_regresses("status")], check=False).failures
    assert str(failure.schedule) == "eg1:delivered,sent"


def test_copies_of_a_callback_are_repeated_deliveries_of_one_event(tmp_path: Path) -> None:
    with EngageLab(receiver()) as engagelab:
        engagelab.send(scenario=["plan"], retry=[60], fault="ack_lost")
        path = write(tmp_path / "day.jsonl", engagelab)
        assert str(engagelab.tape(path).schedule).endswith("plan,plan@+60s")


def test_an_unknown_status_is_not_in_the_schedule(tmp_path: Path) -> None:
    with EngageLab(receiver()) as engagelab:
        engagelab.send(scenario=["plan", "sent"], fault="unknown_status")
        engagelab.notify("insufficient_balance")
        path = write(tmp_path / "day.jsonl", engagelab)
        assert engagelab.tape(path).schedule.deliveries == 0
        assert len(engagelab.tape(path).replay()) == 3


# --- Damaged tapes


def test_an_incomplete_tape_raises_with_the_line_and_the_good_part_can_be_used(day: Path) -> None:
    content = day.read_bytes()
    day.write_bytes(content[:-40])

    with EngageLab() as engagelab:
        with pytest.raises(InvalidTape, match=r"day\.jsonl, line 10: the line is incomplete") as raised:
            engagelab.tape(day)
        assert len(raised.value.tape.callbacks) == 8
        tape = engagelab.tape(day, strict=False)
        assert [problem.line for problem in tape.problems] == [10]
        assert all(delivery.acknowledged for delivery in tape.replay())


def test_a_bad_line_in_the_middle_is_reported_and_skipped(day: Path) -> None:
    lines = day.read_bytes().splitlines(keepends=True)
    lines[3:5] = [b"{}\n", b"\xff\n", b"\n"]
    day.write_bytes(b"".join(lines))

    with EngageLab() as engagelab:
        with pytest.raises(InvalidTape, match=r"line 4: it is not an entry of a tape: .*and 1 more lines"):
            engagelab.tape(day)
        tape = engagelab.tape(day, strict=False)
    assert [problem.line for problem in tape.problems] == [4, 5]
    assert len(tape.callbacks) == 7


def test_a_tape_without_its_first_line_can_be_used(day: Path) -> None:
    day.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[1:]))

    with EngageLab() as engagelab:
        tape = engagelab.tape(day, strict=False)
    assert [problem.line for problem in tape.problems] == [1]
    assert len(tape.callbacks) == 9


@pytest.mark.parametrize(
    "content",
    [b"", b"GET / HTTP/1.1\n", b"{}\n", b"[1]\n", b"null\n", b'{"log":{"version":"1.2"}}', b"\x00\xff", b"[" * 99_999],
)
def test_a_file_that_is_not_a_tape_is_refused_at_its_first_line(tmp_path: Path, content: bytes) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(content)

    with EngageLab() as engagelab:
        with pytest.raises(InvalidTape, match="line 1: this is not a tape"):
            engagelab.tape(foreign)
        assert engagelab.tape(foreign, strict=False).replay() == []


def test_a_tape_of_another_version_is_always_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer.jsonl"
    newer.write_text('{"type":"engagelab-tape","version":2}\n')

    with EngageLab() as engagelab, pytest.raises(UsageError, match="line 1: the tape has version 2"):
        engagelab.tape(newer, strict=False)


def test_a_tape_is_never_overwritten_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "day.jsonl", started=0.0, sanitiser=None) as tape:
        tape.add(at=1.0, method="POST", path="/", headers=Headers(), body=b"\xff\x00")
    assert stat.S_IMODE((tmp_path / "day.jsonl").stat().st_mode) == 0o600
    with EngageLab() as engagelab:
        assert engagelab.tape(tmp_path / "day.jsonl").callbacks[0].content == b"\xff\x00"
    with pytest.raises(UsageError, match="the file exists"):
        TapeWriter(tmp_path / "day.jsonl", started=0.0, sanitiser=None)
    with pytest.raises(UsageError, match="cannot be created"):
        TapeWriter(tmp_path / "nowhere" / "day.jsonl", started=0.0, sanitiser=None)
