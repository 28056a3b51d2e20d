"""The records of deliveries: `Response`, `Attempt`, `Delivery`, `Refusal`, `Run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.errors import EngageLabMockError, reduce_struct
from engagelab_mock.protocol.callback import Callback, Headers
from engagelab_mock.protocol.events import Event, StatusEvent

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Fault
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.messages.message import Message
    from engagelab_mock.messages.scenario import Scenario


class Response(msgspec.Struct, frozen=True, eq=False):
    """Hold a receiver's answer; `elapsed` is the seconds from the start of the attempt to the last byte.

    >>> Response(200, "OK", Headers(), b"").status
    200
    """

    status: int
    reason: str
    headers: Headers
    body: bytes
    elapsed: float = 0.0
    #: The exception that an in-process app raised after its answer.
    raised: BaseException | None = None

    @property
    def text(self) -> str:
        """Return the body as text, undecodable bytes replaced."""
        return self.body.decode("utf-8", "replace")

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "raised")

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes, in {self.elapsed:.3f} s>"


class Attempt(msgspec.Struct, eq=False):
    """Hold one request and its outcome; `at` is in Unix seconds of the engine's clock, `elapsed` in seconds.

    >>> Attempt(1, 0.0, Callback(Headers(), b"")).outcome
    <Outcome.PENDING: 'pending'>
    """

    number: int
    at: float
    callback: Callback
    outcome: Outcome = Outcome.PENDING
    response: Response | None = None
    #: Why it was not acknowledged, for a person to read; empty if it was acknowledged.
    error: str = ""
    exception: BaseException | None = None
    elapsed: float = 0.0
    #: The faults that were applied to it.
    faults: tuple[Fault, ...] = ()
    #: The HTTP method; a fault can change it.
    method: str = "POST"

    @property
    def acknowledged(self) -> bool:
        """Tell whether the receiver answered 200 in time."""
        return self.outcome is Outcome.ACKNOWLEDGED

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "exception")

    def __repr__(self) -> str:
        return f"<Attempt {self.number}: {self.outcome}{f', {self.error}' if self.error else ''}>"


#: Headers that replace those of a callback, or are added to them; None removes one.
HeaderChanges = tuple[tuple[str, str | None], ...]


class DeliveryOptions(msgspec.Struct, frozen=True):
    """Hold how callbacks are delivered: the `DeliverOptions` of a call, checked and with the defaults filled in."""

    #: Whether to raise for a delivery that is given up. None: only if no fault was applied to its last attempt.
    check: bool | None = None
    retry: RetryPolicy = NO_RETRY
    faults: tuple[Fault, ...] = ()
    total: int | None = None


class Verbatim(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the body and headers of a recorded callback. A receiver that wants all of its events gets that body."""

    body: bytes
    content_type: str
    signed: bool
    faults: tuple[Fault, ...] = ()
    headers: HeaderChanges = ()


class Delivery(msgspec.Struct, eq=False):
    """Hold one callback to one receiver, and its attempts until it is acknowledged or given up.

    `message_id` is empty if the callback is not about a message.
    """

    receiver: Receiver
    events: tuple[Event, ...]
    #: The body of every attempt, unless a fault changes it.
    body: bytes
    message_id: str = ""
    retry: RetryPolicy = NO_RETRY
    faults: tuple[Fault, ...] = ()
    content_type: str = "application/json"
    signed: bool = True
    attempts: list[Attempt] = []
    given_up: bool = False
    #: The key of its record, if there is a store, and when its next attempt is due.
    key: str = ""
    due: float | None = None
    #: Applied to every attempt, after it is signed.
    headers: HeaderChanges = ()

    @property
    def acknowledged(self) -> bool:
        """Tell whether an attempt was acknowledged."""
        return bool(self.attempts) and self.attempts[-1].acknowledged

    @property
    def closed(self) -> bool:
        """Tell whether the delivery is acknowledged or given up, so that no more attempts are made."""
        return self.given_up or self.acknowledged

    @property
    def callback(self) -> Callback:
        """Return the callback as it was signed for the last attempt."""
        return self.attempts[-1].callback

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the last attempt; pending before the first."""
        return self.attempts[-1].outcome if self.attempts else Outcome.PENDING

    @property
    def statuses(self) -> list[str]:
        """Return the names of the events, in order."""
        return [event.name for event in self.events]

    def __repr__(self) -> str:
        return f"<Delivery of {', '.join(self.statuses) or 'a ping'}: {self.outcome}, attempts: {len(self.attempts)}>"


class Refusal(msgspec.Struct, frozen=True, eq=False):
    """Record an input that could not be used; `at` is in Unix seconds of the engine's clock."""

    at: float
    error: EngageLabMockError

    def __str__(self) -> str:
        return str(self.error)


class Run(msgspec.Struct, eq=False):
    """Hold the result of one `send`: the message, its scenario, and its deliveries so far."""

    message: Message
    scenario: Scenario
    deliveries: list[Delivery]

    @property
    def message_id(self) -> str:
        """Return the message's id."""
        return self.message.id

    @property
    def to(self) -> str:
        """Return the recipient."""
        return self.message.to

    @property
    def events(self) -> list[StatusEvent]:
        """Return every event sent, in order. An event that went to several receivers counts once."""
        events = {id(event): event for delivery in self.deliveries for event in delivery.events}
        return [event for event in events.values() if isinstance(event, StatusEvent)]

    @property
    def statuses(self) -> list[str]:
        """Return every status sent, in order."""
        return [event.name for event in self.events]

    @property
    def acknowledged(self) -> bool:
        """Tell whether every delivery was acknowledged. Without deliveries: whether the scenario has no events."""
        if not self.deliveries:
            return not self.scenario.transitions
        return all(delivery.acknowledged for delivery in self.deliveries)

    def __repr__(self) -> str:
        return f"<Run {self.scenario.name!r} of {self.message_id} to {self.to}: {', '.join(self.statuses)}>"
