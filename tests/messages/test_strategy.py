"""A scenario along the channels of a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagelab_mock import CATALOGUE, Channel, Scenario
from engagelab_mock.messages.scenario import along, first_channel

CHANNELS = st.lists(st.sampled_from(list(Channel)), min_size=1, unique=True)


def over(scenario: Scenario) -> list[str]:
    """Return the channels of a scenario in the order in which it comes to them."""
    return list(dict.fromkeys(step.channel for step in scenario.transitions if step.channel))


@given(name=st.sampled_from(sorted(CATALOGUE)), channels=CHANNELS)
def test_whatever_the_strategy_it_is_followed_from_its_beginning(name: str, channels: list[str]) -> None:
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
def test_a_fallback_ends_where_the_strategy_does(channels: list[str], statuses: list[str]) -> None:
    assert along(CATALOGUE["fallback"], channels).statuses == statuses
