"""Strategies for messages and events, and their parts; `nearly_…` draws values that are almost valid."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from engagelab_mock.errors import InvalidRecipient
from engagelab_mock.generate import Generator
from engagelab_mock.messages.account import Account
from engagelab_mock.messages.message import Message, check_recipient
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
from engagelab_mock.protocol.status import Channel, Status

#: Unix seconds from 2023, when the protocol was published, for some decades.
MOMENTS = st.integers(1_678_000_000, 2_500_000_000)

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT


def statuses() -> st.SearchStrategy[Status]:
    """Draw a message status.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(statuses())
    ... def test(drawn):
    ...     assert drawn in Status
    >>> test()
    """
    return st.sampled_from(Status)


def nearly_statuses() -> st.SearchStrategy[str]:
    """Draw a string that looks like a status but is not: misspelt, cut short, in capitals, or new.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(nearly_statuses())
    ... def test(drawn):
    ...     assert drawn not in list(Status)
    >>> test()
    """
    changes = st.sampled_from([str.upper, str.title, lambda text: text[:-1], lambda text: f"{text}_x", lambda text: ""])
    known = set(Status)
    changed = st.builds(lambda status, change: str(change(str(status))), st.sampled_from(Status), changes)
    return (changed | st.sampled_from(["sent_fail", "queued", "expired"])).filter(lambda status: status not in known)


def channels() -> st.SearchStrategy[Channel]:
    """Draw a channel.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(channels())
    ... def test(drawn):
    ...     assert drawn in Channel
    >>> test()
    """
    return st.sampled_from(Channel)


def recipients() -> st.SearchStrategy[str]:
    """Draw a phone number reserved for fiction, or an e-mail address in a reserved domain.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(recipients())
    ... def test(drawn):
    ...     assert check_recipient(drawn) == drawn
    >>> test()
    """
    phones = st.builds(Generator.recipient, _generators())
    emails = st.integers(0, 999_999).map(lambda number: f"user{number:06d}@example.com")
    return phones | emails


def nearly_recipients() -> st.SearchStrategy[str]:
    """Draw a string that looks like a recipient but that EngageLab does not accept.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(nearly_recipients())
    ... def test(drawn):
    ...     assert isinstance(drawn, str)
    >>> test()
    """
    changes = st.sampled_from(
        [
            lambda to: to.replace("+", ""),
            lambda to: to.replace("+", "00"),
            lambda to: f"{to[:4]} {to[4:]}",
            lambda to: f"+0{to[1:]}",
            lambda to: f"{to}0000000000",
            lambda to: to[:4],
            lambda to: to.replace("@", ""),
            lambda to: to.replace("@", "@@"),
            lambda to: to.replace(".com", ""),
        ]
    )
    return st.builds(lambda to, change: str(change(to)), recipients(), changes).filter(_is_refused)


def message_ids() -> st.SearchStrategy[str]:
    """Draw a message id of 18 or 19 digits [S].

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(message_ids())
    ... def test(drawn):
    ...     assert len(drawn) in {18, 19}
    >>> test()
    """
    return st.integers(10**17, 10**19 - 1).map(str)


def custom_args() -> st.SearchStrategy[dict[str, Any]]:
    """Draw custom arguments, which a row returns [D]: any JSON object.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(custom_args())
    ... def test(drawn):
    ...     assert isinstance(drawn, dict)
    >>> test()
    """
    values = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=5)
    return _objects(values)


def messages() -> st.SearchStrategy[Message]:
    """Draw an accepted message.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(messages())
    ... def test(drawn):
    ...     assert drawn.event("plan", at=drawn.accepted).to == drawn.to
    >>> test()
    """
    return st.builds(
        Message,
        id=message_ids(),
        to=recipients(),
        template_key=st.builds(Generator.template_key, _generators()),
        business_id=st.builds(Generator.business_id, _generators()),
        accepted=MOMENTS.map(float),
        custom_args=st.none() | custom_args(),
    )


def _generators() -> st.SearchStrategy[Generator]:
    return st.integers(0, 9999).map(Generator.seeded)


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_TEXT, values, max_size=3)


def _is_refused(to: str) -> bool:
    try:
        check_recipient(to)
    except InvalidRecipient:
        return True
    return False


_FAILING_CODES = sorted(code for code in ERROR_CODES if code > 5000)


@st.composite
def status_events(draw: st.DrawFn) -> StatusEvent:
    """Draw a status event, with the channel, the error and the price that belong to it.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
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
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(notification_events())
    ... def test(drawn):
    ...     assert drawn.kind == "notification"
    >>> test()
    """
    name = draw(st.sampled_from(names_of("notification")))
    return draw(_accounts()).notification(name, at=draw(MOMENTS))


@st.composite
def response_events(draw: st.DrawFn) -> ResponseEvent:
    """Draw the reply of a user.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(response_events())
    ... def test(drawn):
    ...     assert drawn.name == "uplink_message"
    >>> test()
    """
    body = draw(st.sampled_from(["STOP", "UNSUBSCRIBE", "HELP"]) | st.text(st.characters(codec="utf-8"), max_size=40))
    return draw(_accounts()).uplink(draw(recipients()), body=body, at=draw(MOMENTS))


@st.composite
def system_events(draw: st.DrawFn) -> SystemEvent:
    """Draw an action in the console, or with a key.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None, deadline=None)
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
    >>> @settings(max_examples=3, database=None, deadline=None)
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
    >>> @settings(max_examples=3, database=None, deadline=None)
    ... @given(events())
    ... def test(drawn):
    ...     assert drawn.kind in KINDS
    >>> test()
    """
    return st.one_of(status_events(), notification_events(), response_events(), system_events())


def _accounts() -> st.SearchStrategy[Account]:
    return st.integers(0, 9999).map(lambda seed: Account(Generator.seeded(seed)))
