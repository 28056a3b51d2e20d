"""The channels a message can travel by."""

from __future__ import annotations

import pytest

from engagelab_mock import Channel


def test_the_document_s_four_channels_are_known() -> None:
    assert {str(channel) for channel in Channel} == {"sms", "email", "voice", "whatsapp"}


def test_the_envelope_s_fixed_channel_is_none_of_them() -> None:
    with pytest.raises(ValueError, match="otp"):
        Channel("otp")
