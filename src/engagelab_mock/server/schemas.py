"""The requests and answers of the control API, as types: the server checks requests by them and documents them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.outcome import Outcome, hint_for
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.protocol.events import KINDS
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.service.rules import CALLS

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Delivery, Run
    from engagelab_mock.messages.scenario import Scenario as BuiltIn

#: How many of the pending callbacks are listed.
_LISTED = 100
#: The longest that one request can follow the journal, in seconds.
FOLLOW_LIMIT = 86_400


Amount = Annotated[float, Meta(ge=0, le=1e9)]
#: A recipient, as the document describes it.
To = Annotated[str, Meta(extra_json_schema={"$ref": "#/components/schemas/Recipient"})]
ScenarioName = Annotated[str, Meta(extra_json_schema={"enum": [*CATALOGUE]})]
FaultName = Annotated[str, Meta(extra_json_schema={"enum": [*FAULTS]})]
StatusName = Annotated[str, Meta(extra_json_schema={"enum": [*map(str, Status)]})]
Played = ScenarioName | Annotated[list[StatusName], Meta(description="Statuses, one second apart.")]


Retry = Annotated[
    list[Annotated[float, Meta(ge=0)]] | None,
    Meta(description="Waits in seconds after attempts that are not acknowledged."),
]
Faults = FaultName | list[FaultName] | None
#: The events that are not about a message.
EVENT_NAMES = tuple(known.name for known in EVENTS.values() if known.kind != "status")


class Ready(msgspec.Struct):
    """The server answers requests."""

    status: Literal["ready"]
    version: str


class InboxQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How long to wait for a first message."""

    wait: Annotated[float, Meta(ge=0, le=600, description="Seconds to wait for a first message.")] = 0


class InboxMessage(msgspec.Struct):
    """One message as its recipient got it."""

    to: str
    code: Annotated[str, Meta(description="Empty if the message has none.")]
    text: str
    channel: Channel
    template: str
    message_id: str
    at: Annotated[float, Meta(description="Unix seconds of the server's clock.")]
    subject: Annotated[str, Meta(description="The subject of an e-mail.")]
    sender: Annotated[str, Meta(description="The sender of an e-mail.")]


class Inboxes(msgspec.Struct):
    """Every message that arrived, oldest first."""

    messages: list[InboxMessage]


class Inbox(msgspec.Struct):
    """One recipient's messages, oldest first."""

    to: str
    code: Annotated[str | None, Meta(description="The latest message's code.")]
    text: Annotated[str | None, Meta(description="The latest message's text.")]
    messages: list[InboxMessage]


class Pending(msgspec.Struct):
    """A callback, or other event, that is due later."""

    at: float
    what: str


class Clock(msgspec.Struct):
    """The server's clock, and the callbacks and other events that are due later."""

    kind: Literal["virtual", "live"]
    time: Annotated[float, Meta(description="Unix seconds.")]
    frozen: bool
    speed: Annotated[float | None, Meta(description="Its seconds in one of the machine's; null if it is virtual.")]
    pending: Annotated[int, Meta(description="How much is still to be sent.")]
    next: Annotated[list[Pending], Meta(description="The first hundred of the pending.")]

    @classmethod
    def of(cls, clock: Any) -> Clock:
        """Return the description of a clock."""
        virtual, pending = isinstance(clock, VirtualClock), clock.pending
        return cls(
            kind="virtual" if virtual else "live",
            time=clock.time(),
            frozen=virtual or bool(getattr(clock, "frozen", False)),
            speed=None if virtual else getattr(clock, "speed", 1.0),
            pending=len(pending),
            next=[Pending(timer.at, timer.label) for timer in pending[:_LISTED]],
        )


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """How far the clock moves: the sum of these. At least one is required."""

    seconds: Amount | UnsetType = UNSET
    minutes: Amount | UnsetType = UNSET
    hours: Amount | UnsetType = UNSET
    days: Amount | UnsetType = UNSET


class Speed(msgspec.Struct, forbid_unknown_fields=True):
    """How many of the clock's seconds pass in one of the machine's."""

    speed: Annotated[float, Meta(gt=0, le=1e9)]


class Scenario(msgspec.Struct):
    """One built-in scenario."""

    name: str
    description: str
    statuses: list[str]
    delays: Annotated[list[float], Meta(description="Seconds before each status.")]
    channels: list[str | None]
    error_codes: list[int]

    @classmethod
    def of(cls, scenario: BuiltIn) -> Scenario:
        """Return the description of a scenario."""
        steps = scenario.transitions
        return cls(
            scenario.name,
            scenario.description,
            scenario.statuses,
            [step.after for step in steps],
            [step.channel for step in steps],
            [step.error_code for step in steps],
        )


