"""What can be said of one send, and of what is sent about the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from engagelab_mock.delivery.fault.catalogue import FaultChoice
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.delivery.schedule import Batch
from engagelab_mock.errors import UnknownName
from engagelab_mock.lifecycle.scenario import Scenario

ScenarioChoice = str | Scenario | Sequence[str]


class DeliverOptions(TypedDict, total=False):
    """Say how callbacks are delivered; every key can be left out, or be None for its default."""

    #: What happens after a callback that was not acknowledged: a `RetryPolicy`, or waits in seconds. None is no retry.
    retry: RetryPolicy | Sequence[float] | None
    #: What goes wrong on purpose: a fault's name, a `fault(...)`, or a list of them.
    fault: FaultChoice | None
    #: The envelope's `total`, when it is to be wrong.
    total: int | None
    #: Whether a delivery that is given up raises `NotAcknowledged`: True unless a fault is declared.
    check: bool | None


class SendOptions(DeliverOptions, total=False):
    """Say what is sent; every key can be left out, or be None for its default."""

    #: A scenario's name, a `Scenario`, or a list of statuses; "verified" unless given.
    scenario: ScenarioChoice | None
    #: The template's key; the account's own unless given.
    template: str | None
    #: The channel used where the scenario names none: sms, or email for an address [?].
    channel: str | None
    #: Echoed in each row [D].
    custom_args: dict[str, Any] | None
    #: How many events one callback carries, or "all".
    batch: Batch


def check_options(given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UnknownName` for a misspelt option.

    >>> check_options({"scenario": "verified"}, where="send")
    """
    for name in given:
        if name not in SendOptions.__annotations__:
            raise UnknownName("argument", name, ["to", *SendOptions.__annotations__], where=where)
