"""Every event that the documents name: the line that sends it, and its fields.

The engine's checks, the events that a receiver can subscribe to and the reference's page of events are made from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET

from engagelab_mock.protocol.status import Status


class Made(StrEnum):
    """Name a default that depends on the account or the seed; the value describes it.

    >>> Made.BUSINESS_ID.value
    "the account's business id"
    """

    BUSINESS_ID = "the account's business id"
    ORG_ID = "the account's organization id"
    TEMPLATE_KEY = "the account's template key"
    MESSAGE_SID = "SM and 32 hex digits"
    ACCOUNT_SID = "AC and 32 hex digits"
    RECIPIENT = "a generated number"
    GIVEN = "you give it"
    API_KEY = "24 hex digits"
    EMAIL = "a generated address, unless operator_api_key is given"
    FAIL_REASON = "wrong password with login_failed, else absent"
    MESSAGE_ID = "a generated id of 19 digits"
    TO = "send's first argument"
    TEMPLATE = "send(template=…), else the account's template key"
    SEND_CHANNEL = "the scenario's, else send(channel=…), else sms or email; empty on plan"
    CUSTOM_ARGS = "send(custom_args=…), else absent"
    COST = "a generated price in US dollars on sent, else absent"
    ERROR = "the scenario's, or the documented one, on failures; 0 and absent otherwise"
    CLOCK = "the engine's clock, in Unix seconds"
    ACCEPTED = "when EngageLab accepted the message, the same in all its rows [?]; Dialect(msg_time=…)"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one field of an event: its name, its place in the row, its type and default.

    With the default `UNSET` the field is absent unless given.

    >>> EVENTS["insufficient_balance"].field("remain_balance").default
    -0.005
    """

    name: str
    #: The object of the row that has it; "" is the row itself.
    section: str
    type: str = "string"
    default: Any = UNSET
    source: str = "D"
    #: The values it can have, if the documents list them.
    choices: tuple[str, ...] = ()
    #: Its key in the JSON, if that is not its name.
    key: str = ""

    def accepts(self, value: object) -> bool:
        """Tell whether a value is of the field's type; a bool is not a number."""
        return isinstance(value, _TYPES[self.type]) and not isinstance(value, bool)


class KnownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one event identifier: its kind, the line that sends it, its fields.

    >>> EVENTS["uplink_message"].call
    'engagelab.uplink("+6591234567", body="STOP")'
    """

    name: str
    kind: str
    meaning: str
    call: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """Return a field by its name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    @property
    def own_section(self) -> str:
        """Return the object that holds the event's own fields and undocumented ones."""
        return f"{_SYSTEM}.{self.name}" if self.kind == "system_event" else _OWN_SECTIONS[self.kind]


_DATA = "notification.notification_data"
_RESPONSE = "response.response_data"
_SYSTEM = "system_event.data"
_OWN_SECTIONS = {"status": "status", "notification": _DATA, "response": _RESPONSE}

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "string or integer": (str, int),
    "object": (dict,),
}

_STATUS_FIELDS = (
    Field(name="message_id", section="", default=Made.MESSAGE_ID, source="S"),
    Field(name="to", section="", default=Made.TO, source="S"),
    Field(name="server", section="", default="otp", source="S"),
    Field(name="channel", section="", default="otp", source="S"),
    Field(name="itime", section="", type="integer", default=Made.CLOCK, source="S"),
    Field(name="custom_args", section="", type="object", default=Made.CUSTOM_ARGS),
    Field(name="msg_time", section="status.status_data", type="integer", default=Made.ACCEPTED, source="S"),
    Field(name="current_send_channel", section="status.status_data", default=Made.SEND_CHANNEL, source="S"),
    Field(name="template_key", section="status.status_data", default=Made.TEMPLATE, source="S"),
    Field(name="business_id", section="status.status_data", default=Made.BUSINESS_ID, source="S"),
    Field(name="billing", section="status", type="object", default=Made.COST),
    Field(name="error_code", section="status", type="integer", default=Made.ERROR, source="S"),
    Field(name="error_detail", section="status", type="object", default=Made.ERROR, source="S"),
)

#: A call for each status whose name is not that of a built-in scenario.
_STATUS_SCENARIOS = {
    Status.PLAN: '["plan"]',
    Status.TARGET_VALID: '["plan", "target_valid"]',
    Status.SENT: '["plan", "sent"]',
}

