"""What is said of two status sequences, and of two events, that are not equal."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, Event, Message, Status
from engagelab_mock.delivery.render import explain
from engagelab_mock.protocol.events import UnknownEvent

MESSAGE = Message(id="1742442805608914945", to="+6591234567", template_key="tpl", business_id="1")


@pytest.mark.parametrize(
    ("got", "wanted", "first", "rest"),
    [
        (["plan", "sent"], ["plan", "sent_failed"], "1: sent, not sent_failed", ["  plan", "- sent_failed", "+ sent"]),
        (["plan"], ["plan", "sent"], "1: nothing, not sent", ["  plan", "- sent"]),
        (["plan", "sent"], ["plan"], "1: sent, not the end", ["  plan", "+ sent"]),
        (["sent"], ["plan"], "0: sent, not plan", ["- plan", "+ sent"]),
        (
            ["plan", "insufficient_balance"],
            ["plan", "uplink_message"],
            "1: insufficient_balance, not uplink_message",
            ["  plan", "- uplink_message", "+ insufficient_balance"],
        ),
        (
            ["plan", "sent_fail"],
            ["plan", "sent_failed"],
            "1: sent_fail, not",
            ["  plan", "- sent_failed", "+ sent_fail"],
        ),
    ],
)
def test_the_first_difference_of_two_sequences_is_named(
    got: list[str], wanted: list[str], first: str, rest: list[str]
) -> None:
    explanation = explain(got, wanted)
    assert explanation is not None
    assert explanation[0] == f"{' → '.join(got)} == {' → '.join(wanted)}"
    assert explanation[1].startswith(f"first difference at index {first}")
    assert explanation[2:] == rest


def test_a_sequence_may_be_written_with_the_enumeration() -> None:
    assert explain(["plan", "sent"], [Status.PLAN, Status.DELIVERED]) == explain(
        ["plan", "sent"], ["plan", "delivered"]
    )


def fields(got: Event, wanted: Event) -> list[str]:
    explanation = explain(got, wanted)
    assert explanation is not None
    return explanation


def test_two_events_differ_by_fields() -> None:
    got = MESSAGE.event("sent", at=10, channel="sms", cost=0.005)
    wanted = MESSAGE.event("sent_failed", at=10, channel="whatsapp", error_code=5001)
    assert fields(got, wanted) == [
        "sent == sent_failed, two events of kind status",
        "status.message_status: 'sent' != 'sent_failed'",
        "status.status_data.current_send_channel: 'sms' != 'whatsapp'",
        "status.billing.cost: 0.005 != absent",
        "status.billing.currency: 'USD' != absent",
        "status.error_code: 0 != 5001",
        "status.error_detail.message: absent != 'sender config is invalid'",
    ]


def test_events_of_different_kinds_are_not_compared_field_by_field() -> None:
    with EngageLab() as engagelab:
        [delivery] = engagelab.notify("insufficient_balance")
    assert fields(delivery.events[0], MESSAGE.event("sent", at=10)) == [
        "insufficient_balance (notification) == sent (status)",
        "the events are of different kinds",
    ]


def test_rows_of_an_unknown_kind_differ_by_fields_too() -> None:
    got, wanted = UnknownEvent(row={"a": {"b": 1}}), UnknownEvent(row={"a": {"b": 2}, "c": None})
    assert fields(got, wanted)[1:] == ["row.a.b: 1 != 2", "row.c: absent != None"]


def test_a_value_that_json_cannot_hold_causes_no_error() -> None:
    odd: Any = {"flow": object()}
    event = MESSAGE.event("sent", at=10)
    other = type(event)(message_id="1", to="+6591234567", itime=10, custom_args=odd, status=event.status)
    assert any(line.startswith("custom_args.flow: '<object object at") for line in fields(other, event))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([], ["plan"]),
        (["plan"], ["plan", "on the moon"]),
        (["a"], ["b"]),
        (["plan"], ("plan",)),
        ([["plan"]], [["sent"]]),
        ("plan", "sent"),
        (1, 2),
        ({"status": "plan"}, {"status": "sent"}),
        (MESSAGE.event("sent", at=10), "sent"),
        (MESSAGE, Message(id="2", to="+6591234567")),
    ],
)
def test_comparisons_of_other_types_are_left_to_others(left: object, right: object) -> None:
    assert explain(left, right) is None
