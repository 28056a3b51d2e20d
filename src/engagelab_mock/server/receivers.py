"""The calls about receivers: where callbacks go, how they have answered, and whether an address answers now."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import milliseconds
from engagelab_mock.server.app import Call
from engagelab_mock.server.callbacks import Callback
from engagelab_mock.server.operations import NO_BODY, answers
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Attempt
    from engagelab_mock.delivery.receiver import Receiver

#: How many attempts of a receiver are shown.
_RECENT = 30

NO_RECEIVER = {404: "4001: there is no such receiver."}


class Answered(msgspec.Struct):
    """One attempt, in short."""

    at: float
    outcome: Outcome
    http_status: int | None
    elapsed_ms: float


class KnownReceiver(msgspec.Struct):
    """Where callbacks go, and how it has answered."""

    number: Annotated[int, Meta(description="Its place in the list, from 1.")]
    address: str
    description: str
    state: Literal["unvalidated", "normal", "abnormal"]
    username: Annotated[str, Meta(description="Who signs the callbacks; empty if they are not signed.")]
    events: Annotated[list[str], Meta(description="What it subscribes to; empty means everything.")]
    limit: Annotated[float | None, Meta(description="Seconds for its answer; null: no limit.")]
    acknowledged: Annotated[int, Meta(description="How many of its attempts in the journal were acknowledged.")]
    failed: Annotated[int, Meta(description="How many were not.")]
    recent: Annotated[list[Answered], Meta(description="Its last attempts, oldest first.")]


class Receivers(msgspec.Struct):
    """Every receiver."""

    receivers: list[KnownReceiver]


@answers("GET", "/_mock/receivers", "List the receivers, and how they have answered", "Every receiver.")
def list_receivers(call: Call) -> Receivers:
    """List the receivers, and how they have answered."""
    receivers = call.engagelab.receivers
    attempts: dict[int, list[Attempt]] = {id(receiver): [] for receiver in receivers}
    for delivery in call.engagelab._engine.journal.deliveries:
        if (made := attempts.get(id(delivery.receiver))) is not None:
            made.extend(delivery.attempts)
    return Receivers([_receiver(at, each, attempts[id(each)]) for at, each in enumerate(receivers, 1)])


class Ping(msgspec.Struct):
    """How a receiver answered the validation of its address."""

    state: Literal["unvalidated", "normal", "abnormal"]
    callback: Annotated[str, Meta(description="The id of the ping among the callbacks.")]
    outcome: Outcome
    error: Annotated[str | None, Meta(description="Why it is abnormal.")]
    hint: Annotated[str | None, Meta(description="What to try next.")]


@answers(
    "POST",
    "/_mock/receivers/{number}/ping",
    "Validate the address of one receiver again, as EngageLab's console does",
    "How it answered.",
    refused=NO_RECEIVER,
    **NO_BODY,
)
def ping_receiver(call: Call) -> Ping:
    """Validate the address of one receiver again, as EngageLab's console does."""
    receiver = find_receiver(call, call.named["number"])
    ping = call.engagelab.validate_address(receiver=receiver, check=False)
    shown = Callback.of(ping)
    return Ping(receiver.state, shown.id, ping.outcome, shown.error, shown.hint)


def find_receiver(call: Call, number: str) -> Receiver:
    """Return the receiver at a place in the list, from 1; raise `ApiError` if there is none."""
    receivers = call.engagelab.receivers
    if not (number.isascii() and number.isdecimal() and 1 <= int(number[:9]) <= len(receivers)):
        raise ApiError(4001, f"there is no receiver {number[:100]!r}; there are {len(receivers)}", http_status=404)
    return receivers[int(number) - 1]


def _receiver(number: int, receiver: Receiver, attempts: list[Attempt]) -> KnownReceiver:
    settings = receiver.settings
    outcomes = Counter(attempt.outcome for attempt in attempts)
    acknowledged, pending = outcomes[Outcome.ACKNOWLEDGED], outcomes[Outcome.PENDING]
    return KnownReceiver(
        number,
        receiver.address,
        settings.description,
        receiver.state,
        settings.username if settings.signs else "",
        [*settings.events],
        receiver.limit,
        acknowledged,
        len(attempts) - acknowledged - pending,
        [_answered(attempt) for attempt in attempts[-_RECENT:] if attempt.outcome is not Outcome.PENDING],
    )


def _answered(attempt: Attempt) -> Answered:
    status = attempt.response.status if attempt.response else None
    return Answered(attempt.at, attempt.outcome, status, milliseconds(attempt.elapsed))
