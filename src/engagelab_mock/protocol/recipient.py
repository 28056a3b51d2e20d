"""Who a message goes to: an E.164 phone number or an e-mail address."""

from __future__ import annotations

import re

from engagelab_mock.errors import InvalidRecipient

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
# No control characters, and no lone surrogates, which no JSON body can carry.
_LOCAL_PART = r"[^@\s\"(),:;<>\[\]\\\x00-\x1f\x7f\ud800-\udfff]{1,64}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# Compiled by `re` when the first address comes: that takes as long as importing all the rest of this module.
_EMAIL = rf"{_LOCAL_PART}@(?:{_LABEL}\.)+(?:[A-Za-z]{{2,63}}|[Xx][Nn]--{_LABEL})"


def check_recipient(to: str, *, where: str = "to") -> str:
    """Return the recipient unchanged, or raise `InvalidRecipient` saying what is wrong with it.

    >>> check_recipient("+6591234567")
    '+6591234567'
    >>> check_recipient("+65 9123 4567")
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.InvalidRecipient: to: '+65 9123 4567' is not an E.164 phone number
      hint: did you mean '+6591234567'?
    """
    if not isinstance(to, str):
        raise InvalidRecipient(
            f"a recipient is a string, not {to!r}", where=where, hint="write the number as '+6591234567'"
        )
    if _E164.fullmatch(to) or (re.fullmatch(_EMAIL, to) and len(to) <= 254):
        return to
    if "@" in to:
        raise InvalidRecipient(
            f"{to!r} is not an e-mail address", where=where, hint="it should look like 'user@example.com'"
        )
    raise InvalidRecipient(f"{to!r} is not an E.164 phone number", where=where, hint=_phone_hint(to))


def is_email(to: str) -> bool:
    """Tell an e-mail address from a phone number, both already checked.

    >>> is_email("user@example.com")
    True
    """
    return "@" in to


def _phone_hint(to: str) -> str:
    digits = re.sub(r"[\s().-]", "", to)
    candidate = digits if digits.startswith("+") else f"+{digits.removeprefix('00')}"
    if candidate != to and _E164.fullmatch(candidate):
        return f"did you mean '{candidate}'?"
    return "E.164 is '+', the country code and the number, 7 to 15 digits in all: '+6591234567'"
