"""The sender: signs a callback, enters it in the journal, sends it by the transport, and judges the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagelab_mock.clock import Clock
from engagelab_mock.delivery.io import SYNC, Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure, ends_the_run, outcome_of
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.callback import Callback, Headers
from engagelab_mock.protocol.signature import HEADER

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Draft, Fault

#: The header that every callback has.
USER_AGENT = ("User-Agent", "engagelab-mock")
_ACKNOWLEDGED = Outcome.ACKNOWLEDGED
#: The reason phrase of an answer with which a fault replaced the receiver's 200.
REPLACED = "in place of the receiver's 200"


class Sender:
    """Make the attempts of all deliveries.

    >>> from engagelab_mock.clock import VirtualClock
    >>> from engagelab_mock.delivery.io import SYNC, run_sync
    >>> sender = Sender(journal=Journal(), clock=VirtualClock(), generate=Generator.seeded(0))
    >>> run_sync(sender.attempt(SYNC, Delivery(Receiver.recording(), (), b""))).acknowledged
    True

    `generate` draws the random values of faults, and `nonces` draws the nonces; default: the same generator. With
    `sets_time`, the app's clock is set to this clock, so each signature has its time.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        generate: Generator,
        nonces: Generator | None = None,
        sets_time: bool = False,
    ) -> None:
        self._journal = journal
        self.clock = clock
        self._generate = generate
        self._nonces = nonces or generate
        self._sets_time = sets_time
        #: The last genuine callback that each receiver acknowledged, for faults that replay its signature.
        self._earlier: dict[Receiver, Callback] = {}

    async def attempt(self, io: Io, delivery: Delivery) -> Attempt:
        """Make a delivery's next attempt, and return it with its outcome.

        Raises `UsageError`, and enters it in the journal, if the transport cannot send a fault. If the caller's task is
        cancelled or the run is interrupted, the attempt is completed, and the exception is raised again.
        """
        __tracebackhide__ = True
        receiver, attempts = delivery.receiver, delivery.attempts
        transport = receiver.transport
        if transport.name == "asgi":
            self._check(io, delivery)
        number = attempts[-1].number + 1 if attempts else 1
        if delivery.faults or delivery.headers:
            applied = tuple(fault for fault in delivery.faults if fault.applies(delivery.statuses, number))
            if applied or delivery.headers:
                return await self._attempt_with_faults(io, delivery, number, applied)
        # The usual attempt is written out here, because between two calls of a real app, each function call costs
        # several times as much as in a loop.
        settings, signer = receiver.settings, receiver.signer
        content_type = ("Content-Type", delivery.content_type)
        if signer is not None and delivery.signed:
            header = (HEADER, signer.header(self._timestamp(receiver), self._nonces.nonce()))
            pairs: tuple[tuple[str, str], ...] = (content_type, USER_AGENT, header)
        else:
            pairs = (content_type, USER_AGENT)
        if settings.authorization:
            pairs = (*pairs, ("Authorization", settings.authorization))
        callback = Callback(Headers(pairs), delivery.body, delivery.events)
        attempt = Attempt(number, self.clock.time(), callback)
        # Add the attempt first, so that a thread that reads the journal never finds a delivery without an attempt.
        attempts.append(attempt)
        journal = self._journal
        started = stopwatch()
        failed: Response | TransportFailure
        try:
            if number == 1:
                journal.open(delivery)
            if journal.keeper is not None:
                journal.keeper.begun(delivery)
                started = stopwatch()
            if io is SYNC:
                answer = transport.exchange(callback, receiver.limit, None)
            else:
                answer = await transport.aexchange(callback, receiver.limit, None)
        except TransportFailure as failure:
            failed = failure
        except BaseException as error:
            self._abandon(delivery, [attempt], error, started)
            raise
        else:
            limit = receiver.limit
            if answer.status == 200 and answer.raised is None and (limit is None or answer.elapsed <= limit):
                attempt.response, attempt.elapsed = answer, answer.elapsed
                if delivery.signed:
                    self._earlier[receiver] = callback
                attempt.outcome = _ACKNOWLEDGED
                if journal.keeper is not None or journal.listeners:
                    journal.complete(delivery, attempt)
                return attempt
            failed = answer
        self._complete(delivery, [attempt], [failed], started)
        return attempt

    async def _attempt_with_faults(self, io: Io, delivery: Delivery, number: int, applied: Sequence[Fault]) -> Attempt:
        """Apply the faults to a draft of the callback, and send the result, in as many copies as the faults set."""
        __tracebackhide__ = True
        from engagelab_mock.delivery.faults.catalogue import apply_faults

        try:
            draft = apply_faults(self._draft(delivery), applied)
            if draft.copies > 1 and io is SYNC:
                delivery.receiver.check_threads()
        except UsageError as error:
            self._journal.refuse(error, at=self.clock.time())
            raise error.with_traceback(None) from None
        callback = Callback(Headers(draft.headers), draft.body, delivery.events)
        attempts = [
            Attempt(number, self.clock.time(), callback, faults=tuple(applied), method=draft.wire.method)
            for _ in range(draft.copies)
        ]
        receiver = delivery.receiver
        started = stopwatch()
        try:
            for attempt in attempts:
                self._begin(delivery, attempt)
            started = stopwatch()
            answers = await io.exchange_many(receiver.transport, callback, receiver.limit, draft.wire, draft.copies)
        except TransportFailure as failure:  # of all copies, because the app could not start
            answers = [failure] * draft.copies
        except BaseException as error:
            self._abandon(delivery, attempts, error, started)
            raise
        if draft.answer_with is not None:
            answers = [_replace(answer, draft.answer_with) for answer in answers]
        if draft.lose_answer:
            answers = [_lose(answer) for answer in answers]
        self._complete(delivery, attempts, answers, started)
        # Copies sent at once have no order. A delivery is judged by its last attempt, so failed ones come last.
        attempts.sort(key=lambda attempt: not attempt.acknowledged)
        delivery.attempts[-len(attempts) :] = attempts
        return attempts[-1]

    def _check(self, io: Io, delivery: Delivery) -> None:
        """Raise `UsageError` if the transport cannot be used with this `io`, before any connection is opened."""
        try:
            io.check(delivery.receiver.transport)
        except UsageError as error:
            self._journal.refuse(error, at=self.clock.time())
            raise error.with_traceback(None) from None

    def _draft(self, delivery: Delivery) -> Draft:
        from engagelab_mock.delivery.faults.fault import Draft

        receiver = delivery.receiver
        signs = receiver.signer is not None and delivery.signed
        earlier = self._earlier.get(receiver)
        return Draft(
            body=delivery.body,
            content_type=delivery.content_type,
            username=receiver.settings.username if signs else "",
            secret=receiver.settings.secret if signs else "",
            timestamp=self._timestamp(receiver),
            nonce=self._nonces.nonce(),
            headers=[USER_AGENT],
            authorization=receiver.settings.authorization,
            random=self._generate.random,
            earlier=earlier.headers.get(HEADER) if earlier is not None else None,
            changes=delivery.headers,
        )

    def _timestamp(self, receiver: Receiver) -> int:
        # Receivers compare the timestamp with the system time, even if the virtual time is far from it.
        by_the_wall = receiver.signature_clock == "wall" and not self._sets_time
        now = time.time() if by_the_wall else self.clock.time()
        return int(now + receiver.skew)

    def _begin(self, delivery: Delivery, attempt: Attempt) -> None:
        # Add the attempt first, so that a thread that reads the journal never finds a delivery without an attempt.
        delivery.attempts.append(attempt)
        journal = self._journal
        if len(delivery.attempts) == 1:
            journal.open(delivery)
        if journal.keeper is not None:
            journal.keeper.begun(delivery)

    def _complete(
        self,
        delivery: Delivery,
        attempts: Sequence[Attempt],
        answers: Sequence[Response | TransportFailure],
        started: float,
    ) -> None:
        """Judge the answer to each attempt, and raise errors that end the run."""
        journal = self._journal
        for attempt, answer in zip(attempts, answers, strict=True):
            self._judge(delivery, attempt, answer, started)
        for attempt in attempts:
            if attempt.exception is not None and ends_the_run(attempt.exception):
                # The store does not get it, as if the process had ended: the next process makes the attempt again.
                journal.tell(delivery, attempt)
                raise attempt.exception
            if journal.keeper is not None or journal.listeners:
                journal.complete(delivery, attempt)

    def _abandon(self, delivery: Delivery, attempts: Sequence[Attempt], error: BaseException, started: float) -> None:
        """Complete attempts whose exchange ended without an answer or a failure of the receiver.

        The store does not get it: the caller withdraws the delivery, or the next process makes the attempt again.
        """
        reason = f"the sender was stopped before it had the answer: {type(error).__name__}"
        for attempt in attempts:
            failure = TransportFailure(Outcome.ABANDONED, reason)
            failure.__cause__ = error
            _fail(attempt, failure, stopwatch() - started)
            self._journal.tell(delivery, attempt)

    def _judge(self, delivery: Delivery, attempt: Attempt, answer: Response | TransportFailure, started: float) -> None:
        """Judge an answer: only HTTP 200 in time acknowledges [S].

        The outcome is set last, so that a thread that reads it finds the other fields set.
        """
        receiver = delivery.receiver
        if isinstance(answer, TransportFailure):
            _fail(attempt, answer, stopwatch() - started)
        else:
            attempt.response = answer
            attempt.elapsed = answer.elapsed
            attempt.exception = answer.raised
            outcome = outcome_of(answer.status, answer.elapsed, receiver.limit)
            if outcome is not Outcome.ACKNOWLEDGED:
                attempt.error = _refusal(answer, outcome, receiver.limit)
            elif delivery.signed and not any(fault.family == "signature" for fault in attempt.faults):
                self._earlier[receiver] = attempt.callback
            attempt.outcome = outcome


