"""Play a schedule to a receiver, and record every attempt with the receiver's state before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.app_clock import AppClock
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.delivery.sender import Sender
from engagelab_mock.errors import ProbeFailed, StateNotSettled
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.handlers import Handlers, deadlock_failed
from engagelab_mock.explore.interleave import Deadlock
from engagelab_mock.explore.lifecycle import Script, labels_of, names_of
from engagelab_mock.explore.played import Played, Record
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.snapshots import Sent, Snapshots, not_restored
from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.journal import Journal
    from engagelab_mock.service.engine import Engine

#: Seconds until a callback with a fault is sent again: the first wait of the vendor's ladder [X].
RETRY_AFTER = RetryPolicy((60.0,))

#: How often the state is read while it does not change, in seconds.
_LOOK = 0.005

#: How long a state is watched after each attempt, to see whether the app works after its answer, in seconds.
_WATCHED = 0.02

#: The place of a delivery in its schedule: the step, counted from 0, the labels of its events, and the delivery.
_Placed = tuple[int, tuple[str, ...], Delivery]


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
        self._nonces = Generator.seeded(engine.seed, "explore", number, "nonces", engine.nonce_seed)
        #: Whether the app reads the clock of the schedules.
        self._clock_moves = app_clock.can_be_set or self._receiver.signature_clock == "virtual"
        # For a receiver with a virtual clock, signatures have the time of the engine's clock, which the app reads.
        signs_by = clock if app_clock.can_be_set else engine.clock
        self._sender = Sender(
            journal=journal,
            clock=signs_by,
            generate=self._generate,
            nonces=self._nonces,
            sets_time=app_clock.can_be_set,
        )
        self._retry = retry
        #: How the handlers are run.
        self.handlers = Handlers()
        self._faults: dict[str, tuple[Fault, ...]] = {}
        self._scripts: dict[tuple[str, ...], Script] = {}
        #: The ids for the next new messages of these lifecycles, if they are not drawn here.
        self._ids: dict[tuple[str, ...], Sequence[str]] = {}
        # Pending retries, by time and then as they were entered; without a delivery, when the schedule continues.
        self._due: list[tuple[float, int, _Placed | None]] = []
        self._entered = count()
        self._last: Played | None = None
        #: How long the state is watched after each attempt, in seconds; whether it was, for a whole schedule.
        self._patience, self._watched = 0.0, False
        #: How many attempts were made.
        self.sent = 0
        self._snapshots = snapshots
        #: The script whose messages the snapshots are about.
        self._saved_for: Script | None = None

    async def play(self, io: Io, schedule: Schedule, *, afresh: bool = False) -> Played:
        """Reset the app, prepare the messages, deliver every step, then each retry; `afresh`: without a snapshot."""
        __tracebackhide__ = True
        self._saved_for = None if afresh else self._saved_for
        counted = self.sent
        await self.handlers.prepare(schedule, partial(self.play, io, schedule.in_order))
        self.sent = counted  # without those playings
        with self.handlers.watching(self._receiver):
            return await self._played(io, schedule)

    async def _played(self, io: Io, schedule: Schedule) -> Played:
        __tracebackhide__ = True
        await self._app_clock.keep(io, self._clock.time())
        script, snapshots = self._script(schedule), self._snapshots
        steps = [(index, step) for index, step in enumerate(schedule.steps) for _ in range(step.repeat)]
        # Callbacks at the same time, or until a crash, may act differently from the same callbacks alone.
        stopped = [step.fault or "|" * bool(step.beside or step.crash) for _, step in steps]
        sent = [(index, step.events, fault, step.delay) for (index, step), fault in zip(steps, stopped, strict=True)]
        played, done = await self._begun(io, schedule, script, sent)
        for place, (index, step) in enumerate(steps[done:], done):
            if step.delay and (not place or steps[place - 1][0] != index):
                self._enter(step.delay, None)
                await self._run_due(io, played)
            if step.beside or step.crash:
                if not await self._attempt_stopped(io, played, index, step, script):
                    break
                continue
            callback_events, body, message_id = script.content(step.events)
            if callback_events:
                faults, retry = self._struck_by(step) if step.fault else ((), self._retry)
                delivery = Delivery(self._receiver, callback_events, body, message_id, retry, faults)
                await self._attempt(io, played, (index, step.events, delivery))
            # A pending retry belongs to one playing, and so does a delay.
            if (
                snapshots is not None
                and not self._due
                and not any(each.delay or each.beside or each.crash for _, each in steps[: place + 1])
            ):
                await snapshots.save(io, sent[: place + 1], played.initial, played.records)
        await self._run_due(io, played)
        if any(record.processed for record in played.records):
            self.probe.check_seen()  # an app that refuses all of them has no state to see
        return played

    async def _begun(self, io: Io, schedule: Schedule, script: Script, sent: Sequence[Sent]) -> tuple[Played, int]:
        """Bring the app to the beginning of a schedule, or to the state of an earlier one after the same callbacks.

        Return the playing, and the number of these callbacks.
        """
        __tracebackhide__ = True
        probe, snapshots, messages, seen = self.probe, self._snapshots, script.messages, self.probe.observe is not None
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

    def forget_snapshots(self) -> None:
        """Send every callback of the next playing, so that values differ in it that differ in each playing."""
        self._saved_for = None

    def use_events(self, schedule: Schedule, events: Mapping[str, Event]) -> None:
        """Replace the events made for these labels, in every schedule of the same lifecycles."""
        labels = labels_of(schedule.lifecycles)
        own = {labels.find(label, where="events"): event for label, event in events.items()}
        self._scripts[names_of(schedule.lifecycles)] = self._new_script(schedule, own)

    def ids_of(self, schedule: Schedule) -> list[str]:
        """Return the ids for the messages of a schedule that another process plays."""
        if self.new_messages:
            return [self._generate.message_id() for _ in schedule.lifecycles]
        return [message.id for message in self._script(schedule).messages]

    def use_ids(self, schedule: Schedule, ids: Sequence[str]) -> None:
        """Give the messages of a schedule these ids, if they are made for it."""
        self._ids[names_of(schedule.lifecycles)] = ids

    def branch(self, number: int) -> None:
        """Draw other ids and nonces from now on than the process that this one is a copy of."""
        for generate in (self._generate, self._nonces):
            generate.random.seed(f"{generate.message_id()}:worker:{number}")

    def _script(self, schedule: Schedule) -> Script:
        names = names_of(schedule.lifecycles)
        script = self._scripts.get(names)
        if script is None or script.now != self._now():
            script = self._new_script(schedule, script.own_events if script else {}, script)
            if not self.new_messages:
                self._scripts[names] = script
        return script

    def _new_script(self, schedule: Schedule, events: Mapping[str, Event], known: Script | None = None) -> Script:
        """Make the messages and events of a schedule; if the script is known, the messages have its ids."""
        ids = self._ids.pop(names_of(schedule.lifecycles), None)
        if known is not None:
            ids = [message.id for message in known.messages]
        elif ids is None:
            ids = [self._generate.message_id() for _ in schedule.lifecycles]
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
            await self.probe.pause(io, _LOOK)
        after = "+".join(played.records[-1].events) if played.records else "prepare"
        hint = "the app works after its answer: give wait_idle, such as Receiver.wsgi(…, wait_idle=jobs.join)"
        if await self.look(io, played.messages, now) is not now:
            hint = f"do not return a value that changes on every read, such as the current time; or {hint}"
        elif self.probe.wait_idle is not None:
            hint = "wait_idle returned before the app's work was done"
        raise StateNotSettled(
            f"the state changed from {played.final!r:.200} to {now!r:.200} after {after}, but no callback was sent",
            where="observe",
            hint=hint,
        )

    async def check_each_settled(self, io: Io, lifecycles: tuple[Scenario, ...]) -> None:
        """Raise `StateNotSettled` if the state changes later than the answer to any callback of these lifecycles.

        They are played in order and in the opposite order. Only the first call does so.
        """
        __tracebackhide__ = True
        if self._watched:
            return
        self._patience, self._watched = _WATCHED, True
        steps = tuple([Step((label,)) for label in labels_of(lifecycles).all])
        try:
            for order in (steps, steps[::-1]):
                await self.play(io, Schedule(lifecycles, order), afresh=True)
        finally:
            self._patience = 0.0

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
        before = played.final
        if self.probe.set_time is not None:
            await self._app_clock.keep(io, self._clock.time())
        self.sent += 1
        try:
            await self.handlers.alone(io, self._sender, placed[2])
        except Deadlock as error:
            raise deadlock_failed(played, [placed], "", error) from None
        self._record(played, placed, before, await self._state_after(io, played, before))
        if self._patience:
            await self.check_settled(io, self._patience)

    def _record(self, played: Played, placed: _Placed, before: Any, after: Any) -> None:
        index, labels, delivery = placed
        attempt = delivery.attempts[-1]
        played.records.append(Record(index, labels, delivery, attempt, before, after))
        if not attempt.acknowledged:
            wait = delivery.retry.wait_after(attempt.number)
            if wait is None:
                delivery.given_up = True
            else:
                self._enter(wait, placed)

    async def _state_after(self, io: Io, played: Played, before: Any) -> Any:
        probe, messages = self.probe, played.messages
        if probe.wait_idle is not None:
            await probe.idle(io, tuple([message.id for message in messages]))
        return before if probe.observe is None else await self.look(io, messages, before)

    async def _attempt_stopped(self, io: Io, played: Played, index: int, step: Step, script: Script) -> bool:
        """Attempt the deliveries of a step whose handlers are stopped: at the same time, or because one crashes.

        Return False if the state cannot be read after that.
        """
        __tracebackhide__ = True
        placed: list[_Placed] = [
            (index, labels, Delivery(self._receiver, events, body, message_id, self._retry))
            for labels in step.callbacks
            for events, body, message_id in [script.content(labels)]
            if events
        ]
        if not placed:
            return True
        before, first, order = played.final, placed[0][2], step.order if len(placed) > 1 else ""
        await self._app_clock.keep(io, self._clock.time())
        self.sent += len(placed) + bool(step.crash)
        try:
            if step.crash:
                trace = await self.handlers.crashing(io, self._sender, first, step.crash)
            else:
                deliveries = [("+".join(labels), delivery) for _, labels, delivery in placed]
                trace = await self.handlers.together(io, self._sender, deliveries, order)
            played.traces.append(trace)
            after, readable = await self._state_if_readable(io, played, before)
            if trace.crashed and not first.acknowledged:
                played.records.append(Record(*placed[0], first.attempts[-1], before, after if readable else before))
                await self.handlers.alone(io, self._sender, first)
                before = played.final
                after, readable = await self._state_if_readable(io, played, before)
        except Deadlock as error:
            raise deadlock_failed(played, placed, order, error) from None
        for each in placed:
            self._record(played, each, before, after)
            before = after
        self._due = self._due if readable else []
        return readable

    async def _state_if_readable(self, io: Io, played: Played, before: Any) -> tuple[Any, bool]:
        """Return the state, or what `observe` raised: two rows instead of one can make it fail, because of a race."""
        __tracebackhide__ = True
        try:
            return await self._state_after(io, played, before), True
        except ProbeFailed as error:
            if error.where != "observe" or error.__cause__ is None:
                raise
            return f"({error.what})", False

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
