"""Hypothesis strategies for the rows of a callback, drawn from the whole space their Structs span."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from engagelab_mock.protocol.events import (
    KINDS,
    AccountLogin,
    ApiCall,
    Billing,
    ErrorDetail,
    Event,
    KeyManage,
    MessageStatus,
    Notification,
    NotificationData,
    NotificationEvent,
    Operator,
    Reply,
    ResponseData,
    ResponseEvent,
    StatusData,
    StatusEvent,
    SystemEvent,
    SystemEventData,
    SystemEventSection,
    TemplateManage,
    UnknownEvent,
)

#: Every property test runs the same examples each time, and few enough to be quick.
PROPERTY = settings(derandomize=True, max_examples=60, deadline=None)

T = TypeVar("T")

_text = st.text(max_size=12)
_moment = st.integers(0, 2**40)
_number = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_decimal_id = st.integers(10**14, 10**19 - 1).map(str)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _number | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(_text, json_values, max_size=3)


def _or_unset(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | UnsetType]:
    return st.just(UNSET) | strategy


status_events: st.SearchStrategy[StatusEvent] = st.builds(
    StatusEvent,
    message_id=_decimal_id,
    to=_text,
    server=_text,
    channel=_text,
    itime=_moment,
    custom_args=_or_unset(st.none() | json_objects),
    status=st.builds(
        MessageStatus,
        message_status=_text,
        status_data=st.builds(
            StatusData,
            msg_time=_moment,
            message_id=_decimal_id,
            current_send_channel=_text,
            template_key=_text,
            business_id=_decimal_id,
        ),
        billing=_or_unset(
            st.none()
            | st.builds(Billing, cost=st.floats(allow_nan=False, allow_infinity=False, width=64), currency=_text)
        ),
        error_code=st.integers(0, 9999),
        error_detail=_or_unset(st.none() | st.builds(ErrorDetail, message=_text)),
    ),
)

notification_events: st.SearchStrategy[NotificationEvent] = st.builds(
    NotificationEvent,
    server=_text,
    itime=_moment,
    notification=st.builds(
        Notification,
        event=_text,
        notification_data=st.builds(
            NotificationData,
            business_id=_or_unset(_decimal_id),
            remain_balance=_or_unset(_number),
            balance_threshold=_or_unset(_number),
            currency=_or_unset(_text),
            rate=_or_unset(_number),
            threshold=_or_unset(_number),
            template_id=_or_unset(_text),
            status=_or_unset(_text | st.integers(0, 9)),
            reason=_or_unset(_text),
        ),
    ),
)

response_events: st.SearchStrategy[ResponseEvent] = st.builds(
    ResponseEvent,
    server=_text,
    itime=_moment,
    message_id=_decimal_id,
    business_id=_decimal_id,
    response=st.builds(
        Reply,
        event=_text,
        response_data=st.builds(ResponseData, message_sid=_text, account_sid=_text, sender=_text, to=_text, body=_text),
    ),
)

system_events: st.SearchStrategy[SystemEvent] = st.builds(
    SystemEvent,
    server=_text,
    itime=_moment,
    system_event=st.builds(
        SystemEventSection,
        event=_text,
        data=st.builds(
            SystemEventData,
            business_id=_decimal_id,
            org_id=_decimal_id,
            operator=st.builds(Operator, email=_or_unset(_text), api_key=_or_unset(_text), ip_address=_text),
            account_login=_or_unset(st.builds(AccountLogin, action=_text, fail_reason=_or_unset(_text))),
            key_manage=_or_unset(st.builds(KeyManage, action=_text, api_key=_text, description=_or_unset(_text))),
            template_manage=_or_unset(st.builds(TemplateManage, action=_text, template_id=_text, template_name=_text)),
            api_call=_or_unset(st.builds(ApiCall, api_path=_text, method=_text)),
            msg_history=_or_unset(json_objects),
        ),
    ),
)

unknown_events: st.SearchStrategy[UnknownEvent] = st.builds(
    UnknownEvent, row=json_objects.filter(lambda row: not row.keys() & KINDS.keys())
)

known_events: st.SearchStrategy[Event] = status_events | notification_events | response_events | system_events

#: What one body may hold: several rows, of several kinds.
event_lists: st.SearchStrategy[list[Event]] = st.lists(known_events, max_size=4)
