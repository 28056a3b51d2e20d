"""Scenarios: built step by step and checked against the graph, as timed events, and along a template's channels."""

from __future__ import annotations

import math
from itertools import cycle

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from engagelab_mock import (
    CATALOGUE,
    INFERRED,
    START,
    Channel,
    Generator,
    IllegalTransition,
    InvalidDelay,
    Message,
    Scenario,
    Status,
    StatusEvent,
    Transition,
    TransitionGraph,
    UnknownName,
)
from engagelab_mock.messages.scenario import along, first_channel, timeline

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


VERIFICATION = {"verified", "verified_failed", "verified_timeout"}
SENDING = {"sent", "sent_failed"}
EDGES: dict[str, set[str]] = {
    "start": {"plan"},
    "plan": {"target_valid", "target_invalid", "sent", "sent_failed"},
    "target_valid": SENDING,
    "target_invalid": set(),
    "sent": {"delivered", "delivered_failed"} | VERIFICATION,
    "sent_failed": SENDING,
    "delivered": {"read"} | VERIFICATION,
    "delivered_failed": SENDING,
    "read": VERIFICATION,
    "verified": set(),
    "verified_failed": VERIFICATION,
    "verified_timeout": set(),
}
PAIRS = [(last, status.value) for last in EDGES for status in Status]


def reach(last: str) -> Scenario:
    """Build the shortest legal scenario that ends in a status."""
    courses = [Scenario("course")]
    for course in courses:
        reached = course.statuses[-1] if course.statuses else START
        if reached == last:
            return course
        courses.extend(
            course.then(status) for status in EDGES[reached] - set(course.statuses) if not is_fallback(course)
        )
    raise AssertionError(f"{last} cannot be reached")


def is_fallback(course: Scenario) -> bool:
    return course.statuses[-1:] in (["sent_failed"], ["delivered_failed"])


def extended(course: Scenario, status: str) -> Scenario:
    """Take one more step, over another channel if it is a fallback."""
    return course.then(status, channel="voice" if is_fallback(course) else None)


def test_the_graph_is_the_documented_inference() -> None:
    assert {str(last): {str(status) for status in after} for last, after in INFERRED.follows.items()} == EDGES


@pytest.mark.parametrize(("last", "status"), [pair for pair in PAIRS if pair[1] in EDGES[pair[0]]])
def test_every_edge_can_be_built(last: str, status: str) -> None:
    assert extended(reach(last), status).statuses[-1] == status


@pytest.mark.parametrize(("last", "status"), [pair for pair in PAIRS if pair[1] not in EDGES[pair[0]]])
def test_every_other_pair_is_refused_unless_there_is_no_graph(last: str, status: str) -> None:
    course = reach(last)
    with pytest.raises(IllegalTransition, match=f"'{status}' cannot follow '{last}' in the inferred graph") as caught:
        extended(course, status)
    assert caught.value.hint.endswith("To send it anyway: graph=None, or --any-order on the command line")
    free = Scenario("free", transitions=course.transitions, graph=None)
    assert extended(free, status).statuses == [*course.statuses, status]


