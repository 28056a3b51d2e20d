"""The statuses and channels of a message."""

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


class Status(StrEnum):
    """Name a message status as it stands in `message_status`.

    >>> Status("delivered").terminal
    True
    """

    PLAN = "plan"
    TARGET_VALID = "target_valid"
    TARGET_INVALID = "target_invalid"
    SENT = "sent"
    SENT_FAILED = "sent_failed"
    DELIVERED = "delivered"
    DELIVERED_FAILED = "delivered_failed"
    VERIFIED = "verified"
    VERIFIED_FAILED = "verified_failed"
    VERIFIED_TIMEOUT = "verified_timeout"
    #: Named only once, in the document's overview [S]; it is sent only if a scenario names it.
    READ = "read"

    @property
    def terminal(self) -> bool:
        """Tell whether the vendor's SDK and guides count the status as final [K][X].

        `delivered` is final although `verified` may follow it, and so is a failure although a fallback may follow.
        """
        return self in _TERMINAL

    @property
    def failure(self) -> bool:
        """Tell whether the status reports a failure, and so carries an error code."""
        return self in _FAILURES

    @property
    def meaning(self) -> str:
        """Describe the status in a few words."""
        return _MEANINGS[self]


_TERMINAL = frozenset(
    {
        Status.TARGET_INVALID,
        Status.SENT_FAILED,
        Status.DELIVERED,
        Status.DELIVERED_FAILED,
        Status.VERIFIED,
        Status.VERIFIED_FAILED,
        Status.VERIFIED_TIMEOUT,
    }
)

_FAILURES = frozenset({Status.TARGET_INVALID, Status.SENT_FAILED, Status.DELIVERED_FAILED})

_MEANINGS = {
    Status.PLAN: "scheduled for sending [S]",
    Status.TARGET_VALID: "the number was found valid [D]",
    Status.TARGET_INVALID: "the number was found invalid [D]",
    Status.SENT: "handed to the channel [S]",
    Status.SENT_FAILED: "could not be handed to the channel [S]",
    Status.DELIVERED: "on the device [S]",
    Status.DELIVERED_FAILED: "did not reach the device [S]",
    Status.VERIFIED: "the user entered the right code [S]",
    Status.VERIFIED_FAILED: "the user entered a wrong code [S]",
    Status.VERIFIED_TIMEOUT: "the user entered no code in time [S]",
    Status.READ: "the user opened the message; named in the overview only [S]",
}
