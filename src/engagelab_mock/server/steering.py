"""The calls that act on one message or callback: enter a code, send the next event, send again, wait for less."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from engagelab_mock.delivery.faults.catalogue import faults
from engagelab_mock.delivery.model import Delivery, DeliveryOptions, HeaderChanges, Verbatim
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.errors import EngageLabMockError, IllegalTransition, InvalidBody
from engagelab_mock.messages.scenario import INFERRED, START, Transition
from engagelab_mock.messages.scenario import Scenario as Steps
from engagelab_mock.protocol.callback import decode
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.settings import fits_header
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.server.app import Call
from engagelab_mock.server.callbacks import identify
from engagelab_mock.server.operations import NO_BODY, answers
from engagelab_mock.server.schemas import Amount, Clock, Faults, Retry, SentDelivery, SentEvent, StatusName
from engagelab_mock.server.watching import (
    NO_CALLBACK,
    NO_MESSAGE,
    find_callback,
    find_message,
    pending_of,
    statuses_of,
)
from engagelab_mock.service.accept import enter_code
from engagelab_mock.service.rest.exchange import ApiError, ApiRequest
from engagelab_mock.service.sending import Sending

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.messages import Accepted
    from engagelab_mock.service.scheduler import ScheduledCallback

_HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
#: The transport sets these: with other values, the request would have another length or end elsewhere.
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_AFTER = Annotated[Amount, Meta(description="Seconds of the server's clock to wait before.")]


class EnteredCode(msgspec.Struct, forbid_unknown_fields=True):
    """The code that a user enters."""

    code: Annotated[str | None, Meta(description="Default: the right one.")] = None


class Verified(msgspec.Struct):
    """Whether the code was the right one, as POST /v1/verifications answers it."""

    message_id: str
    verify_code: str
    verified: bool


class NextStatus(msgspec.Struct, forbid_unknown_fields=True):
    """What comes next: by default the first callback that is still to come, now."""

    status: Annotated[StatusName | None, Meta(description="This one instead; the pending ones are then not sent.")] = (
        None
    )
    channel: Annotated[
        Annotated[str, Meta(extra_json_schema={"enum": [*map(str, Channel)]})] | None,
        Meta(description="Over this channel. Default: the one of the status before."),
    ] = None
    error: Annotated[
        Annotated[int, Meta(extra_json_schema={"enum": [*ERROR_CODES]})] | None,
        Meta(description="With this error code. Default: a usual one for a failure."),
    ] = None
    any_order: Annotated[bool, Meta(description="Send a status that may not follow the one before.")] = False
    fault: Faults = None
    retry: Retry = None


class Delay(msgspec.Struct, forbid_unknown_fields=True):
    """By how much later the callbacks go out."""

    seconds: Amount


class SendAgain(msgspec.Struct, forbid_unknown_fields=True):
    """How the callback differs from the one before; it is signed again."""

    body: Annotated[str | None, Meta(description="Another body.")] = None
    content_type: Annotated[
        Annotated[str, Meta(pattern=r"^[!-~]([ -~]*[!-~])?$")] | None, Meta(description="Another Content-Type.")
    ] = None
    headers: Annotated[
        dict[_HeaderName, str | None] | None,
        Meta(description="Headers to replace or add; null removes one. A signature given here is sent as it is."),
    ] = None
    signed: Annotated[bool, Meta(description="False: without a signature.")] = True
    after: _AFTER = 0.0
    fault: Faults = None
    retry: Retry = None


class SentAgain(msgspec.Struct):
    """The callback that was sent again, if it has been sent already."""

    callback: Annotated[str | None, Meta(description="Its id; null if it is sent later.")]
    delivery: Annotated[SentDelivery | None, Meta(description="How it went, so far.")]


@answers(
    "POST",
    "/_mock/messages/{message_id}/code",
    "Enter a code as the user does: the app's call of POST /v1/verifications, made for it",
    "Whether it was right.",
    body=EnteredCode,
    body_required=False,
    example={"code": "123456"},
    refused=NO_MESSAGE,
)
def enter_user_code(call: Call) -> Verified:
    """Enter a code as the user does: the app's call of POST /v1/verifications, made for it."""
    engine, accepted = call.engagelab._engine, find_message(call)
    given = accepted.code if call.body.code is None else call.body.code
    api = engine.api_settings
    pair = f"{api.dev_key or 'key'}:{api.dev_secret or 'secret'}".encode()
    body = msgspec.json.encode({"message_id": accepted.message.id, "verify_code": given})
    authorization = f"Basic {base64.b64encode(pair).decode()}"
    request = ApiRequest("POST", "/v1/verifications", authorization, body, "application/json")
    answer = call.engagelab.api.handle(request)
    answer.written()
    content: dict[str, Any] = msgspec.json.decode(answer.body)
    if answer.status != 200:
        raise ApiError(content["code"], content["message"], http_status=answer.status)
    engine.outbox.settle_quietly()
    return Verified(**content)


