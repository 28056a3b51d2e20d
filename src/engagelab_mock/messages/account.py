"""An account: its ids, and the events about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from engagelab_mock.errors import UnknownName, UsageError, did_you_mean
from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import check_recipient
from engagelab_mock.protocol.event_table import EVENTS, Field, KnownEvent, Made, names_of
from engagelab_mock.protocol.events import (
    AccountLogin,
    ApiCall,
    Event,
    KeyManage,
    Notification,
    NotificationData,
    NotificationEvent,
    Operator,
    Reply,
    ResponseData,
    ResponseEvent,
    Section,
    SystemEvent,
    SystemEventData,
    SystemEventSection,
    TemplateManage,
)

_DETAILS: dict[str, type[Section]] = {
    "account_login": AccountLogin,
    "key_manage": KeyManage,
    "template_manage": TemplateManage,
    "api_call": ApiCall,
}
#: The fields that every reply has.
_REPLY = ("sender", "body")


class Account:
    """Hold the account's ids, and make events about it.

    >>> Account(Generator.seeded(0)).notification("insufficient_balance", at=1712458844).name
    'insufficient_balance'

    Documented fields have defaults and are checked. An undocumented field is added unchecked to the object that holds
    the event's own fields.
    """

    def __init__(self, generate: Generator) -> None:
        self.generate = generate
        self.business_id = generate.business_id()
        self.org_id = generate.business_id()
        self.template_key = generate.template_key()
        self._makers: dict[Made, Callable[[], str]] = {
            Made.BUSINESS_ID: lambda: self.business_id,
            Made.ORG_ID: lambda: self.org_id,
            Made.TEMPLATE_KEY: lambda: self.template_key,
            Made.MESSAGE_SID: lambda: f"SM{self._hex()}",
            Made.ACCOUNT_SID: lambda: f"AC{self._hex()}",
            Made.RECIPIENT: generate.recipient,
            Made.API_KEY: lambda: self._hex()[:24],
            Made.EMAIL: generate.email,
        }

    def event(self, name: str, fields: Mapping[str, Any], *, at: float) -> Event:
        """Return an event by its name, at a Unix time; a reply takes its `sender` and `body` from the fields.

        >>> account = Account(Generator.seeded(0))
        >>> account.event("uplink_message", {"sender": "+6591234567", "body": "STOP"}, at=0).name
        'uplink_message'
        """
        kinds: dict[str, Callable[..., Event]] = {
            "notification": self.notification,
            "response": self.uplink,
            "system_event": self.system_event,
        }
        known = EVENTS.get(name)
        if known is None or known.kind not in kinds:
            hint = "It is a status, which `send` sends." if known is not None else ""
            raise UnknownName("event", name, [each for kind in kinds for each in names_of(kind)], hint=hint)
        given = {**fields}
        arguments = {"event": name} if known.kind != "response" else {key: given.pop(key, None) for key in _REPLY}
        for key, value in arguments.items():
            if value is None:
                raise UsageError(f"{key} is required", where=name, hint=f"{key}='…'")
        for key in {"self", "event", "at"} & given.keys():
            raise UsageError(f"it has no {key}", where=name, hint="its name and its time are not fields")
        return kinds[known.kind](**arguments, at=at, **given)

    def notification(self, event: str, *, at: float, **fields: Any) -> NotificationEvent:
        """Return a notification at a Unix time.

        >>> account = Account(Generator.seeded(0))
        >>> event = account.notification("insufficient_balance", at=0, remain_balance=1.5)
        >>> event.notification.notification_data.remain_balance
        1.5
        """
        known = _find("notification", "notification", event, where="notify")
        check_fields(known, fields, where=f"notify({event!r})")
        [(_, values)] = self._sections(known, fields).items()
        data = extended(NotificationData, values)
        return NotificationEvent(itime=int(at), notification=Notification(event=event, notification_data=data))

    def uplink(self, sender: str, *, body: str, at: float, **fields: Any) -> ResponseEvent:
        """Return the event of a user's reply, such as STOP, UNSUBSCRIBE or HELP [X].

        >>> Account(Generator.seeded(0)).uplink("+6591234567", body="STOP", at=0).response.response_data.sender
        '+6591234567'
        """
        known = EVENTS["uplink_message"]
        given = {"sender": check_recipient(sender, where="uplink"), "body": body, **fields}
        check_fields(known, given, where="uplink")
        sections = self._sections(known, given)
        data = extended(ResponseData, sections["response.response_data"])
        return ResponseEvent(itime=int(at), response=Reply(response_data=data), **sections[""])

    def system_event(self, event: str, *, at: float, **fields: Any) -> SystemEvent:
        """Return a system event at a Unix time: an action in the console, or with an API key.

        `email`, `operator_api_key` and `ip_address` identify the operator.

        >>> account = Account(Generator.seeded(0))
        >>> event = account.system_event("account_login", at=0, action="login_failed", fail_reason="wrong password")
        >>> event.system_event.data.account_login.fail_reason
        'wrong password'
        """
        known = _find("system_event", "system event", event, where="system_event")
        where = f"system_event({event!r})"
        check_fields(known, fields, where=where)
        sections = self._sections(known, fields)
        own = sections.get(f"system_event.data.{event}", {})
        if event == "account_login":
            _settle_reason(own, where=where)
        operator = sections["system_event.data.operator"]
        details: Any = extended(_DETAILS[event], own) if event in _DETAILS else own
        data = SystemEventData(
            **sections["system_event.data"], operator=Operator(**_spelt(known, operator)), **{event: details}
        )
        return SystemEvent(itime=int(at), system_event=SystemEventSection(event=event, data=data))

    def _sections(self, known: KnownEvent, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the event fields, given ones and defaults, by the object that holds them."""
        own = {field.section for field in known.fields}
        sections: dict[str, dict[str, Any]] = {section: {} for section in own}
        for field in known.fields:
            value = given[field.name] if field.name in given else self._default(field, given)
            if value is not UNSET:
                sections[field.section][field.name] = value
        extra = {name: value for name, value in given.items() if known.field(name) is None}
        if extra:
            sections.setdefault(known.own_section, {}).update(extra)
        return sections

    def _default(self, field: Field, given: dict[str, Any]) -> Any:
        if field.default is Made.EMAIL and "operator_api_key" in given:
            return UNSET
        return self._makers[field.default]() if field.default in self._makers else field.default

    def _hex(self) -> str:
        return f"{self.generate.random.getrandbits(128):032x}"


