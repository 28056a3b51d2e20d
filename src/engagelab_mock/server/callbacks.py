"""A callback as it is shown to a person: its attempts, requests and answers, and its signature part by part."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome, hint_for
from engagelab_mock.delivery.render import milliseconds, recipients, refusal_record, shown_headers
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, Signature, Signer, Verdict, parse, verify

#: How many characters of a body are shown.
_SHOWN = 100_000


class Callback(msgspec.Struct, kw_only=True):
    """One callback to one receiver, or a refused input, in a line."""

    type: Literal["callback", "validation", "refusal"]
    id: Annotated[str, Meta(description="Names it in other calls; empty for a refused input.")]
    at: Annotated[float, Meta(description="When its last attempt was made, in Unix seconds of the server's clock.")]
    statuses: list[str]
    message_id: str | None
    to: str | None
    receiver: Annotated[str, Meta(description="The receiver's address.")]
    attempts: int
    outcome: Outcome | None
    http_status: int | None
    elapsed_ms: float
    error: Annotated[str | None, Meta(description="Why it is not acknowledged, or the fault of the input.")]
    hint: Annotated[str | None, Meta(description="What to try next.")]
    retry_at: Annotated[float | None, Meta(description="When it is sent again, in Unix seconds of the server's clock.")]
    faults: list[str]

    @classmethod
    def of(cls, entry: Delivery | Refusal) -> Callback:
        """Return an entry of the journal as it is described."""
        if isinstance(entry, Refusal):
            record = refusal_record(entry)
            return cls(**_NOTHING, type="refusal", at=entry.at, error=record["message"], hint=record["hint"])
        last = entry.attempts[-1]
        again = not entry.closed and entry.due is not None and entry.due > last.at
        return cls(
            type="callback" if entry.events else "validation",
            id=identify(entry),
            at=last.at,
            statuses=entry.statuses,
            message_id=entry.message_id or None,
            to=next(iter(recipients(entry.events)), None),
            receiver=entry.receiver.address,
            attempts=len(entry.attempts),
            outcome=last.outcome,
            http_status=last.response.status if last.response else None,
            elapsed_ms=milliseconds(last.elapsed),
            error=last.error or None,
            hint=(hint_for(entry, python=False) or None) if last.error else None,
            retry_at=entry.due if again else None,
            faults=list(map(str, last.faults)),
        )


_NOTHING: dict[str, Any] = {
    **{"id": "", "statuses": [], "message_id": None, "to": None, "receiver": "", "attempts": 0, "outcome": None},
    **{"http_status": None, "elapsed_ms": 0.0, "retry_at": None, "faults": []},
}


class Segment(msgspec.Struct):
    """One part of a signature."""

    name: Literal["timestamp", "nonce", "username", "signature"]
    sent: Annotated[str, Meta(description="What the header has; empty if it has none.")]
    expected: Annotated[str, Meta(description="What a right one is.")]
    right: Annotated[bool | None, Meta(description="Null: it cannot be known.")]


class SignatureDetail(msgspec.Struct):
    """The header X-CALLBACK-ID, part by part, and the verdict that a receiver should reach."""

    header: str
    reason: Annotated[str, Meta(description="valid, or the first fault.")]
    detail: str
    signed: Annotated[str, Meta(description="The text over which the HMAC-SHA256 is made, with the secret as its key.")]
    segments: list[Segment]


class AttemptDetail(msgspec.Struct, kw_only=True):
    """One attempt: the request, and the answer."""

    number: int
    at: float
    method: str
    url: str
    headers: Annotated[list[list[str]], Meta(description="Without the configured Authorization.")]
    body: Annotated[str, Meta(description="At most 100,000 characters.")]
    body_bytes: int
    signature: Annotated[SignatureDetail | None, Meta(description="Null if the receiver's callbacks are not signed.")]
    http_status: int | None
    reason: str
    answer_headers: list[list[str]]
    answer: Annotated[str, Meta(description="The answer's body, at most 100,000 characters.")]
    elapsed_ms: float
    outcome: Outcome
    error: str | None
    faults: list[str]


class CallbackDetail(Callback, kw_only=True):
    """One callback, with every attempt."""

    tries: Annotated[list[AttemptDetail], Meta(description="Every attempt, oldest first.")]

    @classmethod
    def of(cls, entry: Delivery | Refusal) -> CallbackDetail:
        """Return a delivery as it is described."""
        tries = [_attempt(entry, attempt) for attempt in tuple(entry.attempts)] if isinstance(entry, Delivery) else []
        return cls(**msgspec.structs.asdict(Callback.of(entry)), tries=tries)


def identify(delivery: Delivery) -> str:
    """Return a callback's id: made of its first request, so that it is the same after a restart with a store.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     delivery = engagelab.send("+6591234567", scenario=["plan"]).deliveries[0]
    >>> len(identify(delivery))
    16
    """
    first = min(tuple(delivery.attempts), key=lambda attempt: attempt.number)
    content = repr((delivery.receiver.address, first.at, first.callback.headers.pairs)).encode(
        "utf-8", "backslashreplace"
    )
    return blake2b(content + first.callback.body, digest_size=8).hexdigest()


def _attempt(delivery: Delivery, attempt: Attempt) -> AttemptDetail:
    body, answer = attempt.callback.body, attempt.response
    return AttemptDetail(
        number=attempt.number,
        at=attempt.at,
        method=attempt.method,
        url=delivery.receiver.address,
        headers=list(map(list, shown_headers(delivery, attempt))),
        body=body.decode("utf-8", "replace")[:_SHOWN],
        body_bytes=len(body),
        signature=_signature(delivery, attempt),
        http_status=answer.status if answer else None,
        reason=answer.reason if answer else "",
        answer_headers=list(map(list, answer.headers.pairs)) if answer else [],
        answer=answer.text[:_SHOWN] if answer else "",
        elapsed_ms=milliseconds(attempt.elapsed),
        outcome=attempt.outcome,
        error=attempt.error or None,
        faults=list(map(str, attempt.faults)),
    )


def _signature(delivery: Delivery, attempt: Attempt) -> SignatureDetail | None:
    """Take a signature apart; the secret is not shown."""
    settings = delivery.receiver.settings
    if not (settings.signs and delivery.signed):
        return None
    header = attempt.callback.headers.get(HEADER, "")
    parsed = parse(header)
    sent = parsed if isinstance(parsed, Signature) else _parts(header)
    now = _received_at(attempt)
    if isinstance(parsed, Verdict):
        verdict = parsed
    else:
        moment = parsed.timestamp if now is None else now
        verdict = verify(header, username=settings.username, secret=settings.secret, now=moment)
        if verdict and now is None:
            unknown = "made with this secret; without a Date in the answer, its age at the receiver is unknown"
            verdict = Verdict(verdict.reason, unknown)
    timestamp, nonce, username, digest = sent.timestamp, sent.nonce, sent.username, sent.signature
    text = f"{timestamp if timestamp >= 0 else ''}{nonce}{username}"
    expected = Signer(settings.username, settings.secret).digest(max(timestamp, 0), nonce) if nonce else ""
    age = None if now is None or timestamp < 0 else now - timestamp
    when = "Unix seconds" if now is None else f"{int(now)} ± {TOLERANCE}: the answer's Date"
    return SignatureDetail(
        header,
        str(verdict.reason),
        verdict.detail,
        text,
        [
            Segment("timestamp", str(timestamp) if timestamp >= 0 else "", when, _near(age, timestamp)),
            Segment("nonce", nonce, "one that was not used before", False if not nonce else None),
            Segment("username", username, settings.username, username == settings.username),
            Segment("signature", digest, expected, digest.lower() == expected if expected else False),
        ],
    )


def _near(age: float | None, timestamp: int) -> bool | None:
    if timestamp < 0:
        return False
    return None if age is None else abs(age) <= TOLERANCE


def _received_at(attempt: Attempt) -> float | None:
    """Return the receiver's own time, as its answer says, in Unix seconds; None if it does not say."""
    date = attempt.response.headers.get("Date") if attempt.response is not None else None
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def _parts(header: str) -> Signature:
    """Return what there is of a malformed signature; a timestamp that is not there is -1."""
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.partition("=")
        found.setdefault(name.strip(), value.strip())
    timestamp = found.get("timestamp", "")
    number = int(timestamp) if timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16 else -1
    return Signature(number, found.get("nonce", ""), found.get("username", ""), found.get("signature", ""))
