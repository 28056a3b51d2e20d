"""Notifications, replies, system events and mixed callbacks: how they are delivered, and which are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import (
    Delivery,
    EngageLab,
    Event,
    NotAcknowledged,
    Receiver,
    Recorder,
    RetryPolicy,
    UnknownName,
    UsageError,
    VirtualClock,
)

Tell = Callable[..., list[Delivery]]


def notify(engagelab: EngageLab, **options: Any) -> list[Delivery]:
    return engagelab.notify("insufficient_balance", **options)


def uplink(engagelab: EngageLab, **options: Any) -> list[Delivery]:
    return engagelab.uplink("+6591234567", body="STOP", **options)


def system_event(engagelab: EngageLab, **options: Any) -> list[Delivery]:
    return engagelab.system_event("api_call", **options)


def deliver(engagelab: EngageLab, **options: Any) -> list[Delivery]:
    return engagelab.deliver([engagelab.account.notification("insufficient_balance", at=0)], **options)


verbs = pytest.mark.parametrize("tell", [notify, uplink, system_event, deliver])


class Answering:
    """Be a WSGI app that gives these answers in turn, the last for all that follow, and keeps the bodies."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.bodies: list[bytes] = []
        self.receiver = Receiver.wsgi(self, username="acme", secret="s3cret")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.bodies.append(environ["wsgi.input"].read())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        start_response(f"{answer} Answer", [])
        return []


@verbs
def test_it_is_retried_by_its_policy(tell: Tell) -> None:
    app = Answering(500, 500, 200)
    with EngageLab(app.receiver, clock=VirtualClock(0)) as engagelab:
        [delivery] = tell(engagelab, retry=RetryPolicy((60, 600)))
        assert engagelab.clock.time() == 660
    assert delivery.acknowledged
    assert [attempt.at for attempt in delivery.attempts] == [0, 60, 660]
    assert len(set(app.bodies)) == 1


@verbs
def test_it_can_carry_a_wrong_total(tell: Tell) -> None:
    with EngageLab() as engagelab:
        [delivery] = tell(engagelab, total=9)
    assert json.loads(delivery.callback.body)["total"] == 9
    assert len(json.loads(delivery.callback.body)["rows"]) == 1


@verbs
def test_a_fault_strikes_it_and_is_not_raised(tell: Tell) -> None:
    with EngageLab() as engagelab:
        [delivery] = tell(engagelab, fault="wrong_secret")
        assert not delivery.acknowledged
        with pytest.raises(NotAcknowledged):
            tell(engagelab, fault="wrong_secret", check=True)


@verbs
def test_a_failure_is_raised_unless_it_is_not_to_be_checked(tell: Tell) -> None:
    with EngageLab(Answering(500).receiver) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            tell(engagelab)
        assert caught.value.delivery is engagelab.journal.deliveries[0]
        [delivery] = tell(engagelab, check=False)
    assert delivery.given_up


@verbs
def test_the_engines_defaults_hold_for_it_too(tell: Tell) -> None:
    app = Answering(500, 200)
    with EngageLab(app.receiver, defaults={"retry": [1], "scenario": "delivered"}) as engagelab:
        assert tell(engagelab)[0].acknowledged
    with EngageLab(Answering(500).receiver, defaults={"check": False}) as engagelab:
        assert not tell(engagelab)[0].acknowledged
        with pytest.raises(NotAcknowledged):
            tell(engagelab, check=True)


