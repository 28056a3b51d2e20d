"""Send several callbacks at the same time to a receiver in another process: real requests, over separate connections.

Handlers in another process cannot be stopped at switch points. So the same callbacks are sent in many rounds, each with
other times between the requests. This is a search: it can find a race, and it cannot prove that there is none.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from threading import Event, Semaphore
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.io import SYNC, Io, run_sync
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.eventloop import stopwatch, to_thread
from engagelab_mock.explore.orders import Moment, Trace
from engagelab_mock.explore.together import reached_by

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Delivery, Response
    from engagelab_mock.delivery.sender import Sender
    from engagelab_mock.delivery.transport import Transport
    from engagelab_mock.explore.played import Played
    from engagelab_mock.explore.schedule import Schedule
    from engagelab_mock.protocol.callback import Callback

#: How many rounds there are of each pair, unless the caller gives a number.
ROUNDS = 50
#: The greatest time between the first request and the last, before the time of an answer is known and after that, in
#: seconds.
_SPREAD, _MOST_SPREAD = 0.005, 0.25
#: How many of the rounds, on average, send all requests at once.
_AT_ONCE = 0.4
#: A shorter wait than this is not slept, because a sleep may take longer, in seconds.
_PRECISE = 0.001


class Starts:
    """Draw from a seed when each request of a round is sent; the first round sends all of them at once.

    The later rounds spread the requests over the time of an answer, and often over a small part of it.

    >>> starts = Starts(seed=7)
    >>> starts.draw(2)
    [0.0, 0.0]
    >>> min(starts.draw(3))
    0.0
    """

    def __init__(self, seed: object) -> None:
        self._random = Random(f"{seed}:starts")
        self._spread = _SPREAD
        self._drawn = False

    def draw(self, requests: int) -> list[float]:
        """Return how many seconds after the start of the round each request is sent."""
        random = self._random
        spread = 0.0 if not self._drawn or random.random() < _AT_ONCE else self._spread * random.random() ** 2
        self._drawn = True
        drawn = [spread * random.random() for _ in range(requests)]
        return [each - min(drawn) for each in drawn]

    def learn(self, seconds: float) -> None:
        """Take the time that an answer took."""
        self._spread = min(seconds, _MOST_SPREAD)


class _Meeting:
    """Hold back the last byte of each request until all others are sent, then send these bytes at their times.

    One thread sends them all: if each thread sent its own, the time to wake it up would be longer than many handlers.
    """

    def __init__(self, starts: Sequence[float]) -> None:
        self._starts = starts
        self._here = Semaphore(0)
        self._last: dict[int, Callable[[], None]] = {}
        self._sent = [Event() for _ in starts]
        #: When each request was sent.
        self.times: dict[int, float] = {}

    def join(self, number: int, last: Callable[[], None]) -> None:
        """Wait until the last byte of a request is sent, which `last` does."""
        self._last[number] = last
        self._here.release()
        self._sent[number].wait()
        if number not in self.times:
            raise TransportFailure(Outcome.ABANDONED, "the search was interrupted before the request was sent")

    def leave(self, number: int) -> None:
        """Let the others go on without a request that could not be sent."""
        if number not in self._last:
            self._here.release()

    def send(self) -> None:
        """Wait for all requests, and send the last byte of each at its time."""
        try:
            for _ in self._starts:
                self._here.acquire()
            begun = stopwatch()
            for number in sorted(self._last, key=self._starts.__getitem__):
                while (left := begun + self._starts[number] - stopwatch()) > 0:
                    time.sleep(left if left > _PRECISE else 0)
                self.times[number] = stopwatch()
                with suppress(OSError):  # the thread of this request finds that when it reads the answer
                    self._last[number]()
                self._sent[number].set()
        finally:
            for each in self._sent:
                each.set()


class _Gathered:
    """Send a request of a meeting over a new connection, as the transport of its receiver does."""

    name = "http"

    def __init__(self, inner: Transport, meeting: _Meeting, number: int) -> None:
        self.address = inner.address
        self._inner = inner
        self._wire = Wire(connection="new", hold=partial(meeting.join, number))

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        return self._inner.exchange(callback, limit, self._wire)


async def deliver_in_parallel(io: Io, sender: Sender, deliveries: Sequence[Delivery], starts: Starts) -> Trace:
    """Make the next attempts of several deliveries at the same time, each in its own thread and connection."""
    if io is SYNC:
        return _in_threads(sender, deliveries, starts)
    return await to_thread(_in_threads, sender, deliveries, starts)


def _in_threads(sender: Sender, deliveries: Sequence[Delivery], starts: Starts) -> Trace:
    from concurrent.futures import ThreadPoolExecutor  # only races over HTTP need it

    receiver = deliveries[0].receiver
    meeting = _Meeting(starts.draw(len(deliveries)))

    def attempt(number: int, delivery: Delivery) -> float:
        gathered: Any = _Gathered(receiver.transport, meeting, number)
        delivery.receiver = reached_by(receiver, gathered, receiver.limit)
        try:
            run_sync(sender.attempt(SYNC, delivery))
            return stopwatch()
        finally:
            delivery.receiver = receiver
            meeting.leave(number)

    with ThreadPoolExecutor(len(deliveries)) as pool:
        made = [pool.submit(attempt, *each) for each in enumerate(deliveries)]
        meeting.send()
        answered = [each.result() for each in made]
    times = [(meeting.times.get(number, when), when) for number, when in enumerate(answered)]
    starts.learn(max(when - sent for sent, when in times))
    return _trace(deliveries, times)


def _trace(deliveries: Sequence[Delivery], times: Sequence[tuple[float, float]]) -> Trace:
    begun = min(sent for sent, _ in times)
    steps = []
    for number, (delivery, (sent, answered)) in enumerate(zip(deliveries, times, strict=True)):
        response = delivery.attempts[-1].response
        answer = "no answer" if response is None else f"answered {response.status}"
        steps += [(sent, number, 1, "sent"), (answered, number, 2, answer)]
    moments = [
        Moment(number, point, text, f"{text}, at {(when - begun) * 1000:.1f} ms", "", ())
        for when, number, point, text in sorted(steps)
    ]
    return Trace(tuple(moments), len(deliveries), requests=True)


async def count_failures(
    schedule: Schedule, tried: Callable[[Schedule], Awaitable[tuple[Played, bool]]], rounds: int
) -> int:
    """Play a schedule so many times, and return how often it failed."""
    return sum([(await tried(schedule))[1] for _ in range(rounds)])
