"""Events that are about the account rather than a message: notifications, replies, system events."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.events import (
    AccountLogin,
    ApiCall,
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
from engagelab_mock.protocol.recipient import check_recipient
from engagelab_mock.protocol.settings import ACCOUNT_EVENTS

S = TypeVar("S", bound=Section)

#: What each notification says unless told otherwise; None is filled in from the account [S][X].
NOTIFICATIONS: dict[str, dict[str, Any]] = {
    "insufficient_balance": {"business_id": None, "remain_balance": -0.005, "balance_threshold": 2},
    "insufficient_verification_rate": {"business_id": None, "rate": 0.42, "threshold": 0.6},
    "template_audit_result": {"template_id": None, "status": "approved", "reason": ""},
}

#: What can be done, by system event [D]; the documents' examples also use the short forms.
ACTIONS: dict[str, tuple[str, ...]] = {
    "account_login": ("login_success", "login_failed", "logout"),
    "key_manage": ("create", "create api_key", "update api_key", "delete api_key", "view api_secret"),
    "template_manage": ("create", "update", "delete", "create template", "update template", "delete template"),
}


class Account:
    """Hold the account's ids, and make the events that are about it.

    >>> Account(Generator.seeded(0)).notification("insufficient_balance", at=1712458844).name
    'insufficient_balance'
    """

    def __init__(self, generate: Generator) -> None:
        self.generate = generate
        self.business_id = generate.business_id()
        self.org_id = generate.business_id()
        self.template_key = generate.template_key()

    def notification(self, event: str, *, at: float, **fields: Any) -> NotificationEvent:
        """Make a notification at a Unix time; fields it does not document are added as they are.

        >>> account = Account(Generator.seeded(0))
        >>> event = account.notification("insufficient_balance", at=0, remain_balance=1.5)
        >>> event.notification.notification_data.remain_balance
        1.5
        """
        if event not in NOTIFICATIONS:
            raise UnknownName("notification", event, NOTIFICATIONS, where="notify")
        own = {"business_id": self.business_id, "template_id": self.template_key}
        filled: dict[str, Any] = {
            name: own[name] if value is None else value for name, value in NOTIFICATIONS[event].items()
        }
        data = _fill(NotificationData(**filled), fields, where=f"notify({event!r})")
        return NotificationEvent(itime=int(at), notification=Notification(event=event, notification_data=data))

    def uplink(self, sender: str, *, body: str, at: float, to: str | None = None, **fields: Any) -> ResponseEvent:
        """Make the event of a user writing back, such as STOP, UNSUBSCRIBE or HELP [X].

        >>> Account(Generator.seeded(0)).uplink("+6591234567", body="STOP", at=0).response.response_data.sender
        '+6591234567'
        """
        data = ResponseData(
            message_sid=f"SM{self._hex()}",
            account_sid=f"AC{self._hex()}",
            sender=check_recipient(sender, where="uplink"),
            to=self.generate.recipient() if to is None else to,
            body=body,
        )
        reply = Reply(response_data=_fill(data, fields, where="uplink"))
        return ResponseEvent(itime=int(at), response=reply)

    def system_event(
        self,
        event: str,
        *,
        at: float,
        action: str | None = None,
        email: str | None = None,
        operator_api_key: str | None = None,
        ip_address: str = "203.0.113.7",
        **fields: Any,
    ) -> SystemEvent:
        """Make a system event at a Unix time: who did what in the console, or with an API key.

        >>> account = Account(Generator.seeded(0))
        >>> event = account.system_event("account_login", at=0, action="login_failed", fail_reason="wrong password")
        >>> event.system_event.data.account_login.fail_reason
        'wrong password'
        """
        where = f"system_event({event!r})"
        details: dict[str, Any] = {event: self._details(event, action, fields, where)}
        if operator_api_key is None and email is None:
            email = self.generate.email()
        data = SystemEventData(
            business_id=self.business_id,
            org_id=self.org_id,
            operator=Operator(
                email=UNSET if email is None else email,
                api_key=UNSET if operator_api_key is None else operator_api_key,
                ip_address=ip_address,
            ),
            **details,
        )
        return SystemEvent(itime=int(at), system_event=SystemEventSection(event=event, data=data))

    def _details(self, event: str, action: str | None, fields: dict[str, Any], where: str) -> Section | dict[str, Any]:
        """Make the object that stands under the event's own name."""
        if event not in ACCOUNT_EVENTS["system_event"]:
            raise UnknownName("system event", event, ACCOUNT_EVENTS["system_event"], where="system_event")
        if event not in ACTIONS:
            if action is not None:
                raise UsageError("has no action", where=where, hint=f"these have one: {', '.join(ACTIONS)}")
        elif action is None:
            action = ACTIONS[event][0]
        elif action not in ACTIONS[event]:
            raise UnknownName("action", action, ACTIONS[event], where=where)
        if event == "msg_history":
            return fields
        return _fill(self._example(event, action or ""), fields, where=where)

    def _example(self, event: str, action: str) -> Section:
        if event == "account_login":
            failed = action == "login_failed"
            return AccountLogin(action=action, fail_reason="wrong password" if failed else UNSET)
        if event == "key_manage":
            return KeyManage(action=action, api_key=self._hex()[:24])
        if event == "template_manage":
            return TemplateManage(action=action, template_id=self.template_key, template_name="login code")
        return ApiCall(api_path="/v1/messages", method="POST")

    def _hex(self) -> str:
        return f"{self.generate.random.getrandbits(128):032x}"


def _fill(section: S, fields: Mapping[str, Any], *, where: str) -> S:
    """Return the section with some fields changed; an undocumented one is added, a misspelt one refused."""
    known = section.__struct_fields__
    extra = {name: value for name, value in fields.items() if name not in known}
    for name in extra:
        if difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise UnknownName("field", name, known, where=where)
    values = {name: getattr(section, name) for name in known} | dict(fields)
    if not extra:
        return type(section)(**values)
    kind: Any = msgspec.defstruct(
        type(section).__name__,
        [(name, Any) for name in extra],
        bases=(type(section),),
        frozen=True,
        kw_only=True,
    )
    made: S = kind(**values)
    return made
