"""The four kinds of row that a callback can have; each kind has its own section [D][K].

Fields stand in the order of the documents' examples. Decoding ignores unknown fields.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from engagelab_mock.errors import UnknownName


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Group fields inside an event; the base of every part below."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one item of `rows`; `kind` is one of the four kinds, `name` the identifier of the event.

    >>> event = NotificationEvent(itime=1712458844, notification=Notification(event="insufficient_balance"))
    >>> event.kind, event.name
    ('notification', 'insufficient_balance')
    """

    #: The key of the section that tells this kind from the others.
    kind: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """Return the message status, or the event's identifier."""
        raise NotImplementedError


class StatusData(Section, frozen=True, kw_only=True):
    """Hold `status_data`; `msg_time` is in Unix seconds, `current_send_channel` empty on plan [S]."""

    msg_time: int
    message_id: str
    current_send_channel: str = ""
    template_key: str = ""
    business_id: str = ""


class Billing(Section, frozen=True, kw_only=True):
    """Hold the price of the message; generally only on `sent` [D]."""

    cost: float
    currency: str = "USD"


class ErrorDetail(Section, frozen=True, kw_only=True):
    """Hold an error's text; only in rows about errors [S]."""

    message: str


class MessageStatus(Section, frozen=True, kw_only=True):
    """Hold the `status` section; `error_code` 0 means none [S]."""

    message_status: str
    status_data: StatusData
    billing: Billing | UnsetType | None = UNSET
    error_code: int = 0
    error_detail: ErrorDetail | UnsetType | None = UNSET


class StatusEvent(Event, frozen=True, kw_only=True):
    """Report a message's status; `itime`, when this data was created, is in Unix seconds [S].

    >>> from engagelab_mock import Message
    >>> Message(id="1742442805608914944", to="+6591234567").event("plan", at=1704265712).name
    'plan'
    """

    kind: ClassVar[str] = "status"

    message_id: str
    to: str
    server: str = "otp"
    channel: str = "otp"
    itime: int
    custom_args: dict[str, Any] | UnsetType | None = UNSET
    status: MessageStatus

    @property
    def name(self) -> str:
        """Return the message status."""
        return self.status.message_status


class NotificationData(Section, frozen=True, kw_only=True):
    """Hold `notification_data`: each event fills its own fields [S][X], business_id is there on all [S][?]."""

    business_id: str | UnsetType = UNSET
    remain_balance: float | int | UnsetType = UNSET
    balance_threshold: float | int | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    rate: float | int | UnsetType = UNSET
    threshold: float | int | UnsetType = UNSET
    template_id: str | UnsetType = UNSET
    status: str | int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Notification(Section, frozen=True, kw_only=True):
    """Hold the `notification` section."""

    event: str
    notification_data: NotificationData = NotificationData()


class NotificationEvent(Event, frozen=True, kw_only=True):
    """Report something about the account, such as a low balance [S]."""

    kind: ClassVar[str] = "notification"

    server: str = "otp"
    itime: int
    notification: Notification

    @property
    def name(self) -> str:
        """Return the event's identifier."""
        return self.notification.event


class ResponseData(Section, frozen=True, kw_only=True, rename={"sender": "from"}):
    """Hold `response_data`; its `from`, a keyword of Python, is `sender` here [D]."""

    message_sid: str
    account_sid: str
    sender: str
    to: str
    body: str


class Reply(Section, frozen=True, kw_only=True):
    """Hold the `response` section."""

    event: str = "uplink_message"
    response_data: ResponseData


class ResponseEvent(Event, frozen=True, kw_only=True):
    """Report a reply by a user, such as STOP; both ids are "0" in the documented example [D]."""

    kind: ClassVar[str] = "response"

    server: str = "otp"
    itime: int
    message_id: str = "0"
    business_id: str = "0"
    response: Reply

    @property
    def name(self) -> str:
        """Return the event's identifier."""
        return self.response.event


class Operator(Section, frozen=True, kw_only=True):
    """Hold who acted: a console user's e-mail or an API key, and the IP address [D]."""

    email: str | UnsetType = UNSET
    api_key: str | UnsetType = UNSET
    ip_address: str


class AccountLogin(Section, frozen=True, kw_only=True):
    """Hold login_success, login_failed or logout; `fail_reason` only with login_failed [D]."""

    action: str
    fail_reason: str | UnsetType = UNSET


