"""/_mock/readyz, /_mock/reset and /_mock/scenarios: whether it is there, what it can play, and starting afresh."""

from __future__ import annotations

from engagelab_mock import __version__
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.server.control.call import Call, answer
from engagelab_mock.server.control.time import Nothing
from engagelab_mock.server.exchange import HttpAnswer


def ready(call: Call) -> HttpAnswer:
    """Answer that requests are answered."""
    call.parameters()
    return answer({"status": "ready", "version": __version__})


def reset(call: Call) -> HttpAnswer:
    """Forget everything that happened and was set up; the receivers and the clock stay."""
    call.body(Nothing)
    call.engagelab.reset()
    return answer({"status": "ready", "version": __version__})


def list_scenarios(call: Call) -> HttpAnswer:
    """Answer with the built-in scenarios."""
    call.parameters()
    return answer(
        [
            {
                "name": scenario.name,
                "description": scenario.description,
                "statuses": scenario.statuses,
                "delays": [transition.after for transition in scenario.transitions],
                "channels": [transition.channel for transition in scenario.transitions],
                "error_codes": [transition.error_code for transition in scenario.transitions],
            }
            for scenario in CATALOGUE.values()
        ]
    )
