"""Play a schedule to a receiver, and record every attempt with the receiver's state before and after it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.delivery.sender import REPLACED, Sender
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario, timeline
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.journal import Journal
    from engagelab_mock.service.engine import Engine


class Record(msgspec.Struct, frozen=True, eq=False):
    """Hold one attempt, with the receiver's state before and after it, as its `observe` returned it.

    With several messages a state is a tuple, one entry for each message.
    """

    #: The step of the schedule, counted from 0.
    step: int
    #: The labels of the events in the callback.
    events: tuple[str, ...]
    delivery: Delivery
    attempt: Attempt
    before: Any
    after: Any

    @property
    def processed(self) -> bool:
        """Tell whether the receiver answered 200, even if that answer was lost or replaced on the way."""
        response = self.attempt.response
        return response is not None and (response.status == 200 or response.reason == REPLACED)


class Played(msgspec.Struct, eq=False):
    """Hold what happened when a schedule was played: its messages, and a record of each attempt, in order.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     played = engagelab.play("eg1:plan,sent!ackloss")
    >>> [(record.events, str(record.attempt.outcome)) for record in played.records]
    [(('plan',), 'acknowledged'), (('sent',), 'abandoned'), (('sent',), 'acknowledged')]
    """

    schedule: Schedule
    receiver: Receiver
    messages: tuple[Message, ...]
    #: The state before the first delivery; None if the receiver has no `observe`.
    initial: Any
    records: list[Record]
    #: The playing of this schedule's events in order, each delivered once and alone.
    in_order: Played | None = None

    @property
    def states(self) -> list[Any]:
        """Return the state before the first delivery, and after each attempt."""
        return [self.initial, *(record.after for record in self.records)]

    @property
    def final(self) -> Any:
        """Return the state after the last attempt."""
        return self.records[-1].after if self.records else self.initial

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, in the order of their first attempts."""
        return list({id(record.delivery): record.delivery for record in self.records}.values())

    @property
    def acknowledged(self) -> bool:
        """Tell whether the receiver acknowledged every delivery in the end."""
        return all(delivery.acknowledged for delivery in self.deliveries)

    def __repr__(self) -> str:
        return f"<Played {self.schedule.token}: {len(self.records)} attempts>"


#: What a step sends: its events, the body that carries them, and the id of the message they are about.
_Content = tuple[tuple[Event, ...], bytes, str]


class Script:
    """Hold the messages of a schedule, their events by label, and the bodies encoded so far.

    All events have happened by the Unix time `now`: a schedule only varies when they are delivered. `events` replace
    the events made for their labels.
    """

    def __init__(
        self,
        engine: Engine,
        lifecycles: Sequence[Scenario],
        *,
        ids: Generator,
        now: float,
        events: Mapping[str, Event] | None = None,
    ) -> None:
        self._receiver = engine.receiver
        self._dialect = engine.dialect
        account, defaults = engine.account, engine.defaults
        # Every playing has the same data except the message id, so a difference comes from the schedule.
        generate = Generator.seeded(engine.seed, "schedule")
        self.messages: tuple[Message, ...] = tuple(
            Message(
                id=ids.message_id(),
                to=generate.recipient() if defaults.get("to") is None else defaults["to"],
                template_key=defaults.get("template") or account.template_key,
                business_id=account.business_id,
                accepted=now - scenario.duration,
                custom_args=defaults.get("custom_args"),
            )
            for scenario in lifecycles
        )
        timelines = [
            timeline(message, scenario, defaults.get("channel") or message.default_channel, generate)
            for message, scenario in zip(self.messages, lifecycles, strict=True)
        ]
        places = labels_of(lifecycles).places
        self._events: dict[str, Event] = {
            label: timelines[message][index][1] for label, (message, index) in places.items()
        }
        self._events.update(events or {})
        self._contents: dict[tuple[str, ...], _Content] = {}

    def content(self, labels: tuple[str, ...]) -> _Content:
        """Return the events of a step that the receiver subscribes to, their body, and the id of their message."""
        known = self._contents.get(labels)
        if known is None:
            events = [self._events[label] for label in labels]
            wanted = tuple(self._dialect.spell(event) for event in events if self._receiver.settings.wants(event))
            ids = {getattr(event, "message_id", "") for event in wanted}
            known = (wanted, encode(wanted), ids.pop() if len(ids) == 1 else "")
            self._contents[labels] = known
        return known


#: Seconds until a callback that a fault struck is sent again: the first wait of the vendor's ladder [X].
RETRY_AFTER = RetryPolicy((60.0,))

#: Where a delivery belongs in its schedule: the step, counted from 0, the labels of its events, and the delivery.
_Placed = tuple[int, tuple[str, ...], Delivery]


