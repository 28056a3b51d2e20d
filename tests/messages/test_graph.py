"""Which status may follow which: every edge of the inferred graph builds, everything else is refused."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock import INFERRED, START, IllegalTransition, Scenario, Status, TransitionGraph

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
    assert caught.value.hint.endswith("To send it all the same, make the scenario with graph=None")
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


def test_the_refusal_says_where_what_and_what_else() -> None:
    with pytest.raises(IllegalTransition) as caught:
        Scenario("odd").then("plan").then("delivered")
    assert str(caught.value) == (
        "scenario 'odd': 'delivered' cannot follow 'plan' in the inferred graph\n"
        "  hint: after 'plan' comes target_valid, target_invalid, sent, sent_failed. "
        "To send it all the same, make the scenario with graph=None"
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


def test_what_may_follow_is_listed_in_the_usual_order() -> None:
    assert INFERRED.next_after("sent") == [
        "delivered",
        "delivered_failed",
        "verified",
        "verified_failed",
        "verified_timeout",
    ]
    assert INFERRED.next_after("verified") == INFERRED.next_after("no such status") == []
