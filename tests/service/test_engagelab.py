"""The engine: the effects of a send, its callbacks, and the input it refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    Message,
    NotAcknowledged,
    Receiver,
    Recorder,
    Scenario,
    StatusEvent,
    SystemClock,
    UsageError,
    VirtualClock,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

START = 1_700_000_000.75
scenarios = pytest.mark.parametrize("scenario", sorted(CATALOGUE))


def recording(answer: int = 200) -> tuple[Receiver, Recorder]:
    recorder = Recorder(answer=answer)
    return Receiver.wsgi(recorder), recorder


@scenarios
def test_a_scenarios_callbacks_arrive_in_its_order(scenario: str) -> None:
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
        assert engagelab.journal.statuses == run.statuses
    assert run.statuses == CATALOGUE[scenario].statuses
    assert [received.statuses for received in recorder.received] == [[status] for status in run.statuses]
    assert run.acknowledged or run.statuses == []
    assert run.scenario is CATALOGUE[scenario]
    assert {delivery.message_id for delivery in run.deliveries} <= {run.message_id}


@scenarios
def test_times_advance_by_the_scenarios_delays(scenario: str) -> None:
    clock = VirtualClock(START)
    with EngageLab(clock=clock) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    expected, moment = [], START
    for transition in CATALOGUE[scenario].transitions:
        moment += transition.after
        expected.append(int(moment))
    assert [event.itime for event in run.events] == expected
    assert [event.status.status_data.msg_time for event in run.events] == [int(START)] * len(expected)
    assert clock.time() == START + CATALOGUE[scenario].duration


@scenarios
def test_what_stays_the_same_stays_the_same(scenario: str) -> None:
    with EngageLab(seed=scenario) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
        other = engagelab.send("+6591234568", scenario=scenario)
    assert run.message_id != other.message_id
    assert (run.to, other.to) == ("+6591234567", "+6591234568")
    for event in run.events:
        data = event.status.status_data
        assert (event.message_id, data.message_id) == (run.message_id, run.message_id)
        assert data.template_key == engagelab.account.template_key
        assert data.business_id == engagelab.account.business_id
        assert event.to == "+6591234567"
        assert (event.server, event.channel) == ("otp", "otp")
        assert event.custom_args is UNSET


@scenarios
def test_billing_is_on_sent_and_errors_are_on_failures(scenario: str) -> None:
    with EngageLab() as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    for event in run.events:
        status = event.status
        assert (status.billing is not UNSET) is (event.name == "sent")
        failed = event.name in {"sent_failed", "delivered_failed", "target_invalid"}
        assert bool(status.error_code) is failed
        assert (status.error_detail is not UNSET) is failed
        unsent = event.name in {"plan", "target_valid", "target_invalid"}
        assert (status.status_data.current_send_channel == "") is unsent


@scenarios
def test_one_seed_and_one_nonce_seed_make_the_same_callbacks_byte_by_byte(scenario: str) -> None:
    def sent(seed: object) -> list[tuple[str, bytes]]:
        receiver = Receiver.recording().with_settings()
        receiver.signature_clock = "virtual"
        with EngageLab(receiver, clock=VirtualClock(START), seed=seed, nonce_seed=7) as engagelab:
            deliveries = engagelab.send(scenario=scenario, check=False).deliveries
        return [(delivery.callback.headers["X-CALLBACK-ID"], delivery.callback.body) for delivery in deliveries]

    assert sent("a") == sent("a")
    if CATALOGUE[scenario].statuses:
        assert sent("a") != sent("b")


def test_a_generated_recipient_is_valid() -> None:
    with EngageLab() as engagelab:
        recipients = {engagelab.send(scenario="lost").to for _ in range(50)}
    assert len(recipients) > 1
    for to in recipients:
        assert Message(id="1", to=to).to == to


def test_a_list_of_statuses_is_a_scenario() -> None:
    with EngageLab(clock=VirtualClock(START)) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan", "target_valid", "sent"])
    assert run.statuses == ["plan", "target_valid", "sent"]
    assert [event.itime - int(START) for event in run.events] == [0, 1, 2]


def test_a_scenario_of_ones_own() -> None:
    mine = (
        Scenario("mine")
        .then("plan")
        .then("sent_failed", after=1.5, channel="voice", error=5013, message="not this one")
        .then("sent", after=1.5, channel="sms")
    )
    with EngageLab(clock=VirtualClock(1000)) as engagelab:
        run = engagelab.send("+6591234567", scenario=mine)
    failed = run.events[1].status
    assert (failed.error_code, failed.status_data.current_send_channel) == (5013, "voice")
    assert failed.error_detail is not UNSET
    assert failed.error_detail is not None
    assert failed.error_detail.message == "not this one"
    assert [event.itime for event in run.events] == [1000, 1001, 1003]


def test_the_first_callback_that_is_not_acknowledged_ends_the_run() -> None:
    answers = iter([200, 500, 200, 200])

    class Fickle(Recorder):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            self.answer = next(answers)
            return super().__call__(environ, start_response)

    with EngageLab(Receiver.wsgi(Fickle())) as engagelab:
        with pytest.raises(NotAcknowledged, match="sent was not acknowledged"):
            engagelab.send("+6591234567")
        assert [attempt.acknowledged for attempt in engagelab.journal.attempts] == [True, False]


def test_without_a_check_the_run_goes_on_and_says_so() -> None:
    receiver, recorder = recording(503)
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", check=False)
    assert not run.acknowledged
    assert len(recorder.received) == 4


@pytest.mark.parametrize(
    ("receivers", "scenario"),
    [([], "verified"), ([Receiver.recording(events=["notification"])], "verified")],
    ids=["no receiver", "a receiver of other events"],
)
def test_a_run_without_deliveries_is_not_acknowledged(receivers: list[Receiver], scenario: str) -> None:
    with EngageLab(receivers) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    assert run.deliveries == []
    assert run.acknowledged is False


@pytest.mark.parametrize(
    ("defaults", "match"),
    [
        ({"retry": "vendor"}, "retry is a RetryPolicy or a list of seconds, not 'vendor'"),
        ({"fault": "ackloss"}, "unknown fault 'ackloss'"),
        ({"total": "two"}, "a total is an integer"),
        ({"scenario": "verifed"}, "unknown scenario 'verifed'"),
    ],
)
def test_defaults_that_cannot_be_used_are_named_when_the_engine_is_made(defaults: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        EngageLab(defaults=defaults)


def test_defaults_fill_in_the_missing_options_of_a_send() -> None:
    receiver, _ = recording(503)
    defaults = {
        "scenario": "sent_failed",
        "to": "user@example.com",
        "template": "login",
        "channel": "voice",
        "custom_args": {"order": 7},
        "check": False,
    }
    with EngageLab(receiver, defaults=defaults) as engagelab:
        event = engagelab.send().events[-1]
        assert (event.name, event.to, event.custom_args) == ("sent_failed", "user@example.com", {"order": 7})
        assert event.status.status_data.template_key == "login"
        assert event.status.status_data.current_send_channel == "voice"
        own = engagelab.send(
            "+6591234567", scenario=["plan", "sent"], template="signup", channel="sms", custom_args={}
        ).events[-1]
        assert (own.name, own.to, own.custom_args) == ("sent", "+6591234567", {})
        assert own.status.status_data.template_key == "signup"
        assert own.status.status_data.current_send_channel == "sms"
        assert not engagelab.validate_address().acknowledged
        with pytest.raises(NotAcknowledged):
            engagelab.send(check=True)


@pytest.mark.parametrize(
    ("to", "channel", "used"),
    [
        ("+6591234567", None, "sms"),
        ("user@example.com", None, "email"),
        ("+6591234567", "whatsapp", "whatsapp"),
        ("user@example.com", "email", "email"),
    ],
)
def test_the_channel_is_the_recipients_unless_named(to: str, channel: str | None, used: str) -> None:
    with EngageLab() as engagelab:
        events = engagelab.send(to, channel=channel).events
    assert [event.status.status_data.current_send_channel for event in events] == ["", used, used, used]
    assert {event.to for event in events} == {to}


def test_custom_args_are_echoed_in_each_row() -> None:
    custom_args = {"order": 7, "nested": {"ok": [True, None, "ünïcode"]}}
    receiver, recorder = recording()
    with EngageLab(receiver) as engagelab:
        engagelab.send("+6591234567", custom_args=custom_args)
    rows = [event for received in recorder.received for event in received.events]
    assert len(rows) == 4
    assert all(isinstance(row, StatusEvent) and row.custom_args == custom_args for row in rows)


def test_the_newer_dialect() -> None:
    receiver, recorder = recording()
    with EngageLab(receiver, dialect="newer") as engagelab:
        run = engagelab.send("+6591234567", scenario="sent_failed")
        assert run.statuses == engagelab.journal.statuses == ["plan", "sent_fail"]
        assert {(event.server, event.channel) for event in run.events} == {("sms", "sms")}
        engagelab.validate_address()
    assert recorder.received[-1].body == b"{}"


@pytest.mark.parametrize(
    ("body", "content"),
    [(None, b""), ("empty", b""), ("json", b"{}")],
)
@pytest.mark.parametrize("signed", [False, True])
def test_an_address_is_validated(body: Any, content: bytes, signed: bool) -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    with EngageLab(receiver) as engagelab:
        delivery = engagelab.validate_address(body, signed=signed)
        assert engagelab.journal.deliveries == [delivery]
    [received] = receiver.recorder.received
    assert delivery.acknowledged
    assert delivery.statuses == []
    assert received.ping
    assert received.body == content
    assert ("X-CALLBACK-ID" in received.headers) is signed
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_an_address_that_does_not_answer_200_is_invalid() -> None:
    receiver, _ = recording(204)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(NotAcknowledged, match="the address validation was not acknowledged: answered 204"):
            engagelab.validate_address()
        assert not engagelab.validate_address(check=False).acknowledged


def test_on_the_machines_clock_delays_are_waited_for() -> None:
    clock = SystemClock(speed=1000)
    with EngageLab(clock=clock) as engagelab:
        run = engagelab.send("+6591234567", scenario="verified")
    times = [event.itime for event in run.events]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 20


@pytest.mark.asyncio
async def test_asend_waits_on_the_machines_clock_without_holding_the_loop() -> None:
    with EngageLab(clock=SystemClock(speed=1000)) as engagelab:
        sending = asyncio.create_task(engagelab.asend("+6591234567", scenario="verified"))
        await asyncio.sleep(0)
        assert not sending.done()
        run = await sending
    assert run.events[-1].itime - run.events[0].itime >= 20


@scenarios
@pytest.mark.asyncio
async def test_asend_does_the_same_as_send(scenario: str) -> None:
    def engine() -> EngageLab:
        receiver, _ = recording()
        return EngageLab(receiver, clock=VirtualClock(START), seed=7)

    arguments: dict[str, Any] = {"scenario": scenario, "custom_args": {"order": 7}, "template": "login"}
    with engine() as one, engine() as other:
        run, arun = one.send(**arguments), await other.asend(**arguments)
        assert [d.callback.body for d in arun.deliveries] == [d.callback.body for d in run.deliveries]
        assert arun.message == run.message
        assert other.clock.time() == one.clock.time()
        assert len(other.clock.pending) == len(one.clock.pending)


@pytest.mark.asyncio
async def test_asend_raises_and_leaves_out_the_check_as_send_does() -> None:
    receiver, _ = recording(503)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(NotAcknowledged):
            await engagelab.asend("+6591234567")
        assert not (await engagelab.asend("+6591234567", check=False)).acknowledged


def test_its_repr_says_to_whom_it_speaks() -> None:
    assert repr(EngageLab()) == "<EngageLab towards <Receiver wsgi http://testserver/engagelab>, 0 journal entries>"


def test_a_receiver_that_remembers_nonces_accepts_a_second_engine_with_the_same_seed() -> None:
    seen: set[str] = set()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        nonce = environ["HTTP_X_CALLBACK_ID"].split(";")[1]
        start_response("401 Unauthorized" if nonce in seen else "200 OK", [])
        seen.add(nonce)
        return [b""]

    receiver = Receiver.wsgi(app, username="acme", secret="s3cret")
    ids = []
    for _ in range(2):
        with EngageLab(receiver, seed=7) as engagelab:
            ids.append(engagelab.send("+6591234567").message_id)
            assert engagelab.explore("delivered", duplicates=0).ok
            assert len(engagelab.send_many(3)) == 3
    assert ids[0] == ids[1]