@given(st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_a_random_walk_can_be_built(data: st.DataObject) -> None:
    course = Scenario("walk")
    channels = cycle(["whatsapp", "sms", "voice"])
    channel = next(channels)
    last = START
    walked: list[str] = []
    for _ in range(data.draw(st.integers(0, 12))):
        if not EDGES[last]:
            break
        if is_fallback(course):
            channel = next(channels)
        last = data.draw(st.sampled_from(sorted(EDGES[last])))
        walked.append(last)
        course = course.then(last, after=data.draw(st.floats(0, 1e6)), channel=channel)
    assert course.statuses == walked
    assert Scenario("again", transitions=course.transitions).statuses == walked


def test_the_refusal_names_the_place_the_status_and_the_alternatives() -> None:
    with pytest.raises(IllegalTransition) as caught:
        Scenario("odd").then("plan").then("delivered")
    assert str(caught.value) == (
        "scenario 'odd': 'delivered' cannot follow 'plan' in the inferred graph\n"
        "  hint: after 'plan' comes target_valid, target_invalid, sent, sent_failed. "
        "To send it anyway: graph=None, or --any-order on the command line"
    )


def test_the_refusal_of_a_first_and_of_a_last_step_say_so() -> None:
    with pytest.raises(IllegalTransition, match="a scenario starts with plan"):
        Scenario("odd").then("sent")
    with pytest.raises(IllegalTransition, match="after 'target_invalid' comes nothing"):
        reach("target_invalid").then("sent")


FAILED = Scenario("fall").then("plan").then("sent", channel="whatsapp").then("delivered_failed")


@pytest.mark.parametrize("channel", [None, "whatsapp"])
def test_a_fallback_needs_another_channel(channel: str | None) -> None:
    with pytest.raises(IllegalTransition, match="a fallback takes another channel than whatsapp") as caught:
        FAILED.then("sent", channel=channel)
    assert ".then('sent', channel='sms')" in caught.value.hint


@pytest.mark.parametrize("status", ["sent", "sent_failed"])
def test_a_fallback_over_another_channel_is_fine(status: str) -> None:
    assert FAILED.then(status, channel="sms").statuses[-1] == status


def test_a_fallback_from_the_default_channel_needs_a_name() -> None:
    course = Scenario("fall").then("plan").then("sent_failed")
    with pytest.raises(IllegalTransition, match="another channel than the default one"):
        course.then("sent")
    assert course.then("sent", channel="voice").statuses == ["plan", "sent_failed", "sent"]


def test_an_own_graph_replaces_the_inferred_one() -> None:
    graph = TransitionGraph("shortcut", {START: {"plan"}, "plan": {"verified"}})
    assert Scenario("own", graph=graph).then("plan").then("verified").statuses == ["plan", "verified"]
    with pytest.raises(IllegalTransition, match="'sent' cannot follow 'plan' in the shortcut graph"):
        Scenario("own", graph=graph).then("plan").then("sent")
    with pytest.raises(IllegalTransition, match="'verified' cannot follow 'plan'"):
        Scenario("inferred").then("plan").then("verified")


def test_an_own_graph_lets_a_fallback_stay_on_its_channel_unless_it_says_otherwise() -> None:
    graph = TransitionGraph("retry", INFERRED.follows)
    course = Scenario("own", graph=graph).then("plan").then("sent_failed").then("sent")
    assert course.statuses == ["plan", "sent_failed", "sent"]


def test_the_statuses_that_may_follow_are_listed_in_the_usual_order() -> None:
    assert INFERRED.next_after("sent") == [
        "delivered",
        "delivered_failed",
        "verified",
        "verified_failed",
        "verified_timeout",
    ]
    assert INFERRED.next_after("verified") == INFERRED.next_after("no such status") == []


def events(scenario: Scenario, channel: str = "sms", **message: object) -> list[tuple[float, StatusEvent]]:
    known = {"id": "1", "to": "+6591234567", "accepted": 100.5} | message
    return timeline(Message(**known), scenario, channel, Generator.seeded(0))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_event_has_the_time_at_which_it_happens(name: str) -> None:
    scenario = CATALOGUE[name]
    timed = events(scenario)
    moments, moment = [], 100.5
    for transition in scenario.transitions:
        moment += transition.after
        moments.append(moment)
    assert [at for at, _ in timed] == moments
    assert [event.itime for _, event in timed] == [int(at) for at in moments]
    assert [event.name for _, event in timed] == scenario.statuses


def test_the_channel_is_the_scenarios_own_or_else_the_one_given() -> None:
    channels = [event.status.status_data.current_send_channel for _, event in events(CATALOGUE["verified"], "email")]
    assert channels == ["", "email", "email", "email"]
    fallback = [event.status.status_data.current_send_channel for _, event in events(CATALOGUE["fallback"], "email")]
    assert fallback == ["", "whatsapp", "whatsapp", "sms", "sms", "sms"]


def test_exactly_the_sent_statuses_cost_something() -> None:
    billed = [event.name for _, event in events(CATALOGUE["fallback_exhausted"]) if event.status.billing is not UNSET]
    assert billed == ["sent", "sent", "sent"]


def test_custom_args_are_in_every_row() -> None:
    assert [event.custom_args for _, event in events(CATALOGUE["delivered"], custom_args={"order": 7})] == [
        {"order": 7}
    ] * 3


def test_an_empty_scenario_has_no_events() -> None:
    assert events(CATALOGUE["lost"]) == []


CHANNELS = st.lists(st.sampled_from(list(Channel)), min_size=1, unique=True)


def over(scenario: Scenario) -> list[str]:
    """Return the channels of a scenario in the order in which it comes to them."""
    return list(dict.fromkeys(step.channel for step in scenario.transitions if step.channel))


@given(name=st.sampled_from(sorted(CATALOGUE)), channels=CHANNELS)
def test_any_strategy_is_followed_from_its_beginning(name: str, channels: list[str]) -> None:
    scenario = CATALOGUE[name]
    mapped = along(scenario, channels)
    assert over(mapped) == channels[: len(over(scenario))]
    assert mapped.statuses == scenario.statuses[: len(mapped.statuses)]
    assert [step.after for step in mapped.transitions] == [s.after for s in scenario.transitions][
        : len(mapped.statuses)
    ]
    if len(channels) >= len(over(scenario)):
        assert mapped.statuses == scenario.statuses
    assert first_channel(mapped, channels) == channels[0]


@pytest.mark.parametrize(
    ("channels", "statuses"),
    [
        (["voice"], ["plan", "sent", "delivered_failed"]),
        (["voice", "sms"], ["plan", "sent", "delivered_failed", "sent", "delivered", "verified"]),
    ],
)
def test_a_fallback_ends_with_the_strategy(channels: list[str], statuses: list[str]) -> None:
    assert along(CATALOGUE["fallback"], channels).statuses == statuses
