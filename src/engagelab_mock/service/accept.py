"""The one path from a request to a message with scheduled callbacks.

`send`, `begin_send`, `send_many`, batches and the REST API all come here. The request is checked, a message is made,
its scenario gives timed events, and these become the scheduled callbacks of a `Sending`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, cast

import msgspec

from engagelab_mock.delivery.model import Run
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import InvalidRecipient, UnknownName, UsageError, did_you_mean
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.message import Message, check_recipient, is_email
from engagelab_mock.messages.scenario import Batch, Scenario, along, check_batch, first_channel, timeline
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.service.sending import Sending

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.catalogue import FaultChoice
    from engagelab_mock.messages.sandbox import Magic
    from engagelab_mock.messages.template import Template
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.messages import Accepted
    from engagelab_mock.service.rules import Rule


ScenarioChoice = str | Scenario | Sequence[str]


class DeliverOptions(TypedDict, total=False):
    """Say how callbacks are delivered. Every key is optional; None is its default."""

    #: When a callback that was not acknowledged is sent again: a `RetryPolicy`, or waits in seconds. None: never.
    retry: RetryPolicy | Sequence[float] | None
    #: The faults to apply: the name of a fault, a `fault(...)`, or a list of them.
    fault: FaultChoice | None
    #: The envelope's `total`. Default: the right one.
    total: int | None
    #: Raise `NotAcknowledged` for a delivery that is given up. Default: if no fault was applied to its last attempt.
    check: bool | None


class SendOptions(DeliverOptions, total=False):
    """Hold the options of `send`. Every key is optional; None is its default."""

    #: The name of a scenario, a `Scenario`, or a list of statuses. Default: "verified".
    scenario: ScenarioChoice | None
    #: The key of the template. Default: the account's own.
    template: str | None
    #: The channel of steps for which the scenario names none. Default: sms, or email for an address [?].
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


def check_events(given: object) -> None:
    """Raise `UsageError` unless this is a list of events with at least one in it.

    >>> check_events([])
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.UsageError: deliver: a callback carries at least one event
      hint: deliver([event])
    """
    if not isinstance(given, Sequence) or not all(isinstance(event, Event) for event in given):
        raise UsageError(f"events are a list of Event, not {given!r:.100}", where="deliver", hint="deliver([event])")
    if not given:
        raise UsageError("a callback carries at least one event", where="deliver", hint="deliver([event])")


def check_joins_batch(given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UsageError` for an option that must be given to `engagelab.batch()` instead.

    >>> check_joins_batch({"scenario": "verified"}, where="send")
    """
    for name, value in given.items():
        if value is None:
            continue
        if name == "batch":
            hint = "leave batch out, or send outside of the batch"
            raise UsageError("everything in a batch goes into one callback", where=f"{where}, in a batch", hint=hint)
        if name in DeliverOptions.__annotations__:
            raise UsageError(
                f"{name} is an option of the callback, which belongs to the batch",
                where=f"{where}, in a batch",
                hint=f"with engagelab.batch({name}=…):",
            )


def check_total(total: object) -> int | None:
    """Return the envelope's `total`, or None for the right one; raise `UsageError` for anything else.

    >>> check_total(5)
    5
    """
    if total is None or (isinstance(total, int) and not isinstance(total, bool)):
        return total
    raise UsageError(
        f"a total is an integer, not {total!r}", where="total", hint="fault='wrong_total' sends a wrong one"
    )


def split_options(given: dict[str, Any], *, where: str) -> tuple[DeliverOptions, dict[str, Any]]:
    """Separate delivery options from the fields of an event; raise `UnknownName` for a misspelt option.

    >>> split_options({"retry": [60], "reason": ""}, where="notify")
    ({'retry': [60]}, {'reason': ''})
    """
    known = DeliverOptions.__annotations__
    fields = {name: value for name, value in given.items() if name not in known}
    for name in fields:
        if did_you_mean(name, known, cutoff=0.66):
            raise UnknownName("argument", name, known, where=where)
        if name == "at":
            raise UsageError("itime comes from the clock", where=where, hint="engagelab.clock.advance(…) moves it")
    return cast("DeliverOptions", {name: given[name] for name in given if name in known}), fields


Timed = Sequence[tuple[float, StatusEvent]]

#: How long the code of the sandbox's recipient is valid, in seconds [X].
_MAGIC_TTL = 300.0
_ARRIVED = frozenset({Status.DELIVERED, Status.READ})
#: The call of a message that the test sent itself.
SEND = "send"


