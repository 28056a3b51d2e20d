"""The calls that send the callbacks of one message in another order: those still to come, or those sent before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from engagelab_mock.delivery.model import DeliveryOptions, Verbatim
from engagelab_mock.server.app import Call
from engagelab_mock.server.callbacks import identify
from engagelab_mock.server.copying import schedule_of
from engagelab_mock.server.operations import answers
from engagelab_mock.server.schemas import SentDelivery
from engagelab_mock.server.steering import go, schedule
from engagelab_mock.server.watching import NO_MESSAGE, Due, deliveries_of, due_of, find_message, pending_of
from engagelab_mock.service.rest.exchange import ApiError
from engagelab_mock.service.sending import Sending

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Delivery
    from engagelab_mock.service.scheduler import ScheduledCallback

#: How many callbacks one call sends again, at most.
_MOST = 100
_TOKEN = Meta(description="The order as a token, for engagelab-mock send --replay and `engagelab.play`.")


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The order of the callbacks that are still to come."""

    statuses: Annotated[
        list[str],
        Meta(description="Their statuses, those of one callback joined by `+`. Others come after them.", min_length=1),
    ]


class Ordered(msgspec.Struct):
    """The callbacks that are still to come, in their new order."""

    token: Annotated[str, _TOKEN]
    due: Annotated[list[Due], Meta(description="What is sent later, the earliest first.")]


class Again(msgspec.Struct, forbid_unknown_fields=True):
    """The callbacks to send again."""

    callbacks: Annotated[
        list[str], Meta(description="Their ids, in the order to send them in.", min_length=1, max_length=_MOST)
    ]


class SentInOrder(msgspec.Struct):
    """The callbacks that were sent again so far."""

    token: Annotated[str, _TOKEN]
    problem: Annotated[str | None, Meta(description="Why one was not acknowledged.")]
    deliveries: list[SentDelivery]


@answers(
    "POST",
    "/_mock/messages/{message_id}/order",
    "Send the callbacks of a message that are still to come in another order, at the same times",
    "The order.",
    body=Order,
    example={"statuses": ["delivered", "sent"]},
    refused={**NO_MESSAGE, 409: "3003: one of them is not still to come."},
)
def order_callbacks(call: Call) -> Ordered:
    """Send the callbacks of a message that are still to come in another order, at the same times."""
    engine, accepted = call.engagelab._engine, find_message(call)
    message_id = accepted.message.id
    with engine.scheduler.lock, engine.store.transaction():
        pending = [each for each in pending_of(engine, message_id) if each.kind == "event"]
        chosen, rest = [], list(pending)
        for named in call.body.statuses:
            found = next((each for each in rest if _named(each) == named), None)
            if found is None:
                known = ", ".join(map(_named, pending)) or "nothing"
                raise ApiError(3003, f"{named[:100]!r} is not still to come; {known} is", http_status=409)
            rest.remove(found)
            chosen.append(found)
        for each, at in zip([*chosen, *rest], [each.at for each in pending], strict=True):
            each.cancel()
            each.sending.schedule_callback(at, each.events, each.kind, verbatim=each.verbatim)
        ordered = pending_of(engine, message_id)
        later = [each.events for each in ordered if each.kind == "event"]
        token = schedule_of(deliveries_of(engine, message_id), later).token
        return Ordered(token, list(map(due_of, ordered)))


@answers(
    "POST",
    "/_mock/messages/{message_id}/resend",
    "Send callbacks of a message again in this order, each after the answer to the one before",
    "The callbacks; in virtual time they have been sent.",
    body=Again,
    example={"callbacks": ["0123456789abcdef", "fedcba9876543210"]},
    refused={**NO_MESSAGE, 409: "3003: one of them is not a callback of this message."},
)
def send_in_order(call: Call) -> SentInOrder:
    """Send callbacks of a message again in this order, each after the answer to the one before."""
    engine, accepted = call.engagelab._engine, find_message(call)
    known = {identify(each): each for each in deliveries_of(engine, accepted.message.id)}
    if missing := [each for each in call.body.callbacks if each not in known]:
        raise ApiError(3003, f"this message has no callback {missing[0][:100]!r}", http_status=409)
    chosen = [known[each] for each in call.body.callbacks]
    receivers = list(dict.fromkeys(each.receiver for each in chosen))
    sendings = []
    with engine.scheduler.lock, engine.store.transaction():
        for receiver in receivers:
            sending = Sending(
                engine.scheduler,
                engine.sender,
                partial(list, (receiver,)),
                engine.dialect,
                DeliveryOptions(check=False),
                accepted.message.id,
                engine.ledger,
            )
            callbacks = [(each.events, _as_before(each)) for each in chosen if each.receiver is receiver]
            schedule(engine, sending, engine.clock.time(), callbacks)
            sendings.append(sending)
    for sending in sendings:
        go(engine, sending)
    made = [each for sending in sendings for each in tuple(sending.deliveries) if each.attempts]
    shown = list(map(SentDelivery.of, made))
    problem = next((each.error for each in shown if each.error), None)
    return SentInOrder(schedule_of(chosen).token, problem, shown)


def _named(callback: ScheduledCallback) -> str:
    return "+".join(event.name for event in callback.events)


def _as_before(delivery: Delivery) -> Verbatim:
    return Verbatim(
        body=delivery.body, content_type=delivery.content_type, signed=delivery.signed, headers=delivery.headers
    )