def _find(kind: str, noun: str, event: object, *, where: str) -> KnownEvent:
    names = names_of(kind)
    if not isinstance(event, str) or event not in names:
        raise UnknownName(noun, event, names, where=where)
    return EVENTS[event]


def _settle_reason(login: dict[str, Any], *, where: str) -> None:
    """Add a reason to a failed login, and refuse one for any other [D]."""
    given = login["fail_reason"] is not Made.FAIL_REASON
    failed = login["action"] == "login_failed"
    if given and not failed:
        raise UsageError(
            f"fail_reason goes with action 'login_failed' only, not with {login['action']!r}",
            where=where,
            hint="add action='login_failed', or drop fail_reason",
        )
    if not failed:
        del login["fail_reason"]
    elif not given:
        login["fail_reason"] = "wrong password"


def _spelt(known: KnownEvent, values: dict[str, Any]) -> dict[str, Any]:
    """Return values by their JSON keys instead of their names."""
    keys = {field.name: field.key for field in known.fields if field.key}
    return {keys.get(name, name): value for name, value in values.items()}


S = TypeVar("S", bound=Section)

#: The similarity from which an unknown field counts as a misspelt known one.
_ALIKE = 0.8
_ARTICLES = {"integer": "an integer", "object": "an object"}


def check_fields(known: KnownEvent, given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UsageError` for an event field that is misspelt, of another event, or has a wrong type or value.

    >>> check_fields(EVENTS["insufficient_balance"], {"remain_balance": "1"}, where="notify")
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.UsageError: notify: remain_balance is a number, not '1'
    """
    for name, value in given.items():
        field = known.field(name)
        if field is None:
            _check_extra(known, name, value, where)
        else:
            _check_known(field, value, where)


def extended(kind: type[S], values: dict[str, Any]) -> S:
    """Return a section. Values without a field become fields of a derived section.

    >>> from engagelab_mock.protocol.events import ApiCall
    >>> msgspec.json.encode(extended(ApiCall, {"api_path": "/v1/codes", "method": "POST", "status": 200}))
    b'{"api_path":"/v1/codes","method":"POST","status":200}'
    """
    extra = tuple(name for name in values if name not in kind.__struct_fields__)
    made: S = (_with_fields(kind, extra) if extra else kind)(**values)
    return made


@cache
def _with_fields(kind: type[Section], names: tuple[str, ...]) -> Any:
    # Made once for the same fields, because equal events must have equal types.
    fields: Iterable[Any] = [(name, Any) for name in names]
    return msgspec.defstruct(kind.__name__, fields, bases=(kind,), frozen=True, kw_only=True)


def _check_known(field: Field, value: Any, where: str) -> None:
    if not field.accepts(value):
        raise UsageError(f"{field.name} is {_ARTICLES.get(field.type, f'a {field.type}')}, not {value!r}", where=where)
    if field.choices and value not in field.choices:
        raise UnknownName(field.name, value, field.choices, where=where)
    _check_json(field.name, value, where)


def _check_extra(known: KnownEvent, name: str, value: Any, where: str) -> None:
    for other in EVENTS.values():
        if other.kind == known.kind and other.field(name) is not None:
            hint = f"it is a field of {other.name}; of {known.name}: {_own(known)}"
            raise UsageError(f"{known.name} has no {name}", where=where, hint=hint)
    if name == "from":
        raise UsageError(
            "'from' is the sender, the first argument", where=where, hint="uplink('+6591234567', body='STOP')"
        )
    names = [field.name for field in known.fields]
    if did_you_mean(name, names, cutoff=_ALIKE):
        raise UnknownName("field", name, names, where=where)
    if not name.isidentifier():
        raise UsageError(f"{name!r} cannot be the name of a field", where=where, hint="letters, digits and '_'")
    _check_json(name, value, where)


def _check_json(name: str, value: Any, where: str) -> None:
    # A number that is not finite would silently become null.
    if isinstance(value, float) and value - value != 0:
        raise UsageError(f"{name} is {value!r}, which JSON has no number for", where=where)
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"{name} cannot be written as JSON: {error}", where=where) from None


def _own(known: KnownEvent) -> str:
    return ", ".join(field.name for field in known.fields) or "none"
