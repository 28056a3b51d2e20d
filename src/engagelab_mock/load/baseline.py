"""Learn the states that messages must end in: a few of each scenario are delivered in order and alone, before the load.

So a receiver that shows no effect at all is found before anything is judged by it.
"""

from __future__ import annotations

import time
from typing import Any

from engagelab_mock.clock import SystemClock
from engagelab_mock.delivery.io import ASYNC
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.sender import Sender
from engagelab_mock.errors import NothingObserved, UsageError, reduce_error
from engagelab_mock.eventloop import sleep, stopwatch
from engagelab_mock.explore.state import State, names, plain
from engagelab_mock.generate import Generator
from engagelab_mock.load.expected import leaves_of
from engagelab_mock.load.ledger import Baseline, Entry
from engagelab_mock.load.plan import Lifecycle, Plan
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

#: How many messages of each scenario are delivered: enough to tell a leaf that always differs from a bug of some.
_MESSAGES = 5
#: How many messages of a scenario may fail, by a bug that comes and goes, until the load is not begun.
_FAILURES = 5
#: How long an effect of the first messages is waited for at least, and how often the state is read, in seconds.
_SHOWS, _LOOK = 2.0, 0.03
#: For how long a state must stay the same, so that the app has ended its work, in seconds.
_QUIET = 0.3
#: How many times as long as the first effect took an app may need for another, because it is busy.
_TIMES = 3
#: How many callbacks a scenario must have to show which leaves count callbacks.
_ENOUGH = 3


class Unreached(Exception):
    """Signal that the first callbacks were not acknowledged, so no state can be learned; `entry` is the last of them.

    >>> entry = Entry("7", "+6591234567", "sent", 0, 1, "sent", 0, 0.0, 0.0, 0.01, "refused")
    >>> Unreached(entry, "connection refused").entry.outcome
    'refused'
    """

    __reduce__ = reduce_error

    def __init__(self, entry: Entry, reason: str) -> None:
        super().__init__(reason)
        self.entry = entry


