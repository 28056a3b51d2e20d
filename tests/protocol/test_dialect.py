"""Dialects: the documents' different spellings of the same events."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from engagelab_mock import DIALECTS, Event, Message, StatusEvent, UnknownName, encode
from engagelab_mock.protocol.events import dialect
from tests.protocol.strategies import (
    PROPERTY,
    notification_events,
    response_events,
    status_events,
    system_events,
    unknown_events,
)

MESSAGE = Message(id="1742442805608914944", to="+6591234567")


def spelt(name: str, status: str) -> StatusEvent:
    event = dialect(name).spell(MESSAGE.event(status, at=1704265712, channel="whatsapp"))
    assert isinstance(event, StatusEvent)
    return event


def test_the_document_of_2023_is_the_default() -> None:
    assert list(DIALECTS) == ["2023-03", "newer"]
    event = spelt("2023-03", "sent_failed")
    assert (event.server, event.channel, event.name) == ("otp", "otp", "sent_failed")
    assert dialect("2023-03").ping == b""


def test_the_newer_pages_say_sms_and_sent_fail_and_ping_with_an_object() -> None:
    event = spelt("newer", "sent_failed")
    assert (event.server, event.channel, event.name) == ("sms", "sms", "sent_fail")
    assert dialect("newer").ping == b"{}"


def test_only_sent_failed_is_spelt_otherwise() -> None:
    assert [spelt("newer", status).name for status in ("plan", "sent", "delivered_failed")] == [
        "plan",
        "sent",
        "delivered_failed",
    ]


def test_the_channel_in_use_is_not_the_envelope_s() -> None:
    assert spelt("newer", "sent").status.status_data.current_send_channel == "whatsapp"


def test_one_point_can_be_changed() -> None:
    own = msgspec.structs.replace(DIALECTS["2023-03"], name="own", sent_failed="sent_fail")
    event = own.spell(MESSAGE.event("sent_failed", at=1))
    assert isinstance(event, StatusEvent)
    assert (event.server, event.channel, event.name) == ("otp", "otp", "sent_fail")
    assert dialect(own) is own


@given(notification_events | response_events | system_events | unknown_events)
@PROPERTY
def test_other_kinds_are_the_same_in_all_dialects(event: Event) -> None:
    assert all(known.spell(event) is event for known in DIALECTS.values())


@given(status_events)
@PROPERTY
def test_the_default_changes_nothing_and_spelling_twice_changes_no_more(event: StatusEvent) -> None:
    assert encode([DIALECTS["2023-03"].spell(event)]) == encode([event])
    once = DIALECTS["newer"].spell(event)
    assert DIALECTS["newer"].spell(once) == once


@pytest.mark.parametrize(("name", "hint"), [("newr", "did you mean 'newer'?"), ("2023-3", "did you mean '2023-03'?")])
def test_a_misspelt_dialect_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownName, match="unknown dialect") as caught:
        dialect(name)
    assert hint in caught.value.hint


def test_a_value_that_is_not_a_name_is_refused_alike() -> None:
    with pytest.raises(UnknownName, match="unknown dialect"):
        dialect(["newer"])  # type: ignore[arg-type]


def test_each_dialect_names_its_document() -> None:
    assert all(known.source.endswith(("[S]", "[D]")) for known in DIALECTS.values())
