"""The documents' example bodies come out of the public API byte for byte, blanks aside."""

from __future__ import annotations

import json

import pytest
from engagelab_otp import MessageStatusEvent, WebhookVerifier
from engagelab_otp import NotificationEvent as SdkNotification
from engagelab_otp import SystemEvent as SdkSystemEvent
from engagelab_otp import UplinkEvent as SdkUplink

from engagelab_mock import (
    Event,
    Message,
    NotificationEvent,
    ResponseEvent,
    StatusEvent,
    SystemEvent,
    decode,
    encode,
)
from engagelab_mock.protocol.events import (
    AccountLogin,
    Notification,
    NotificationData,
    Operator,
    Reply,
    ResponseData,
    SystemEventData,
    SystemEventSection,
)
from tests.protocol.documents import NOTIFICATION_BODY, RESPONSE_BODY, STATUS_BODY, SYSTEM_BODY


def compact(document: str) -> str:
    # `json` keeps the order of keys, so equal text means equal fields in equal order.
    return json.dumps(json.loads(document), separators=(",", ":"))


def status_events() -> list[Event]:
    message = Message(
        id="1742442805608914944",
        to="+8615989574757",
        template_key="auto_create_templateu25az170295320745",
        business_id="100917676394736",
    )
    return [
        message.event("plan", at=1704265712),
        message.event("sent_failed", at=1704265712, channel="whatsapp", error_code=5001),
    ]


def notification_events() -> list[Event]:
    data = NotificationData(business_id="1744569418236633088", remain_balance=-0.005, balance_threshold=2)
    notification = Notification(event="insufficient_balance", notification_data=data)
    return [NotificationEvent(itime=1712458844, notification=notification)]


def response_events() -> list[Event]:
    data = ResponseData(
        message_sid="SM1234567890",
        account_sid="AC1234567890",
        sender="+447700900123",
        to="+447700900456",
        body="STOP",
    )
    return [ResponseEvent(itime=1712458844, response=Reply(response_data=data))]


def system_events() -> list[Event]:
    data = SystemEventData(
        business_id="100917676394736",
        org_id="100917676394700",
        operator=Operator(email="operator@example.com", ip_address="192.0.2.1"),
        account_login=AccountLogin(action="login_failed", fail_reason="wrong password"),
    )
    return [SystemEvent(itime=1712458844, system_event=SystemEventSection(event="account_login", data=data))]


EXAMPLES = [
    pytest.param(STATUS_BODY, status_events(), id="status"),
    pytest.param(NOTIFICATION_BODY, notification_events(), id="notification"),
    pytest.param(RESPONSE_BODY, response_events(), id="response"),
    pytest.param(SYSTEM_BODY, system_events(), id="system_event"),
]


@pytest.mark.parametrize(("document", "events"), EXAMPLES)
def test_example_is_reproduced_field_for_field_in_its_order(document: str, events: list[Event]) -> None:
    assert encode(events).decode() == compact(document)


@pytest.mark.parametrize(("document", "events"), EXAMPLES)
def test_example_is_read_as_the_same_events(document: str, events: list[Event]) -> None:
    envelope = decode(document)
    assert envelope.total == len(events)
    assert list(envelope.rows) == events


def test_example_with_another_value_is_not_the_document() -> None:
    changed = STATUS_BODY.replace('"error_code": 5001', '"error_code": 5002')
    assert encode(status_events()).decode() != compact(changed)


def test_each_kind_has_its_type_kind_and_name() -> None:
    rows = [decode(body).rows[0] for body in (STATUS_BODY, NOTIFICATION_BODY, RESPONSE_BODY, SYSTEM_BODY)]
    assert [type(row) for row in rows] == [StatusEvent, NotificationEvent, ResponseEvent, SystemEvent]
    assert [row.kind for row in rows] == ["status", "notification", "response", "system_event"]
    assert [row.name for row in rows] == ["plan", "insufficient_balance", "uplink_message", "account_login"]


def test_official_sdk_reads_our_four_kinds() -> None:
    events = [*status_events(), *notification_events(), *response_events(), *system_events()]
    parsed = WebhookVerifier("acme", "s3cret").parse_events(encode(events))
    assert [type(event) for event in parsed] == [
        MessageStatusEvent,
        MessageStatusEvent,
        SdkNotification,
        SdkUplink,
        SdkSystemEvent,
    ]
    refused = parsed[1]
    assert isinstance(refused, MessageStatusEvent)
    assert (refused.status, refused.error_code, refused.error_message) == (
        "sent_failed",
        5001,
        "sender config is invalid",
    )
    assert (refused.current_send_channel, refused.business_id, refused.msg_time) == (
        "whatsapp",
        "100917676394736",
        1704265712,
    )
