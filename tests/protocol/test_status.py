"""The statuses and channels of a message."""

from __future__ import annotations

import pytest
from engagelab_otp import TERMINAL_STATUSES

from engagelab_mock import Channel, Status

DOCUMENTED = [
    "plan",
    "target_valid",
    "target_invalid",
    "sent",
    "sent_failed",
    "delivered",
    "delivered_failed",
    "verified",
    "verified_failed",
    "verified_timeout",
]


def test_the_ten_documented_statuses_and_read_are_known() -> None:
    assert [str(status) for status in Status] == [*DOCUMENTED, "read"]


def test_terminal_statuses_are_the_official_sdk_s() -> None:
    # `sent_fail` is another spelling of `sent_failed`, which the dialect takes care of.
    assert {str(status) for status in Status if status.terminal} == TERMINAL_STATUSES - {"sent_fail"}


def test_exactly_the_failures_carry_an_error_code() -> None:
    assert [str(status) for status in Status if status.failure] == [
        "target_invalid",
        "sent_failed",
        "delivered_failed",
    ]


@pytest.mark.parametrize("status", Status)
def test_each_status_has_a_meaning_with_its_source(status: Status) -> None:
    assert status.meaning.endswith(("[S]", "[D]"))
    assert [other for other in Status if other.meaning == status.meaning] == [status]


def test_a_status_is_its_text() -> None:
    assert Status("sent_failed") == "sent_failed"
    assert f"{Status.SENT_FAILED}" == "sent_failed"
    with pytest.raises(ValueError, match="sent_fail"):
        Status("sent_fail")


def test_the_document_s_four_channels_are_known() -> None:
    assert {str(channel) for channel in Channel} == {"sms", "email", "voice", "whatsapp"}


def test_the_envelope_s_fixed_channel_is_not_one_of_them() -> None:
    with pytest.raises(ValueError, match="otp"):
        Channel("otp")