class KnownFault(msgspec.Struct):
    """One fault."""

    name: str
    family: Literal["signature", "body", "wire", "exchange"]
    description: str


class NewRule(msgspec.Struct, forbid_unknown_fields=True):
    """Which calls the rule applies to, and either a scenario to play or an error to answer."""

    to: Annotated[To | None, Meta(description="Only for this recipient.")] = None
    template: Annotated[str | None, Meta(description="Only for this template.")] = None
    call: Annotated[
        Annotated[str, Meta(extra_json_schema={"enum": [*CALLS]})] | None, Meta(description="Only for this call.")
    ] = None
    scenario: Played | None = None
    error: Annotated[
        Annotated[int, Meta(extra_json_schema={"enum": [*ERROR_CODES]})] | None,
        Meta(description="Answer this error instead of accepting."),
    ] = None
    times: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="How often it applies. Default: always.")] = (
        None
    )


class Rule(msgspec.Struct):
    """A rule in force."""

    id: str
    to: str | None
    template: str | None
    call: str | None
    scenario: str | None
    error: int | None
    times: int | None


class Rules(msgspec.Struct):
    """The rules in force, oldest first."""

    rules: list[Rule]


class NewSend(msgspec.Struct, forbid_unknown_fields=True):
    """A message to send, with the options of `EngageLab.send`."""

    to: Annotated[To | None, Meta(description="The recipient. Default: a generated one.")] = None
    scenario: Played | None = None
    any_order: Annotated[bool, Meta(description="Send the statuses of `scenario` in an order that is not usual.")] = (
        False
    )
    template: str | None = None
    channel: Annotated[str, Meta(extra_json_schema={"enum": [*map(str, Channel)]})] | None = None
    custom_args: dict[str, Any] | None = None
    batch: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["all"] | None, Meta(description="How many events one callback carries.")
    ] = None
    retry: Retry = None
    fault: Faults = None


class NewEvent(msgspec.Struct, forbid_unknown_fields=True):
    """An event that is not about a message: a notification, a user's reply, or a system event."""

    event: Annotated[str, Meta(description="Its name.", extra_json_schema={"enum": [*EVENT_NAMES]})]
    fields: Annotated[
        dict[str, Any], Meta(description="Its fields; others have defaults. A reply needs `sender` and `body`.")
    ] = {}
    total: Annotated[int | None, Meta(description="The envelope's `total`. Default: the right one.")] = None
    retry: Retry = None
    fault: Faults = None


class SentDelivery(msgspec.Struct):
    """One callback to one receiver, and how it went."""

    statuses: list[str]
    receiver: Annotated[str, Meta(description="The receiver's address.")]
    outcome: Outcome
    attempts: int
    http_status: int | None
    error: Annotated[str | None, Meta(description="Why it is not acknowledged.")]
    hint: Annotated[str | None, Meta(description="The next thing to try.")]
    retry_at: Annotated[float | None, Meta(description="When it is sent again, in Unix seconds of the server's clock.")]

    @classmethod
    def of(cls, delivery: Delivery) -> SentDelivery:
        """Return the description of a delivery."""
        last = delivery.attempts[-1] if delivery.attempts else None
        again = last is not None and not delivery.closed and delivery.due is not None and delivery.due > last.at
        return cls(
            statuses=delivery.statuses,
            receiver=delivery.receiver.address,
            outcome=delivery.outcome,
            attempts=len(delivery.attempts),
            http_status=last.response.status if last is not None and last.response is not None else None,
            error=(last.error or None) if last is not None else None,
            hint=(hint_for(delivery, python=False) or None) if last is not None and last.error else None,
            retry_at=delivery.due if again else None,
        )


class Sent(msgspec.Struct):
    """The message that was sent, and its callbacks so far."""

    message_id: str
    to: str
    scenario: str
    statuses: Annotated[list[str], Meta(description="The statuses of the scenario.")]
    sent: Annotated[list[str], Meta(description="The statuses that were sent so far.")]
    pending: Annotated[list[str], Meta(description="The statuses that are sent later, by the server's clock.")]
    not_sent: Annotated[list[str], Meta(description="The statuses that are not sent; `problem` says why.")]
    problem: Annotated[str | None, Meta(description="Why something was not sent or not acknowledged.")]
    deliveries: list[SentDelivery]

    @classmethod
    def of(cls, run: Run, *, pending: bool) -> Sent:
        """Return the description of a message; with `pending`, its unsent statuses are still to come."""
        planned, sent = run.scenario.statuses, run.statuses
        unsent = list((Counter(planned) - Counter(sent)).elements())
        not_sent = [] if pending else unsent
        return cls(
            message_id=run.message_id,
            to=run.to,
            scenario=run.scenario.name,
            statuses=planned,
            sent=sent,
            pending=unsent if pending else [],
            not_sent=not_sent,
            problem=_problem(run.deliveries, not_sent),
            deliveries=list(map(SentDelivery.of, run.deliveries)),
        )


