"""The calls that show the history to a person: messages and callbacks, found by a search or by an id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engagelab_mock.clock.base import Entry
from engagelab_mock.delivery.journal import Filters, check_filters, fits
from engagelab_mock.delivery.model import Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import EngageLabMockError, UnknownName
from engagelab_mock.messages.scenario import INFERRED, START
from engagelab_mock.protocol.status import Status
from engagelab_mock.server.app import Call
from engagelab_mock.server.callbacks import Callback, CallbackDetail, identify
from engagelab_mock.server.operations import answers
from engagelab_mock.server.schemas import LastOutcome, MessageOfCallback, NameInCallback, RecipientInCallback
from engagelab_mock.service.rest.exchange import ApiError
from engagelab_mock.service.scheduler import ScheduledCallback

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.messages import Accepted

#: How many characters of a text are shown: there may be many messages.
_SHOWN = 10_000

Limit = Annotated[int, Meta(ge=1, le=500, description="At most so many.")]
Search = Annotated[str, Meta(description="Text that is in it, in upper or lower case.")]
NO_MESSAGE = {404: "4001: there is no such message."}
NO_CALLBACK = {404: "4001: there is no such callback."}


class MessagesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which messages to list; all that are given must fit."""

    search: Search | UnsetType = UNSET
    to: Annotated[str, Meta(description="The recipient.")] | UnsetType = UNSET
    template: Annotated[str, Meta(description="The template.")] | UnsetType = UNSET
    status: (
        Annotated[str, Meta(description="A status that was sent.", extra_json_schema={"enum": [*map(str, Status)]})]
        | UnsetType
    ) = UNSET
    before: Annotated[str, Meta(description="The id of a message: only older ones.")] | UnsetType = UNSET
    limit: Limit = 50


class Message(msgspec.Struct, kw_only=True):
    """One accepted message, and how far it has come."""

    message_id: str
    to: str
    template: str
    channel: Annotated[str, Meta(description="The first channel.")]
    call: Annotated[str, Meta(description="The call that sent it: messages, codes, custom-messages, or send.")]
    code: Annotated[str, Meta(description="Empty if it has none.")]
    verifiable: Annotated[bool, Meta(description="EngageLab made the code, so the API can verify it.")]
    verified: bool
    expires: Annotated[float | None, Meta(description="When the code expires, in Unix seconds.")]
    accepted: Annotated[float, Meta(description="When it was accepted, in Unix seconds of the server's clock.")]
    arrived: Annotated[float | None, Meta(description="When it reached the recipient; null if it has not, so far.")]
    arrived_over: Annotated[str, Meta(description="The channel over which it did.")]
    text: Annotated[str, Meta(description="What the recipient reads, at most 10,000 characters; empty until then.")]
    subject: str
    ending: Annotated[str, Meta(description="The last status of its scenario.")]
    statuses: Annotated[list[str], Meta(description="The statuses that were sent, in order.")]
    not_acknowledged: Annotated[int, Meta(description="How many of its callbacks were not acknowledged, so far.")]


class Messages(msgspec.Struct):
    """The messages that fit, newest first."""

    messages: list[Message]
    more: Annotated[bool, Meta(description="There are older ones that fit.")]
    total: Annotated[int, Meta(description="How many messages the server keeps.")]


class Due(msgspec.Struct):
    """A callback of a message that is sent later."""

    at: Annotated[float, Meta(description="Unix seconds of the server's clock.")]
    statuses: list[str]
    kind: Annotated[
        Literal["event", "retry", "expiry"],
        Meta(description="Its first attempt; another attempt; or the code's expiry, unless it is entered before."),
    ]
    number: Annotated[int, Meta(description="The number of the attempt, from 1.")]


class MessageDetail(Message, kw_only=True):
    """One message, with its callbacks and its next events."""

    custom_args: dict[str, Any] | None
    callbacks: Annotated[list[Callback], Meta(description="Oldest first.")]
    due: Annotated[list[Due], Meta(description="What is sent later, the earliest first.")]
    may_follow: Annotated[list[str], Meta(description="The statuses that may come after the last one that was sent.")]


class CallbacksQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which callbacks to list; all that are given must fit."""

    search: Search | UnsetType = UNSET
    status: NameInCallback | UnsetType = UNSET
    to: RecipientInCallback | UnsetType = UNSET
    message_id: MessageOfCallback | UnsetType = UNSET
    outcome: LastOutcome | UnsetType = UNSET
    before: Annotated[str, Meta(description="The id of a callback: only older ones.")] | UnsetType = UNSET
    limit: Limit = 50


class Callbacks(msgspec.Struct):
    """The callbacks that fit, newest first. Without a filter, refused inputs are among them."""

    callbacks: list[Callback]
    more: Annotated[bool, Meta(description="There are older ones that fit.")]


@answers(
    "GET",
    "/_mock/messages",
    "Find messages by their recipient, template, status, or any text",
    "The newest messages that fit.",
    query=MessagesQuery,
)
def find_messages(call: Call) -> Messages:
    """Find messages by their recipient, template, status, or any text."""
    engine, query = call.engagelab._engine, call.query
    if query.status is not UNSET and query.status not in list(Status):
        raise call.refused(UnknownName("status", query.status, Status))
    engine.outbox.settle_quietly()
    messages = list(engine.messages)
    wanted = "" if query.search is UNSET else query.search.lower()
    found: list[Accepted] = []
    by_status = None if query.status is UNSET else _by_message(engine)
    older = query.before is UNSET
    for each in reversed(messages):
        message = each.message
        if not older:
            older = message.id == query.before
        elif (
            (query.to is UNSET or message.to == query.to)
            and (query.template is UNSET or message.template_key == query.template)
            and (not wanted or _has(each, wanted))
            and (by_status is None or _sent(by_status, message.id, query.status))
        ):
            found.append(each)
            if len(found) > query.limit:
                break
    shown = found[: query.limit]
    deliveries = _by_message(engine, {each.message.id for each in shown}) if by_status is None else by_status
    rows = [Message(**_fields(engine, each, deliveries.get(each.message.id, []))) for each in shown]
    return Messages(rows, len(found) > len(shown), len(messages))


@answers(
    "GET",
    "/_mock/messages/{message_id}",
    "Read one message, its callbacks and its next events",
    "The message.",
    refused=NO_MESSAGE,
)
def read_message(call: Call) -> MessageDetail:
    """Read one message, its callbacks and its next events."""
    engine = call.engagelab._engine
    engine.outbox.settle_quietly()
    accepted = find_message(call)
    message = accepted.message
    deliveries = deliveries_of(engine, message.id)
    statuses = _statuses(deliveries, message.id)
    return MessageDetail(
        **_fields(engine, accepted, deliveries),
        custom_args=message.custom_args,
        callbacks=list(map(Callback.of, deliveries)),
        due=[due_of(entry) for entry in pending_of(engine, message.id)],
        may_follow=INFERRED.next_after(statuses[-1] if statuses else START),
    )


@answers(
    "GET",
    "/_mock/callbacks",
    "Find callbacks by their status, recipient, message, outcome, or any text",
    "The newest callbacks that fit.",
    query=CallbacksQuery,
)
def find_callbacks(call: Call) -> Callbacks:
    """Find callbacks by their status, recipient, message, outcome, or any text."""
    engine, query = call.engagelab._engine, call.query
    engine.outbox.settle_quietly()
    filters: Any = {
        name: value
        for name in ("status", "to", "message_id", "outcome")
        if (value := getattr(query, name)) is not UNSET
    }
    try:
        check_filters(filters, engine.journal.statuses)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    wanted = "" if query.search is UNSET else query.search.lower()
    found: list[Callback] = []
    older = query.before is UNSET
    for entry in reversed(list(engine.journal)):
        if not older:
            older = isinstance(entry, Delivery) and identify(entry) == query.before
        elif _fits(entry, filters, wanted):
            found.append(Callback.of(entry))
            if len(found) > query.limit:
                break
    return Callbacks(found[: query.limit], len(found) > query.limit)


@answers(
    "GET",
    "/_mock/callbacks/{callback}",
    "Read one callback: each attempt with its request and answer, and its signature part by part",
    "The callback.",
    refused=NO_CALLBACK,
)
def read_callback(call: Call) -> CallbackDetail:
    """Read one callback: each attempt with its request and answer, and its signature part by part."""
    call.engagelab._engine.outbox.settle_quietly()
    return CallbackDetail.of(find_callback(call))


def find_message(call: Call) -> Accepted:
    """Return the message that the path names, or raise `ApiError`."""
    message_id = call.named["message_id"]
    accepted = call.engagelab._engine.messages.find(message_id)
    if accepted is None:
        raise ApiError(
            4001, f"there is no message {message_id[:100]!r}; GET /_mock/messages lists all", http_status=404
        )
    return accepted


def find_callback(call: Call) -> Delivery:
    """Return the delivery that the path names, or raise `ApiError`."""
    for delivery in reversed(call.engagelab._engine.journal.deliveries):
        if identify(delivery) == call.named["callback"]:
            return delivery
    named = call.named["callback"][:100]
    raise ApiError(4001, f"there is no callback {named!r}; GET /_mock/callbacks lists all", http_status=404)


def pending_of(engine: Engine, message_id: str) -> list[ScheduledCallback]:
    """Return the callbacks of a message that are sent later, the earliest first."""
    entries: list[Entry] = engine.clock.pending
    return [each for each in entries if isinstance(each, ScheduledCallback) and each.sending.message_id == message_id]


def deliveries_of(engine: Engine, message_id: str) -> list[Delivery]:
    """Return the deliveries of a message, oldest first."""
    return _by_message(engine, {message_id}).get(message_id, [])


def statuses_of(engine: Engine, message_id: str) -> list[str]:
    """Return the statuses of a message that were sent, in order."""
    return _statuses(deliveries_of(engine, message_id), message_id)


def _by_message(engine: Engine, wanted: set[str] | None = None) -> dict[str, list[Delivery]]:
    """Return the deliveries of some messages, by default of all, in one pass over the journal."""
    found: dict[str, list[Delivery]] = {}
    for delivery in engine.journal.deliveries:
        ids = (
            (delivery.message_id,)
            if delivery.message_id
            else {getattr(each, "message_id", "") for each in delivery.events}
        )
        for message_id in ids:
            if message_id and (wanted is None or message_id in wanted):
                found.setdefault(message_id, []).append(delivery)
    return found


def _statuses(deliveries: Iterable[Delivery], message_id: str) -> list[str]:
    """Return each status once for any number of receivers."""
    events = {
        id(event): event.name
        for delivery in deliveries
        for event in delivery.events
        if getattr(event, "message_id", None) == message_id
    }
    return list(events.values())


def _sent(deliveries: dict[str, list[Delivery]], message_id: str, status: str) -> bool:
    return status in _statuses(deliveries.get(message_id, []), message_id)


def _has(accepted: Accepted, wanted: str) -> bool:
    # One string for all of them: a search looks at every message.
    message = accepted.message
    texts = f"{message.id}\n{message.to}\n{message.template_key}\n{accepted.code}\n{accepted.text}\n{accepted.subject}"
    return wanted in texts.lower()


def _fields(engine: Engine, accepted: Accepted, deliveries: list[Delivery]) -> dict[str, Any]:
    """Return the fields of a message as it is described."""
    message = accepted.message
    arrived = accepted.delivered
    if arrived is not None and arrived > engine.clock.time():
        arrived = None
    return {
        "message_id": message.id,
        "to": message.to,
        "template": message.template_key,
        "channel": accepted.channel,
        "call": accepted.call,
        "code": accepted.code,
        "verifiable": accepted.verifiable,
        "verified": accepted.verified,
        "expires": accepted.expires,
        "accepted": message.accepted,
        "arrived": arrived,
        "arrived_over": accepted.delivered_over if arrived is not None else "",
        "text": accepted.text[:_SHOWN] if arrived is not None else "",
        "subject": accepted.subject if arrived is not None else "",
        "ending": accepted.ending,
        "statuses": _statuses(deliveries, message.id),
        "not_acknowledged": sum(not each.acknowledged and each.outcome is not Outcome.PENDING for each in deliveries),
    }


def due_of(callback: ScheduledCallback) -> Due:
    """Return the description of a callback that is sent later."""
    made = callback.delivery.attempts[-1].number if callback.delivery and callback.delivery.attempts else 0
    return Due(callback.at, [event.name for event in callback.events], callback.kind, made + 1)


def _fits(entry: Delivery | Refusal, filters: Filters, wanted: str) -> bool:
    if isinstance(entry, Delivery):
        return (not filters or fits(entry, filters)) and (not wanted or any(wanted in text for text in _texts(entry)))
    return not filters and (not wanted or wanted in str(entry).lower())


def _texts(delivery: Delivery) -> Iterator[str]:
    """Return the texts that a search looks at; bodies last, as they are long."""
    yield delivery.receiver.address.lower()
    for attempt in delivery.attempts:
        yield f"{attempt.outcome} {attempt.error}".lower()
        if attempt.response is not None:
            yield str(attempt.response.status)
    yield delivery.body.decode("utf-8", "replace").lower()
