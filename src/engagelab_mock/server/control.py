"""The control API under /_mock, which the vendor does not have: one function for each call, and their list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import UNSET

from engagelab_mock import __version__
from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.faults.catalogue import FAULTS, fault
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.errors import EngageLabMockError, IllegalTransition
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.server import checking, explored, journal, ordering, receivers, schemas, stream  # noqa: F401 - add calls
from engagelab_mock.server.app import Call
from engagelab_mock.server.operations import CONTROL as CONTROL
from engagelab_mock.server.operations import NO_BODY, answers
from engagelab_mock.server.operations import answer_control as answer_control
from engagelab_mock.service.inbox import Inbox as MessagesOf
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    pass

_S = TypeVar("_S", bound=msgspec.Struct)
#: How often a client that waits is checked, in seconds.
_HEARTBEAT = 1.0
#: The seconds in each unit by which the clock is advanced.
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


_CLOCK = "The clock afterwards."
_LIVE_ONLY = {"refused": {409: "3003: the clock is virtual, and does not run."}}
_NO_RULE = {404: "4001: the rule is unknown."}
_RULE = {"to": "+6591234567", "error": 5011, "times": 1}
_SEND = {"to": "+6591234567", "scenario": "fallback"}
_EVENT = {"event": "insufficient_balance", "fields": {"remain_balance": -0.5}}


@answers("GET", "/_mock/readyz", "Ask whether the server answers requests", "It does.", guarded=False)
def ready(call: Call) -> schemas.Ready:
    """Ask whether the server answers requests."""
    return schemas.Ready("ready", __version__)


@answers(
    "POST",
    "/_mock/reset",
    "Forget everything that happened and was set up; receivers and clock stay",
    "Everything is forgotten.",
    forgets=True,
    **NO_BODY,
)
def reset(call: Call) -> schemas.Ready:
    """Forget everything that happened and was set up; receivers and clock stay."""
    call.engagelab.reset()
    return ready(call)


@answers("GET", "/_mock/scenarios", "List the built-in scenarios", "Every scenario.")
def list_scenarios(call: Call) -> list[schemas.Scenario]:
    """List the built-in scenarios."""
    return list(map(schemas.Scenario.of, CATALOGUE.values()))


@answers("GET", "/_mock/faults", "List the faults that a callback can be sent with", "Every fault.")
def list_faults(call: Call) -> list[schemas.KnownFault]:
    """List the faults that a callback can be sent with."""
    return [schemas.KnownFault(each.name, each.family, each.description) for each in FAULTS.values()]


@answers("GET", "/_mock/inbox", "Read the messages of all recipients", "Every message, oldest first.")
def read_inboxes(call: Call) -> schemas.Inboxes:
    """Read the messages of all recipients."""
    engine = call.engagelab._engine
    engine.outbox.settle_quietly()
    return schemas.Inboxes([_as(schemas.InboxMessage, each) for each in MessagesOf(engine, None)])


@answers(
    "GET",
    "/_mock/inbox/{to}",
    "Read the messages of one recipient; with `wait`, wait that many seconds for the first",
    "The latest code, and every message.",
    query=schemas.InboxQuery,
)
def read_inbox(call: Call) -> schemas.Inbox:
    """Read the messages of one recipient; with `wait`, wait that many seconds for the first."""
    to, app = call.named["to"], call.app
    notify = call.engagelab._engine.scheduler.notify
    try:
        inbox = MessagesOf(call.engagelab._engine, to)
    except EngageLabMockError as error:
        raise call.refused(error) from None
    deadline = stopwatch() + call.query.wait
    if call.query.wait:
        call.step_aside()
    app.on_close(notify)
    try:
        while True:
            wait = min(_HEARTBEAT, max(0.0, deadline - stopwatch()))
            # The test gets the failures of callbacks; this client does not.
            arrived = run_sync(inbox.arrived(SYNC, wait, stopped=lambda: app.closed, quietly=True))
            if arrived or wait < _HEARTBEAT or app.closed or call.client_has_gone():
                break
    finally:
        app.forget(notify)
    messages = [_as(schemas.InboxMessage, each) for each in arrived]
    latest = messages[-1] if messages else None
    return schemas.Inbox(to, latest.code if latest else None, latest.text if latest else None, messages)


def _as(kind: type[_S], given: Any) -> _S:
    """Return the fields of a record that are described."""
    return kind(**{name: getattr(given, name) for name in kind.__struct_fields__})


@answers("GET", "/_mock/clock", "Read the clock", "The clock.")
def read_clock(call: Call) -> schemas.Clock:
    """Read the clock."""
    return schemas.Clock.of(call.engagelab.clock)


@answers("POST", "/_mock/clock/freeze", "Stop the clock; a virtual clock does not run anyway", _CLOCK, **NO_BODY)
def freeze_clock(call: Call) -> schemas.Clock:
    """Stop the clock; a virtual clock does not run anyway."""
    if not _virtual(call):
        call.engagelab.clock.freeze()
    return read_clock(call)


@answers("POST", "/_mock/clock/resume", "Let the clock run again", _CLOCK, **NO_BODY, **_LIVE_ONLY)
def resume_clock(call: Call) -> schemas.Clock:
    """Let the clock run again."""
    _live(call).resume()
    return read_clock(call)


@answers(
    "POST",
    "/_mock/clock/speed",
    "Let the clock run faster or slower",
    _CLOCK,
    body=schemas.Speed,
    example={"speed": 60},
    **_LIVE_ONLY,
)
def set_speed(call: Call) -> schemas.Clock:
    """Let the clock run faster or slower."""
    clock = _live(call)
    try:
        clock.speed = call.body.speed
    except EngageLabMockError as error:
        raise call.refused(error) from None
    return read_clock(call)


@answers(
    "POST",
    "/_mock/clock/advance",
    "Move the clock forward; a virtual clock sends the callbacks that fall due, then answers",
    _CLOCK,
    body=schemas.Advance,
    example={"minutes": 5},
)
def advance_clock(call: Call) -> schemas.Clock:
    """Move the clock forward; a virtual clock sends the callbacks that fall due, then answers."""
    given = {name: amount for name, amount in msgspec.structs.asdict(call.body).items() if amount is not UNSET}
    if not given:
        raise ApiError(3002, 'seconds, minutes, hours or days is required, such as {"minutes": 5}')
    try:
        call.engagelab._engine.advance_quietly(sum(_SECONDS[name] * amount for name, amount in given.items()))
    except EngageLabMockError as error:
        raise call.refused(error) from None
    return read_clock(call)


def _virtual(call: Call) -> bool:
    return isinstance(call.engagelab.clock, VirtualClock)


def _live(call: Call) -> Any:
    if _virtual(call):
        hint = "POST /_mock/clock/advance moves it; engagelab-mock serve has a clock that runs"
        raise ApiError(3003, f"this clock is virtual: it stands still until it is advanced; {hint}", http_status=409)
    return call.engagelab.clock


@answers("GET", "/_mock/rules", "List the rules in force", "The rules, oldest first.")
def list_rules(call: Call) -> schemas.Rules:
    """List the rules in force."""
    return schemas.Rules([_as(schemas.Rule, rule) for rule in call.engagelab.rules])


@answers(
    "POST",
    "/_mock/rules",
    "Add a rule: a scenario or an error for some calls",
    "The rule, which is in force.",
    status=201,
    body=schemas.NewRule,
    example=_RULE,
)
def add_rule(call: Call) -> schemas.Rule:
    """Add a rule: a scenario or an error for some calls."""
    given = call.body
    if (given.scenario is None) == (given.error is None):
        example = '{"scenario": "sent_failed"} or {"error": 5013}'
        raise ApiError(3002, f"either scenario or error is required, such as {example}")
    try:
        return _as(schemas.Rule, call.engagelab.rule(**msgspec.structs.asdict(given)))
    except IllegalTransition as error:
        raise _illegal(error) from None
    except EngageLabMockError as error:
        raise call.refused(error) from None


@answers("DELETE", "/_mock/rules", "Cancel every rule", "An empty list.", forgets=True, **NO_BODY)
def remove_rules(call: Call) -> schemas.Rules:
    """Cancel every rule."""
    for rule in list(call.engagelab.rules):
        rule.cancel()
    return schemas.Rules([])


@answers(
    "DELETE",
    "/_mock/rules/{id}",
    "Cancel one rule",
    "The rule, which is no longer in force.",
    refused=_NO_RULE,
    forgets=True,
    **NO_BODY,
)
def remove_rule(call: Call) -> schemas.Rule:
    """Cancel one rule."""
    for rule in list(call.engagelab.rules):
        if rule.id == call.named["id"]:
            rule.cancel()
            return _as(schemas.Rule, rule)
    raise ApiError(4001, f"unknown rule {call.named['id'][:100]!r}", http_status=404)


@answers(
    "POST",
    "/_mock/send",
    "Send a message's callbacks, without a call by the app",
    "The message; in virtual time its callbacks have been sent.",
    body=schemas.NewSend,
    body_required=False,
    example=_SEND,
)
def play_scenario(call: Call) -> schemas.Sent:
    """Send a message's callbacks, without a call by the app."""
    engine = call.engagelab._engine
    given = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not None}
    any_order = given.pop("any_order")
    try:
        if any_order and isinstance(given.get("scenario"), list):
            given["scenario"] = find_scenario(given["scenario"], graph=None)
        given["fault"] = _faults(call)
        run = call.engagelab.begin_send(**given)
    except IllegalTransition as error:
        raise _illegal(error) from None
    except EngageLabMockError as error:
        raise call.refused(error) from None
    sending = engine.messages.sending_of(run.message_id)
    engine.outbox.settle_quietly()
    # Asked before the deliveries are read: another thread may send meanwhile.
    pending = sending is not None and sending.remaining > 0
    return schemas.Sent.of(run, pending=pending)


