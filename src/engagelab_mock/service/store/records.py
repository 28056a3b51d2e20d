"""The records of callbacks, deliveries and refusals in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engagelab_mock.delivery.model import Attempt, Delivery, HeaderChanges, Refusal, Response
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.protocol.callback import Callback, Headers, decode

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Fault


Pairs = tuple[tuple[str, str], ...]


class StoredFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold a fault as its name and its options."""

    name: str
    options: dict[str, Any] = {}
    on: tuple[str, ...] = ()
    attempts: int | None = None

    @classmethod
    def of(cls, faults: tuple[Fault, ...]) -> tuple[StoredFault, ...]:
        """Make the records of some faults."""
        return tuple(cls(fault.name, dict(fault.options), fault.on, fault.attempts) for fault in faults)

    @staticmethod
    def restored(stored: tuple[StoredFault, ...]) -> tuple[Fault, ...]:
        """Return the faults of some records."""
        if not stored:
            return ()
        from engagelab_mock.delivery.faults.catalogue import fault  # most deliveries have no faults

        return tuple(fault(each.name, on=each.on, attempts=each.attempts, **each.options) for each in stored)


class StoredReceiver(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold a receiver's address and settings."""

    address: str
    transport: str = "http"
    description: str = ""
    username: str = ""
    secret: str = ""
    authorization: str = ""
    events: tuple[str, ...] = ()
    limit: float | None = None
    tls_verify: bool | str = True
    signature_clock: Literal["wall", "virtual"] = "wall"
    skew: float = 0.0

    @classmethod
    def of(cls, receiver: Receiver) -> StoredReceiver:
        """Make the record of a receiver."""
        settings = receiver.settings
        verify = getattr(receiver.transport, "tls_verify", True)
        return cls(
            address=receiver.address,
            transport=receiver.transport.name,
            description=settings.description,
            username=settings.username,
            secret=settings.secret,
            authorization=settings.authorization,
            events=settings.events,
            limit=receiver.limit,
            tls_verify=verify if isinstance(verify, bool) else str(verify),
            signature_clock=receiver.signature_clock,
            skew=receiver.skew,
        )

    def restored(self) -> Receiver:
        """Return a receiver at the same address. It is always an HTTP receiver: apps in process cannot be restored."""
        return Receiver.http(
            self.address,
            tls_verify=self.tls_verify,
            description=self.description,
            username=self.username,
            secret=self.secret,
            authorization=self.authorization,
            events=self.events,
            limit=self.limit,
            signature_clock=self.signature_clock,
            skew=self.skew,
        )


class StoredResponse(msgspec.Struct, frozen=True):
    """Hold a receiver's answer."""

    status: int
    reason: str
    headers: Pairs
    body: bytes
    elapsed: float

    @classmethod
    def of(cls, response: Response) -> StoredResponse:
        """Make the record of an answer."""
        return cls(response.status, response.reason, response.headers.pairs, response.body, response.elapsed)

    def restored(self) -> Response:
        """Return the answer."""
        return Response(self.status, self.reason, Headers(self.headers), self.body, self.elapsed)


class StoredAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold an attempt; `body` is None if the attempt sent the delivery's body."""

    number: int
    at: float
    headers: Pairs
    body: bytes | None = None
    outcome: str = str(Outcome.PENDING)
    response: StoredResponse | None = None
    error: str = ""
    elapsed: float = 0.0
    faults: tuple[StoredFault, ...] = ()

    @classmethod
    def of(cls, attempt: Attempt, body: bytes) -> StoredAttempt:
        """Make the record of an attempt; `body` is the delivery's body."""
        answer = attempt.response
        return cls(
            number=attempt.number,
            at=attempt.at,
            headers=attempt.callback.headers.pairs,
            body=None if attempt.callback.body == body else attempt.callback.body,
            outcome=str(attempt.outcome),
            response=None if answer is None else StoredResponse.of(answer),
            error=attempt.error,
            elapsed=attempt.elapsed,
            faults=StoredFault.of(attempt.faults),
        )

    def restored(self, delivery: Delivery) -> Attempt:
        """Return the attempt of a delivery."""
        answer = self.response
        return Attempt(
            number=self.number,
            at=self.at,
            callback=Callback(
                Headers(self.headers), delivery.body if self.body is None else self.body, delivery.events
            ),
            outcome=Outcome(self.outcome),
            response=None if answer is None else answer.restored(),
            error=self.error,
            elapsed=self.elapsed,
            faults=StoredFault.restored(self.faults),
        )


class StoredDelivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold a delivery with its attempts; `ended` is when the last one ended, in Unix seconds of the engine's clock."""

    key: str
    receiver: StoredReceiver
    body: bytes
    message_id: str = ""
    retry: tuple[float, ...] = ()
    faults: tuple[StoredFault, ...] = ()
    content_type: str = "application/json"
    signed: bool = True
    given_up: bool = False
    attempts: tuple[StoredAttempt, ...] = ()
    ended: float | None = None
    #: When the next attempt is due. If an attempt is under way: when that attempt was due.
    due: float | None = None
    headers: HeaderChanges = ()

    @classmethod
    def of(cls, delivery: Delivery, *, ended: float | None = None) -> StoredDelivery:
        """Make the record of a delivery."""
        return cls(
            key=delivery.key,
            receiver=StoredReceiver.of(delivery.receiver),
            body=delivery.body,
            message_id=delivery.message_id,
            retry=delivery.retry.waits,
            faults=StoredFault.of(delivery.faults),
            content_type=delivery.content_type,
            signed=delivery.signed,
            given_up=delivery.given_up,
            attempts=tuple(StoredAttempt.of(attempt, delivery.body) for attempt in tuple(delivery.attempts)),
            ended=ended,
            due=delivery.due,
            headers=delivery.headers,
        )

    def restored(self, receiver: Receiver) -> Delivery:
        """Return the delivery, with the receiver that now has its address."""
        delivery = Delivery(
            receiver,
            decode(self.body).rows if self.signed and self.body else (),
            self.body,
            self.message_id,
            RetryPolicy(self.retry),
            StoredFault.restored(self.faults),
            self.content_type,
            self.signed,
            given_up=self.given_up,
            key=self.key,
            headers=self.headers,
        )
        delivery.attempts = [attempt.restored(delivery) for attempt in self.attempts]
        # In the sender's order: of several copies sent at once, the failed ones come last.
        delivery.attempts.sort(key=lambda attempt: (attempt.number, not attempt.acknowledged))
        return delivery


class StoredCallback(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold a callback that is not sent yet; `events` is its body before a dialect changes it."""

    key: str
    at: float
    events: str
    message_id: str = ""
    #: Whether it reports the expiry of a code. A sending does not wait for that.
    expiry: bool = False
    retry: tuple[float, ...] = ()
    faults: tuple[StoredFault, ...] = ()
    total: int | None = None


class StoredRefusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold a refusal."""

    key: str
    at: float
    error: str
    what: str
    where: str = ""
    hint: str = ""
    #: The error's other attributes, such as the `noun` and `name` of an `UnknownName`.
    attributes: dict[str, Any] = {}

    @classmethod
    def of(cls, key: str, refusal: Refusal) -> StoredRefusal:
        """Make the record of a refusal."""
        error = refusal.error
        attributes = {
            name: value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
            for name, value in vars(error).items()
            if name not in {"what", "where", "hint"} and not name.startswith("__")
        }
        return cls(key, refusal.at, type(error).__name__, error.what, error.where, error.hint, attributes)
