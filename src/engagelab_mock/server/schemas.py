"""What the control API takes and answers, as types: the document is made from them, and requests are read as them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import UnknownName
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import KINDS
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.service.rest.exchange import ApiError, read_object
from engagelab_mock.service.rest.exchange import kind as noun_of
from engagelab_mock.service.rules import CALLS

if TYPE_CHECKING:
    from werkzeug import Request

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
    """By how much the clock moves: at least one of these. The sum counts."""

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


def read_body(request: Request, kind: type[msgspec.Struct]) -> Any:
    """Return a body as a struct, or raise `ApiError`; an empty body is an empty object."""
    return _checked(read_object(request.get_data() or b"{}"), kind, "field")


def read_query(request: Request, kind: type[msgspec.Struct]) -> Any:
    """Return a query as a struct, or raise `ApiError`."""
    given = {}
    for name, value in request.args.items(multi=True):
        if name in given:
            raise ApiError(3002, f"{name[:100]} is given more than once")
        given[name] = value
    return _checked(given, kind, "parameter")


def _checked(given: Mapping[str, Any], kind: type[msgspec.Struct], noun: str) -> Any:
    names = kind.__struct_fields__
    for name in given:
        if name not in names:
            unknown = UnknownName(noun, name[:100], names)
            raise ApiError(3002, f"{unknown.what}; {unknown.hint}")
    # A query's values are text: "5" is a number there.
    text = noun == "parameter"
    try:
        return msgspec.convert(given, kind, strict=not text)
    except msgspec.ValidationError as error:
        raise ApiError(3002, _misfit(error, given, kind, text=text)) from None


#: The place of a value in msgspec's message about it: a field, or an item of an array in a field.
_PLACE = re.compile(r" - at `\$\.(\w+)(?:\[(\d+)\])?`$")


def _misfit(error: msgspec.ValidationError, given: Mapping[str, Any], kind: type[msgspec.Struct], *, text: bool) -> str:
    """Say which field does not fit its type, in the words of EngageLab's own calls."""
    from msgspec import inspect  # only errors need it

    fields = {field.name: field for field in inspect.type_info(kind).fields}  # type: ignore[attr-defined]
    for name, field in fields.items():
        if field.required and name not in given:
            return f"{name} is required"
    found = _PLACE.search(str(error))
    if found is None:
        return str(error)
    name, index = found.groups()
    place, value, types = name, given[name], _alternatives(fields[name].type)
    if index is not None:
        [array] = [each for each in types if isinstance(each, inspect.ListType)]
        place, value, types = f"{name}[{index}]", value[int(index)], _alternatives(array.item_type)
    # A number that is out of its limits is shown, and so is text where some texts would be right.
    numeric = type(value) in {int, float} and any(map(_limits, types))
    textual = isinstance(value, str) and (text or any(isinstance(each, inspect.LiteralType) for each in types))
    wrong = f"{value!r:.80}" if numeric or textual else noun_of(value)
    return f"{place} is {wrong}, and must be {' or '.join(map(_expected, types))}"


def _alternatives(described: Any) -> list[Any]:
    """Return the types in a union, without null."""
    from msgspec import inspect

    while isinstance(described, inspect.Metadata):
        described = described.type
    types = described.types if isinstance(described, inspect.UnionType) else [described]
    flat = [inner for each in types for inner in ([each] if each is described else _alternatives(each))]
    return [each for each in flat if not isinstance(each, inspect.NoneType)]


def _expected(described: Any) -> str:
    """Return what a value must be."""
    name = type(described).__name__
    if name == "LiteralType":
        return " or ".join(map(repr, described.values))
    nouns = {"IntType": "an integer", "FloatType": "a number", "StrType": "a string", "DictType": "an object"}
    return nouns.get(name, "an array") + _limits(described)


def _limits(described: Any) -> str:
    least, above, most = (getattr(described, name, None) for name in ("ge", "gt", "le"))
    low = f" from {least:.0f}" if least is not None else f" above {above:.0f}" if above is not None else ""
    high = "" if most is None else f" to {most:.0f}" if above is None else f", and up to {most:.0f}"
    return low + high