class Learner:
    """Deliver messages in order and alone, and read their states. `patience` is the longest wait for an effect.

    An app can work after its answer. Then a state is read when its last change was so long ago that no other will come.
    """

    def __init__(
        self,
        receiver: Receiver,
        probe: Probe,
        plan: Plan,
        *,
        generate: Generator,
        started: float,
        patience: float = 0.0,
    ) -> None:
        self._receiver = receiver
        self._probe = probe
        self._plan = plan
        self._generate = generate
        #: The `stopwatch()` of the ledger's start.
        self._started = started
        self._patience = max(_SHOWS, patience)
        self._sender = Sender(journal=Journal(1), clock=SystemClock(), generate=generate)
        self._messages: dict[str, list[Message]] = {}
        self._after: dict[str, list[Any]] = {}
        #: The state of a message of which the app knows nothing yet.
        self._before: Any = None
        #: How long after an answer the app still worked, and when the last callback was answered.
        self._lag = self._ended = 0.0
        #: The callbacks that were not acknowledged.
        self.failed: list[Entry] = []
        self.reasons: dict[str, str] = {}

    async def deliver(self) -> None:
        """Deliver the first messages.

        Raises `NothingObserved` if none of them has an effect, and `Unreached` if a callback is not acknowledged.
        """
        shown = False
        for lifecycle in self._plan.lifecycles:
            if not lifecycle.statuses:
                continue
            known = self._messages[lifecycle.name] = []
            while len(known) < _MESSAGES:
                message = await self._new_message()
                after = await self._delivered(lifecycle, message)
                if after is None:
                    continue
                known.append(message)
                if len(known) == 1:
                    self._after[lifecycle.name] = after
                    self._before = after[0]
                    shown = await self._watch(message, after[0], 0.0 if shown else self._patience) or shown
        self._probe.check_seen()
        if not shown:
            state = next(iter(self._after.values()))[-1]
            raise NothingObserved(
                f"the receiver showed no effect: observe returned {state!r:.200} before and after the callbacks of "
                f"{', '.join(self._after)}, which were delivered in order and acknowledged",
                where="observe",
                hint="does it look in the right place, and does the app know the messages?",
            )
        if self._lag:
            await self._learn_steps()

    async def check_unused(self, message_id: str) -> None:
        """Raise `UsageError` if the app has the first message of the load already, from an earlier one."""
        state = plain(await self._probe.look(ASYNC, message_id))
        if state is None or (self._before is not None and _statuses(state) <= _statuses(self._before)):
            return
        raise UsageError(
            f"the app already has message {message_id}, with the state {state!r:.100}",
            where="seed",
            hint="an earlier load had the same seed: give another one, or empty the tables of the app",
        )

    async def _learn_steps(self) -> None:
        """Take the states after each callback again, and wait for them: the app works after its answer."""
        long = [each for each in self._plan.lifecycles if len(each.statuses) >= _ENOUGH]
        self._after = {name: [] for name in self._after}
        if long:
            shortest = min(long, key=lambda each: len(each.statuses))
            message = await self._new_message()
            after = await self._delivered(shortest, message, wait=_TIMES * self._lag)
            if after is not None:
                self._messages[shortest.name].insert(0, message)
                self._after[shortest.name] = after

    async def _new_message(self) -> Message:
        message = Message(id=self._generate.message_id(), to=self._generate.rare_recipient())
        await self._probe.prepare_message(ASYNC, message)
        return message

    async def _delivered(self, lifecycle: Lifecycle, message: Message, wait: float = 0.0) -> list[Any] | None:
        """Deliver the callbacks of a message; return its state before the first and after each, None if one failed.

        Raises `Unreached` if no callback arrives, or too many fail.
        """
        try:
            return await self._deliver(lifecycle, message, wait)
        except Unreached as unreached:
            self.failed.append(unreached.entry)
            self.reasons[unreached.entry.outcome] = str(unreached)
            failures = sum(1 for entry in self.failed if entry.scenario == lifecycle.name)
            if failures >= _FAILURES or Outcome(unreached.entry.outcome).unreachable:
                raise
            return None

    async def _deliver(self, lifecycle: Lifecycle, message: Message, wait: float) -> list[Any]:
        probe = self._probe
        after = [plain(await probe.look(ASYNC, message.id))]
        accepted, cost = int(time.time()) - lifecycle.age, str(self._generate.cost())
        for step, (body, offset) in enumerate(zip(lifecycle.bodies, lifecycle.offsets, strict=True)):
            filled = body.fill(message.id, message.to, accepted, accepted + offset, cost).encode("latin-1")
            sent = round(stopwatch() - self._started, 6)
            attempt = await self._sender.attempt(ASYNC, Delivery(self._receiver, (), filled, message.id))
            if not attempt.acknowledged:
                answer = attempt.response.status if attempt.response is not None else 0
                raise Unreached(
                    Entry(
                        *(message.id, message.to, lifecycle.name, step, step + 1, lifecycle.statuses[step], 0),
                        *(sent, sent, round(attempt.elapsed, 6), attempt.outcome, answer),
                    ),
                    attempt.error,
                )
            self._ended = stopwatch()
            await probe.idle(ASYNC, (message.id,))
            if wait:
                await self._changed(message, after[-1], wait)
            after.append(plain(await probe.look(ASYNC, message.id)))
        return after

    async def _changed(self, message: Message, before: Any, seconds: float) -> None:
        """Wait until the state of a message has changed, at most so many seconds."""
        give_up = stopwatch() + seconds
        while plain(await self._probe.look(ASYNC, message.id)) == before and stopwatch() < give_up:
            await sleep(_LOOK)

    async def _watch(self, message: Message, before: Any, patience: float) -> bool:
        """Watch a message until its state stays the same; return whether it is another one than before its callbacks.

        Without an effect, `patience` is how long one is waited for.
        """
        seen, since, started = await self._leaves(message), 0.0, stopwatch()
        old = leaves_of(before, message.id, message.to)
        while True:
            now = stopwatch() - started
            if now - since > max(_QUIET, since) and (seen != old or now > patience):
                self._lag = max(self._lag, since)
                break
            if now > 2 * self._patience + _QUIET:
                break  # it changes at every look, so that tells nothing of the app's work
            await sleep(_LOOK)
            leaves = await self._leaves(message)
            if leaves != seen:
                seen, since = leaves, stopwatch() - started
        return seen != old

    async def _leaves(self, message: Message) -> State:
        return leaves_of(await self._probe.look(ASYNC, message.id), message.id, message.to)

    async def baselines(self) -> list[Baseline]:
        """Read the states of the messages again, now that the app has ended its work, and return them."""
        await sleep(max(0.0, self._ended + _TIMES * self._lag - stopwatch()))
        found = []
        for name, messages in self._messages.items():
            states = [plain(await self._probe.look(ASYNC, message.id)) for message in messages]
            about = tuple((message.id, message.to) for message in messages)
            found.append(Baseline(scenario=name, states=tuple(states), messages=about, after=tuple(self._after[name])))
        return found


def _statuses(state: Any) -> set[str]:
    """Return the statuses that a state names."""
    return {status for status in Status if names(f"{state}", status)}
