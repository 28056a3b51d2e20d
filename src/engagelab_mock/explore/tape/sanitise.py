"""Take out of a callback what is somebody's: people, addresses, secrets, codes; what a receiver acts on stays."""

from __future__ import annotations

import json
import re
from typing import Any

from engagelab_mock.explore.tape.pseudonym import Pseudonyms
from engagelab_mock.protocol.headers import Headers
from engagelab_mock.protocol.signature import HEADER

#: Stands where something was dropped.
DROPPED = "dropped"
#: What a user may write back that says nothing about them [X].
KEYWORDS = frozenset({"STOP", "UNSUBSCRIBE", "HELP"})

#: Headers whose values say how a callback travelled, and nothing about anybody.
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
#: The keys of the protocol whose values stay, each with what such a value looks like.
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
#: The keys of the protocol whose values are sentences, or paths.
_TEXTS = frozenset({"message", "reason", "api_path", "method"})
#: The largest number that is nobody's, under a key that no document names.
_SMALL = 999

_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\{}=]+@[\w.-]*\w")
_IP = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])|(?<![\w:])[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f]*")
_PHONE = re.compile(r"(?<!\w)\+?[0-9](?:[ ().\-/]{0,2}[0-9]){5,}")


class Sanitiser:
    """Sanitise headers, paths and bodies, with one pseudonym for each person throughout.

    >>> sanitiser = Sanitiser(Pseudonyms(b"key"))
    >>> print(sanitiser.body(b'{"rows": [{"to": "+6591234567", "custom_args": {"name": "Ann", "seat": 7}}]}'))
    {"rows":[{"to":"+33199001597","custom_args":{"name":"text-046ab78f","seat":7}}]}
    """

    def __init__(self, pseudonyms: Pseudonyms | None = None) -> None:
        self._names = pseudonyms or Pseudonyms()

    def headers(self, headers: Headers) -> Headers:
        """Keep every name, and the values that are about the transport; of a signature its timestamp."""
        return Headers((name, self._header(name.lower(), value)) for name, value in headers.pairs)

    def path(self, path: str) -> str:
        """Return a path without its query, and without the parts of it that may be somebody's or a secret."""
        parts = path.partition("?")[0].split("/")
        return "/".join(self.text(part) if len(part) <= 20 else DROPPED for part in parts)

    def body(self, body: bytes) -> str | None:
        """Return a body as text; None for one that is not JSON, in which nobody knows where to look."""
        if not body.strip():
            return body.decode()
        try:
            value = self._value(json.loads(body), "", free=False)
            return rewritten(value)
        except (ValueError, RecursionError):
            return None

    def text(self, text: str) -> str:
        """Return a text with pseudonyms in the place of the people and addresses in it."""
        text = _EMAIL.sub(lambda found: self._names.email(found[0]), text)
        text = _IP.sub(lambda found: self._names.ip(found[0]), text)
        return _PHONE.sub(lambda found: self._phone(found[0]), text)

    def _header(self, name: str, value: str) -> str:
        if name == HEADER.lower():
            timestamp = re.search(r"timestamp=([0-9]{1,12})(?![0-9])", value)
            return f"timestamp={timestamp[1]};{DROPPED}" if timestamp else DROPPED
        if name == "user-agent":
            return self.text(value)
        return value if name in _PLAIN_HEADERS else DROPPED

    def _value(self, value: Any, key: str, *, free: bool) -> Any:
        """Sanitise what stands under a key; `free` is what the app, and no document, gives a meaning."""
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
        if _PHONE.fullmatch(value):
            return self._phone(value)
        return self._names.ip(value) if _IP.fullmatch(value) else self._names.text(value)

    def _phone(self, number: str) -> str:
        name = self._names.phone(number)
        return name if number.startswith("+") else name[1:]


def _is_id(value: float, key: str) -> bool:
    """Tell an id that was sent as a number, as some receivers must expect it."""
    return key in _KNOWN and bool(_KNOWN[key].fullmatch(str(value)))


def rewritten(value: Any) -> str:
    """Write a body anew, as compact as the one that came.

    >>> rewritten({"rows": []})
    '{"rows":[]}'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which JSON can spell and UTF-8 cannot
        return json.dumps(value, separators=(",", ":"))
    return text
