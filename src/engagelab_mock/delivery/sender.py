"""Sign a callback, enter it in the journal, hand it to the transport, and judge the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagelab_mock.clock import Clock, stopwatch
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.protocol.callback import Callback, Headers
from engagelab_mock.protocol.signature import HEADER

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Draft, Fault

_USER_AGENT = ("User-Agent", "engagelab-mock")
#: The reason phrase of an answer that a fault put in the place of the receiver's 200.
REPLACED = "in place of the receiver's 200"


class Sender:
    """Make every attempt of every delivery, whoever asks for it.

    >>> from engagelab_mock.clock import VirtualClock
    >>> from engagelab_mock.delivery.io import SYNC, run_sync
    >>> sender = Sender(journal=Journal(), clock=VirtualClock(), generate=Generator.seeded(0))
    >>> run_sync(sender.attempt(SYNC, Delivery(Receiver.recording(), (), b""))).acknowledged
    True
    """

    def __init__(self, *, journal: Journal, clock: Clock, generate: Generator) -> None:
        self._journal = journal
        self.clock = clock
        self._generate = generate
        #: The last genuine callback that each receiver acknowledged, for faults that replay its signature.
        self._earlier: dict[Receiver, Callback] = {}

    async def attempt(self, io: Io, delivery: Delivery) -> Attempt:
        """Make a delivery's next attempt; the outcome is in the attempt.

        Raises `UsageError`, and enters it in the journal, for what the transport cannot do.
        """
        __tracebackhide__ = True
        self._check(io, delivery)
        number = delivery.attempts[-1].number + 1 if delivery.attempts else 1
        if delivery.faults:
            struck = tuple(fault for fault in delivery.faults if fault.applies(delivery.statuses, number))
            if struck:
                return await self._attempt_with_faults(io, delivery, number, struck)
        receiver = delivery.receiver
        attempt = self._begin(delivery, Attempt(number, self.clock.time(), self._sign(delivery)))
        started = stopwatch()
        try:
            answer: Response | TransportFailure = await io.exchange(
                receiver.transport, attempt.callback, receiver.limit, None
            )
        except TransportFailure as failure:
            answer = failure
        self._complete(delivery, attempt, answer, stopwatch() - started)
        return attempt

    async def _attempt_with_faults(self, io: Io, delivery: Delivery, number: int, struck: Sequence[Fault]) -> Attempt:
        """Let the faults work on a draft, stage by stage, and send what they made of it, as often as they say."""
        __tracebackhide__ = True
        from engagelab_mock.delivery.faults.catalogue import apply_faults

        try:
            draft = apply_faults(self._draft(delivery), struck)
        except UsageError as error:
            self._journal.refuse(error, at=self.clock.time())
            raise error.with_traceback(None) from None
        callback = Callback(Headers(draft.headers), draft.body, delivery.events)
        attempts = [
            self._begin(
                delivery, Attempt(number, self.clock.time(), callback, faults=tuple(struck), method=draft.wire.method)
            )
            for _ in range(draft.copies)
        ]
        receiver = delivery.receiver
        started = stopwatch()
        answers = await io.exchange_many(receiver.transport, callback, receiver.limit, draft.wire, draft.copies)
        elapsed = stopwatch() - started
        if draft.answer_with is not None:
            answers = [_replace(answer, draft.answer_with) for answer in answers]
        if draft.lose_answer:
            answers = [_lose(answer) for answer in answers]
        for attempt, answer in zip(attempts, answers, strict=True):
            self._complete(delivery, attempt, answer, elapsed)
        # Copies at once have no order. A delivery is judged by its last attempt, so what failed comes last.
        attempts.sort(key=lambda attempt: not attempt.acknowledged)
        delivery.attempts[-len(attempts) :] = attempts
        return attempts[-1]

    def _check(self, io: Io, delivery: Delivery) -> None:
        """Refuse, before anything is opened, what the transport cannot do in this way."""
        try:
            io.check(delivery.receiver.transport)
        except UsageError as error:
            self._journal.refuse(error, at=self.clock.time())
            raise error.with_traceback(None) from None

    def _sign(self, delivery: Delivery) -> Callback:
        receiver = delivery.receiver
        pairs = [("Content-Type", delivery.content_type), _USER_AGENT]
        if receiver.signer is not None and delivery.signed:
            pairs.append((HEADER, receiver.signer.header(self._timestamp(receiver), self._generate.nonce())))
        if receiver.settings.authorization:
            pairs.append(("Authorization", receiver.settings.authorization))
        return Callback(Headers(pairs), delivery.body, delivery.events)

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
            nonce=self._generate.nonce(),
            headers=[_USER_AGENT],
            authorization=receiver.settings.authorization,
            random=self._generate.random,
            earlier=earlier.headers.get(HEADER) if earlier is not None else None,
        )

    def _timestamp(self, receiver: Receiver) -> int:
        # Receivers compare the timestamp with their own wall clock, however far virtual time has run.
        now = time.time() if receiver.signature_clock == "wall" else self.clock.time()
        return int(now + receiver.skew)

    def _begin(self, delivery: Delivery, attempt: Attempt) -> Attempt:
        # The attempt first: whoever reads the journal from another thread never finds a delivery without one.
        delivery.attempts.append(attempt)
        if len(delivery.attempts) == 1:
            self._journal.open(delivery)
        self._journal.begin(delivery)
        return attempt

    def _complete(
        self, delivery: Delivery, attempt: Attempt, answer: Response | TransportFailure, elapsed: float
    ) -> None:
        if isinstance(answer, TransportFailure):
            _fail(attempt, answer, elapsed)
        else:
            _judge(attempt, answer, delivery.receiver.limit)
            if attempt.acknowledged and delivery.signed and _is_genuine(attempt):
                self._earlier[delivery.receiver] = attempt.callback
        self._journal.complete(delivery, attempt)


def _is_genuine(attempt: Attempt) -> bool:
    return not attempt.faults or all(fault.family != "signature" for fault in attempt.faults)


def _lose(answer: Response | TransportFailure) -> TransportFailure:
    if isinstance(answer, TransportFailure):
        return answer
    reason = f"the answer, {answer.status}, was lost on purpose"
    return TransportFailure(Outcome.ABANDONED, reason, response=answer)


def _replace(answer: Response | TransportFailure, status: int) -> Response | TransportFailure:
    if isinstance(answer, TransportFailure) or answer.status != 200:
        return answer
    return Response(status, REPLACED, Headers(), b"", answer.elapsed, answer.raised)


def _judge(attempt: Attempt, response: Response, limit: float | None) -> None:
    """Complete an attempt that was answered: HTTP 200 in time acknowledges, nothing else does [S].

    The outcome comes last: whoever reads it from another thread finds the rest there.
    """
    attempt.response = response
    attempt.elapsed = response.elapsed
    attempt.exception = response.raised
    if limit is not None and response.elapsed > limit:
        attempt.error = f"answered {response.status} after {response.elapsed:.2f} s, {limit:g} s are allowed"
        attempt.outcome = Outcome.TIMEOUT
    elif response.status == 200:
        attempt.outcome = Outcome.ACKNOWLEDGED
    else:
        redirect = 300 <= response.status < 400
        answered = printable(f"answered {response.status} {response.reason}".rstrip())
        what = "a redirect is not followed" if redirect else "only 200 acknowledges"
        attempt.error = f"{answered}; {what}"
        attempt.outcome = Outcome.REDIRECT if redirect else Outcome.NOT_200


def _fail(attempt: Attempt, failure: TransportFailure, elapsed: float) -> None:
    attempt.error = failure.reason
    attempt.response = failure.response
    attempt.exception = failure.__cause__
    attempt.elapsed = elapsed
    attempt.outcome = failure.outcome
