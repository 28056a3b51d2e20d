"""Play a schedule to a receiver, and record every attempt with the receiver's state before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.app_clock import AppClock
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.delivery.sender import REPLACED, Sender
from engagelab_mock.errors import StateNotSettled, reduce_struct
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.lifecycle import Script, labels_of
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.snapshots import Sent, Snapshots, not_restored
from engagelab_mock.explore.state import plain
from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.journal import Journal
    from engagelab_mock.service.engine import Engine


class Record(msgspec.Struct, frozen=True, eq=False):
    """Hold one attempt, with the receiver's state before and after it, as its `observe` returned it.

    With several messages, a state is a tuple with one entry for each message.
    """

    #: The step of the schedule, counted from 0.
    step: int
    #: The labels of the events in the callback.
    events: tuple[str, ...]
    delivery: Delivery
    attempt: Attempt
    before: Any
    after: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "before", "after")

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
    #: Whether the state could be seen.
    observed: bool = False
    #: The playings of this schedule's events in order, to compare with; None if no invariant compares.
    baseline: Baseline | None = None

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

    @property
    def in_order(self) -> Played | None:
        """Return the playing of this schedule's events in order, each delivered once and alone."""
        return None if self.baseline is None else self.baseline.played

    @property
    def changed(self) -> bool:
        """Tell whether the state changed at all."""
        return any(record.after is not record.before for record in self.records)

    def state_of(self, state: Any, message: int) -> Any:
        """Return the state of one message, by its number."""
        return state if len(self.messages) == 1 else state[message]

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "initial", late=("baseline",))

    def __repr__(self) -> str:
        changes = sum([record.after is not record.before for record in self.records])
        shown = f"{changes} changes of the state" if self.observed else "acknowledgements only"
        return f"<Played {self.schedule.token}: {len(self.records)} attempts, {shown}>"


#: Seconds until a callback with a fault is sent again: the first wait of the vendor's ladder [X].
RETRY_AFTER = RetryPolicy((60.0,))

#: How often the state is read while it does not change, in seconds.
_LOOK = 0.005

#: The place of a delivery in its schedule: the step, counted from 0, the labels of its events, and the delivery.
_Placed = tuple[int, tuple[str, ...], Delivery]


def names_of(schedule: Schedule) -> tuple[str, ...]:
    """Return the names of a schedule's lifecycles.

    >>> names_of(Schedule.parse("eg1:verified:plan"))
    ('verified',)
    """
    return tuple([scenario.name for scenario in schedule.lifecycles])


class Baseline(msgspec.Struct, eq=False):
    """Hold playings of the same events in order, each delivered once and alone, to compare other playings with."""

    played: Played
    #: A second playing: values that differ between the two are not compared. None until a state differs.
    again: Played | None = None
    #: All events of the lifecycles in order, and in the opposite order. They show which values count updates.
    whole: Played | None = None
    back: Played | None = None