@answers(
    "POST",
    "/_mock/messages/{message_id}/next",
    "Send the next status of a message now, or another status in its place",
    "The event; in virtual time its callback has been sent.",
    body=NextStatus,
    body_required=False,
    example={"status": "delivered_failed", "error": 5012},
    refused={**NO_MESSAGE, 409: "3003: nothing is still to come, so the request must give a status."},
)
def send_next(call: Call) -> SentEvent:
    """Send the next status of a message now, or another status in its place."""
    engine, body = call.engagelab._engine, call.body
    accepted = find_message(call)
    engine.outbox.settle_quietly()
    with engine.scheduler.lock:
        pending = [each for each in pending_of(engine, accepted.message.id) if each.kind != "retry"]
        try:
            event = _chosen(engine, accepted, body) if body.status else _first(call, pending)
            sending = engine.sending({"retry": body.retry, "fault": _faults(call)}, accepted.message.id)
        except IllegalTransition as error:
            anyway = '"any_order": true sends it anyway'
            raise ApiError(3002, f"{error.what}; {error.allowed}; {anyway}") from None
        except ApiError:
            raise
        except EngageLabMockError as error:
            raise call.refused(error) from None
        with engine.store.transaction():
            for each in _replaced(event, pending, all=body.status is not None):
                each.cancel()
            if event.name in {Status.DELIVERED, Status.READ}:
                channel = event.status.status_data.current_send_channel
                engine.messages.arrive(accepted, at=engine.clock.time(), channel=channel)
            if event.name == Status.VERIFIED and accepted.verifiable and not accepted.verified:
                sending = enter_code(engine, accepted, verified=True)
            else:
                schedule(engine, sending, engine.clock.time(), [((event,), None)])
    go(engine, sending)
    mine = [each for each in tuple(sending.deliveries) if event.name in each.statuses]
    return SentEvent.of(event.name, mine, pending=sending.remaining > 0)


@answers(
    "POST",
    "/_mock/messages/{message_id}/delay",
    "Send the callbacks of a message that are still to come later; attempts that are repeated keep their time",
    "The message's clock afterwards.",
    body=Delay,
    example={"seconds": 60},
    refused=NO_MESSAGE,
)
def delay_callbacks(call: Call) -> Clock:
    """Send the callbacks of a message that are still to come later; attempts that are repeated keep their time."""
    engine, accepted, seconds = call.engagelab._engine, find_message(call), call.body.seconds
    with engine.scheduler.lock, engine.store.transaction():
        pending = [each for each in pending_of(engine, accepted.message.id) if each.kind != "retry"]
        for each in pending:
            each.cancel()
        for each in pending:
            each.sending.schedule_callback(each.at + seconds, each.events, each.kind, verbatim=each.verbatim)
        if accepted.delivered is not None and accepted.delivered > engine.clock.time():
            accepted.delivered += seconds
            engine.messages.keep(accepted)
    return Clock.of(engine.clock)


@answers(
    "POST",
    "/_mock/callbacks/{callback}/send",
    "Send a callback again to its receiver, as it was or changed, with a new signature",
    "The callback; in virtual time it has been sent.",
    body=SendAgain,
    body_required=False,
    example={"fault": "duplicate"},
    refused=NO_CALLBACK,
)
def send_again(call: Call) -> SentAgain:
    """Send a callback again to its receiver, as it was or changed, with a new signature."""
    engine, body, before = call.engagelab._engine, call.body, find_callback(call)
    content = before.body if body.body is None else body.body.encode("utf-8", "surrogatepass")
    events = before.events if body.body is None else _events(content, before)
    receiver = before.receiver
    try:
        chosen = faults(_faults(call))
        for fault in chosen:
            fault.check_receiver(transport=receiver.transport.name, signs=receiver.settings.signs)
            if fault.stage == "rows":
                decode(content)
        options = DeliveryOptions(check=False, retry=retry_policy(body.retry), faults=chosen)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    sending = Sending(
        engine.scheduler, engine.sender, lambda: [receiver], engine.dialect, options, before.message_id, engine.ledger
    )
    verbatim = Verbatim(
        body=content,
        content_type=before.content_type if body.content_type is None else body.content_type,
        signed=before.signed and body.signed,
        headers=_changes(before, body.headers or {}),
    )
    with engine.scheduler.lock, engine.store.transaction():
        schedule(engine, sending, engine.clock.time() + body.after, [(events, verbatim)])
    go(engine, sending, now=not body.after)
    made = [each for each in tuple(sending.deliveries) if each.attempts]
    return SentAgain(identify(made[0]), SentDelivery.of(made[0])) if made else SentAgain(None, None)


