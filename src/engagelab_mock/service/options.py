"""What can be said of one send, and of what is sent about the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.delivery.schedule import Batch
from engagelab_mock.errors import UnknownName, UsageError, did_you_mean
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.catalogue import FaultChoice

ScenarioChoice = str | Scenario | Sequence[str]


class DeliverOptions(TypedDict, total=False):
    """Say how callbacks are delivered; every key can be left out, or be None for its default."""

    #: What happens after a callback that was not acknowledged: a `RetryPolicy`, or waits in seconds. None is no retry.
    retry: RetryPolicy | Sequence[float] | None
    #: What goes wrong on purpose: a fault's name, a `fault(...)`, or a list of them.
    fault: FaultChoice | None
    #: The envelope's `total`, when it is to be wrong.
    total: int | None
    #: Whether a delivery that is given up raises `NotAcknowledged`: unless given, only if no fault struck at last.
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
    """Raise `UnknownName` for a misspelt option of `send`.

    >>> check_options({"scenario": "verified"}, where="send")
    """
    for name in given:
        if name not in SendOptions.__annotations__:
            raise UnknownName("argument", name, ["to", *SendOptions.__annotations__], where=where)


def check_deliver_options(given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UnknownName` for a misspelt option of a delivery.

    >>> check_deliver_options({"total": 5}, where="deliver")
    """
    for name in given:
        if name not in DeliverOptions.__annotations__:
            raise UnknownName("argument", name, DeliverOptions.__annotations__, where=where)


def check_joins_batch(given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UsageError` for an option that, inside `with engagelab.batch():`, is the batch's to have.

    >>> check_joins_batch({"scenario": "verified"}, where="send")
    """
    for name, value in given.items():
        if value is None:
            continue
        if name == "batch":
            raise UsageError("all of this goes into one callback already", where=f"{where}, in a batch")
        if name in DeliverOptions.__annotations__:
            raise UsageError(
                f"{name} is about the callback, which is the batch's",
                where=f"{where}, in a batch",
                hint=f"with engagelab.batch({name}=…):",
            )


def check_total(total: object) -> int | None:
    """Return the envelope's `total`, None for the right one, or raise `UsageError`.

    >>> check_total(5)
    5
    """
    if total is None or (isinstance(total, int) and not isinstance(total, bool)):
        return total
    raise UsageError(f"a total is an integer, not {total!r}", where="total", hint="fault='wrong_total' is wrong, too")


def split_options(given: dict[str, Any], *, where: str) -> tuple[DeliverOptions, dict[str, Any]]:
    """Tell the options of a delivery from an event's fields; raise `UnknownName` for an option that is misspelt.

    >>> split_options({"retry": [60], "reason": ""}, where="notify")
    ({'retry': [60]}, {'reason': ''})
    """
    known = DeliverOptions.__annotations__
    fields = {name: value for name, value in given.items() if name not in known}
    for name in fields:
        if did_you_mean(name, known, cutoff=0.66):
            raise UnknownName("argument", name, known, where=where)
        if name == "at":
            raise UsageError("itime is the clock's", where=where, hint="engagelab.clock.advance(…) moves it")
    return cast("DeliverOptions", {name: given[name] for name in given if name in known}), fields
