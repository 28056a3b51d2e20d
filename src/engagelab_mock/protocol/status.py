"""The statuses and channels of a message, and the meaning that an app gives to its statuses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from engagelab_mock.errors import UnknownName, UsageError


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

#: The statuses in the order of progress. Failures are not in it: another channel or another try may follow.
PROGRESS: tuple[str, ...] = (
    *(Status.PLAN, Status.TARGET_VALID, Status.SENT, Status.DELIVERED, Status.READ, Status.VERIFIED),
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


#: One status, or several.
Statuses = str | Collection[str]
#: The statuses that have an effect, by the effect's name in the state that `observe` returns.
Effects = Mapping[str, Statuses]


class Meaning(NamedTuple):
    """Say what statuses mean to an app: which of them have which effect, and which of them end a message.

    >>> meaning = Meaning.of({"credits": "verified", "refunds": ["sent_failed", "target_invalid"]})
    >>> meaning.times("refunds", ["plan", "sent_failed", "target_invalid"]), meaning.times("credits", ["delivered"])
    (1, 0)

    An effect happens once for a message, however many of its statuses come. Only a wrong code is something new each
    time: an effect of `verified_failed` happens once for each.
    """

    effects: dict[str, tuple[str, ...]]
    terminal: tuple[str, ...]

    @classmethod
    def of(cls, effects: object = None, terminal: object = None) -> Meaning:
        """Return the meaning that the arguments `effects` and `terminal` declare, or raise `UsageError`."""
        if not isinstance(effects, Mapping | None) or not all(isinstance(name, str) and name for name in effects or ()):
            hint = 'effects={"credits": "verified", "refunds": ["sent_failed", "target_invalid"]}'
            raise UsageError(f"effects maps names to statuses, {effects!r:.100} does not", where="effects", hint=hint)
        causes = {name: statuses_of(given, f"effects[{name!r}]") for name, given in (effects or {}).items()}
        for name, statuses in causes.items():
            if not statuses:
                raise UsageError("it has no status", where=f"effects[{name!r}]", hint=f'{{"{name}": "verified"}}')
        return cls(causes, () if terminal is None else statuses_of(terminal, "terminal"))

    def __bool__(self) -> bool:
        return bool(self.effects or self.terminal)

    def times(self, effect: str, statuses: Iterable[str]) -> int:
        """Return how often an effect happens if events of these statuses come, each once."""
        return times(self.effects[effect], statuses)


def times(causes: Collection[str], statuses: Iterable[str]) -> int:
    """Return how often an effect of these causes happens if events of these statuses come, each once.

    >>> times(["verified", "verified_failed"], ["sent", "verified_failed", "verified_failed", "verified"])
    3
    """
    came = [status for status in statuses if status in causes]
    codes = came.count(Status.VERIFIED_FAILED)
    return codes + (len(came) > codes)


def statuses_of(given: object, where: str) -> tuple[str, ...]:
    """Return one or several statuses as a tuple, or raise `UsageError`.

    >>> statuses_of("verified", "when")
    ('verified',)
    """
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, Collection) or isinstance(several, (bytes, Mapping)):
        raise UsageError(f"{given!r:.100} is neither a status nor a list of statuses", where=where)
    for status in several:
        if status not in list(Status):
            raise UnknownName("status", status, Status, where=where)
    return tuple(str(Status(status)) for status in several)
