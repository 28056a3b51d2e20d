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
from engagelab_mock.errors import NothingObserved, reduce_error
from engagelab_mock.eventloop import sleep, stopwatch
from engagelab_mock.explore.state import plain
from engagelab_mock.generate import Generator
from engagelab_mock.load.ledger import Baseline, Entry
from engagelab_mock.load.plan import Lifecycle, Plan
from engagelab_mock.messages.message import Message

#: How many messages of each scenario are delivered: enough to tell a leaf that always differs from a bug of some.
_MESSAGES = 5
#: How many messages of a scenario may fail, by a bug that comes and goes, until the load is not begun.
_FAILURES = 5
#: How long an effect of the first messages is waited for, and how often the state is read meanwhile, in seconds.
_SHOWS, _LOOK = 2.0, 0.01


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
    """Deliver messages in order and alone, and read their states."""

    def __init__(self, receiver: Receiver, probe: Probe, plan: Plan, *, generate: Generator) -> None:
        self._receiver = receiver
        self._probe = probe
        self._plan = plan
        self._generate = generate
        self._sender = Sender(journal=Journal(1), clock=SystemClock(), generate=generate)
        self._messages: dict[str, list[Message]] = {}
        self._after: dict[str, list[Any]] = {}

    async def deliver(self) -> None:
        """Deliver the first messages.

        Raises `NothingObserved` if none of them has an effect, and `Unreached` if a callback is not acknowledged.
        """
        effects = False
        for lifecycle in self._plan.lifecycles:
            if not lifecycle.statuses:
                continue
            known = self._messages[lifecycle.name] = []
            failures = 0
            while len(known) < _MESSAGES:
                message = Message(id=self._generate.message_id(), to=self._generate.rare_recipient())
                await self._probe.prepare_message(ASYNC, message)
                try:
                    after = await self._deliver(lifecycle, message)
                except Unreached as unreached:
                    failures += 1
                    if failures == _FAILURES or Outcome(unreached.entry.outcome).unreachable:
                        raise
                    continue
                known.append(message)
                self._after.setdefault(lifecycle.name, after)
                effects = effects or await self._shows(message, after[0])
        self._probe.check_seen()
        if not effects:
            state = next(iter(self._after.values()))[-1]
            raise NothingObserved(
                f"the receiver showed no effect: observe returned {state!r:.200} before and after the callbacks of "
                f"{', '.join(self._after)}, which were delivered in order and acknowledged",
                where="observe",
                hint="does it look in the right place, and does the app know the messages?",
            )

    async def _deliver(self, lifecycle: Lifecycle, message: Message) -> list[Any]:
        """Deliver the callbacks of a message; return its state before the first of them and after each."""
        probe = self._probe
        after = [plain(await probe.look(ASYNC, message.id))]
        accepted, cost = int(time.time()) - lifecycle.age, str(self._generate.cost())
        for step, (body, offset) in enumerate(zip(lifecycle.bodies, lifecycle.offsets, strict=True)):
            filled = body.fill(message.id, message.to, accepted, accepted + offset, cost).encode("latin-1")
            attempt = await self._sender.attempt(ASYNC, Delivery(self._receiver, (), filled, message.id))
            if not attempt.acknowledged:
                answer = attempt.response.status if attempt.response is not None else 0
                raise Unreached(
                    Entry(
                        *(message.id, message.to, lifecycle.name, step, step + 1, lifecycle.statuses[step], 0),
                        *(0.0, 0.0, round(attempt.elapsed, 6), attempt.outcome, answer),
                    ),
                    attempt.error,
                )
            await probe.idle(ASYNC, (message.id,))
            after.append(plain(await probe.look(ASYNC, message.id)))
        return after

    async def _shows(self, message: Message, before: Any) -> bool:
        """Tell whether the state of a message differs from the one before its callbacks, now or soon."""
        give_up = stopwatch() + _SHOWS
        while plain(await self._probe.look(ASYNC, message.id)) == before:
            if stopwatch() > give_up:
                return False
            await sleep(_LOOK)
        return True

    async def baselines(self) -> list[Baseline]:
        """Read the states of the messages again, now that the app has ended its work, and return them."""
        found = []
        for name, messages in self._messages.items():
            states = [plain(await self._probe.look(ASYNC, message.id)) for message in messages]
            about = tuple((message.id, message.to) for message in messages)
            found.append(Baseline(scenario=name, states=tuple(states), messages=about, after=tuple(self._after[name])))
        return found
