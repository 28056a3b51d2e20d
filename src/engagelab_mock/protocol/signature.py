"""`X-CALLBACK-ID`: sign, parse and verify it.

The signature is HMAC-SHA256(secret, timestamp + nonce + username), lower-case hex, UTF-8 [S][D][K].
The body is not part of it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum

import msgspec

#: The header's name [S].
HEADER = "X-CALLBACK-ID"
#: The largest difference of the timestamp from now, in seconds, that the official SDK accepts [K].
TOLERANCE = 300

_PARTS = ("timestamp", "nonce", "username", "signature")
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
#: Translations of a key's bytes, each XOR a byte of the pad (RFC 2104).
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class Signature(msgspec.Struct, frozen=True):
    """Hold the four parts of an `X-CALLBACK-ID` header; `timestamp` is in Unix seconds.

    >>> Signature(1681991058, "123123123123", "test", "ab" * 32).header[:41]
    'timestamp=1681991058;nonce=123123123123;u'
    """

    timestamp: int
    nonce: str
    username: str
    signature: str

    @property
    def header(self) -> str:
        """Return the header's value."""
        return f"timestamp={self.timestamp};nonce={self.nonce};username={self.username};signature={self.signature}"


class Reason(StrEnum):
    """Name the reason for accepting or refusing a header."""

    VALID = "valid"
    MISSING = "missing"
    MALFORMED = "malformed"
    WRONG_USERNAME = "wrong_username"
    STALE = "stale"
    FUTURE = "future"
    MISMATCH = "mismatch"


class Verdict(msgspec.Struct, frozen=True):
    """Hold whether a header is valid and why; it is true if the header is valid.

    >>> bool(Verdict(Reason.STALE, "signed 400 s ago"))
    False
    """

    reason: Reason
    detail: str

    def __bool__(self) -> bool:
        return self.reason is Reason.VALID

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Signer:
    """Sign for one username and secret.

    >>> Signer("test", "s3cret").sign(1681991058, "123123123123").signature[:12]
    'f1c55c489dd7'
    """

    __slots__ = ("_inner", "_outer", "username")

    def __init__(self, username: str, secret: str) -> None:
        self.username = username
        # HMAC as RFC 2104 defines it. Copies of the two keyed hashes take half the time that copies of `hmac` take.
        key = secret.encode()
        key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
        self._inner = hashlib.sha256(key.translate(_INNER_PAD))
        self._outer = hashlib.sha256(key.translate(_OUTER_PAD))

    def digest(self, timestamp: int | str, nonce: str) -> str:
        """Return the signature part alone, 64 lower-case hex digits."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(f"{timestamp}{nonce}{self.username}".encode())
        outer.update(inner.digest())
        return outer.hexdigest()

    def sign(self, timestamp: int, nonce: str) -> Signature:
        """Sign a timestamp (Unix seconds) and a nonce."""
        return Signature(timestamp, nonce, self.username, self.digest(timestamp, nonce))

    def header(self, timestamp: int | str, nonce: str) -> str:
        """Return the header's value for a timestamp and a nonce, without making a `Signature`."""
        return f"timestamp={timestamp};nonce={nonce};username={self.username};signature={self.digest(timestamp, nonce)}"


def sign(username: str, secret: str, *, timestamp: int, nonce: str) -> Signature:
    """Sign as EngageLab does; `timestamp` is in Unix seconds.

    >>> sign("test", "s3cret", timestamp=1681991058, nonce="123123123123").username
    'test'
    """
    return Signer(username, secret).sign(timestamp, nonce)


def parse(header: str | None) -> Signature | Verdict:
    """Parse a header's value; return a `Verdict` with the reason, never an exception, if it is malformed.

    The order of the parts and blanks around them do not matter; parts with other names are ignored [K].

    >>> parse("timestamp=1;nonce=2")
    Verdict(reason=<Reason.MALFORMED: 'malformed'>, detail='no username, no signature')
    """
    if not header:
        return Verdict(Reason.MISSING, f"there is no {HEADER} header, or it is empty")
    parts: dict[str, str] = {}
    for segment in header.split(";"):
        name, equals, value = segment.partition("=")
        name = name.strip()
        if not equals or name not in _PARTS:
            continue
        if name in parts:
            return Verdict(Reason.MALFORMED, f"{name} occurs twice")
        parts[name] = value.strip()
    lacking = [f"no {name}" for name in _PARTS if not parts.get(name)]
    if lacking:
        return Verdict(Reason.MALFORMED, ", ".join(lacking))
    if not _TIMESTAMP.fullmatch(parts["timestamp"]):
        return Verdict(Reason.MALFORMED, f"timestamp {parts['timestamp']!r} is not decimal Unix seconds")
    if not _DIGEST.fullmatch(parts["signature"]):
        return Verdict(Reason.MALFORMED, f"signature is not 64 hex digits but {len(parts['signature'])} characters")
    return Signature(int(parts["timestamp"]), parts["nonce"], parts["username"], parts["signature"])


def verify(header: str | None, *, username: str, secret: str, now: float, tolerance: float = TOLERANCE) -> Verdict:
    """Judge a header's value at a time (Unix seconds), comparing in constant time; never raises.

    >>> header = sign("acme", "s3cret", timestamp=1000, nonce="1").header
    >>> print(verify(header, username="acme", secret="s3cret", now=1010))
    valid: signed 10 s ago by acme
    >>> print(verify(header, username="acme", secret="other", now=1010))
    mismatch: the signature was not made with this secret over this timestamp, nonce and username
    """
    parsed = parse(header)
    if isinstance(parsed, Verdict):
        return parsed
    if not hmac.compare_digest(_bytes(parsed.username), _bytes(username)):
        return Verdict(Reason.WRONG_USERNAME, f"signed by {parsed.username!r}, not by {username!r}")
    keyed = hmac.new(_bytes(secret), digestmod="sha256")
    keyed.update(_bytes(f"{parsed.timestamp}{parsed.nonce}{parsed.username}"))
    if not hmac.compare_digest(keyed.hexdigest().encode(), parsed.signature.encode()):
        return Verdict(
            Reason.MISMATCH,
            "the signature was not made with this secret over this timestamp, nonce and username",
        )
    age = now - parsed.timestamp
    if age > tolerance:
        return Verdict(Reason.STALE, f"signed {age:.0f} s ago, {tolerance:g} s are allowed")
    if age < -tolerance:
        return Verdict(Reason.FUTURE, f"signed {-age:.0f} s in the future, {tolerance:g} s are allowed")
    return Verdict(Reason.VALID, f"signed {age:.0f} s ago by {username}")


def _bytes(text: str) -> bytes:
    # A hostile sender can put anything into a header, even lone surrogates.
    return text.encode("utf-8", "surrogatepass")