@answers(
    "POST",
    "/_mock/clock/next",
    "Move the clock to the next callback or other event that is due later",
    "The clock afterwards.",
    **NO_BODY,
)
def advance_to_next(call: Call) -> Clock:
    """Move the clock to the next callback or other event that is due later."""
    engine = call.engagelab._engine
    pending = engine.clock.pending
    if pending and (wait := pending[0].at - engine.clock.time()) > 0:
        try:
            engine.advance_quietly(wait)
        except EngageLabMockError as error:
            raise call.refused(error) from None
    return Clock.of(engine.clock)


def _faults(call: Call) -> Any:
    given: Any = call.body.fault
    return given


def _chosen(engine: Engine, accepted: Accepted, body: NextStatus) -> StatusEvent:
    """Return the event of a status that was asked for, or raise `IllegalTransition`."""
    before = statuses_of(engine, accepted.message.id)
    channel = body.channel or accepted.delivered_over or accepted.channel or accepted.message.default_channel
    step = Steps("next", graph=None).then(str(body.status), channel=channel, error=body.error).transitions[0]
    if not body.any_order:
        last = before[-1] if before else START
        if step.status not in INFERRED.follows.get(last, frozenset()):
            INFERRED.check([Transition(each) for each in before], step, where="next")
    early = step.status in {Status.PLAN, Status.TARGET_VALID, Status.TARGET_INVALID}
    return accepted.message.event(
        step.status,
        at=engine.clock.time(),
        channel="" if early else channel,
        error_code=step.error_code,
        cost=engine.generate.cost() if step.status == Status.SENT else None,
    )


def _first(call: Call, pending: list[ScheduledCallback]) -> StatusEvent:
    """Return the first event that is still to come, as if it happened now."""
    for each in pending:
        for event in each.events:
            if isinstance(event, StatusEvent):
                return msgspec.structs.replace(event, itime=int(call.engagelab.clock.time()))
    hint = 'name one, such as {"status": "delivered"}'
    raise ApiError(3003, f"nothing is still to come for this message; {hint}", http_status=409)


def _replaced(event: StatusEvent, pending: list[ScheduledCallback], *, all: bool) -> list[ScheduledCallback]:
    """Return the callbacks that the event takes the place of; the code expires anyway if it can still be entered."""
    if not all:
        return pending[:1]
    expires = event.name in {Status.DELIVERED, Status.READ, Status.VERIFIED_FAILED}
    return [each for each in pending if not (each.kind == "expiry" and expires)]


def schedule(
    engine: Engine, sending: Sending, at: float, callbacks: Sequence[tuple[tuple[Event, ...], Verbatim | None]]
) -> None:
    """Accept a sending of callbacks, which go out in this order when it is released."""
    for events, verbatim in callbacks:
        sending.schedule_callback(at, events, verbatim=verbatim, held=True)
    engine.outbox.accept(sending)
    engine.messages.adopt_sending(f"event {id(sending)}", sending)


def go(engine: Engine, sending: Sending, *, now: bool = True) -> None:
    """Release a sending; if it is due now, wait a moment for the first answer, so that it can be shown."""
    engine.outbox.release([sending])
    if now and engine.scheduler.virtual:
        engine.outbox.settle_quietly()
    elif now:
        engine.outbox.send_now([sending])


def _changes(before: Delivery, given: Mapping[str, str | None]) -> HeaderChanges:
    """Return the changes of headers: those of the callback before, and then those given; raise `ApiError`."""
    for name, value in given.items():
        if name.lower() in _FRAMING:
            raise ApiError(3002, f"headers: {name} is set by the connection; a fault may change it: GET /_mock/faults")
        if value is not None and not (value == value.strip() and fits_header(value)):
            raise ApiError(3002, f"headers: {value[:100]!r} cannot stand in a header")
    changed = {name.lower() for name in given}
    return (*[each for each in before.headers if each[0].lower() not in changed], *given.items())


def _events(body: bytes, before: Delivery) -> tuple[Event, ...]:
    """Return the events in an edited body; those of before if it cannot be read."""
    try:
        return tuple(decode(body).rows)
    except InvalidBody:
        return before.events
