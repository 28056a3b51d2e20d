"""The channels a message can travel by."""

from __future__ import annotations

from enum import StrEnum


class Channel(StrEnum):
    """Name a channel as it stands in `current_send_channel` [S]; on `plan` that field is empty.

    >>> Channel("whatsapp") is Channel.WHATSAPP
    True
    """

    SMS = "sms"
    WHATSAPP = "whatsapp"
    VOICE = "voice"
    EMAIL = "email"
