"""Hypothesis strategies for everything that EngageLab sends, and a state machine that tests a receiver.

They need Hypothesis: `pip install engagelab-mock[hypothesis]`.
"""

from __future__ import annotations

from engagelab_mock.strategies.callback import (
    bodies,
    callbacks,
    faults,
    nearly_bodies,
    nearly_signature_headers,
    scenarios,
    schedules,
    signature_headers,
)
from engagelab_mock.strategies.machine import ReceiverMachine
from engagelab_mock.strategies.message import (
    channels,
    custom_args,
    events,
    message_ids,
    messages,
    nearly_recipients,
    nearly_statuses,
    notification_events,
    recipients,
    response_events,
    status_events,
    statuses,
    system_events,
    unknown_events,
)

__all__ = [
    "ReceiverMachine",
    "bodies",
    "callbacks",
    "channels",
    "custom_args",
    "events",
    "faults",
    "message_ids",
    "messages",
    "nearly_bodies",
    "nearly_recipients",
    "nearly_signature_headers",
    "nearly_statuses",
    "notification_events",
    "recipients",
    "response_events",
    "scenarios",
    "schedules",
    "signature_headers",
    "status_events",
    "statuses",
    "system_events",
    "unknown_events",
]
