"""What happens to a message, and when: its scenario as timed events."""

from __future__ import annotations

from engagelab_mock.generate import Generator
from engagelab_mock.lifecycle.message import Message
from engagelab_mock.lifecycle.scenario import Scenario
from engagelab_mock.protocol.events import StatusEvent
from engagelab_mock.protocol.status import Status


def timeline(
    message: Message, scenario: Scenario, channel: str, generate: Generator
) -> list[tuple[float, StatusEvent]]:
    """Return the scenario's events with the Unix time of each, counted from when the message was accepted.

    >>> from engagelab_mock import CATALOGUE
    >>> message = Message(id="1", to="+6591234567", accepted=100)
    >>> [(at, event.name) for at, event in timeline(message, CATALOGUE["delivered"], "sms", Generator.seeded(0))]
    [(100.0, 'plan'), (102.0, 'sent'), (105.0, 'delivered')]
    """
    moment = float(message.accepted)
    timed = []
    for step in scenario.steps(channel):
        moment += step.after
        event = message.event(
            step.status,
            at=moment,
            channel=step.channel or "",
            error_code=step.error_code,
            error_message=step.error_message or "",
            cost=generate.cost() if step.status == Status.SENT else None,
        )
        timed.append((moment, event))
    return timed
