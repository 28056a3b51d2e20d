"""A message that EngageLab accepted: its recipient, and the events of its statuses."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET

from engagelab_mock.errors import InvalidRecipient, UsageError
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import (
    Billing,
    ErrorDetail,
    MessageStatus,
    MsgTime,
    StatusData,
    StatusEvent,
    check_msg_time,
)
from engagelab_mock.protocol.status import Channel

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
# Without control characters. Without lone surrogates too: no JSON body can carry them.
_LOCAL_PART = r"[^@\s\"(),:;<>\[\]\\\x00-\x1f\x7f\ud800-\udfff]{1,64}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# `re` compiles it when the first address comes, because that takes as long as importing the rest of this module.
_EMAIL = rf"{_LOCAL_PART}@(?:{_LABEL}\.)+(?:[A-Za-z]{{2,63}}|[Xx][Nn]--{_LABEL})"


def check_recipient(to: str, *, where: str = "to") -> str:
    """Return the recipient unchanged, or raise `InvalidRecipient` with the reason.

    >>> check_recipient("+6591234567")
    '+6591234567'
    >>> check_recipient("+65 9123 4567")
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.InvalidRecipient: to: '+65 9123 4567' is not an E.164 phone number
      hint: did you mean '+6591234567'?
    """
    if not isinstance(to, str):
        raise InvalidRecipient(
            f"a recipient is a string, not {to!r}", where=where, hint="write the number as '+6591234567'"
        )
    if _E164.fullmatch(to) or (re.fullmatch(_EMAIL, to) and len(to) <= 254):
        return to
    if "@" in to:
        raise InvalidRecipient(
            f"{to!r} is not an e-mail address", where=where, hint="it should look like 'user@example.com'"
        )
    raise InvalidRecipient(f"{to!r} is not an E.164 phone number", where=where, hint=_phone_hint(to))


def is_email(to: str) -> bool:
    """Tell whether a checked recipient is an e-mail address, not a phone number.

    >>> is_email("user@example.com")
    True
    """
    return "@" in to


def _phone_hint(to: str) -> str:
    # Without '+' or 00, the number may have no country code: with a '+' it would be a number of another country.
    candidate = re.sub(r"^00", "+", re.sub(r"[\s().-]", "", to))
    if candidate != to and _E164.fullmatch(candidate):
        return f"did you mean '{candidate}'?"
    return "E.164 is '+', the country code and the number, 7 to 15 digits in all: '+6591234567'"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the constant data of a message; `accepted` is in Unix seconds.

    >>> message = Message(id="1742442805608914944", to="+8615989574757", business_id="100917676394736")
    >>> message.event("sent", at=1704265712, channel="sms").status.status_data.current_send_channel
    'sms'
    """

    id: str
    to: str
    template_key: str = ""
    business_id: str = ""
    accepted: float = 0.0
    custom_args: dict[str, Any] | None = None
    #: The value of `msg_time` in its rows, as in a `Dialect`. Default: the time `accepted` if it is given, else the
    #: time of the row.
    msg_time: MsgTime | None = None

    def __post_init__(self) -> None:
        check_recipient(self.to)
        if self.msg_time is not None:
            check_msg_time(self.msg_time, where="Message")
        if self.custom_args is not None:
            _check_custom_args(self.custom_args)

    @property
    def default_channel(self) -> Channel:
        """Return the channel for a scenario that names none: e-mail for an address, else SMS [?]."""
        return Channel.EMAIL if is_email(self.to) else Channel.SMS

    def event(
        self,
        status: str,
        *,
        at: float,
        channel: str = "",
        error_code: int = 0,
        error_message: str = "",
        cost: float | None = None,
    ) -> StatusEvent:
        """Return the event that reports a status at a Unix time, which is its `itime`.

        Without a message, an error code gets its documented message. `cost`, in US dollars, adds `billing`.

        >>> message = Message(id="1742442805608914944", to="+8615989574757")
        >>> message.event("sent_failed", at=1704265712, error_code=5001).status.error_detail.message
        'sender config is invalid'
        """
        if error_code and not error_message and error_code in ERROR_CODES:
            error_message = ERROR_CODES[error_code].message
        moment = int(at)
        # A virtual clock may start at 0, so 0 is a valid time if `msg_time` says that there is one.
        constant = self.msg_time == "message" or (self.msg_time is None and self.accepted)
        return StatusEvent(
            message_id=self.id,
            to=self.to,
            itime=moment,
            custom_args=self.custom_args if self.custom_args is not None else UNSET,
            status=MessageStatus(
                message_status=str(status),
                status_data=StatusData(
                    msg_time=int(self.accepted) if constant else moment,
                    message_id=self.id,
                    current_send_channel=str(channel),
                    template_key=self.template_key,
                    business_id=self.business_id,
                ),
                billing=UNSET if cost is None else Billing(cost=cost),
                error_code=error_code,
                error_detail=ErrorDetail(message=error_message) if error_message else UNSET,
            ),
        )


def _check_custom_args(custom_args: object) -> None:
    if not isinstance(custom_args, dict):
        raise UsageError(f"an object is needed, not {custom_args!r:.100}", where="custom_args", hint="pass a dict")
    try:
        msgspec.json.encode(custom_args)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"cannot be written as JSON: {error}", where="custom_args") from None