class KeyManage(Section, frozen=True, kw_only=True):
    """Hold an action on an API key [D]."""

    action: str
    api_key: str
    description: str | UnsetType = UNSET


class TemplateManage(Section, frozen=True, kw_only=True):
    """Hold an action on a template [D]."""

    action: str
    template_id: str
    template_name: str


class ApiCall(Section, frozen=True, kw_only=True):
    """Hold a call of the REST API [D]."""

    api_path: str
    method: str


class SystemEventData(Section, frozen=True, kw_only=True):
    """Hold `data`; the details stand under the event's own name, msg_history's are not documented [D]."""

    business_id: str
    org_id: str
    operator: Operator
    account_login: AccountLogin | UnsetType = UNSET
    key_manage: KeyManage | UnsetType = UNSET
    template_manage: TemplateManage | UnsetType = UNSET
    api_call: ApiCall | UnsetType = UNSET
    msg_history: dict[str, Any] | UnsetType = UNSET


class SystemEventSection(Section, frozen=True, kw_only=True):
    """Hold the `system_event` section."""

    event: str
    data: SystemEventData


class SystemEvent(Event, frozen=True, kw_only=True):
    """Report an action in the console or with an API key [D]."""

    kind: ClassVar[str] = "system_event"

    server: str = "otp"
    itime: int
    system_event: SystemEventSection

    @property
    def name(self) -> str:
        """Return the event's identifier."""
        return self.system_event.event


class UnknownEvent(Event, frozen=True, kw_only=True):
    """Keep a row of a kind this package does not know, whole, in `row`."""

    kind: ClassVar[str] = "unknown"

    row: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the keys of the row, the only thing known about it."""
        return ",".join(self.row)


#: The four kinds, by the key of their section.
KINDS: dict[str, type[Event]] = {
    kind.kind: kind for kind in (StatusEvent, NotificationEvent, ResponseEvent, SystemEvent)
}


#: What `msg_time` holds: the time of the message, the same in all its rows, or the time of the event.
MsgTime = Literal["message", "event"]


def check_msg_time(value: object, *, where: str) -> None:
    """Raise `UnknownName`, with the nearest one, for a reading of `msg_time` that is not known."""
    if value not in get_args(MsgTime):
        raise UnknownName("msg_time", value, get_args(MsgTime), where=where)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the spelling of callbacks according to one of the vendor's documents, or of your own.

    Change one point of a dialect with `msgspec.structs.replace(DIALECTS["newer"], msg_time="event")`.

    >>> dialect("newer").sent_failed
    'sent_fail'
    >>> Dialect(msg_time="event").sent_failed
    'sent_failed'
    """

    name: str = "own"
    #: The document that the spelling comes from.
    source: str = "your own"
    #: The value of `server` in message-status rows.
    server: str = "otp"
    #: The value of `channel` in message-status rows.
    channel: str = "otp"
    #: The spelling of the status `sent_failed`.
    sent_failed: str = "sent_failed"
    #: The body of the address-validation ping.
    ping: bytes = b""
    #: What `msg_time` holds: "message", when EngageLab accepted the message, the same in all its rows [?]; or "event",
    #: the time of the row, as `itime`.
    msg_time: MsgTime = "message"

    def __post_init__(self) -> None:
        check_msg_time(self.msg_time, where="Dialect")

    def spell(self, event: Event) -> Event:
        """Return the event as this dialect spells it; only message statuses differ."""
        if self is DEFAULT or not isinstance(event, StatusEvent):
            return event
        status = event.status
        if status.message_status == "sent_failed":
            status = msgspec.structs.replace(status, message_status=self.sent_failed)
        return msgspec.structs.replace(event, server=self.server, channel=self.channel, status=status)


DEFAULT = Dialect(name="2023-03", source="callback settings of 2023-03-07 [S]")

DIALECTS: dict[str, Dialect] = {
    known.name: known
    for known in (
        DEFAULT,
        Dialect(
            name="newer",
            source="newer documentation pages' examples [D]",
            server="sms",
            channel="sms",
            sent_failed="sent_fail",
            ping=b"{}",
        ),
    )
}


def dialect(name: str | Dialect, *, where: str = "dialect") -> Dialect:
    """Return a dialect by name, or raise `UnknownName` with the nearest one.

    >>> dialect("2023-03").ping
    b''
    """
    if isinstance(name, Dialect):
        return name
    try:
        return DIALECTS[name]
    except (KeyError, TypeError):
        raise UnknownName("dialect", name, DIALECTS, where=where) from None
