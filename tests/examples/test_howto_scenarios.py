"""Scenarios of one's own: legal ones, a list, a fallback, and one that EngageLab could not send."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, IllegalTransition, Scenario, UnknownName

# [own]
SLOW_CARRIER = (
    Scenario("slow_carrier", "delivered after two minutes, and too late")
    .then("plan")
    .then("sent", after=2)
    .then("delivered", after=120)
    .then("verified_timeout", after=178)
)


def test_own_scenario(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=SLOW_CARRIER)
    assert run.statuses == ["plan", "sent", "delivered", "verified_timeout"]


# [marker]
@pytest.mark.engagelab(scenario=SLOW_CARRIER, to="+6591234567")
def test_own_scenario_by_marker(engagelab: EngageLab) -> None:
    assert engagelab.send().scenario is SLOW_CARRIER


# [list]
def test_a_list_of_statuses(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan", "sent", "verified_failed", "verified"])
    assert [event.itime - run.events[0].itime for event in run.events] == [0, 1, 2, 3]


# [errors]
def test_an_error_code_of_choice(engagelab: EngageLab) -> None:
    handset_off = Scenario("handset_off").then("plan").then("sent").then("delivered_failed", after=8, error=5018)
    run = engagelab.send("+6591234567", scenario=handset_off)
    assert run.events[-1].status.error_code == 5018
    assert b'"error_detail":{"message":"handset off"}' in run.deliveries[-1].callback.body


# [fallback]
def test_fallback_from_whatsapp_to_voice(engagelab: EngageLab) -> None:
    fallback = (
        Scenario("whatsapp_then_voice")
        .then("plan")
        .then("sent", channel="whatsapp")
        .then("delivered_failed", after=8)
        .then("sent", after=2, channel="voice")
        .then("delivered", after=6)
    )
    run = engagelab.send("+6591234567", scenario=fallback)
    channels = [event.status.status_data.current_send_channel for event in run.events]
    assert channels == ["", "whatsapp", "whatsapp", "voice", "voice"]


# [illegal]
def test_what_engagelab_would_not_send_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="'verified' cannot follow 'plan'"):
        Scenario("impossible").then("plan").then("verified")


def test_what_engagelab_would_not_send_all_the_same(engagelab: EngageLab) -> None:
    impossible = Scenario("impossible", graph=None).then("verified").then("plan")
    run = engagelab.send("+6591234567", scenario=impossible)
    assert run.statuses == ["verified", "plan"]


# [unknown]
def test_a_misspelt_scenario(engagelab: EngageLab) -> None:
    with pytest.raises(UnknownName, match="did you mean 'verified'"):
        engagelab.send("+6591234567", scenario="verfied")
