"""Strategies for the four kinds of event, and for a kind that nobody knows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from engagelab_mock.generate import Generator
from engagelab_mock.lifecycle.account import Account
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.event_table import names_of
from engagelab_mock.protocol.events import (
    KINDS,
    Event,
    NotificationEvent,
    ResponseEvent,
    StatusEvent,
    SystemEvent,
    UnknownEvent,
)
from engagelab_mock.protocol.status import Status
from engagelab_mock.strategies.message import MOMENTS, channels, custom_args, messages, recipients, statuses

_FAILING_CODES = sorted(code for code in ERROR_CODES if code > 5000)


@st.composite
def status_events(draw: st.DrawFn) -> StatusEvent:
    """Draw the status of a message, with what goes with it: a channel, an error, a price.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(status_events())
    ... def test(drawn):
    ...     assert drawn.kind == "status"
    >>> test()
    """
    message, status = draw(messages()), draw(statuses())
    planned = status in {Status.PLAN, Status.TARGET_VALID, Status.TARGET_INVALID}
    return message.event(
        status,
        at=message.accepted + draw(st.integers(0, 86_400)),
        channel="" if planned else draw(channels()),
        error_code=draw(st.sampled_from(_FAILING_CODES)) if status.failure else 0,
        cost=draw(st.integers(0, 999)) / 1000 if status is Status.SENT else None,
    )


@st.composite
def notification_events(draw: st.DrawFn) -> NotificationEvent:
    """Draw a notification about the account.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(notification_events())
    ... def test(drawn):
    ...     assert drawn.kind == "notification"
    >>> test()
    """
    name = draw(st.sampled_from(names_of("notification")))
    return draw(_accounts()).notification(name, at=draw(MOMENTS))


@st.composite
def response_events(draw: st.DrawFn) -> ResponseEvent:
    """Draw what a user wrote back.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(response_events())
    ... def test(drawn):
    ...     assert drawn.name == "uplink_message"
    >>> test()
    """
    body = draw(st.sampled_from(["STOP", "UNSUBSCRIBE", "HELP"]) | st.text(st.characters(codec="utf-8"), max_size=40))
    return draw(_accounts()).uplink(draw(recipients()), body=body, at=draw(MOMENTS))


@st.composite
def system_events(draw: st.DrawFn) -> SystemEvent:
    """Draw what somebody did in the console, or with a key.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(system_events())
    ... def test(drawn):
    ...     assert drawn.kind == "system_event"
    >>> test()
    """
    name = draw(st.sampled_from(names_of("system_event")))
    return draw(_accounts()).system_event(name, at=draw(MOMENTS))


@st.composite
def unknown_events(draw: st.DrawFn) -> UnknownEvent:
    """Draw a row of a kind that no document names.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(unknown_events())
    ... def test(drawn):
    ...     assert drawn.kind == "unknown"
    >>> test()
    """
    kind = draw(st.sampled_from(["receipt", "campaign", "Status"]).filter(lambda kind: kind not in KINDS))
    row: dict[str, Any] = {"server": "otp", "itime": draw(MOMENTS), kind: draw(custom_args())}
    return UnknownEvent(row=row)


def events() -> st.SearchStrategy[Event]:
    """Draw an event of any kind that the documents name.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(events())
    ... def test(drawn):
    ...     assert drawn.kind in KINDS
    >>> test()
    """
    return st.one_of(status_events(), notification_events(), response_events(), system_events())


def _accounts() -> st.SearchStrategy[Account]:
    return st.integers(0, 9999).map(lambda seed: Account(Generator.seeded(seed)))