class Player:
    """Play schedules, one at a time, each to its end: send the callbacks, and look at the receiver after each attempt.

    Retries wait in a heap of the player's own, in the order of their times on its clock.
    """

    def __init__(
        self,
        receiver: Receiver,
        probe: Probe,
        *,
        journal: Journal,
        clock: Any,
        generate: Generator,
        retry: RetryPolicy = NO_RETRY,
    ) -> None:
        self.generate = generate
        #: The clock's time when the player was made.
        self.started: float = clock.time()
        self._receiver = receiver
        self._probe = probe
        self._clock = clock
        self._sender = Sender(journal=journal, clock=clock, generate=generate)
        self._retry = retry
        self._faults: dict[str, tuple[Fault, ...]] = {}
        # The retries that are due later, by time and then by the order in which they were entered. An entry without a
        # delivery is the time at which the schedule goes on.
        self._due: list[tuple[float, int, _Placed | None]] = []
        self._entered = itertools.count()

    async def play(self, io: Io, schedule: Schedule, script: Script) -> Played:
        """Prepare the messages, deliver every step, then send every retry that is still due."""
        __tracebackhide__ = True
        messages, probe = script.messages, self._probe
        if probe.prepare is not None:
            for message in messages:
                await probe.prepare_message(io, message)
        initial = None if probe.observe is None else await self.look(io, messages, None)
        played = Played(schedule, self._receiver, messages, initial, [])
        for index, step in enumerate(schedule.steps):
            if step.delay:
                self._enter(step.delay, None)
                await self._run_due(io, played)
            events, body, message_id = script.content(step.events)
            if not events:
                continue
            faults, retry = self._struck_by(step) if step.fault else ((), self._retry)
            for _ in range(step.repeat):
                delivery = Delivery(self._receiver, events, body, message_id, retry, faults)
                await self._attempt(io, played, (index, step.events, delivery))
        if self._due:
            await self._run_due(io, played)
        probe.check_seen()
        return played

    async def look(self, io: Io, messages: tuple[Message, ...], before: Any) -> Any:
        """Return a message's state, or a tuple of the states of several; `before` itself if nothing has changed."""
        probe = self._probe
        if len(messages) == 1:
            return await probe.look(io, messages[0].id, before)
        known = (None,) * len(messages) if before is None else before
        states = tuple([await probe.look(io, message.id, each) for message, each in zip(messages, known, strict=True)])
        return before if states == before else states

    async def _attempt(self, io: Io, played: Played, placed: _Placed) -> None:
        """Make a delivery's next attempt, record it, and enter its retry if it failed."""
        __tracebackhide__ = True
        index, labels, delivery = placed
        records = played.records
        attempt = await self._sender.attempt(io, delivery)
        before = after = records[-1].after if records else played.initial
        probe, messages = self._probe, played.messages
        if probe.wait_idle is not None:
            await probe.idle(io, tuple([message.id for message in messages]))
        if probe.observe is not None:
            after = await self.look(io, messages, before)
        records.append(Record(index, labels, delivery, attempt, before, after))
        if not attempt.acknowledged:
            wait = delivery.retry.wait_after(attempt.number)
            if wait is None:
                delivery.given_up = True
            else:
                self._enter(wait, placed)

    def _struck_by(self, step: Step) -> tuple[tuple[Fault, ...], RetryPolicy]:
        """Return the fault of a step and its retries; raise `UsageError` if the receiver cannot be sent that fault."""
        faults = self._faults.get(step.fault)
        if faults is None:
            made = fault(step.fault, attempts=1)
            made.check_receiver(transport=self._receiver.transport.name, signs=self._receiver.settings.signs)
            faults = self._faults[step.fault] = (made,)
        return faults, self._retry if self._retry.waits else RETRY_AFTER

    def _enter(self, seconds: float, placed: _Placed | None) -> None:
        heappush(self._due, (self._clock.time() + seconds, next(self._entered), placed))

    async def _run_due(self, io: Io, played: Played) -> None:
        """Send the retries in the order of their times, until the schedule goes on or none is left."""
        __tracebackhide__ = True
        while self._due:
            when, _, placed = heappop(self._due)
            await self._reach(io, when)
            if placed is None:
                return
            await self._attempt(io, played, placed)

    async def _reach(self, io: Io, when: float) -> None:
        """Run the clock to a Unix time; other timers that are due before run on the way."""
        __tracebackhide__ = True
        reached: list[bool] = []
        timer = self._clock.call_at(when, lambda: reached.append(True), label="the next step of the schedule")
        try:
            while not reached and await io.run_next(self._clock):
                pass
        finally:
            timer.cancel()