class Request(msgspec.Struct, kw_only=True):
    """Hold the content of a message to send. Every way of sending makes one."""

    #: "send", or the API call: messages, codes, custom-messages.
    call: str
    #: None: the recipient is drawn from the seed.
    to: str | None = None
    #: A template id; empty: the account's own template.
    template: str = ""
    language: str = "default"
    params: dict[str, str] = {}
    #: None: EngageLab makes a code. Empty: the message has no code.
    code: str | None = None
    custom_args: dict[str, Any] | None = None
    scenario: ScenarioChoice | None = None
    channel: str | None = None
    batch: Batch = 1
    options: DeliverOptions = {}


class Terms(msgspec.Struct, kw_only=True):
    """Hold the result of checking a request: its scenario, its channels, and how long its code is valid."""

    scenario: Scenario
    #: The channels that reach the recipient, in the order in which they are tried; None: the recipient's default.
    channels: tuple[str, ...] | None = None
    template: Template | None = None
    #: The sandbox recipient that the message goes to; None if it goes to another recipient.
    magic: Magic | None = None
    #: How long the code is valid, in seconds; None: for ever.
    ttl: float | None = None


class Acceptance(msgspec.Struct):
    """Hold the result of accepting a request: the message, its timed events, and the sending of its callbacks."""

    request: Request
    terms: Terms
    message: Message
    #: The first channel.
    channel: str
    timed: Timed
    sending: Sending
    #: When the code expires, in Unix seconds; None: never.
    expires: float | None
    #: Whether the API can verify the code: EngageLab made it, not the app [D].
    verifiable: bool

    @property
    def run(self) -> Run:
        """Return the result of `send`."""
        return Run(self.message, self.terms.scenario, self.sending.deliveries)


def accept(engine: Engine, request: Request, terms: Terms | None = None, *, held: bool = False) -> Acceptance:
    """Check a request, make its message, and schedule the callbacks; with `held` they wait for `Sending.release`.

    `terms` are the result of `check`, if the caller has called it already. Raises a `UsageError`, or an `ApiError` for
    a call of the API.
    """
    __tracebackhide__ = True
    accepted = prepare(engine, request, check(engine, request) if terms is None else terms)
    sending, batching = accepted.sending, engine.batching if request.call == SEND else None
    if batching is None:
        sending.schedule(accepted.timed, batch=request.batch, held=held)
        schedule_expiry(engine, accepted, held=held)
    else:
        batching.collect(accepted.timed, sending, accepted)
    engine.messages.add(accepted, keep=held)
    return accepted


def check(engine: Engine, request: Request) -> Terms:
    """Check a request, and return the terms on which it is accepted."""
    __tracebackhide__ = True
    if request.call == SEND:
        if request.channel is not None and request.channel not in list(Channel):
            raise UnknownName("channel", request.channel, Channel, where="channel")
        if request.batch != "all":
            check_batch(request.batch)
        scenario = find_scenario("verified" if request.scenario is None else request.scenario)
        channels = None if request.channel is None else (request.channel,)
        return Terms(scenario=scenario, channels=channels, ttl=engine.code_ttl)
    return _check_call(engine, request)


def prepare(engine: Engine, request: Request, terms: Terms) -> Acceptance:
    """Make the message of a request, its timed events and its sending, without scheduling anything."""
    __tracebackhide__ = True
    account = engine.account
    generate = engine.generate if request.call == SEND else engine.api_generate
    message = Message(
        id=generate.message_id() if request.call == SEND else engine.messages.new_id(generate),
        to=generate.recipient() if request.to is None else request.to,
        template_key=request.template or account.template_key,
        business_id=account.business_id,
        accepted=engine.clock.time(),
        custom_args=request.custom_args,
        msg_time=engine.dialect.msg_time,
    )
    scenario = terms.scenario
    channel = message.default_channel if terms.channels is None else terms.channels[0]
    if request.call != SEND:
        channel = first_channel(scenario, (channel,))
    return Acceptance(
        request,
        terms,
        message,
        channel,
        timeline(message, scenario, channel, generate),
        engine.sending(request.options, message.id),
        None if terms.ttl is None else message.accepted + terms.ttl,
        request.call in {SEND, "messages"},
    )


def schedule_expiry(engine: Engine, accepted: Acceptance, *, held: bool = False) -> None:
    """Schedule the expiry of the code, if the message arrives and its scenario has no status after that.

    On a clock that runs by itself, `send` does not wait for the expiry. Without this entry, it would not be sent.
    """
    if not accepted.timed or accepted.expires is None or not accepted.verifiable:
        return
    last = accepted.timed[-1][1].status
    if last.message_status not in _ARRIVED or not (held or engine.scheduler.virtual):
        return
    event = accepted.message.event(
        Status.VERIFIED_TIMEOUT, at=accepted.expires, channel=last.status_data.current_send_channel
    )
    accepted.sending.schedule_callback(accepted.expires, (event,), "expiry", held=held)


