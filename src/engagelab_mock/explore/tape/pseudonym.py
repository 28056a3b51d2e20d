"""Names for people that are nobody's: the same person always gets the same one, and none leads back."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from engagelab_mock.protocol.recipient import is_email

# Numbers that regulators keep free for fiction: ARCEP's six ranges of 10,000, and Ofcom's mobile one of 1,000.
_FICTIONAL = ("+3319900", "+3326191", "+3335301", "+3346571", "+3353649", "+3363998")
_OFCOM = "+447700900"
_RANGE = 10_000
_COUNT = len(_FICTIONAL) * _RANGE + 1_000
#: Country code 999 is assigned to nobody; it takes who no longer fits into the ranges above [?].
_UNASSIGNED = "+999"
# The three networks that RFC 5737 keeps for documentation.
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_TRIES = 200


class Pseudonyms:
    """Give each person one pseudonym; with the same key, the same one on another day, unless two draw alike.

    >>> names = Pseudonyms(b"key")
    >>> names.phone("+6591234567") == names.phone("+65 9123-4567") != names.phone("+6591234568")
    True
    >>> names.email("Alice@acme.example").endswith("@example.com")
    True

    Without a key one is drawn and kept by nobody: there are few enough phone numbers to try them all with a known one.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._given: dict[tuple[str, str], str] = {}
        self._taken: dict[str, tuple[str, str]] = {}

    def phone(self, number: str) -> str:
        """Return an E.164 number that is kept for fiction, for a number in any spelling that has its country code."""
        digits = "".join(character for character in number if character.isdecimal()).removeprefix("00")
        return self._name("phone", digits, _phone)

    def email(self, address: str) -> str:
        """Return an address in a domain that RFC 2606 reserves."""
        return self._name("email", address.lower(), lambda number, _: f"user-{number:016x}"[:15] + "@example.com")

    def recipient(self, to: str) -> str:
        """Return a pseudonym for a phone number or an e-mail address."""
        return self.email(to) if is_email(to) else self.phone(to)

    def ip(self, address: str) -> str:
        """Return an address that is kept for documentation, IPv4 or IPv6 as it was."""
        if ":" in address:
            return self._name("ip", address.lower(), lambda number, _: f"2001:db8::{number & 0xFFFF:x}")
        return self._name("ip", address, lambda number, _: f"{_NETWORKS[number % 3]}.{number // 3 % 254 + 1}")

    def text(self, text: str) -> str:
        """Return a word for a text that may say anything."""
        return self._name("text", text, lambda number, _: f"text-{number:016x}"[:13])

    def number(self, number: int) -> int:
        """Return a number for one that may be somebody's."""
        return int(self.phone(str(number)))

    def _name(self, kind: str, original: str, make: Callable[[int, int], str]) -> str:
        asked = (kind, original)
        if asked in self._given:
            return self._given[asked]
        name = ""
        for attempt in range(_TRIES):
            digest = hmac.digest(self._key, f"{kind}:{attempt}:{original}".encode("utf-8", "surrogatepass"), "sha256")
            name = make(int.from_bytes(digest[:8], "big"), attempt)
            # Two people with one name would be one person to whoever reads the tape.
            if self._taken.setdefault(name, asked) == asked:
                break
        self._given[asked] = name
        return name


def _phone(number: int, attempt: int) -> str:
    if attempt > _TRIES // 2:
        return f"{_UNASSIGNED}{number % 10**9:09d}"
    place = number % _COUNT
    which, rest = divmod(place, _RANGE)
    return f"{_FICTIONAL[which]}{rest:04d}" if which < len(_FICTIONAL) else f"{_OFCOM}{rest:03d}"