@answers(
    "POST",
    "/_mock/events",
    "Send an event that is not about a message: a notification, a user's reply, or a system event",
    "The event; in virtual time its callback has been sent.",
    body=schemas.NewEvent,
    example=_EVENT,
)
def send_event(call: Call) -> schemas.SentEvent:
    """Send an event that is not about a message: a notification, a user's reply, or a system event."""
    engine, body = call.engagelab._engine, call.body
    now = engine.clock.time()
    try:
        event = engine.account.event(body.event, body.fields, at=now)
        sending = engine.sending({"total": body.total, "retry": body.retry, "fault": _faults(call)})
    except EngageLabMockError as error:
        raise call.refused(error) from None
    with engine.scheduler.lock, engine.store.transaction():
        sending.schedule_callback(now, (event,), held=True)
        engine.outbox.accept(sending)
        engine.messages.adopt_sending(f"event {id(sending)}", sending)
    engine.outbox.release([sending])
    engine.outbox.settle_quietly()
    pending = sending.remaining > 0
    return schemas.SentEvent.of(event.name, sending.deliveries, pending=pending)


def _faults(call: Call) -> Any:
    given = call.body.fault
    return [fault(name) for name in given] if isinstance(given, list) else given


def _illegal(error: IllegalTransition) -> ApiError:
    anyway = 'POST /_mock/send with "any_order": true sends it anyway'
    return ApiError(3002, f"{error.what}; {error.allowed}; {anyway}")
