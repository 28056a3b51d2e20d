"""Building scenarios: step by step, checked at each step, never changed in place."""

from __future__ import annotations

import math

import msgspec
import pytest

from engagelab_mock import Channel, IllegalTransition, InvalidDelay, Scenario, Status, Transition, UnknownName

SLOW = Scenario("slow", "takes its time").then("plan").then("sent", after=2, channel="whatsapp")


def test_then_returns_a_new_scenario_and_leaves_the_old_one() -> None:
    longer = SLOW.then("delivered", after=3)
    assert SLOW.statuses == ["plan", "sent"]
    assert longer.statuses == ["plan", "sent", "delivered"]
    assert (longer.name, longer.description, longer.graph) == ("slow", "takes its time", SLOW.graph)


def test_a_common_start_can_branch() -> None:
    branches = [SLOW.then(status).statuses[-1] for status in ("delivered", "delivered_failed")]
    assert branches == ["delivered", "delivered_failed"]


def test_nothing_can_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        SLOW.name = "fast"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        SLOW.transitions[0].after = 9.0  # type: ignore[misc]


def test_each_step_is_kept_as_a_transition() -> None:
    assert SLOW.transitions == (Transition("plan"), Transition("sent", after=2.0, channel="whatsapp"))


def test_enum_members_are_names_too() -> None:
    assert (
        Scenario("slow", "takes its time").then(Status.PLAN).then(Status.SENT, after=2, channel=Channel.WHATSAPP)
        == SLOW
    )


def test_duration_is_the_sum_of_the_delays() -> None:
    assert SLOW.then("delivered", after=0.5).duration == 2.5
    assert Scenario("empty").duration == 0


@pytest.mark.parametrize(
    ("status", "code"), [("sent_failed", 5001), ("target_invalid", 5011), ("plan", 0), ("verified_failed", 0)]
)
def test_a_failure_without_an_error_reports_a_usual_one(status: str, code: int) -> None:
    assert Scenario("s", graph=None).then(status).transitions[-1].error_code == code


def test_an_error_and_its_text_can_be_given() -> None:
    step = SLOW.then("delivered_failed", error=5018, message="switched off").transitions[-1]
    assert (step.error_code, step.error_message) == (5018, "switched off")
    assert SLOW.then("delivered_failed", error=0).transitions[-1].error_code == 0


@pytest.mark.parametrize("delay", [-1, -0.001, math.nan, math.inf, -math.inf, True, "2", None])
def test_a_delay_that_cannot_pass_is_refused(delay: float) -> None:
    with pytest.raises(InvalidDelay, match="delay") as caught:
        SLOW.then("delivered", after=delay)
    assert caught.value.where == "scenario 'slow', step 3"


MISSPELT = [
    ("status", {"status": "deliverd"}, "unknown status 'deliverd'", "did you mean 'delivered'?"),
    ("status", {"status": "sent_fail"}, "unknown status 'sent_fail'", "did you mean 'sent_failed'?"),
    ("status", {"status": "SENT"}, "unknown status 'SENT'", "did you mean 'sent'?"),
    ("status", {"status": ["sent"]}, r"unknown status ['sent']", "Known: delivered, "),
    ("channel", {"channel": "whatsap"}, "unknown channel 'whatsap'", "did you mean 'whatsapp'?"),
    ("channel", {"channel": ""}, "unknown channel ''", "Known: email, sms, voice, whatsapp"),
    ("channel", {"channel": {}}, "unknown channel {}", "Known: email, sms, voice, whatsapp"),
    ("error code", {"error": 50012}, "unknown error code 50012", "did you mean '5012'?"),
]


@pytest.mark.parametrize(("noun", "wrong", "said", "hint"), MISSPELT)
def test_a_misspelt_name_is_refused_with_the_nearest(noun: str, wrong: dict[str, str], said: str, hint: str) -> None:
    with pytest.raises(UnknownName) as caught:
        SLOW.then(**{"status": "delivered_failed", **wrong})  # type: ignore[arg-type]
    assert caught.value.noun == noun
    assert str(caught.value).startswith(f"scenario 'slow', step 3: {said}\n")
    assert hint in caught.value.hint


def test_given_transitions_are_checked_like_built_ones() -> None:
    steps = (Transition("plan"), Transition("verified"))
    with pytest.raises(IllegalTransition, match="'verified' cannot follow 'plan'"):
        Scenario("given", transitions=steps)
    assert Scenario("given", transitions=steps, graph=None).statuses == ["plan", "verified"]
    with pytest.raises(IllegalTransition, match="'verified' cannot follow 'plan'"):
        msgspec.structs.replace(SLOW, transitions=steps)


def test_steps_name_every_channel_once_something_is_sent() -> None:
    course = (
        Scenario("s")
        .then("plan")
        .then("target_valid")
        .then("sent")
        .then("delivered_failed")
        .then("sent", channel="voice")
        .then("delivered")
        .then("verified")
    )
    assert [step.channel for step in course.steps("email")] == ["", "", "email", "email", "voice", "voice", "voice"]
    assert [step.status for step in course.steps("email")] == course.statuses


def test_steps_leave_delays_and_errors_alone() -> None:
    course = SLOW.then("delivered_failed", after=8, error=5018, message="off")
    (_, _, step) = course.steps("sms")
    assert step == Transition("delivered_failed", 8.0, "whatsapp", 5018, "off")


@pytest.mark.parametrize("delay", [-1, math.nan, True, "2"])
def test_a_given_transition_s_delay_is_checked_even_without_a_graph(delay: float) -> None:
    with pytest.raises(InvalidDelay, match="delay") as caught:
        Scenario("given", transitions=(Transition("plan"), Transition("sent", after=delay)), graph=None)
    assert caught.value.where == "scenario 'given', step 2"