class SentEvent(msgspec.Struct):
    """The event that was sent, and its callbacks so far."""

    event: str
    problem: Annotated[str | None, Meta(description="Why something was not sent or not acknowledged.")]
    deliveries: list[SentDelivery]

    @classmethod
    def of(cls, event: str, deliveries: Sequence[Delivery], *, pending: bool) -> SentEvent:
        """Return the description of an event."""
        not_sent = [] if deliveries or pending else [event]
        return cls(event, _problem(deliveries, not_sent), list(map(SentDelivery.of, deliveries)))


def _problem(deliveries: Sequence[Delivery], not_sent: Sequence[str]) -> str | None:
    """Say which statuses were not acknowledged or not sent, and why; None if all is well so far."""
    left = f"not sent: {', '.join(not_sent)}" if not_sent else ""
    for delivery in deliveries:
        if delivery.attempts and (why := delivery.attempts[-1].error):
            what = f"{', '.join(delivery.statuses)} was not acknowledged: {why}"
            return f"{what}; {left}" if left else what
    return f"{left}: no receiver wants it; PUT /v1/sandbox/webhook sets one" if left else None


# Filters of callbacks.
NameInCallback = Annotated[str, Meta(description="A status, or another event's name, in the callback.")]
RecipientInCallback = Annotated[str, Meta(description="The recipient of an event in the callback.")]
MessageOfCallback = Annotated[str, Meta(description="The message that the callback is about.")]
LastOutcome = Annotated[
    str, Meta(description="The outcome of the last attempt.", extra_json_schema={"enum": [*map(str, Outcome)]})
]


class JournalQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which lines of the journal to read; all filters given must fit."""

    status: NameInCallback | UnsetType = UNSET
    kind: (
        Annotated[str, Meta(description="A kind of event in the callback.", extra_json_schema={"enum": [*KINDS]})]
        | UnsetType
    ) = UNSET
    to: RecipientInCallback | UnsetType = UNSET
    message_id: MessageOfCallback | UnsetType = UNSET
    outcome: LastOutcome | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1_000_000, description="Only the last so many lines.")] | UnsetType = UNSET
    follow: (
        Annotated[
            Annotated[float, Meta(ge=0, le=FOLLOW_LIMIT)] | Literal["", "true"],
            Meta(description="How many seconds to follow the journal. Without a value: until you disconnect."),
        ]
        | UnsetType
    ) = UNSET


class Record(msgspec.Struct):
    """One line of the journal: an attempt, an address validation, or a refused input."""

    type: Literal["attempt", "validation", "refusal"]
    at: Annotated[float, Meta(description="Unix seconds of the server's clock.")]
    statuses: list[str] | UnsetType = UNSET
    message_id: str | UnsetType | None = UNSET
    to: str | UnsetType | None = UNSET
    receiver: Annotated[str, Meta(description="The receiver's address.")] | UnsetType = UNSET
    number: Annotated[int, Meta(description="The number of the attempt in its delivery, from 1.")] | UnsetType = UNSET
    http_status: int | UnsetType | None = UNSET
    acknowledged: bool | UnsetType = UNSET
    elapsed_ms: float | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET
    error: str | UnsetType | None = UNSET
    message: Annotated[str, Meta(description="The error of a refused input.")] | UnsetType = UNSET
    hint: str | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    body: str | UnsetType = UNSET


class Webhook(msgspec.Struct, forbid_unknown_fields=True):
    """Where callbacks go. Username and secret sign them: give both, or none to keep the present ones."""

    url: Annotated[str, Meta(extra_json_schema={"pattern": "^https?://"})]
    username: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET


class SavedWebhook(msgspec.Struct):
    """The address for callbacks was saved and validated."""

    code: Literal[0]
    message: Literal["success"]
    state: Annotated[
        Literal["unvalidated", "normal", "abnormal"],
        Meta(
            description="Normal if the address answered its validation with 200 in time. Callbacks go there either way."
        ),
    ]
    outcome: Annotated[Outcome, Meta(description="The outcome of the validation.")]
    error: Annotated[str | None, Meta(description="Why it is abnormal.")]