def _check_call(engine: Engine, request: Request) -> Terms:
    """Check the message of an API call, as EngageLab does [D]."""
    from engagelab_mock.messages.sandbox import MAGIC
    from engagelab_mock.service.rest.exchange import ApiError

    to = request.to or ""
    magic = MAGIC.get(to) if engine.api_settings.sandbox else None
    if magic is not None and magic.error:
        raise ApiError(magic.error, hint=f"{to} is the sandbox's recipient for it")
    try:
        check_recipient(to)
    except InvalidRecipient as error:
        raise ApiError(5011, f"invalid number format: {error.what}", hint=error.hint) from None
    # A recipient of the sandbox has priority over any rule.
    rule = apply_rule(engine, request.call, to=to, template=request.template) if magic is None else None
    template = _template(engine, request.template)
    # The sandbox's address gets an e-mail with any template [X].
    channels = ("email",) if magic is not None and is_email(to) else _channels(template, to)
    if request.call != "custom-messages":
        if magic is None:
            _check_rate(engine, request)
    elif template is not None and template.verify_code_config is not None and not request.code:
        raise ApiError(3002, "template.params.code is required by a verification template")
    scenario = magic.scenario if magic is not None and magic.scenario is not None else None
    if scenario is None:
        usual = engine.defaults.get("scenario")
        scenario = (rule and rule.as_scenario) or find_scenario("delivered" if usual is None else usual)
        own = CATALOGUE.get(scenario.name) is not scenario
    else:
        own = False
    # A scenario of the test names its channels. A built-in scenario takes the channels of the template.
    if not own and (template is not None or is_email(to)):
        scenario = along(scenario, channels)
    return Terms(
        scenario=scenario, channels=channels, template=template, magic=magic, ttl=_ttl(engine, magic, template)
    )


def apply_rule(engine: Engine, call: str, *, to: str = "", template: str = "") -> Rule | None:
    """Return the rule that applies to an API call, or raise the `ApiError` that it asks for."""
    rule = engine.rules.apply(call, to=to, template=template)
    if rule is not None and rule.error is not None:
        from engagelab_mock.service.rest.exchange import ApiError

        raise ApiError(rule.error, rule.message, hint=f"rule {rule.id} asks for it")
    return rule


def enter_code(engine: Engine, accepted: Accepted, *, verified: bool) -> Sending:
    """Schedule the event of a code that was entered, right or wrong, and return its sending, which is held."""
    message = accepted.message
    sending = engine.messages.sending_of(message.id)
    if sending is None:
        sending = engine.sending({}, message.id)
        engine.messages.adopt_sending(message.id, sending)
    at = engine.clock.time()
    if engine.scheduler.virtual:
        # The earlier events may not have gone out yet.
        at = max(at, sending.until)
    status = Status.VERIFIED if verified else Status.VERIFIED_FAILED
    event = message.event(status, at=at, channel=accepted.delivered_over or accepted.channel)
    sending.schedule_callback(at, (event,), held=True)
    if verified:
        accepted.verified = True
        engine.store.undo(partial(setattr, accepted, "verified", False))
        sending.withdraw_expiry()
        engine.messages.keep(accepted)
    engine.outbox.accept(sending)
    return sending


def _template(engine: Engine, template_id: str) -> Template | None:
    from engagelab_mock.messages.template import APPROVED
    from engagelab_mock.service.rest.exchange import ApiError

    template = engine.templates.find(template_id)
    if template is None and engine.api_settings.strict_templates:
        raise ApiError(4001, "config not exist", hint=f"unknown template {template_id!r:.80}")
    if template is not None and template.status != APPROVED:
        raise ApiError(3013, hint=f"engagelab.audit_template({template_id!r}, 'approved')")
    return template


def _channels(template: Template | None, to: str) -> tuple[str, ...]:
    if template is None:
        return ("email",) if is_email(to) else ("sms",)
    channels = template.channels_to(to)
    if not channels:
        from engagelab_mock.service.rest.exchange import ApiError

        raise ApiError(3003, "not contains any channel config", hint=f"no channel of the template reaches {to}")
    return channels


def _check_rate(engine: Engine, request: Request) -> None:
    if not engine.api_settings.rate_limit:
        return
    latest = engine.messages.latest(request.template, request.to or "")
    if latest is not None and latest.valid(engine.clock.time()):
        from engagelab_mock.service.rest.exchange import ApiError

        ended = "engagelab.clock.advance(…), or POST /_mock/clock/advance, moves the clock past it"
        raise ApiError(3004, hint=f"the code of {latest.message.id} is still valid; {ended}")


def _ttl(engine: Engine, magic: Magic | None, template: Template | None) -> float | None:
    if magic is not None and magic.code:
        return _MAGIC_TTL
    if template is not None and template.verify_code_config is not None:
        return 60.0 * template.verify_code_config.verify_code_ttl
    return engine.code_ttl
