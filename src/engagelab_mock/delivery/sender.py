"""Sign a callback, enter it in the journal, hand it to the transport, and judge the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from engagelab_mock.clock import Clock
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.pace import Pace
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import printable
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.callback import Callback
from engagelab_mock.protocol.headers import Headers
from engagelab_mock.protocol.signature import HEADER

if TYPE_CHECKING:
    from engagelab_mock.delivery.fault.model import Draft, Fault

_USER_AGENT = ("User-Agent", "engagelab-mock")


class Sender:
    """Make every attempt of every delivery, whoever asks for it.

    >>> from engagelab_mock.clock import VirtualClock
    >>> from engagelab_mock.delivery.pace import BLOCKING, drive
    >>> sender = Sender(journal=Journal(), clock=VirtualClock(), generate=Generator.seeded(0))
    >>> drive(sender.attempt(BLOCKING, Delivery(Receiver.recording(), (), b""))).acknowledged
    True
    """

    def __init__(self, *, journal: Journal, clock: Clock, generate: Generator) -> None:
        self._journal = journal
        self._clock = clock
        self._generate = generate
        #: The last callback each receiver acknowledged, for faults that replay it.
        self._earlier: dict[Receiver, Callback] = {}

    async def attempt(self, pace: Pace, delivery: Delivery) -> Attempt:
        """Make a delivery's next attempt; the outcome is in the attempt, nothing is raised."""
        number = len(delivery.attempts) + 1
        if delivery.faults:
            struck = tuple(fault for fault in delivery.faults if fault.applies(delivery.statuses, number))
            if struck:
                return await self._attempt_with_faults(pace, delivery, number, struck)
        receiver = delivery.receiver
        attempt = self._begin(delivery, Attempt(number, self._clock.time(), self._sign(delivery)))
        started = perf_counter()
        try:
            answer: Response | TransportFailure = await pace.exchange(
                receiver.transport, attempt.callback, receiver.limit, None
            )
        except TransportFailure as failure:
            answer = failure
        self._complete(delivery, attempt, answer, perf_counter() - started)
        return attempt

    async def _attempt_with_faults(
        self, pace: Pace, delivery: Delivery, number: int, struck: Sequence[Fault]
    ) -> Attempt:
        """Let the faults work on a draft, stage by stage, and send what they made of it, as often as they say."""
        from engagelab_mock.delivery.fault.drafting import spoil

        draft = spoil(self._draft(delivery), struck)
        callback = Callback(Headers(draft.headers), draft.body, delivery.events)
        attempts = [
            self._begin(delivery, Attempt(number + copy, self._clock.time(), callback, faults=tuple(struck)))
            for copy in range(draft.copies)
        ]
        receiver = delivery.receiver
        started = perf_counter()
        answers = await pace.exchange_many(receiver.transport, callback, receiver.limit, draft.wire, draft.copies)
        elapsed = perf_counter() - started
        for attempt, answer in zip(attempts, answers, strict=True):
            if draft.lose_answer and isinstance(answer, Response):
                reason = f"the answer, {answer.status}, was lost on purpose"
                answer = TransportFailure(Outcome.ABANDONED, reason, response=answer)
            self._complete(delivery, attempt, answer, elapsed)
        return attempts[-1]

    def _sign(self, delivery: Delivery) -> Callback:
        receiver = delivery.receiver
        pairs = [("Content-Type", delivery.content_type), _USER_AGENT]
        if receiver.signer is not None and delivery.signed:
            pairs.append((HEADER, receiver.signer.header(self._timestamp(receiver), self._generate.nonce())))
        if receiver.settings.authorization:
            pairs.append(("Authorization", receiver.settings.authorization))
        return Callback(Headers(pairs), delivery.body, delivery.events)

    def _draft(self, delivery: Delivery) -> Draft:
        from engagelab_mock.delivery.fault.model import Draft

        receiver = delivery.receiver
        signs = receiver.signer is not None and delivery.signed
        return Draft(
            delivery.events,
            body=delivery.body,
            content_type=delivery.content_type,
            username=receiver.settings.username if signs else "",
            secret=receiver.settings.secret if signs else "",
            timestamp=self._timestamp(receiver),
            nonce=self._generate.nonce(),
            headers=[_USER_AGENT],
            authorization=receiver.settings.authorization,
            random=self._generate.random,
            earlier=self._earlier.get(receiver),
        )

    def _timestamp(self, receiver: Receiver) -> int:
        # Receivers compare the timestamp with their own wall clock, however far virtual time has run.
        now = time.time() if receiver.signature_clock == "wall" else self._clock.time()
        return int(now + receiver.skew)

    def _begin(self, delivery: Delivery, attempt: Attempt) -> Attempt:
        if not delivery.attempts:
            self._journal.open(delivery)
        delivery.attempts.append(attempt)
        return attempt

    def _complete(
        self, delivery: Delivery, attempt: Attempt, answer: Response | TransportFailure, elapsed: float
    ) -> None:
        if isinstance(answer, TransportFailure):
            _fail(attempt, answer, elapsed)
        else:
            _judge(attempt, answer, delivery.receiver.limit)
            if attempt.outcome is Outcome.ACKNOWLEDGED and delivery.signed and delivery.events:
                self._earlier[delivery.receiver] = attempt.callback
        self._journal.complete(delivery, attempt)


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
