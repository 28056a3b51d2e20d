"""Faults of the signature: what a forger, a clock or a proxy does to `X-CALLBACK-ID`."""

from __future__ import annotations

from engagelab_mock.delivery.fault.model import Draft, Fault
from engagelab_mock.errors import UsageError
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, sign


def _wrong_secret(draft: Draft, secret: str) -> None:
    draft.secret = secret


def _other_username(draft: Draft, username: str) -> None:
    draft.username = username


def _stale(draft: Draft, by: float) -> None:
    draft.timestamp -= int(by)


def _future(draft: Draft, by: float) -> None:
    draft.timestamp += int(by)


def _replayed_nonce(draft: Draft) -> None:
    for part in _earlier_header(draft, "replayed_nonce").split(";"):
        if part.startswith("nonce="):
            draft.nonce = part.removeprefix("nonce=")


def _replayed_header(draft: Draft) -> None:
    _replace(draft, _earlier_header(draft, "replayed_header"))


def _missing(draft: Draft) -> None:
    draft.headers = [pair for pair in draft.headers if pair[0] != HEADER]


def _malformed(draft: Draft, value: str) -> None:
    _replace(draft, value)


def _truncated(draft: Draft, digits: int) -> None:
    header = _header(draft)
    head, _, signature = header.rpartition("=")
    _replace(draft, f"{head}={signature[:digits]}")


def _duplicated(draft: Draft, forged_first: bool) -> None:
    genuine = _header(draft)
    head, _, signature = genuine.rpartition("=")
    forged = f"{head}={signature[::-1]}"
    others = [pair for pair in draft.headers if pair[0] != HEADER]
    pair = [forged, genuine] if forged_first else [genuine, forged]
    draft.headers = [*others, *((HEADER, value) for value in pair)]


def _shifted(draft: Draft) -> None:
    """Move the timestamp's last digit to the nonce: the same text is signed, so the same signature fits."""
    genuine = sign(draft.username, draft.secret, timestamp=draft.timestamp, nonce=draft.nonce)
    text = str(draft.timestamp)
    shifted = f"timestamp={text[:-1]};nonce={text[-1]}{draft.nonce};username={draft.username}"
    _replace(draft, f"{shifted};signature={genuine.signature}")


def _header(draft: Draft) -> str:
    for name, value in draft.headers:
        if name == HEADER:
            return value
    raise UsageError("the receiver has no username and secret, so there is no signature", where="fault")


def _replace(draft: Draft, value: str) -> None:
    _header(draft)
    draft.headers = [(name, value if name == HEADER else old) for name, old in draft.headers]


def _earlier_header(draft: Draft, name: str) -> str:
    if draft.earlier is None:
        raise UsageError(
            "no callback has been acknowledged yet, so there is none to replay",
            where=f"fault {name!r}",
            hint="send one without the fault first, or limit the fault to a later status with on=…",
        )
    return draft.earlier.headers[HEADER]


SIGNATURE_FAULTS = (
    Fault(
        "wrong_secret",
        "signature",
        "signing",
        "signed with another secret",
        _wrong_secret,
        {"secret": "not-the-secret"},
    ),
    Fault(
        "other_username",
        "signature",
        "signing",
        "signed, validly, for another username",
        _other_username,
        {"username": "intruder"},
    ),
    Fault("stale", "signature", "signing", "signed longer ago than receivers allow", _stale, {"by": TOLERANCE + 60}),
    Fault(
        "future", "signature", "signing", "signed further ahead than receivers allow", _future, {"by": TOLERANCE + 60}
    ),
    Fault(
        "replayed_nonce", "signature", "signing", "freshly signed with a nonce that was used before", _replayed_nonce
    ),
    Fault("replayed_header", "signature", "headers", "an earlier callback's header over this body", _replayed_header),
    Fault("missing_signature", "signature", "headers", "no X-CALLBACK-ID header", _missing),
    Fault(
        "malformed_signature",
        "signature",
        "headers",
        "an X-CALLBACK-ID that is none",
        _malformed,
        {"value": "timestamp;nonce"},
    ),
    Fault(
        "truncated_signature",
        "signature",
        "headers",
        "the first half of the signature only",
        _truncated,
        {"digits": 32},
    ),
    Fault(
        "duplicated_signature",
        "signature",
        "headers",
        "two X-CALLBACK-ID headers, one of them forged",
        _duplicated,
        {"forged_first": False},
    ),
    Fault(
        "shifted_concatenation",
        "signature",
        "headers",
        "a digit moved from the timestamp to the nonce, under the same signature",
        _shifted,
    ),
)
