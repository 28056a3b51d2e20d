"""What a store keeps of callbacks: planned, delivered, refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.protocol.callback import Callback, Headers, decode

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Fault


Pairs = tuple[tuple[str, str], ...]


class KeptFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keep a fault by its name and what was varied about it."""

    name: str
    options: dict[str, Any] = {}
    on: tuple[str, ...] = ()
    attempts: int | None = None

    @classmethod
    def of(cls, faults: tuple[Fault, ...]) -> tuple[KeptFault, ...]:
        """Keep faults."""
        return tuple(cls(fault.name, dict(fault.options), fault.on, fault.attempts) for fault in faults)

    @staticmethod
    def restored(kept: tuple[KeptFault, ...]) -> tuple[Fault, ...]:
        """Return the faults that were kept."""
        if not kept:
            return ()
        from engagelab_mock.delivery.faults.catalogue import fault  # few have any

        return tuple(fault(each.name, on=each.on, attempts=each.attempts, **each.options) for each in kept)


class KeptReceiver(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keep where callbacks went, and with which settings."""

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
    def of(cls, receiver: Receiver) -> KeptReceiver:
        """Keep a receiver."""
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
        """Return a receiver at the same address; only one that is reached over HTTP can be made anew."""
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


class KeptResponse(msgspec.Struct, frozen=True):
    """Keep a receiver's answer."""

    status: int
    reason: str
    headers: Pairs
    body: bytes
    elapsed: float

    @classmethod
    def of(cls, response: Response) -> KeptResponse:
        """Keep an answer."""
        return cls(response.status, response.reason, response.headers.pairs, response.body, response.elapsed)

    def restored(self) -> Response:
        """Return the answer."""
        return Response(self.status, self.reason, Headers(self.headers), self.body, self.elapsed)


class KeptAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keep one request and what came of it; `body` only where it was not the delivery's."""

    number: int
    at: float
    headers: Pairs
    body: bytes | None = None
    outcome: str = str(Outcome.PENDING)
    response: KeptResponse | None = None
    error: str = ""
    elapsed: float = 0.0
    faults: tuple[KeptFault, ...] = ()

    @classmethod
    def of(cls, attempt: Attempt, body: bytes) -> KeptAttempt:
        """Keep an attempt of the delivery with that body."""
        answer = attempt.response
        return cls(
            number=attempt.number,
            at=attempt.at,
            headers=attempt.callback.headers.pairs,
            body=None if attempt.callback.body == body else attempt.callback.body,
            outcome=str(attempt.outcome),
            response=None if answer is None else KeptResponse.of(answer),
            error=attempt.error,
            elapsed=attempt.elapsed,
            faults=KeptFault.of(attempt.faults),
        )

    def restored(self, delivery: Delivery) -> Attempt:
        """Return the attempt of a delivery."""
        kept = self.response
        return Attempt(
            number=self.number,
            at=self.at,
            callback=Callback(
                Headers(self.headers), delivery.body if self.body is None else self.body, delivery.events
            ),
            outcome=Outcome(self.outcome),
            response=None if kept is None else kept.restored(),
            error=self.error,
            elapsed=self.elapsed,
            faults=KeptFault.restored(self.faults),
        )


class KeptDelivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keep a delivery with all its attempts; `ended`, in the engine's Unix seconds, is when the last was over."""

    key: str
    receiver: KeptReceiver
    body: bytes
    message_id: str = ""
    retry: tuple[float, ...] = ()
    faults: tuple[KeptFault, ...] = ()
    content_type: str = "application/json"
    signed: bool = True
    given_up: bool = False
    attempts: tuple[KeptAttempt, ...] = ()
    ended: float | None = None

    @classmethod
    def of(cls, delivery: Delivery, *, ended: float | None = None) -> KeptDelivery:
        """Keep a delivery as it is."""
        return cls(
            key=delivery.key,
            receiver=KeptReceiver.of(delivery.receiver),
            body=delivery.body,
            message_id=delivery.message_id,
            retry=delivery.retry.waits,
            faults=KeptFault.of(delivery.faults),
            content_type=delivery.content_type,
            signed=delivery.signed,
            given_up=delivery.given_up,
            attempts=tuple(KeptAttempt.of(attempt, delivery.body) for attempt in tuple(delivery.attempts)),
            ended=ended,
        )

    def restored(self, receiver: Receiver) -> Delivery:
        """Return the delivery, to a receiver that is at the address it had."""
        delivery = Delivery(
            receiver,
            decode(self.body).rows if self.signed and self.body else (),
            self.body,
            self.message_id,
            RetryPolicy(self.retry),
            KeptFault.restored(self.faults),
            self.content_type,
            self.signed,
            given_up=self.given_up,
            key=self.key,
        )
        delivery.attempts = [attempt.restored(delivery) for attempt in self.attempts]
        # As the sender leaves them: what failed of several at once comes last.
        delivery.attempts.sort(key=lambda attempt: (attempt.number, not attempt.acknowledged))
        return delivery


class KeptPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keep a callback that is still to go out; `events` is a body that carries them, before any dialect."""

    key: str
    at: float
    events: str
    message_id: str = ""
    #: Whether its message is over without it, as it is without the expiry of its code.
    afterwards: bool = False
    retry: tuple[float, ...] = ()
    faults: tuple[KeptFault, ...] = ()
    total: int | None = None


class KeptRefusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keep an input that could not be used."""

    key: str
    at: float
    error: str
    what: str
    where: str = ""
    hint: str = ""


class KeptWebhook(msgspec.Struct, frozen=True):
    """Keep the receiver that the app set itself, and the addresses that were configured then."""

    receiver: KeptReceiver
    configured: tuple[str, ...]
