"""A message's events carry the fields that the documents show for each status."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from engagelab_mock import ERROR_CODES, Channel, InvalidRecipient, Message, Status, UsageError, decode, encode
from engagelab_mock.protocol.events import Billing, ErrorDetail

MESSAGE = Message(
    id="1742442805608914944", to="+6591234567", template_key="auto_create_template", business_id="100917676394736"
)


@pytest.mark.parametrize("status", Status)
def test_every_status_carries_the_message_s_own_data(status: Status) -> None:
    event = MESSAGE.event(status, at=1704265712.9, channel="sms")
    data = event.status.status_data
    assert (event.message_id, event.to, event.server, event.channel) == (MESSAGE.id, "+6591234567", "otp", "otp")
    assert (data.message_id, data.template_key, data.business_id) == (
        MESSAGE.id,
        "auto_create_template",
        "100917676394736",
    )
    assert (event.itime, data.msg_time) == (1704265712, 1704265712)
    assert event.status.message_status == event.name == status.value
    assert decode(encode([event])).rows == (event,)


def test_an_event_without_error_has_code_0_without_detail() -> None:
    event = MESSAGE.event("sent", at=1, channel="sms")
    assert event.status.error_code == 0
    assert event.status.error_detail is UNSET
    assert b"error_detail" not in encode([event])
    assert b'"error_code":0' in encode([event])


@pytest.mark.parametrize("code", sorted(ERROR_CODES))
def test_an_error_code_brings_its_text(code: int) -> None:
    status = MESSAGE.event("delivered_failed", at=1, error_code=code).status
    assert status.error_code == code
    assert status.error_detail == ErrorDetail(message=ERROR_CODES[code].message)


def test_an_error_s_text_can_be_given() -> None:
    status = MESSAGE.event("sent_failed", at=1, error_code=5001, error_message="no such sender").status
    assert status.error_detail == ErrorDetail(message="no such sender")


def test_billing_is_there_only_with_a_cost() -> None:
    assert MESSAGE.event("sent", at=1, cost=0.05).status.billing == Billing(cost=0.05, currency="USD")
    assert MESSAGE.event("sent", at=1, cost=0.0).status.billing == Billing(cost=0.0)
    assert MESSAGE.event("sent", at=1).status.billing is UNSET
    assert b"billing" not in encode([MESSAGE.event("sent", at=1)])


def test_custom_args_are_echoed_only_when_given() -> None:
    with_args = Message(id="1", to="+6591234567", custom_args={"order": 7})
    with_none = Message(id="1", to="+6591234567", custom_args={})
    assert with_args.event("plan", at=1).custom_args == {"order": 7}
    assert with_none.event("plan", at=1).custom_args == {}
    assert MESSAGE.event("plan", at=1).custom_args is UNSET


def test_the_channel_in_use_is_empty_unless_given() -> None:
    assert MESSAGE.event("plan", at=1).status.status_data.current_send_channel == ""
    assert MESSAGE.event("sent", at=1, channel=Channel.VOICE).status.status_data.current_send_channel == "voice"


def test_enum_members_become_plain_text() -> None:
    event = MESSAGE.event(Status.SENT, at=1, channel=Channel.SMS)
    assert type(event.status.message_status) is str
    assert type(event.status.status_data.current_send_channel) is str


@pytest.mark.parametrize(("to", "channel"), [("+6591234567", "sms"), ("user@example.com", "email")])
def test_the_default_channel_fits_the_recipient(to: str, channel: str) -> None:
    assert Message(id="1", to=to).default_channel == channel


def test_a_message_to_an_invalid_recipient_is_refused() -> None:
    with pytest.raises(InvalidRecipient, match=r"is not an E\.164 phone number"):
        Message(id="1", to="6591234567")


@pytest.mark.parametrize("custom_args", [["order", 7], "order=7", {"order": object()}, {"order": "\ud800"}])
def test_custom_args_that_no_row_can_echo_are_refused(custom_args: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        Message(id="1", to="+6591234567", custom_args=custom_args)
    assert caught.value.where == "custom_args"
