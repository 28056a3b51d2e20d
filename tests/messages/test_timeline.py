"""A scenario as timed events."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from engagelab_mock import CATALOGUE, Generator, Message, Scenario, StatusEvent
from engagelab_mock.messages.scenario import timeline


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


def test_what_costs_something_is_what_was_sent() -> None:
    billed = [event.name for _, event in events(CATALOGUE["fallback_exhausted"]) if event.status.billing is not UNSET]
    assert billed == ["sent", "sent", "sent"]


def test_custom_args_are_in_every_row() -> None:
    assert [event.custom_args for _, event in events(CATALOGUE["delivered"], custom_args={"order": 7})] == [
        {"order": 7}
    ] * 3


def test_an_empty_scenario_has_no_events() -> None:
    assert events(CATALOGUE["lost"]) == []
