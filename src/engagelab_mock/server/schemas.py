"""What the control API takes and answers, as types that requests are checked by and the document is made from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import KINDS
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.service.rules import CALLS

#: The longest that one request can follow the journal, in seconds.
FOLLOW_LIMIT = 86_400


Amount = Annotated[float, Meta(ge=0, le=1e9)]
#: A recipient, as the document describes it.
To = Annotated[str, Meta(extra_json_schema={"$ref": "#/components/schemas/Recipient"})]
ScenarioName = Annotated[str, Meta(extra_json_schema={"enum": [*CATALOGUE]})]
FaultName = Annotated[str, Meta(extra_json_schema={"enum": [*FAULTS]})]
StatusName = Annotated[str, Meta(extra_json_schema={"enum": [*map(str, Status)]})]
Played = ScenarioName | Annotated[list[StatusName], Meta(description="Statuses, one second apart.")]


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
    """The server's clock, and what is due later."""

    kind: Literal["virtual", "live"]
    time: Annotated[float, Meta(description="Unix seconds.")]
    frozen: bool
    speed: Annotated[float | None, Meta(description="Its seconds in one of the machine's; null if it is virtual.")]
    pending: Annotated[int, Meta(description="How much is still to be sent.")]
    next: Annotated[list[Pending], Meta(description="The first hundred of the pending.")]


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """By how much the clock moves; the sum counts."""

    seconds: Amount = 0
    minutes: Amount = 0
    hours: Amount = 0
    days: Amount = 0


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
    """What is sent, as `EngageLab.send` takes it."""

    to: Annotated[To | None, Meta(description="The recipient. Default: a generated one.")] = None
    scenario: Played | None = None
    template: str | None = None
    channel: Annotated[str, Meta(extra_json_schema={"enum": [*map(str, Channel)]})] | None = None
    custom_args: dict[str, Any] | None = None
    batch: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["all"] | None, Meta(description="How many events one callback carries.")
    ] = None
    retry: Annotated[
        list[Annotated[float, Meta(ge=0)]] | None,
        Meta(description="Waits in seconds after attempts that are not acknowledged."),
    ] = None
    fault: FaultName | list[FaultName] | None = None


class SentDelivery(msgspec.Struct):
    """One callback, and how it went."""

    statuses: list[str]
    outcome: Outcome
    attempts: int


class Sent(msgspec.Struct):
    """The message that was sent, and its callbacks so far."""

    message_id: str
    to: str
    scenario: str
    statuses: list[str]
    deliveries: list[SentDelivery]


class JournalQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which lines of the journal to read; all filters given must fit."""

    status: Annotated[str, Meta(description="A status, or another event's name, in the callback.")] | UnsetType = UNSET
    kind: (
        Annotated[str, Meta(description="A kind of event in the callback.", extra_json_schema={"enum": [*KINDS]})]
        | UnsetType
    ) = UNSET
    to: Annotated[str, Meta(description="The recipient of an event in the callback.")] | UnsetType = UNSET
    message_id: Annotated[str, Meta(description="The message that the callback is about.")] | UnsetType = UNSET
    outcome: (
        Annotated[
            str, Meta(description="The outcome of the last attempt.", extra_json_schema={"enum": [*map(str, Outcome)]})
        ]
        | UnsetType
    ) = UNSET
    limit: Annotated[int, Meta(ge=1, le=1_000_000, description="Only the last so many lines.")] | UnsetType = UNSET
    follow: (
        Annotated[
            Annotated[float, Meta(ge=0, le=FOLLOW_LIMIT)] | Literal["", "true"],
            Meta(description="How many seconds to continue with what happens. Without a value: until you disconnect."),
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
    message: Annotated[str, Meta(description="What was wrong with a refused input.")] | UnsetType = UNSET
    hint: str | UnsetType | None = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    body: str | UnsetType = UNSET


class Webhook(msgspec.Struct, forbid_unknown_fields=True):
    """Where callbacks go; username and secret sign them, and go together. Without both, they stay as they are."""

    url: Annotated[str, Meta(extra_json_schema={"pattern": "^https?://"})]
    username: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET


class SavedWebhook(msgspec.Struct):
    """Where callbacks go was saved, and the address was validated."""

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
