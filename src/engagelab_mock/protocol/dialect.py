"""Where EngageLab's documents disagree: each reading is a dialect, one of them the default."""

from __future__ import annotations

import msgspec

from engagelab_mock.errors import UnknownName
from engagelab_mock.protocol.events import Event, StatusEvent


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Say how callbacks are spelt, after one of the vendor's documents.

    Change one point of a dialect with `msgspec.structs.replace(DIALECTS["2023-03"], sent_failed="sent_fail")`.

    >>> dialect("newer").sent_failed
    'sent_fail'
    """

    name: str
    #: Which document the spelling comes from.
    source: str
    #: The value of `server` in message-status rows.
    server: str = "otp"
    #: The value of `channel` in message-status rows.
    channel: str = "otp"
    #: How the status `sent_failed` is spelt.
    sent_failed: str = "sent_failed"
    #: The body of the address-validation ping.
    ping: bytes = b""

    def spell(self, event: Event) -> Event:
        """Return the event as this dialect writes it; other kinds than message status are the same in all."""
        if self is DEFAULT or not isinstance(event, StatusEvent):
            return event
        status = event.status
        if status.message_status == "sent_failed":
            status = msgspec.structs.replace(status, message_status=self.sent_failed)
        return msgspec.structs.replace(event, server=self.server, channel=self.channel, status=status)


DEFAULT = Dialect(name="2023-03", source="callback settings of 2023-03-07 [S]")

DIALECTS: dict[str, Dialect] = {
    known.name: known
    for known in (
        DEFAULT,
        Dialect(
            name="newer",
            source="newer documentation pages' examples [D]",
            server="sms",
            channel="sms",
            sent_failed="sent_fail",
            ping=b"{}",
        ),
    )
}


def dialect(name: str | Dialect, *, where: str = "dialect") -> Dialect:
    """Return a dialect by name, or raise `UnknownName` with the nearest one.

    >>> dialect("2023-03").ping
    b''
    """
    if isinstance(name, Dialect):
        return name
    try:
        return DIALECTS[name]
    except (KeyError, TypeError):
        raise UnknownName("dialect", name, DIALECTS, where=where) from None
