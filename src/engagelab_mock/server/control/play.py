"""/_mock/send: a scenario, played as `EngageLab.send` plays it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.control.call import Call, answer, refused
from engagelab_mock.server.exchange import HttpAnswer


class NewSend(msgspec.Struct, forbid_unknown_fields=True):
    """Say what is sent, as `EngageLab.send` takes it."""

    to: str | None = None
    scenario: str | list[str] | None = None
    template: str | None = None
    channel: str | None = None
    custom_args: dict[str, Any] | None = None
    #: How many events one callback carries, or "all".
    batch: int | Literal["all"] | None = None
    #: Waits in seconds after an attempt that was not acknowledged.
    retry: list[float] | None = None
    fault: str | list[str] | None = None


def play_scenario(call: Call) -> HttpAnswer:
    """Accept a message and play a scenario; in virtual time, its callbacks have been sent when this answers."""
    wanted = msgspec.structs.asdict(call.body(NewSend))
    given = {name: value for name, value in wanted.items() if value is not None}
    try:
        if isinstance(given.get("fault"), list):
            given["fault"] = [fault(name) for name in given["fault"]]
        run = call.engagelab.begin_send(**given)
    except EngageLabMockError as error:
        raise refused(error) from None
    call.engagelab.work_off()
    return answer(
        {
            "message_id": run.message_id,
            "to": run.to,
            "scenario": run.scenario.name,
            "statuses": run.scenario.statuses,
            "deliveries": [
                {"statuses": delivery.statuses, "outcome": str(delivery.outcome), "attempts": len(delivery.attempts)}
                for delivery in run.deliveries
            ],
        }
    )
