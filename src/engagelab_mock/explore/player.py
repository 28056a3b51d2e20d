"""Play a schedule to a receiver: through the one sender, looking at the receiver's state after every attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import Timer
from engagelab_mock.delivery.dispatcher import Dispatcher
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.delivery.sender import Sender
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.played import Played, Record, alook, look
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario, timeline
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.dialect import Dialect
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.journal import Journal
    from engagelab_mock.service.core import Core

#: Seconds until a callback that a fault struck is sent again: the first wait of the vendor's ladder [X].
RETRY_AFTER = RetryPolicy((60.0,))


class Script:
    """Hold the messages that schedules are about, their events by label, and the bodies encoded so far."""

    def __init__(
        self, lifecycles: Sequence[Scenario], player: Player, events: Mapping[str, Event] | None = None
    ) -> None:
        account, defaults = player.engine.account, player.engine.defaults
        # Every playing has the same data, but for the message's id: what differs is the schedule's doing.
        generate = Generator.seeded(player.engine.seed, "schedule")
        self.messages: tuple[Message, ...] = tuple(
            Message(
                id=player.generate.message_id(),
                to=generate.recipient() if defaults.get("to") is None else defaults["to"],
                template_key=defaults.get("template") or account.template_key,
                business_id=account.business_id,
                # All of it has happened by now: what varies is when it is delivered.
                accepted=player.started - scenario.duration,
                custom_args=defaults.get("custom_args"),
            )
            for scenario in lifecycles
        )
        timelines = [
            timeline(message, scenario, defaults.get("channel") or message.default_channel, generate)
            for message, scenario in zip(self.messages, lifecycles, strict=True)
        ]
        places = labels_of(lifecycles).places
        self.events: dict[str, Event] = {
            label: timelines[message][index][1] for label, (message, index) in places.items()
        }
        self.events.update(events or {})
        self._bodies: dict[tuple[str, ...], tuple[tuple[Event, ...], bytes, str]] = {}

    def callback(
        self, labels: tuple[str, ...], receiver: Receiver, dialect: Dialect
    ) -> tuple[tuple[Event, ...], bytes, str]:
        """Return the events that the receiver wants of a step's, the body that carries them, and whose they are."""
        known = self._bodies.get(labels)
        if known is None:
            events = [self.events[label] for label in labels]
            wanted = tuple(dialect.spell(event) for event in events if receiver.settings.wants(event))
            ids = {getattr(event, "message_id", "") for event in wanted}
            known = (wanted, encode(wanted), ids.pop() if len(ids) == 1 else "")
            self._bodies[labels] = known
        return known


class Player(Sender):
    """Play schedules, one at a time, each to its end; a sender that looks at the receiver after every attempt."""

    def __init__(
        self,
        engine: Core,
        receiver: Receiver,
        *,
        journal: Journal,
        clock: Any,
        generate: Generator,
        retry: RetryPolicy = NO_RETRY,
    ) -> None:
        super().__init__(journal=journal, clock=clock, generate=generate)
        self.engine = engine
        self.receiver = receiver
        self.generate = generate
        self.started = clock.time()
        self._dispatcher = Dispatcher(clock, self)
        self._retry = retry
        self._faults: dict[str, tuple[Fault, ...]] = {"": ()}
        self._timers: list[Timer] = []
        self._where: dict[int, tuple[int, tuple[str, ...]]] = {}
        self._played: Played
        self._state: Any = None

    async def play(self, io: Io, schedule: Schedule, script: Script) -> Played:
        """Deliver every step, then everything that is still to be sent again."""
        __tracebackhide__ = True
        self._where.clear()
        observe, messages = self.receiver.observe, script.messages
        self._state = None
        if observe is not None:
            self._state = await alook(observe, messages) if io is ASYNC else look(observe, messages, None)
        self._played = played = Played(schedule, self.receiver, script.messages, self._state, [])
        try:
            for index, step in enumerate(schedule.steps):
                if step.delay:
                    await self._wait(io, step.delay)
                for _ in range(step.repeat):
                    await self._deliver(io, index, step, script)
            while self._timers and await io.run_next(self.clock):
                pass
        finally:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
        return played

    async def attempt(self, io: Io, delivery: Delivery) -> Attempt:
        """Make a delivery's next attempt, and look at the receiver's state after it."""
        __tracebackhide__ = True
        attempt = await super().attempt(io, delivery)
        played, before = self._played, self._state
        observe = self.receiver.observe
        if observe is not None:
            messages = played.messages
            self._state = await alook(observe, messages) if io is ASYNC else look(observe, messages, before)
        index, labels = self._where[id(delivery)]
        played.records.append(Record(index, labels, delivery, attempt, before, self._state))
        return attempt

    def faults(self, name: str) -> tuple[Fault, ...]:
        """Return a step's fault; raise `UsageError` where the receiver cannot be sent it."""
        if name not in self._faults:
            made = fault(name, attempts=1)
            receiver = self.receiver
            made.check_receiver(transport=receiver.transport.name, signs=receiver.settings.signs)
            self._faults[name] = (made,)
        return self._faults[name]

    async def _deliver(self, io: Io, index: int, step: Step, script: Script) -> None:
        __tracebackhide__ = True
        events, body, message_id = script.callback(step.events, self.receiver, self.engine.dialect)
        if not events:
            return
        faults = self.faults(step.fault)
        retry = RETRY_AFTER if faults and not self._retry.waits else self._retry
        delivery = Delivery(self.receiver, events, body, message_id, retry, faults)
        self._where[id(delivery)] = (index, step.events)
        await self._dispatcher.deliver(io, delivery, _leave, self._timers)

    async def _wait(self, io: Io, seconds: float) -> None:
        """Let time pass, with what falls due meanwhile."""
        __tracebackhide__ = True
        passed: list[bool] = []

        async def pass_by(_: Io) -> None:
            passed.append(True)

        self._dispatcher.at(self.clock.time() + seconds, pass_by, self._timers, label="the next step of the schedule")
        while not passed and await io.run_next(self.clock):
            pass


def _leave(delivery: Delivery) -> None:
    """Leave a delivery that is given up to the invariants."""