@verbs
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"total": "9"}, UsageError, "a total is an integer, not '9'"),
        ({"total": True}, UsageError, "a total is an integer, not True"),
        ({"retry": "often"}, UsageError, "often"),
        ({"fault": "wrong_secert"}, UnknownName, "did you mean 'wrong_secret'?"),
        ({"totl": 9}, UnknownName, "did you mean 'total'?"),
        ({"retries": [1]}, UnknownName, "did you mean 'retry'?"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_sent(
    tell: Tell, options: dict[str, Any], error: type[UsageError], told: str
) -> None:
    recorder = Recorder()
    with EngageLab(Receiver.wsgi(recorder, username="acme", secret="s3cret")) as engagelab:
        with pytest.raises(error) as caught:
            tell(engagelab, **options)
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        assert engagelab.journal.deliveries == []
        assert engagelab.pending == []
    assert told in str(caught.value)
    assert recorder.received == []
    # The engine's own frames do not show.
    assert len(caught.traceback.filter(caught)) == 2


@pytest.mark.parametrize(
    ("tell", "told"),
    [
        (lambda lab: lab.notify("insufficient_balanse"), "did you mean 'insufficient_balance'?"),
        (lambda lab: lab.notify("insufficient_balance", remain_balance="low"), "remain_balance is a number, not 'low'"),
        (lambda lab: lab.notify("insufficient_balance", at=5), "itime comes from the clock"),
        (lambda lab: lab.uplink("STOP", body="+6591234567"), "'STOP' is not an E.164 phone number"),
        (lambda lab: lab.system_event("account_login", fail_reason="locked"), "add action='login_failed'"),
        (lambda lab: lab.deliver([]), "a callback carries at least one event"),
        (lambda lab: lab.deliver(["sent"]), "events are a list of Event, not ['sent']"),
        (lambda lab: lab.deliver(lab.account.system_event("api_call", at=0)), "deliver([event])"),
    ],
)
def test_events_that_the_vendor_does_not_have_are_refused_before_anything_is_sent(
    tell: Callable[[EngageLab], object], told: str
) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError) as caught:
            tell(engagelab)
        assert [entry.error for entry in engagelab.journal.refusals] == [caught.value]
        assert len(engagelab.journal) == 1
    assert told in str(caught.value)


@pytest.mark.asyncio
async def test_the_async_twins_refuse_alike() -> None:
    with EngageLab() as engagelab:
        for program in (
            engagelab.anotify("insufficient_balanse"),
            engagelab.auplink("STOP", body=""),
            engagelab.asystem_event("account_login", action="logni_failed"),
            engagelab.adeliver([]),
        ):
            with pytest.raises(UsageError):
                await program
        assert len(engagelab.journal.refusals) == len(engagelab.journal) == 4


@pytest.mark.asyncio
async def test_the_async_twins_take_the_same_options() -> None:
    for verb in ("anotify", "auplink", "asystem_event", "adeliver"):
        app = Answering(500, 200)
        with EngageLab(app.receiver, clock=VirtualClock(0)) as engagelab:
            arguments: dict[str, tuple[Any, ...]] = {
                "anotify": ("insufficient_balance",),
                "auplink": ("+6591234567",),
                "asystem_event": ("api_call",),
                "adeliver": ([engagelab.account.system_event("api_call", at=0)],),
            }
            own = {"body": "STOP"} if verb == "auplink" else {}
            [delivery] = await getattr(engagelab, verb)(*arguments[verb], **own, retry=[60], total=3)
        assert [attempt.at for attempt in delivery.attempts] == [0, 60]
        assert json.loads(app.bodies[1])["total"] == 3


def test_an_events_itime_is_the_clocks() -> None:
    with EngageLab(clock=VirtualClock(1000)) as engagelab:
        engagelab.clock.advance(minutes=5)
        deliveries = [notify(engagelab)[0], uplink(engagelab)[0], system_event(engagelab)[0]]
    events: list[Any] = [delivery.events[0] for delivery in deliveries]
    assert [event.itime for event in events] == [1300, 1300, 1300]


def test_a_custom_list_of_events_of_all_kinds_keeps_its_order() -> None:
    with EngageLab() as engagelab:
        account = engagelab.account
        sent = engagelab.send("user@example.com", scenario="delivered", custom_args={"order": [1, None, "é"]})
        events: list[Event] = [
            *sent.events,
            account.uplink("+6591234567", body="HELP", at=0),
            account.notification("template_audit_result", at=0),
            account.system_event("msg_history", at=0),
        ]
        [delivery] = engagelab.deliver(events)
    body = json.loads(delivery.callback.body)
    assert body["total"] == 6
    assert delivery.statuses == [
        *("plan", "sent", "delivered"),
        *("uplink_message", "template_audit_result", "msg_history"),
    ]
    rows = body["rows"][:3]
    assert [row["custom_args"] for row in rows] == [{"order": [1, None, "é"]}] * 3
    assert [row["to"] for row in rows] == ["user@example.com"] * 3
    assert [row["status"]["status_data"]["current_send_channel"] for row in rows] == ["", "email", "email"]