_NOTIFICATIONS = (
    KnownEvent(
        name="insufficient_balance",
        kind="notification",
        meaning="the balance fell below its threshold [S]",
        call='engagelab.notify("insufficient_balance", remain_balance=-0.005, balance_threshold=2)',
        fields=(
            Field(name="business_id", section=_DATA, default=Made.BUSINESS_ID, source="S"),
            Field(name="remain_balance", section=_DATA, type="number", default=-0.005, source="S"),
            Field(name="balance_threshold", section=_DATA, type="number", default=2, source="S"),
            Field(name="currency", section=_DATA, source="X"),
        ),
    ),
    KnownEvent(
        name="insufficient_verification_rate",
        kind="notification",
        meaning="too few codes are verified [S]",
        call='engagelab.notify("insufficient_verification_rate", rate=0.42, threshold=0.6)',
        fields=(
            Field(name="business_id", section=_DATA, default=Made.BUSINESS_ID, source="?"),
            Field(name="rate", section=_DATA, type="number", default=0.42, source="X"),
            Field(name="threshold", section=_DATA, type="number", default=0.6, source="X"),
        ),
    ),
    KnownEvent(
        name="template_audit_result",
        kind="notification",
        meaning="a template was approved or rejected [X]",
        call='engagelab.notify("template_audit_result", status="rejected", reason="no brand name")',
        fields=(
            Field(name="business_id", section=_DATA, source="?"),
            Field(name="template_id", section=_DATA, default=Made.TEMPLATE_KEY, source="X"),
            Field(name="status", section=_DATA, type="string or integer", default="approved", source="X"),
            Field(name="reason", section=_DATA, default="", source="X"),
        ),
    ),
)

_UPLINK = KnownEvent(
    name="uplink_message",
    kind="response",
    meaning="a user wrote back: STOP, UNSUBSCRIBE, HELP or anything else [D][X]",
    call='engagelab.uplink("+6591234567", body="STOP")',
    fields=(
        Field(name="message_id", section="", default="0"),
        Field(name="business_id", section="", default="0"),
        Field(name="message_sid", section=_RESPONSE, default=Made.MESSAGE_SID),
        Field(name="account_sid", section=_RESPONSE, default=Made.ACCOUNT_SID),
        Field(name="sender", section=_RESPONSE, default=Made.GIVEN, key="from"),
        Field(name="to", section=_RESPONSE, default=Made.RECIPIENT),
        Field(name="body", section=_RESPONSE, default=Made.GIVEN),
    ),
)

_SYSTEM_FIELDS = (
    Field(name="business_id", section=_SYSTEM, default=Made.BUSINESS_ID),
    Field(name="org_id", section=_SYSTEM, default=Made.ORG_ID),
    Field(name="email", section=f"{_SYSTEM}.operator", default=Made.EMAIL),
    Field(name="operator_api_key", section=f"{_SYSTEM}.operator", key="api_key"),
    Field(name="ip_address", section=f"{_SYSTEM}.operator", default="203.0.113.7"),
)


def _system_event(name: str, meaning: str, call: str, *details: dict[str, Any]) -> KnownEvent:
    own = tuple(Field(section=f"{_SYSTEM}.{name}", **detail) for detail in details)
    return KnownEvent(name=name, kind="system_event", meaning=meaning, call=call, fields=(*own, *_SYSTEM_FIELDS))


def _actions(*choices: str) -> dict[str, Any]:
    return {"name": "action", "default": choices[0], "choices": choices}


# The short forms of an action are those of the document's examples, the long ones those of its tables [D].
_SYSTEM_EVENTS = (
    _system_event(
        "account_login",
        "a console user logged in, failed to log in, or logged out [D]",
        'engagelab.system_event("account_login", action="login_failed", fail_reason="wrong password")',
        _actions("login_success", "login_failed", "logout"),
        {"name": "fail_reason", "default": Made.FAIL_REASON},
    ),
    _system_event(
        "key_manage",
        "an API key was created, changed, deleted or viewed [D]",
        'engagelab.system_event("key_manage", action="delete api_key")',
        _actions("create", "create api_key", "update api_key", "delete api_key", "view api_secret"),
        {"name": "api_key", "default": Made.API_KEY},
        {"name": "description"},
    ),
    _system_event(
        "template_manage",
        "a template was created, changed or deleted [D]",
        'engagelab.system_event("template_manage", action="update template", template_name="login code")',
        _actions("create", "update", "delete", "create template", "update template", "delete template"),
        {"name": "template_id", "default": Made.TEMPLATE_KEY},
        {"name": "template_name", "default": "login code"},
    ),
    _system_event(
        "api_call",
        "the REST API was called [D]",
        'engagelab.system_event("api_call", api_path="/v1/messages", method="POST")',
        {"name": "api_path", "default": "/v1/messages"},
        {"name": "method", "default": "POST"},
    ),
    _system_event(
        "msg_history",
        "named without documented fields: it has those you give [D]",
        'engagelab.system_event("msg_history", operator_api_key="5f1d")',
    ),
)


def _status(status: Status) -> KnownEvent:
    scenario = _STATUS_SCENARIOS.get(status, f'"{status}"')
    call = f'engagelab.send("+6591234567", scenario={scenario})'
    return KnownEvent(name=str(status), kind="status", meaning=status.meaning, call=call, fields=_STATUS_FIELDS)


#: Every event identifier, message statuses first.
EVENTS: dict[str, KnownEvent] = {
    known.name: known for known in (*map(_status, Status), *_NOTIFICATIONS, _UPLINK, *_SYSTEM_EVENTS)
}


def names_of(kind: str) -> tuple[str, ...]:
    """Return the event identifiers of one kind.

    >>> names_of("response")
    ('uplink_message',)
    """
    return tuple(known.name for known in EVENTS.values() if known.kind == kind)
