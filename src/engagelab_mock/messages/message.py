"""One OTP that EngageLab accepted, and the events it gives rise to."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from engagelab_mock.errors import UsageError
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import Billing, ErrorDetail, MessageStatus, StatusData, StatusEvent
from engagelab_mock.protocol.recipient import check_recipient, is_email
from engagelab_mock.protocol.status import Channel


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what stays the same over a message's life; `accepted` is in Unix seconds.

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

    def __post_init__(self) -> None:
        check_recipient(self.to)
        if self.custom_args is not None:
            _check_custom_args(self.custom_args)

    @property
    def default_channel(self) -> Channel:
        """Return the channel used when a scenario names none: e-mail for an address, else SMS [?]."""
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
        """Build the event that reports a status reached at a Unix time.

        An error code without a message gets the documented one; `cost`, in US dollars, adds `billing`.

        >>> message = Message(id="1742442805608914944", to="+8615989574757")
        >>> message.event("sent_failed", at=1704265712, error_code=5001).status.error_detail.message
        'sender config is invalid'
        """
        if error_code and not error_message and error_code in ERROR_CODES:
            error_message = ERROR_CODES[error_code].message
        moment = int(at)
        return StatusEvent(
            message_id=self.id,
            to=self.to,
            itime=moment,
            custom_args=self.custom_args if self.custom_args is not None else UNSET,
            status=MessageStatus(
                message_status=str(status),
                status_data=StatusData(
                    msg_time=moment,
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