class Player:
    """Play schedules, one at a time, each to its end: send the callbacks, and read the state after each attempt.

    Before each schedule, it resets the app and prepares the messages with the probe's functions. With `reset`, all
    schedules of the same lifecycles are about the same messages. Retries wait in the player's own heap, in the order of
    their times on its clock. With `set_time`, the app's clock goes along with that clock.
    """

    def __init__(
        self,
        engine: Engine,
        probe: Probe,
        app_clock: AppClock,
        *,
        journal: Journal,
        clock: Any,
        number: int,
        retry: RetryPolicy = NO_RETRY,
        snapshots: Snapshots | None = None,
    ) -> None:
        #: The clock's time at which the player was made.
        self.started: float = clock.time()
        self.probe = probe
        self._engine = engine
        self._receiver = engine.receiver
        self._clock = clock
        self._app_clock = app_clock
        self._generate = Generator.seeded(engine.seed, "explore", number)
        nonces = Generator.seeded(engine.seed, "explore", number, "nonces", engine.nonce_seed)
        #: Whether the app reads the clock of the schedules.
        self._clock_moves = app_clock.can_be_set or self._receiver.signature_clock == "virtual"
        # For a receiver with a virtual clock, signatures have the time of the engine's clock, which the app reads.
        signs_by = clock if app_clock.can_be_set else engine.clock
        self._sender = Sender(
            journal=journal,
            clock=signs_by,
            generate=self._generate,
            nonces=nonces,
            sets_time=app_clock.can_be_set,
        )
        self._retry = retry
        self._faults: dict[str, tuple[Fault, ...]] = {}
        self._scripts: dict[tuple[str, ...], Script] = {}
        # Pending retries, by time and then in the order in which they were entered. An entry without a delivery is the
        # time at which the schedule continues.
        self._due: list[tuple[float, int, _Placed | None]] = []
        self._entered = count()
        self._last: Played | None = None
        #: How many attempts were made.
        self.sent = 0
        self._snapshots = snapshots
        #: The script whose messages the snapshots are about.
        self._saved_for: Script | None = None

    async def play(self, io: Io, schedule: Schedule) -> Played:
        """Reset the app, prepare the messages, deliver every step, then send every pending retry."""
        __tracebackhide__ = True
        await self._app_clock.keep(io, self._clock.time())
        script, snapshots = self._script(schedule), self._snapshots
        steps = [(index, step) for index, step in enumerate(schedule.steps) for _ in range(step.repeat)]
        sent = [] if snapshots is None else [(index, step.events, step.fault, step.delay) for index, step in steps]
        played, done = await self._begun(io, schedule, script, sent)
        for place, (index, step) in enumerate(steps[done:], done):
            if step.delay and (not place or steps[place - 1][0] != index):
                self._enter(step.delay, None)
                await self._run_due(io, played)
            callback_events, body, message_id = script.content(step.events)
            if callback_events:
                faults, retry = self._struck_by(step) if step.fault else ((), self._retry)
                delivery = Delivery(self._receiver, callback_events, body, message_id, retry, faults)
                await self._attempt(io, played, (index, step.events, delivery))
            # A pending retry belongs to one playing, and so does a delay.
            if snapshots is not None and not self._due and not any(each.delay for _, each in steps[: place + 1]):
                await snapshots.save(io, sent[: place + 1], played.initial, played.records)
        if self._due:
            await self._run_due(io, played)
        self.probe.check_seen()
        return played

    async def _begun(self, io: Io, schedule: Schedule, script: Script, sent: Sequence[Sent]) -> tuple[Played, int]:
        """Bring the app to the beginning of a schedule, or to where an earlier one had sent the same callbacks.

        Return the playing, and the number of these callbacks.
        """
        __tracebackhide__ = True
        probe, snapshots, messages = self.probe, self._snapshots, script.messages
        seen = probe.observe is not None
        if snapshots is not None and script is self._saved_for and (saved := await snapshots.go_back(io, sent)):
            self._last = played = Played(schedule, self._receiver, messages, saved.initial, list(saved.records), seen)
            if seen and (state := await self.look(io, messages, played.final)) is not played.final:
                raise not_restored(played.final, state)
            return played, len(saved.sent)
        if snapshots is not None:
            await snapshots.start_again(io)
            self._saved_for = script
        await probe.reset_app(io)
        for message in messages if probe.prepare is not None else ():
            await probe.prepare_message(io, message)
        initial = await self.look(io, messages, None) if seen else None
        self._last = played = Played(schedule, self._receiver, messages, initial, [], seen)
        if snapshots is not None:
            await snapshots.save(io, (), initial, ())
        return played, 0

    def use_events(self, schedule: Schedule, events: Mapping[str, Event]) -> None:
        """Replace the events made for these labels, in every schedule of the same lifecycles."""
        labels = labels_of(schedule.lifecycles)
        own = {labels.find(label, where="events"): event for label, event in events.items()}
        self._scripts[names_of(schedule)] = self._new_script(schedule, own)

    def _script(self, schedule: Schedule) -> Script:
        names = names_of(schedule)
        script = self._scripts.get(names)
        if script is None or script.now != self._now():
            script = self._new_script(schedule, script.own_events if script else {}, script)
            if not self.new_messages:
                self._scripts[names] = script
        return script

    def _new_script(self, schedule: Schedule, events: Mapping[str, Event], known: Script | None = None) -> Script:
        """Make the messages and events of a schedule; if the script is known, the messages have its ids."""
        ids = [
            self._generate.message_id() if known is None else known.messages[n].id
            for n in range(len(schedule.lifecycles))
        ]
        return Script(self._engine, schedule.lifecycles, ids=ids, now=self._now(), events=events)

    def _now(self) -> float:
        """Return when the last event of a schedule happens; the delays of earlier schedules move the app's clock.

        Without them, an app that reads the wall clock would see events of the future.
        """
        return float(self._clock.time()) if self._clock_moves else self.started

    @property
    def new_messages(self) -> bool:
        """Tell whether each schedule is about new messages, because nothing brings the app back."""
        return self.probe.reset is None and self._snapshots is None

    @property
    def last_state(self) -> Any:
        """Return the last state that was seen."""
        return None if self._last is None else self._last.final

    async def check_settled(self, io: Io, patience: float = 0.0) -> None:
        """Raise `StateNotSettled` if the state has changed since the last attempt, or does in `patience` seconds."""
        __tracebackhide__ = True
        played = self._last
        if played is None or not played.observed:
            return
        ends = stopwatch() + patience
        while (now := await self.look(io, played.messages, played.final)) is played.final:
            if stopwatch() >= ends:
                return
            await io.pause(_LOOK)
        after = "+".join(played.records[-1].events) if played.records else "prepare"
        raise StateNotSettled(
            f"the state changed from {played.final!r:.200} to {now!r:.200} after {after}, and no callback was sent",
            where="observe",
            hint="the app works after its answer: give wait_idle, such as Receiver.wsgi(…, wait_idle=jobs.join)"
            if self.probe.wait_idle is None
            else "wait_idle returned before the app's work was done",
        )

    async def let_pass(self, io: Io, seconds: float) -> None:
        """Run a virtual clock that the app reads by some seconds; the times of later playings differ by as much."""
        if self._clock_moves:
            await self._reach(io, self._clock.time() + seconds)

    async def look(self, io: Io, messages: tuple[Message, ...], before: Any) -> Any:
        """Return a message's state, or a tuple of the states of several; `before` itself if it is unchanged."""
        probe = self.probe
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
        probe, messages = self.probe, played.messages
        if probe.set_time is not None:
            await self._app_clock.keep(io, self._clock.time())
        self.sent += 1
        attempt = await self._sender.attempt(io, delivery)
        before = after = records[-1].after if records else played.initial
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
        """Return the fault of a step and its retries; raise `UsageError` if this receiver cannot get the fault."""
        faults = self._faults.get(step.fault)
        if faults is None:
            made = fault(step.fault, attempts=1)
            made.check_receiver(transport=self._receiver.transport.name, signs=self._receiver.settings.signs)
            faults = self._faults[step.fault] = (made,)
        return faults, self._retry if self._retry.waits else RETRY_AFTER

    def _enter(self, seconds: float, placed: _Placed | None) -> None:
        heappush(self._due, (self._clock.time() + seconds, next(self._entered), placed))

    async def _run_due(self, io: Io, played: Played) -> None:
        """Send the retries in the order of their times, until the schedule continues or no retry is left."""
        __tracebackhide__ = True
        while self._due:
            when, _, placed = heappop(self._due)
            await self._reach(io, when)
            if placed is None:
                return
            await self._attempt(io, played, placed)

    async def _reach(self, io: Io, when: float) -> None:
        """Run the clock to a Unix time; other timers that are due earlier run first."""
        __tracebackhide__ = True
        reached: list[bool] = []
        timer = self._clock.call_at(when, lambda: reached.append(True), label="the next step of the schedule")
        try:
            while not reached and await io.run_next(self._clock):
                pass
        finally:
            timer.cancel()


def text_of(state: Any, played: Played) -> str:
    """Return a state as text, without the ids of the messages, which differ in each playing."""
    text = repr(plain(state) if isinstance(state, (set, frozenset)) else state)
    for number, message in enumerate(played.messages, 1):
        text = text.replace(message.id, f"message {number}")
    return text
