"""Faults of the signature: a forged, stale or damaged `X-CALLBACK-ID`."""

from __future__ import annotations

from functools import partial

from engagelab_mock.delivery.faults.fault import Age, Digits, Draft, Fault, HeaderText, Name
from engagelab_mock.errors import UsageError
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, Signature, parse, sign


def _wrong_secret(draft: Draft, secret: Name) -> None:
    draft.secret = secret


def _other_username(draft: Draft, username: HeaderText) -> None:
    draft.username = username


def _stale(draft: Draft, by: Age) -> None:
    draft.timestamp -= int(by)


def _future(draft: Draft, by: Age) -> None:
    draft.timestamp += int(by)


def _replayed_nonce(draft: Draft) -> None:
    earlier = parse(_earlier(draft, "replayed_nonce"))
    assert isinstance(earlier, Signature), "the kept header is genuine"
    draft.nonce = earlier.nonce


def _replayed_header(draft: Draft) -> None:
    _replace(draft, _earlier(draft, "replayed_header"))


def _missing(draft: Draft) -> None:
    draft.headers = [pair for pair in draft.headers if pair[0] != HEADER]


def _malformed(draft: Draft, value: HeaderText) -> None:
    _replace(draft, value)


def _truncated(draft: Draft, digits: Digits) -> None:
    for header in _values(draft):
        head, _, signature = header.rpartition("=")
        _replace(draft, f"{head}={signature[:digits]}")


def _duplicated(draft: Draft, forged_first: bool) -> None:
    for genuine in _values(draft):
        head, _, signature = genuine.rpartition("=")
        forged = f"{head}={signature[::-1]}"
        both = [forged, genuine] if forged_first else [genuine, forged]
        _missing(draft)
        draft.headers += [(HEADER, value) for value in both]


def _shifted(draft: Draft) -> None:
    """Move the timestamp's last digit to the nonce: the signed text, and so the signature, stays the same."""
    genuine = sign(draft.username, draft.secret, timestamp=draft.timestamp, nonce=draft.nonce)
    text = str(draft.timestamp)
    shifted = f"timestamp={text[:-1]};nonce={text[-1]}{draft.nonce};username={draft.username}"
    _replace(draft, f"{shifted};signature={genuine.signature}")


def _values(draft: Draft) -> list[str]:
    """Return the signature headers: one, unless another fault removed or doubled it."""
    return [value for name, value in draft.headers if name == HEADER]


def _replace(draft: Draft, value: str) -> None:
    draft.headers = [(name, value if name == HEADER else old) for name, old in draft.headers]


def _earlier(draft: Draft, name: str) -> str:
    if draft.earlier is None:
        raise UsageError(
            "this receiver has not acknowledged a signed callback yet, so there is nothing to replay",
            where=f"fault {name!r}",
            hint="send one without the fault first, or limit the fault to a later status with on=…",
        )
    return draft.earlier


_SIGNING = partial(Fault, family="signature", stage="signing", needs_signature=True)
_HEADERS = partial(Fault, family="signature", stage="headers", needs_signature=True)

SIGNATURE_FAULTS = (
    _SIGNING(
        name="wrong_secret",
        description="signed with another secret",
        work=_wrong_secret,
        options={"secret": "not-the-secret"},
    ),
    _SIGNING(
        name="other_username",
        description="signed, validly, for another username",
        work=_other_username,
        options={"username": "intruder"},
    ),
    _SIGNING(
        name="stale",
        description="signed longer ago than receivers allow",
        work=_stale,
        options={"by": TOLERANCE + 60},
    ),
    _SIGNING(
        name="future",
        description="signed further ahead than receivers allow",
        work=_future,
        options={"by": TOLERANCE + 60},
    ),
    _SIGNING(
        name="replayed_nonce",
        description="freshly signed with the nonce of an earlier callback",
        work=_replayed_nonce,
    ),
    _HEADERS(
        name="replayed_header",
        description="an earlier callback's header over this body",
        work=_replayed_header,
    ),
    _HEADERS(
        name="missing_signature",
        description="no `X-CALLBACK-ID` header",
        work=_missing,
    ),
    _HEADERS(
        name="malformed_signature",
        description="a malformed `X-CALLBACK-ID`",
        work=_malformed,
        options={"value": "timestamp;nonce"},
    ),
    _HEADERS(
        name="truncated_signature",
        description="only the first digits of the signature's 64",
        work=_truncated,
        options={"digits": 32},
    ),
    _HEADERS(
        name="duplicated_signature",
        description="two `X-CALLBACK-ID` headers, one of them forged",
        work=_duplicated,
        options={"forged_first": False},
    ),
    _HEADERS(
        name="shifted_concatenation",
        description="a digit moved from the timestamp to the nonce, under the same signature",
        work=_shifted,
    ),
)
