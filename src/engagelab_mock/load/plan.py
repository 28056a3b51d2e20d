"""The plan of a load: which callback of which message is due when. It is an open model: it never waits for an answer.

The times come from the rate alone. At each of them, the message that is due longest sends its next callback; if none is
due, a new message begins. So the rate is exact, and the callbacks of a message are about `spacing` seconds apart.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import accumulate

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.load.template import BodyTemplate
from engagelab_mock.messages.account import Account
from engagelab_mock.messages.catalogue import scenario
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario
from engagelab_mock.protocol.events import DEFAULT, Dialect

#: The default seconds between two callbacks of a message.
SPACING = 0.5
#: Into how many slots of time the spacing is divided.
_SLOTS = 50
#: The ids of messages: odd numbers of 19 digits, as `Generator.message_id` makes them.
_FIRST_ID, _IDS = 1_700_000_000_000_000_001, 200_000_000_000_000_000
#: The distance of the ids of two messages that follow each other. A prime, so that they look drawn.
_STRIDE = 999_983


class Segment(msgspec.Struct, frozen=True):
    """Hold a part of the load: its seconds, and its rate in callbacks a second at its start and at its end.

    >>> Segment(2.0, 100, 300).callbacks
    400.0
    """

    seconds: float
    first: float
    last: float

    @property
    def callbacks(self) -> float:
        """Return how many callbacks it has."""
        return (self.first + self.last) / 2 * self.seconds


def segments(rate: float, duration: float, *, ramp: float = 0.0, steps: int = 1) -> tuple[Segment, ...]:
    """Return the parts of a load: `ramp` seconds from 0 to the rate, or equal steps up to it, or the rate all the time.

    >>> [each.last for each in segments(300, 60, steps=3)], [each.seconds for each in segments(300, 60, ramp=10)]
    ([100.0, 200.0, 300.0], [10, 50])
    """
    for name, value in (("rate", rate), ("duration", duration)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"it is a number above 0, not {value!r}", where=name, hint=f"such as {name}=5")
    if not (math.isfinite(ramp) and 0 <= ramp <= duration):
        raise UsageError(f"it is a number of seconds up to the duration, {duration:g}, not {ramp!r}", where="ramp")
    if type(steps) is not int or steps < 1:
        raise UsageError(f"it is a number from 1, not {steps!r}", where="steps", hint="steps=5")
    if ramp and steps > 1:
        raise UsageError("a load has a ramp or steps", where="steps", hint="give one of the two")
    if ramp:
        rest = [Segment(duration - ramp, rate, rate)] if duration > ramp else []
        return (Segment(ramp, 0, rate), *rest)
    return tuple(Segment(duration / steps, rate * each / steps, rate * each / steps) for each in range(1, steps + 1))


def times(parts: Sequence[Segment], *, first: float = 0.0) -> Iterator[float]:
    """Yield the moment of each callback, in seconds; `first`, from 0 to 1, moves them by a part of their distance.

    >>> list(times([Segment(2.0, 2, 2)])), [round(each, 2) for each in times([Segment(2.0, 0, 2)], first=0.5)]
    ([0.0, 0.5, 1.0, 1.5], [1.0, 1.73])
    """
    start, before, number = 0.0, 0.0, first
    for part in parts:
        slope, rate = (part.last - part.first) / part.seconds, part.first
        into, whole = number - before, part.callbacks
        while into < whole:
            if slope:
                # The moment at which the integral of the rate is `into`.
                yield start + (2 * into / (rate + math.sqrt(rate * rate + 2 * slope * into)) if into else 0.0)
            else:
                yield start + into / rate
            number += 1.0
            into = number - before
        start, before = start + part.seconds, before + whole


class Lifecycle:
    """Hold one scenario of the mix: its share, and the bodies of its callbacks."""

    def __init__(self, chosen: Scenario, share: float, account: Account, dialect: Dialect) -> None:
        self.scenario = chosen
        self.name = chosen.name
        self.share = share
        self.statuses = chosen.statuses
        #: The seconds from the acceptance of the message to each event.
        self.offsets = [int(each) for each in accumulate(step.after for step in chosen.transitions)]
        #: The account and the dialect of its events.
        self.account, self.dialect = account, dialect
        self.bodies = [BodyTemplate(chosen, step, account, dialect) for step in range(len(self.statuses))]
        #: How long before its first callback a message was accepted, so that no event lies in the future.
        self.age = math.ceil(chosen.duration)


class LoadMessage(msgspec.Struct, eq=False, gc=False):
    """Hold a message of the load, while its callbacks go out."""

    lifecycle: Lifecycle
    id: str
    to: str
    #: As a text, because each body has it as a text.
    cost: str
    #: The callbacks in the order in which they are sent: the step, and the number of the copy.
    order: list[tuple[int, int]]
    #: How many they are.
    planned: int
    #: Unix seconds; 0 before the first callback.
    accepted: int = 0

    @property
    def message(self) -> Message:
        """Return the message as `prepare` gets it."""
        return Message(id=self.id, to=self.to, accepted=float(self.accepted))


class Planned(msgspec.Struct, eq=False, gc=False):
    """Hold one delivery of the plan, and its result once it has ended. It is one object, because there are many."""

    #: In seconds from the start of the load.
    at: float
    message: LoadMessage
    step: int
    copy: int
    #: The name of the fault that is applied to it, or "".
    fault: str
    #: When it was started, as a `stopwatch()`.
    started: float = 0.0
    #: Its request, while it waits for a connection.
    request: bytes = b""
    #: None until it has ended.
    outcome: Outcome | None = None
    #: The seconds from its start to its end.
    elapsed: float = 0.0
    #: The HTTP status; 0 without an answer.
    answer: int = 0


class Plan:
    """Yield the deliveries of one worker in the order of their times. The same arguments make the same plan.

    >>> plan = Plan({"delivered": 1}, segments(10, 1.2), seed="a")
    >>> [planned.message.lifecycle.statuses[planned.step] for planned in plan][:3], plan.total
    (['plan', 'plan', 'plan'], 12)

    `mix` maps scenarios to their shares. `duplicates`, `reorder` and the values of `faults` are probabilities of each
    callback: to come again later, to come after the one that follows it, to have a fault. `messages` is how many
    messages earlier plans of this worker have begun; their ids are not used again.
    """

    def __init__(
        self,
        mix: Mapping[str, float],
        parts: Sequence[Segment],
        *,
        seed: object = 0,
        worker: int = 0,
        workers: int = 1,
        duplicates: float = 0.0,
        reorder: float = 0.0,
        faults: Mapping[str, float] | None = None,
        spacing: float = SPACING,
        dialect: Dialect = DEFAULT,
        messages: int = 0,
    ) -> None:
        if not 0 <= worker < workers:
            raise UsageError(f"worker {worker} of {workers} does not exist", where="worker", hint="count from 0")
        self.duplicates = _probability("duplicates", duplicates)
        self.reorder = _probability("reorder", reorder)
        self.faults = {name: _probability(f"faults, {name}", share) for name, share in (faults or {}).items()}
        if sum(self.faults.values()) > 1:
            raise UsageError("the probabilities are more than 1 in total", where="faults")
        account = Account(Generator.seeded("load account", seed))
        self.lifecycles = [Lifecycle(scenario(name), share, account, dialect) for name, share in check_mix(mix).items()]
        self.mix = {each.name: each.share for each in self.lifecycles}
        self.parts = tuple(Segment(each.seconds, each.first / workers, each.last / workers) for each in parts)
        self.duration = sum(part.seconds for part in parts)
        self.messages = messages
        self._seed, self._worker, self._workers = seed, worker, workers
        self._spacing = check_delay(spacing, where="spacing")
        self._begun = messages
        share = worker / workers
        #: How many deliveries fit into its times. A few of the last may stay unused, because they hold no message.
        self.total = max(0, math.ceil(sum(part.callbacks for part in self.parts) - share))
        shortest = min((len(each.statuses) for each in self.lifecycles if each.statuses), default=0)
        if not shortest:
            raise UsageError("no scenario of the mix has a callback", where="mix", hint="such as verified=8,fallback=1")
        if self.total < shortest:
            what = f"the load has {self.total} callbacks, and its shortest scenario has {shortest}"
            raise UsageError(what, where="duration", hint="give a longer duration, or a higher rate")

    @property
    def begun(self) -> int:
        """Return how many messages this worker has begun, those of earlier plans included."""
        return self._begun

    def __iter__(self) -> Iterator[Planned]:
        generate = Generator.seeded("load", self._seed, self._worker, self.messages)
        new = self._new_messages(generate)
        random, least = generate.random.random, self._spacing / 2
        # The messages that are due in each slot of time, with the place of their next callback. The heap of the slots
        # is much smaller than one of all messages would be.
        width = max(self._spacing / _SLOTS, 1e-6)
        due: dict[int, list[tuple[LoadMessage, int]]] = {}
        slots: list[int] = []
        faults = tuple(self.faults.items())
        left, owed = self.total, 0
        following = next(new)
        self._begun = self.messages
        for at in times(self.parts, first=self._worker / self._workers):
            if slots and (slots[0] * width <= at or owed + following.planned > left):
                waiting = due[slots[0]]
                message, place = waiting.pop()
                if not waiting:
                    del due[heappop(slots)]
            elif following.planned <= left - owed:
                message, place = following, 0
                owed += message.planned
                self._begun += 1
                following = next(new)
            else:
                return
            left -= 1
            owed -= 1
            step, copy = message.order[place]
            place += 1
            if place < message.planned:
                slot = int((at + least + self._spacing * random()) / width) + 1
                if slot in due:
                    due[slot].append((message, place))
                else:
                    due[slot] = [(message, place)]
                    heappush(slots, slot)
            fault = _drawn(faults, random()) if faults else ""
            yield Planned(at, message, step, copy, fault)

    def _new_messages(self, generate: Generator) -> Iterator[LoadMessage]:
        """Yield messages with at least one callback, with the shares of the mix."""
        share = _IDS // self._workers
        # Half of the worker's share is left for the messages after the first.
        drawn = Generator.seeded("load ids", self._seed, self._worker).random.randrange(share // 2)
        base = share * self._worker + drawn
        number = self.messages
        chosen = [each for each in self.lifecycles if each.statuses]
        bounds = [*accumulate(each.share for each in chosen)]
        whole, last = bounds[-1], len(chosen) - 1
        orders = [[(step, 0) for step in range(len(each.statuses))] for each in chosen]
        random = generate.random.random
        duplicates, reorder = self.duplicates, self.reorder
        while True:
            place = min(bisect(bounds, random() * whole), last)
            lifecycle, order = chosen[place], orders[place]
            if reorder or duplicates:
                order = order.copy()
            if reorder:
                for place in range(len(order) - 1):
                    if random() < reorder:
                        order[place], order[place + 1] = order[place + 1], order[place]
            if duplicates:
                for step in range(len(lifecycle.statuses)):
                    if random() < duplicates:
                        after = order.index((step, 0)) + 1
                        order.insert(generate.random.randint(after, len(order)), (step, 1))
            message_id = str(_FIRST_ID + 2 * (base + number * _STRIDE))
            to, cost = generate.rare_recipient(), str(generate.cost())
            yield LoadMessage(lifecycle, message_id, to, cost, order, len(order))
            number += 1


def check_mix(mix: Mapping[str, float]) -> dict[str, float]:
    """Return the shares of the scenarios, or raise `UsageError`.

    >>> check_mix({"verified": 8, "lost": 0})
    {'verified': 8.0}
    """
    for name, share in mix.items():
        if type(share) not in {int, float} or not (math.isfinite(share) and share >= 0):
            raise UsageError(f"its share is a number from 0, not {share!r}", where=f"mix, {name}", hint="verified=8")
        scenario(name, where="mix")
    kept = {name: float(share) for name, share in mix.items() if share}
    if not kept:
        raise UsageError("it names no scenario with a share", where="mix", hint="such as verified=8,fallback=1,lost=1")
    return kept


def _probability(name: str, value: float) -> float:
    if type(value) not in {int, float} or not 0 <= value <= 1:
        raise UsageError(f"a probability is a number from 0 to 1, not {value!r}", where=name, hint=f"{name}=0.01")
    return float(value)


def _drawn(faults: Sequence[tuple[str, float]], number: float) -> str:
    """Return the fault in whose share a number from 0 to 1 lies, or ""."""
    for name, share in faults:
        if number < share:
            return name
        number -= share
    return ""
