"""Sign a callback, enter it in the journal, hand it to the transport, and judge the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import perf_counter

from engagelab_mock.clock import Clock
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import printable
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.callback import Callback, encode
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.headers import Headers
from engagelab_mock.protocol.signature import HEADER

#: The content type of callbacks; the documents show JSON and name no type [?].
JSON = "application/json"
#: What `curl -d ''`, the document's own form of the ping, sends [?].
FORM = "application/x-www-form-urlencoded"
_USER_AGENT = ("User-Agent", "engagelab-mock")


class Sender:
    """Make every attempt of every delivery, whoever asks for it.

    >>> from engagelab_mock.clock import VirtualClock
    >>> sender = Sender(journal=Journal(), clock=VirtualClock(), generate=Generator.seeded(0))
    >>> sender.deliver(Receiver.recording(), []).acknowledged
    True
    """

    def __init__(self, *, journal: Journal, clock: Clock, generate: Generator) -> None:
        self._journal = journal
        self._clock = clock
        self._generate = generate

    def deliver(self, receiver: Receiver, events: Sequence[Event], *, message_id: str = "") -> Delivery:
        """Send one callback that carries these events; the outcome is in the delivery, nothing is raised."""
        delivery = self._open(receiver, events, message_id)
        self._attempt(delivery, self._sign(receiver, encode(events), delivery.events))
        return delivery

    async def adeliver(self, receiver: Receiver, events: Sequence[Event], *, message_id: str = "") -> Delivery:
        """Send one callback from the running event loop."""
        delivery = self._open(receiver, events, message_id)
        await self._aattempt(delivery, self._sign(receiver, encode(events), delivery.events))
        return delivery

    def ping(self, receiver: Receiver, body: bytes, *, signed: bool, content_type: str = FORM) -> Delivery:
        """Validate the receiver's address with an empty message [S]."""
        delivery = self._open(receiver, (), "")
        self._attempt(delivery, self._sign(receiver, body, (), signed=signed, content_type=content_type))
        return delivery

    def _open(self, receiver: Receiver, events: Sequence[Event], message_id: str) -> Delivery:
        delivery = Delivery(receiver, tuple(events), [], message_id)
        self._journal.open(delivery)
        return delivery

    def _sign(
        self,
        receiver: Receiver,
        body: bytes,
        events: tuple[Event, ...],
        *,
        signed: bool = True,
        content_type: str = JSON,
    ) -> Callback:
        pairs = [("Content-Type", content_type), _USER_AGENT]
        if receiver.signer is not None and signed:
            # Receivers compare the timestamp with their own wall clock, however far virtual time has run.
            now = time.time() if receiver.signature_clock == "wall" else self._clock.time()
            pairs.append((HEADER, receiver.signer.header(int(now), self._generate.nonce())))
        if receiver.settings.authorization:
            pairs.append(("Authorization", receiver.settings.authorization))
        return Callback(Headers(pairs), body, events)

    def _attempt(self, delivery: Delivery, callback: Callback) -> None:
        attempt = self._begin(delivery, callback)
        receiver = delivery.receiver
        started = perf_counter()
        try:
            response = receiver.transport.exchange(callback, receiver.limit)
        except TransportFailure as failure:
            _fail(attempt, failure, perf_counter() - started)
        else:
            _judge(attempt, response, receiver.limit)
        self._journal.complete(delivery, attempt)

    async def _aattempt(self, delivery: Delivery, callback: Callback) -> None:
        attempt = self._begin(delivery, callback)
        receiver = delivery.receiver
        started = perf_counter()
        try:
            response = await receiver.transport.aexchange(callback, receiver.limit)
        except TransportFailure as failure:
            _fail(attempt, failure, perf_counter() - started)
        else:
            _judge(attempt, response, receiver.limit)
        self._journal.complete(delivery, attempt)

    def _begin(self, delivery: Delivery, callback: Callback) -> Attempt:
        attempt = Attempt(len(delivery.attempts) + 1, self._clock.time(), callback)
        delivery.attempts.append(attempt)
        return attempt


def _judge(attempt: Attempt, response: Response, limit: float | None) -> None:
    """Complete an attempt that was answered: HTTP 200 in time acknowledges, nothing else does [S]."""
    attempt.response = response
    attempt.elapsed = response.elapsed
    attempt.exception = response.raised
    if limit is not None and response.elapsed > limit:
        attempt.outcome = Outcome.TIMEOUT
        attempt.error = f"answered {response.status} after {response.elapsed:.2f} s, {limit:g} s are allowed"
    elif response.status == 200:
        attempt.outcome = Outcome.ACKNOWLEDGED
    else:
        redirect = 300 <= response.status < 400
        attempt.outcome = Outcome.REDIRECT if redirect else Outcome.NOT_200
        answered = printable(f"answered {response.status} {response.reason}".rstrip())
        what = "a redirect is not followed" if redirect else "only 200 acknowledges"
        attempt.error = f"{answered}; {what}"


def _fail(attempt: Attempt, failure: TransportFailure, elapsed: float) -> None:
    attempt.outcome = failure.outcome
    attempt.error = failure.reason
    attempt.response = failure.response
    attempt.exception = failure.__cause__
    attempt.elapsed = elapsed
