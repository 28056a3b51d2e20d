"""Remove personal data from a callback: the same person always gets the same pseudonym.

A pseudonym is left as it is, so what was sanitised once does not change again.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from engagelab_mock.messages.message import is_email
from engagelab_mock.protocol.callback import Headers
from engagelab_mock.protocol.signature import HEADER

# Numbers that regulators reserve for fiction: ARCEP's six ranges of 10,000, and Ofcom's mobile range of 1,000.
_FICTIONAL = ("+3319900", "+3326191", "+3335301", "+3346571", "+3353649", "+3363998")
_OFCOM = "+447700900"
_RANGE = 10_000
_NAMES = len(_FICTIONAL) * _RANGE + 1_000
#: Country code 999 is not assigned [?]. It is used for people who do not fit into the ranges above.
_UNASSIGNED = "+999"
# The three networks that RFC 5737 reserves for documentation.
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_TRIES = 200
#: The pseudonyms of each kind.
_PSEUDONYMS = {
    "phone": re.compile(rf"(?:{'|'.join(map(re.escape, _FICTIONAL))})\d{{4}}|\{_OFCOM}\d{{3}}|\{_UNASSIGNED}\d{{9}}"),
    "email": re.compile(r"user-[0-9a-f]{10}@example\.com"),
    "ip": re.compile(rf"(?:{'|'.join(map(re.escape, _NETWORKS))})\.\d{{1,3}}|2001:db8::[0-9a-f]{{1,4}}"),
    "text": re.compile(r"text-[0-9a-f]{8}|dropped"),
}


class Pseudonyms:
    """Give each person one pseudonym. The same key gives the same pseudonyms, unless two people draw the same one.

    >>> names = Pseudonyms(b"key")
    >>> names.phone("+6591234567") == names.phone("+65 9123-4567") != names.phone("+6591234568")
    True
    >>> names.email("Alice@acme.example").endswith("@example.com")
    True

    Without a key, a random one is used and never stored: with a known key, an attacker could try all phone numbers.
    """

    def __init__(self, key: bytes | str | None = None) -> None:
        given = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
        self._key = given or secrets.token_bytes(32)
        self._given: dict[tuple[str, str], str] = {}
        self._taken: dict[str, tuple[str, str]] = {}

    def phone(self, number: str) -> str:
        """Return an E.164 number reserved for fiction, for a number in any spelling with its country code."""
        digits = "".join(character for character in number if character.isdecimal()).removeprefix("00")
        return self._name("phone", digits, _phone)

    def email(self, address: str) -> str:
        """Return an address in a domain that RFC 2606 reserves."""
        return self._name("email", address.lower(), lambda number, _: f"user-{number:016x}"[:15] + "@example.com")

    def recipient(self, to: str) -> str:
        """Return a pseudonym for a phone number or an e-mail address."""
        return self.email(to) if is_email(to) else self.phone(to)

    def ip(self, address: str) -> str:
        """Return an address reserved for documentation, IPv4 for IPv4 and IPv6 for IPv6."""
        if ":" in address:
            return self._name("ip", address.lower(), lambda number, _: f"2001:db8::{number & 0xFFFF:x}")
        return self._name("ip", address, lambda number, _: f"{_NETWORKS[number % 3]}.{number // 3 % 254 + 1}")

    def text(self, text: str) -> str:
        """Return a word for any text."""
        return self._name("text", text, lambda number, _: f"text-{number:016x}"[:13])

    def number(self, number: int) -> int:
        """Return a pseudonym for a number that may identify a person."""
        return int(self.phone(str(number)))

    def _name(self, kind: str, original: str, make: Callable[[int, int], str]) -> str:
        asked = (kind, original)
        if asked in self._given:
            return self._given[asked]
        name = f"+{original}" if kind == "phone" else original
        if _PSEUDONYMS[kind].fullmatch(name):
            self._taken.setdefault(name, asked)
            return name
        name = ""
        for attempt in range(_TRIES):
            digest = hmac.digest(self._key, f"{kind}:{attempt}:{original}".encode("utf-8", "surrogatepass"), "sha256")
            name = make(int.from_bytes(digest[:8], "big"), attempt)
            # Two people with one pseudonym would look like one person.
            if self._taken.setdefault(name, asked) == asked:
                break
        self._given[asked] = name
        return name


def _phone(number: int, attempt: int) -> str:
    if attempt > _TRIES // 2:
        return f"{_UNASSIGNED}{number % 10**9:09d}"
    place = number % _NAMES
    which, rest = divmod(place, _RANGE)
    return f"{_FICTIONAL[which]}{rest:04d}" if which < len(_FICTIONAL) else f"{_OFCOM}{rest:03d}"


#: Replaces a dropped value.
DROPPED = "dropped"
#: Replies of a user without personal data [X].
KEYWORDS = frozenset({"STOP", "UNSUBSCRIBE", "HELP"})

#: Headers about the transport, whose values have no personal data.
_PLAIN_HEADERS = frozenset(
    [
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "transfer-encoding",
    ]
)
_SECRET = re.compile(
    r"(?i).*(?:secret|passw|token|authori[sz]ation|credential|api_?key|cookie|session|signature|private).*"
    r"|(?:verify_?|verification_?)?code|otp|pin|nonce"
)
_ID = re.compile(r"0|[0-9]{15,20}")
_NAME = re.compile(r"[A-Za-z0-9_-]{0,128}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_ -]{0,40}|")
_COUNT = re.compile(r"[0-9]{1,10}")
#: The keys of the protocol whose values stay, each with the pattern of such a value.
_KNOWN: dict[str, re.Pattern[str]] = {
    **dict.fromkeys(["message_id", "business_id", "org_id"], _ID),
    **dict.fromkeys(["template_id", "template_key", "message_sid", "account_sid"], _NAME),
    **dict.fromkeys(
        ["server", "channel", "message_status", "current_send_channel", "event", "action", "currency", "status"], _WORD
    ),
    **dict.fromkeys(["total", "itime", "msg_time", "error_code"], _COUNT),
}
#: The keys of the protocol whose values are numbers.
_NUMBERS = frozenset(
    [
        "total",
        "itime",
        "msg_time",
        "error_code",
        "cost",
        "remain_balance",
        "balance_threshold",
        "rate",
        "threshold",
        "status",
    ]
)
#: The keys of the protocol whose values are sentences or paths.
_TEXTS = frozenset({"message", "reason", "api_path", "method"})
#: The largest number that is kept under a key that no document names.
_SMALL = 999

_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\{}=]+@[\w.-]*\w")
_IP = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])|(?<![\w:])[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f]*")
_PHONE = re.compile(r"(?<!\w)\+?[0-9](?:[ ().\-/]{0,2}[0-9]){5,}")
# All at once: a pseudonym may have a part that looks like a phone number.
_PERSONAL = re.compile(f"(?P<email>{_EMAIL.pattern})|(?P<ip>{_IP.pattern})|{_PHONE.pattern}")


class Sanitiser:
    """Sanitise headers, paths and bodies, with one pseudonym for each person.

    >>> sanitiser = Sanitiser(Pseudonyms(b"key"))
    >>> print(sanitiser.body(b'{"rows": [{"to": "+6591234567", "custom_args": {"name": "Ann", "seat": 7}}]}'))
    {"rows":[{"to":"+33199001597","custom_args":{"name":"text-046ab78f","seat":7}}]}
    """

    def __init__(self, pseudonyms: Pseudonyms | None = None) -> None:
        self._names = pseudonyms or Pseudonyms()

    def headers(self, headers: Headers) -> Headers:
        """Return the headers with the values of those about the transport, and the timestamp of a signature."""
        return Headers((name, self._header(name.lower(), value)) for name, value in headers.pairs)

    def path(self, path: str) -> str:
        """Return a path without its query, and without parts that may be personal or secret."""
        parts = path.partition("?")[0].split("/")
        return "/".join(self.text(part) if len(part) <= 20 else DROPPED for part in parts)

    def body(self, body: bytes) -> str | None:
        """Return a body as text; None if it is not JSON, which cannot be sanitised."""
        if not body.strip():
            return body.decode()
        try:
            value = self._value(json.loads(body), "", free=False)
            return rewritten(value)
        except (ValueError, RecursionError):
            return None

    def text(self, text: str) -> str:
        """Return a text with pseudonyms for the phone numbers and addresses in it."""
        return _PERSONAL.sub(self._personal, text)

    def _personal(self, found: re.Match[str]) -> str:
        if found["email"]:
            return self._names.email(found[0])
        return self._names.ip(found[0]) if found["ip"] else self._phone(found[0])

    def _header(self, name: str, value: str) -> str:
        if name == HEADER.lower():
            timestamp = re.search(r"timestamp=([0-9]{1,12})(?![0-9])", value)
            return f"timestamp={timestamp[1]};{DROPPED}" if timestamp else DROPPED
        if name == "user-agent":
            return self.text(value)
        return value if name in _PLAIN_HEADERS else DROPPED

    def _value(self, value: Any, key: str, *, free: bool) -> Any:
        """Return the sanitised value of a key; the app, not a document, gives `free` values their meaning."""
        if value is None or isinstance(value, bool):
            return value
        if _SECRET.fullmatch(key):
            return DROPPED
        if isinstance(value, dict):
            free = free or key == "custom_args"
            return {self.text(name): self._value(inner, name, free=free) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, key, free=free) for inner in value]
        if isinstance(value, str):
            return self._string(value, key, free=free)
        known = abs(value) <= _SMALL or (not free and (key in _NUMBERS or _is_id(value, key)))
        return value if known else self._names.number(int(value) if value == value and abs(value) < 1e300 else 0)

    def _string(self, value: str, key: str, *, free: bool) -> str:
        if not free and key in _KNOWN and _KNOWN[key].fullmatch(value):
            return value
        if not free and key in _TEXTS:
            return self.text(value)
        if not value or (key == "body" and value.strip().upper() in KEYWORDS):
            return value
        if _EMAIL.fullmatch(value):
            return self._names.email(value)
        if _IP.fullmatch(value):  # before phone numbers: some have dots
            return self._names.ip(value)
        return self._phone(value) if _PHONE.fullmatch(value) else self._names.text(value)

    def _phone(self, number: str) -> str:
        name = self._names.phone(number)
        return name if number.startswith("+") else name[1:]


def _is_id(value: float, key: str) -> bool:
    """Tell whether a number is an id, which some senders write as a number."""
    return key in _KNOWN and bool(_KNOWN[key].fullmatch(str(value)))


def rewritten(value: Any) -> str:
    """Return a value as compact JSON.

    >>> rewritten({"rows": []})
    '{"rows":[]}'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        return json.dumps(value, separators=(",", ":"))
    return text
