"""A scenario along the channels of a template."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from engagelab_mock.lifecycle.scenario import Scenario, Transition


def along(scenario: Scenario, channels: Sequence[str]) -> Scenario:
    """Return a scenario over these channels instead of its own: the first for its first, and so on.

    Where a scenario falls back further than there are channels, it ends with the failure of the last.

    >>> from engagelab_mock import CATALOGUE
    >>> [(step.status, step.channel) for step in along(CATALOGUE["fallback"], ["sms", "voice"]).transitions][1:3]
    [('sent', 'sms'), ('delivered_failed', 'sms')]
    >>> along(CATALOGUE["fallback"], ["sms"]).statuses
    ['plan', 'sent', 'delivered_failed']
    """
    own: list[str] = []
    steps: list[Transition] = []
    for step in scenario.transitions:
        if step.channel is not None and step.channel not in own:
            own.append(step.channel)
        if len(own) > len(channels):
            break
        channel = step.channel if step.channel is None else channels[own.index(step.channel)]
        steps.append(replace(step, channel=channel))
    return replace(scenario, transitions=tuple(steps))


def first_channel(scenario: Scenario, channels: Sequence[str]) -> str:
    """Return the channel that a scenario begins with.

    >>> from engagelab_mock import CATALOGUE
    >>> first_channel(CATALOGUE["fallback"], ["sms"]), first_channel(CATALOGUE["delivered"], ["sms"])
    ('whatsapp', 'sms')
    """
    return next((step.channel for step in scenario.transitions if step.channel), channels[0])
