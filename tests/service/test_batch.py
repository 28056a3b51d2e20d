"""Several events in one callback: of one message, and of everything that is sent inside a `with` block."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, Recorder, UsageError, VirtualClock
from engagelab_mock.messages.scenario import Batch
from tests.service.rest.client import Client

START = 1_700_000_000


def recording(answer: int = 200) -> tuple[Receiver, Recorder]:
    recorder = Recorder(answer=answer)
    return Receiver.wsgi(recorder), recorder


def bodies(recorder: Recorder) -> list[Any]:
    return [json.loads(received.body) for received in recorder.received]


# --- One message


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (1, [["plan"], ["sent"], ["delivered"], ["verified"]]),
        (2, [["plan", "sent"], ["delivered", "verified"]]),
        (3, [["plan", "sent", "delivered"], ["verified"]]),
        (99, [["plan", "sent", "delivered", "verified"]]),
        ("all", [["plan", "sent", "delivered", "verified"]]),
    ],
)
def test_a_messages_events_go_out_several_at_a_time(batch: Batch, expected: list[list[str]]) -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", batch=batch)
    assert [received.statuses for received in recorder.received] == expected
    assert [body["total"] for body in bodies(recorder)] == [len(statuses) for statuses in expected]
    assert [delivery.statuses for delivery in run.deliveries] == expected
    assert {delivery.message_id for delivery in run.deliveries} == {run.message_id}


def test_each_row_tells_when_it_happened_and_the_callback_goes_out_with_the_last() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        run = engagelab.send("+6591234567", batch=2)  # plan, 2 s, sent, 3 s, delivered, 15 s, verified
    assert [event.itime - START for event in run.events] == [0, 2, 5, 20]
    assert [delivery.attempts[0].at - START for delivery in run.deliveries] == [2, 20]


def test_a_batch_of_everything_waits_for_everything() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        run = engagelab.send("+6591234567", batch="all")
    assert [delivery.attempts[0].at - START for delivery in run.deliveries] == [20]


def test_an_expiry_is_not_waited_for() -> None:
    with EngageLab() as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", batch="all")
        assert [delivery.statuses for delivery in run.deliveries] == [["plan", "sent", "delivered"]]
        engagelab.clock.advance(minutes=5)
    assert run.deliveries[1].statuses == ["verified_timeout"]


def test_a_retry_has_the_same_body_under_a_new_signature() -> None:
    recorder = Recorder(username="acme", secret="s3cret", answer=503)
    receiver = Receiver.wsgi(recorder, username="acme", secret="s3cret")
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", batch="all", retry=[60, 60], check=False)
    assert len(recorder.received) == len(run.deliveries[0].attempts) == 3
    assert len({received.body for received in recorder.received}) == 1
    assert len({received.headers["X-CALLBACK-ID"] for received in recorder.received}) == 3


def test_a_total_that_is_wrong_on_request() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        engagelab.send("+6591234567", batch=2, total=0)
    assert [(body["total"], len(body["rows"])) for body in bodies(recorder)] == [(0, 2), (0, 2)]


@pytest.mark.parametrize("batch", [0, -1, True, "al", 1.5])
def test_an_invalid_batch_is_refused_before_anything_is_sent(batch: Any) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError) as caught:
            engagelab.send("+6591234567", batch=batch)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        assert engagelab.journal.deliveries == []
        assert engagelab.pending == []
    assert ("did you mean 'all'?" in str(caught.value)) is (batch == "al")


@pytest.mark.asyncio
async def test_asend_batches_alike() -> None:
    with EngageLab() as engagelab:
        run = await engagelab.asend("+6591234567", batch=3)
    assert [delivery.statuses for delivery in run.deliveries] == [["plan", "sent", "delivered"], ["verified"]]


# --- A block


def fill(engagelab: EngageLab) -> list[str]:
    """Send two messages and one event of each other kind; return the names in order."""
    engagelab.send("+6591234567", scenario="sent_failed")
    engagelab.notify("insufficient_balance")
    engagelab.uplink("+6591234567", body="STOP")
    engagelab.send("user@example.com", scenario="delivered")
    engagelab.system_event("api_call")
    return [
        *("plan", "sent_failed", "insufficient_balance", "uplink_message"),
        *("plan", "sent", "delivered", "api_call"),
    ]


def test_everything_in_a_block_is_one_callback() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        with engagelab.batch():
            expected = fill(engagelab)
            assert recorder.received == []
        [delivery] = engagelab.journal.deliveries
    [received] = recorder.received
    assert received.statuses == delivery.statuses == expected
    [body] = bodies(recorder)
    assert body["total"] == len(body["rows"]) == 8
    assert len({row["message_id"] for row in body["rows"] if "status" in row}) == 2


def test_the_runs_and_lists_made_in_a_block_hold_its_delivery_afterwards() -> None:
    with EngageLab() as engagelab:
        with engagelab.batch():
            first, second = engagelab.send("+6591234567"), engagelab.send("+6591234568", scenario="delivered")
            told = engagelab.notify("insufficient_balance")
            assert first.deliveries == second.deliveries == told == []
        [delivery] = engagelab.journal.deliveries
    assert first.deliveries == second.deliveries == told == [delivery]
    assert first.acknowledged


def test_the_callback_goes_out_when_the_last_of_it_has_happened() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        with engagelab.batch():
            run = engagelab.send("+6591234567")
            engagelab.clock.advance(5)
            engagelab.notify("insufficient_balance")
        [delivery] = engagelab.journal.deliveries
    events: list[Any] = list(delivery.events)
    assert [event.itime - START for event in events] == [0, 2, 5, 20, 5]
    assert delivery.attempts[0].at == START + 20
    assert run.acknowledged


def test_time_that_passes_in_the_block_is_not_sent_back() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        with engagelab.batch():
            engagelab.send("+6591234567")
            engagelab.clock.advance(minutes=1)
        [delivery] = engagelab.journal.deliveries
    assert delivery.attempts[0].at == START + 60


def test_codes_of_a_block_expire_too() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        with engagelab.batch():
            run = engagelab.send("+6591234567", scenario="delivered")
        assert [timer.at for timer in engagelab.pending] == [START + 300]
        engagelab.clock.advance(minutes=5)
    assert [delivery.statuses for delivery in run.deliveries] == [["plan", "sent", "delivered"], ["verified_timeout"]]


def test_an_exception_in_the_block_sends_nothing() -> None:
    with EngageLab() as engagelab:
        runs = []

        def send_and_stumble() -> None:
            with engagelab.batch():
                runs.append(engagelab.send("+6591234567", scenario="delivered"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            send_and_stumble()
        assert engagelab.journal.deliveries == runs[0].deliveries == []
        assert engagelab.pending == []
        engagelab.clock.advance(days=1)
        assert engagelab.send("+6591234567", scenario=["plan"]).statuses == ["plan"]
        assert len(engagelab.journal) == 1


def test_an_empty_block_sends_nothing() -> None:
    with EngageLab() as engagelab:
        with engagelab.batch():
            pass
        engagelab.journal.assert_nothing_sent()


def test_a_block_can_be_used_again_and_starts_empty() -> None:
    with EngageLab() as engagelab:
        block = engagelab.batch()
        for _ in range(2):
            with block:
                engagelab.notify("insufficient_balance")
        assert engagelab.journal.statuses == ["insufficient_balance"] * 2


def test_the_blocks_options_are_the_callbacks() -> None:
    recorder = Recorder(answer=500)
    with EngageLab(Receiver.wsgi(recorder), clock=VirtualClock(START)) as engagelab:
        block = engagelab.batch(total=99, retry=[60], check=False)
        with block:
            run = engagelab.send("+6591234567", scenario=["plan"])
    [delivery] = run.deliveries
    assert [attempt.at - START for attempt in delivery.attempts] == [0, 60]
    assert [body["total"] for body in bodies(recorder)] == [99, 99]
    assert len({received.body for received in recorder.received}) == 1


def test_a_fault_strikes_the_whole_block() -> None:
    with EngageLab() as engagelab:
        with engagelab.batch(fault="wrong_secret"):
            fill(engagelab)
        [delivery] = engagelab.journal.deliveries
    assert not delivery.acknowledged


def test_a_failure_is_raised_at_the_end_of_the_block() -> None:
    receiver, _ = recording(500)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(NotAcknowledged) as caught, engagelab.batch():
            engagelab.send("+6591234567", scenario="delivered")
        assert caught.value.delivery.statuses == ["plan", "sent", "delivered"]
        assert engagelab.pending == []
        # The block is over: callbacks go out at once again.
        assert engagelab.send("+6591234567", scenario="lost").deliveries == []
        with pytest.raises(NotAcknowledged):
            engagelab.send("+6591234567", scenario=["plan"])


def test_batches_do_not_nest() -> None:
    with EngageLab() as engagelab:
        with engagelab.batch():
            run = engagelab.send("+6591234567", scenario=["plan"])
            with pytest.raises(UsageError, match="batches cannot be nested") as caught, engagelab.batch():
                pytest.fail("the inner block was entered")
            engagelab.notify("insufficient_balance")
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        # The outer one goes on undisturbed.
        assert run.deliveries[0].statuses == ["plan", "insufficient_balance"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"retry": [60]}, "retry is an option of the callback, which belongs to the batch"),
        ({"total": 3}, "with engagelab.batch(total=…):"),
        ({"check": False}, "with engagelab.batch(check=…):"),
        ({"fault": "stale"}, "with engagelab.batch(fault=…):"),
        ({"batch": 2}, "everything in a batch goes into one callback"),
    ],
)
def test_an_event_cannot_have_the_options_of_its_callback(options: dict[str, Any], told: str) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError) as caught, engagelab.batch():
            engagelab.send("+6591234567", **options)
        assert told in str(caught.value)
        if "batch" not in options:
            with pytest.raises(UsageError) as caught, engagelab.batch():
                engagelab.notify("insufficient_balance", **options)
            assert told in str(caught.value)
        assert engagelab.journal.deliveries == []


@pytest.mark.parametrize(
    ("options", "told"),
    [({"totl": 3}, "did you mean 'total'?"), ({"total": "3"}, "a total is an integer"), ({"fault": "x"}, "fault")],
)
def test_a_blocks_options_are_checked_at_its_first_line(options: dict[str, Any], told: str) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError) as caught:
            engagelab.batch(**options)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        assert told in str(caught.value)


@pytest.mark.asyncio
async def test_an_async_block_is_one_callback_too() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        async with engagelab.batch(total=5):
            run = await engagelab.asend("+6591234567", scenario="delivered")
            told = await engagelab.anotify("insufficient_balance")
        assert run.deliveries == told == engagelab.journal.deliveries

        async def send_and_stumble() -> None:
            async with engagelab.batch():
                await engagelab.asend("+6591234567")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await send_and_stumble()
    assert [received.statuses for received in recorder.received] == [
        ["plan", "sent", "delivered", "insufficient_balance"]
    ]
    assert bodies(recorder)[0]["total"] == 5


@pytest.mark.asyncio
async def test_async_blocks_do_not_nest_either() -> None:
    with EngageLab() as engagelab:
        async with engagelab.batch():
            with pytest.raises(UsageError, match="batches cannot be nested"):
                async with engagelab.batch():
                    pytest.fail("the inner block was entered")
        assert (await engagelab.asend("+6591234567", scenario=["plan"])).acknowledged


def test_a_ping_in_a_block_goes_out_at_once() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab, engagelab.batch():
        engagelab.send("+6591234567", scenario=["plan"])
        engagelab.validate_address()
        assert [received.body for received in recorder.received] == [b""]
    assert [received.statuses for received in recorder.received] == [[], ["plan"]]


def test_a_message_that_the_app_sends_in_a_block_is_not_part_of_it() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        with engagelab.batch():
            engagelab.send("+6591234567", scenario="sent_failed")
            Client(engagelab).sent("+6591234568")
            assert recorder.received == []
        engagelab.settle()
    assert sorted(received.statuses for received in recorder.received) == [
        ["delivered"],
        ["plan"],
        ["plan", "sent_failed"],
        ["sent"],
    ]


def test_a_begun_send_joins_the_block() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        with engagelab.batch():
            run = engagelab.begin_send("+6591234567", scenario="delivered")
            engagelab.notify("insufficient_balance")
        assert [received.statuses for received in recorder.received] == [
            ["plan", "sent", "delivered", "insufficient_balance"]
        ]
        assert run.acknowledged
        engagelab.clock.advance(minutes=5)
        assert run.statuses[-1] == "verified_timeout"


def test_each_receiver_gets_its_own_rows_of_a_block() -> None:
    first, second = Recorder(), Recorder()
    receivers = [Receiver.wsgi(first, events=["notification"]), Receiver.wsgi(second, events=["status"])]
    with EngageLab(receivers) as engagelab:
        with engagelab.batch():
            engagelab.send("+6591234567", scenario="delivered")
            engagelab.notify("insufficient_balance")
        assert len(engagelab.journal.deliveries) == 2
    assert [received.statuses for received in first.received] == [["insufficient_balance"]]
    assert [received.statuses for received in second.received] == [["plan", "sent", "delivered"]]
    assert [body["total"] for body in (*bodies(first), *bodies(second))] == [1, 3]


def test_a_reset_in_a_block_drops_the_collected_callbacks() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        with engagelab.batch():
            engagelab.send("+6591234567", scenario="delivered")
            engagelab.reset()
        engagelab.clock.advance(days=1)
    assert recorder.received == []