def _lose(answer: Response | TransportFailure) -> TransportFailure:
    if isinstance(answer, TransportFailure):
        return answer
    reason = f"the answer, {answer.status}, was lost on purpose"
    return TransportFailure(Outcome.ABANDONED, reason, response=answer)


def _replace(answer: Response | TransportFailure, status: int) -> Response | TransportFailure:
    if isinstance(answer, TransportFailure) or answer.status != 200:
        return answer
    return Response(status, REPLACED, Headers(), b"", answer.elapsed, answer.raised)


def _refusal(response: Response, outcome: Outcome, limit: float | None) -> str:
    """Return why an answer that was late or not a 200 does not acknowledge."""
    if outcome is Outcome.TIMEOUT:
        return f"answered {response.status} after {response.elapsed:.2f} s, {limit or 0:g} s are allowed"
    answered = printable(f"answered {response.status} {response.reason}".rstrip())
    return f"{answered}; {'a redirect is not followed' if outcome is Outcome.REDIRECT else 'only 200 acknowledges'}"


def _fail(attempt: Attempt, failure: TransportFailure, elapsed: float) -> None:
    attempt.error = failure.reason
    attempt.response = failure.response
    attempt.exception = failure.__cause__
    attempt.elapsed = elapsed
    attempt.outcome = failure.outcome
