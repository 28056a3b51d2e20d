"""A trial: one run of one check. It sends the callbacks, and judges the answers and the state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from threading import Barrier, BrokenBarrierError
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from engagelab_mock.checks.check import Basis, Ended, Fix, Judgement
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.stimulus import again, body
from engagelab_mock.delivery.faults.catalogue import fault as find_fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT
from engagelab_mock.errors import ProbeFailed, UsageError
from engagelab_mock.eventloop import gather, stopwatch
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.state import Path, Snapshot, state_of
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine

#: An answer that takes longer is slow, and a busy machine is not the only reason, in seconds.
_SLOW = 0.1
#: Why a check was not judged when its time, or that of the run, was up.
NO_TIME = "there was no time left for this check: give more, with `timeout=` or --total"


class Trial:
    """Give a check's function its tools: messages, ways to send, and expectations that end the check if they fail.

    If the function returns, the check has passed.
    """

    def __init__(self, context: Context, *, seconds: float) -> None:
        self.context = context
        self.engagelab = context.engagelab
        self.receiver = context.receiver
        self.warnings: list[str] = []
        self.changes: list[Change] = []
        #: The ids of the messages that the finding shows; empty: all messages.
        self.shown: set[str] = set()
        self._started = stopwatch()
        #: How long it may take, in seconds.
        self.seconds = seconds
        self.begin()
        #: The state of each message of this trial at the last read.
        self._states: dict[str, Snapshot] = {}

    def begin(self, ago: float = 60) -> None:
        """Let the messages and events that are made from now on be so old: a minute, so that all events are past."""
        #: When the lifecycles of this trial's schedules began.
        self._began = self.engagelab.clock.time() - ago

    # --- The receiver

    @property
    def sees(self) -> bool:
        """Tell whether effects are visible."""
        return self.context.observed and not self.context.profile.blind

    @property
    def limit(self) -> float:
        """Return the time limit of the receiver's answer, in seconds."""
        return ACKNOWLEDGEMENT_LIMIT if self.context.limit is None else self.context.limit

    @property
    def transport(self) -> str:
        """Return the name of the transport: http, wsgi or asgi."""
        return self.receiver.transport.name

    # --- Send

    def message(self, *, prepared: bool = True, **data: Any) -> Message:
        """Make a message that no callback was sent about, and call `prepare` with it unless `prepared` is False.

        `to` and `custom_args` can be given.
        """
        # Accepted before its first event. With `play`, that is at the beginning of this trial's lifecycles.
        message = self.context.new_message(prepared=prepared, accepted=self._began, **data)
        self._states[message.id] = self.context.look(message)
        return message

    def messages(self, count: int) -> list[Message]:
        """Make messages as `message` does, without reading their states before their first callbacks."""
        return [self.context.new_message(accepted=self._began) for _ in range(count)]

    def message_with(self, what: str, **data: Any) -> Message:
        """Do the same as `message`. If `prepare` fails for a message with such data, end the trial as inconclusive."""
        try:
            return self.message(**data)
        except ProbeFailed as error:
            self.inconclusive(f"{error.what:.150}, for a message with {what}")

    def sees_kind(self, kind: str) -> bool:
        """Tell whether the effect of an account event of this kind can be seen."""
        return self.sees and self.context.shows(kind)

    def places(self, kind: str) -> list[Message]:
        """Return the messages whose states may show an event of this kind, or a new recipient's reply."""
        shown = self.sees_kind(kind)  # first, because this may send an event
        places = self.context.places_of(self.context.new_place(kind, self.message()))
        if shown:
            for place in places:
                self.glance(place)
        return places

    def event(self, message: Message, status: str = "", **fields: Any) -> Event:
        """Make an event of a message (default: of a status that has an effect).

        All events of a trial have the same time, because some apps store a value that they compute from it.
        """
        status = status or self.context.profile.status
        given: dict[str, Any] = {"at": self._began, "channel": "sms", **fields}
        return message.event(status, **given)

    def events(self, schedule: Schedule, *messages: Message) -> dict[str, Event]:
        """Return the events of a schedule by their labels, about these messages."""
        events: dict[str, Event] = {}
        for label, (number, index) in labels_of(schedule.lifecycles).places.items():
            steps = list(schedule.lifecycles[number].steps("sms"))[: index + 1]
            events[label] = messages[number].event(
                steps[-1].status,
                at=self._began + sum(step.after for step in steps),
                channel=steps[-1].channel or "",
                error_code=steps[-1].error_code,
            )
        return events

    def ticks(self, status: str) -> bool:
        """Tell whether the receiver subscribes to a message status."""
        events = self.receiver.settings.events
        return not events or "status" in events or status in events

    def ticks_kind(self, kind: str) -> bool:
        """Tell whether the receiver subscribes to the account event that `Context.new_event` makes for this kind."""
        return self.receiver.settings.wants(self.context.new_event(kind, Message(id="0", to="+6591234567")))

    def send(self, what: Message | Event | Sequence[Event], *faults: Fault | str) -> Attempt:
        """Send one callback and return its last attempt. For a message, send one of its events that has an effect.

        Ends the trial as skipped if the transport or the receiver's subscription does not allow the callback.
        """
        return self.send_all(what, *faults)[-1]

    def send_all(self, what: Message | Event | Sequence[Event], *faults: Fault | str) -> list[Attempt]:
        """Do the same as `send`, and return every attempt: of copies sent at once, the failed ones come last."""
        events = [self.event(what)] if isinstance(what, Message) else [what] if isinstance(what, Event) else what
        chosen = [find_fault(fault) if isinstance(fault, str) else fault for fault in faults]
        self._set_limit()
        for fault in chosen:
            try:
                fault.check_receiver(transport=self.transport, signs=self.receiver.settings.signs)
            except UsageError as error:
                self.skip(error.what)
        deliveries = self.engagelab.deliver(events, fault=chosen or None, check=False)
        if not deliveries:
            self.skip(f"the receiver's settings do not tick {events[0].name}")
        return deliveries[0].attempts

    def play(self, schedule: Schedule, *messages: Message) -> Iterator[Attempt]:
        """Deliver the callbacks of a schedule about these messages, and yield each attempt as soon as it is made."""
        events = self.events(schedule, *messages)
        for step in schedule.steps:
            for _ in range(step.repeat):
                yield self.send([events[label] for label in step.events])

    def send_at_once(self, event: Event, copies: int, *faults: Fault) -> list[Attempt]:
        """Send that many callbacks of one event at once, each with its own signature."""
        return self.send_together([[event]] * copies, *faults)

    def send_together(self, callbacks: Sequence[Sequence[Event]], *faults: Fault) -> list[Attempt]:
        """Send callbacks at once, each with its events and its own signature."""
        self._set_limit()
        engine = self.engagelab._engine
        seed = f"check:{engine.generate.nonce()}"
        branches = [engine.branch(f"{seed}:{index}") for index, _ in enumerate(callbacks)]
        pairs = list(zip(branches, callbacks, strict=True))
        given: Any = {"check": False, "fault": list(faults) or None}
        if self.transport == "asgi":
            app: Any = self.receiver.transport
            made = app.run(gather(branch.deliver(ASYNC, events, given) for branch, events in pairs))
        else:
            try:
                self.receiver.check_threads()
            except UsageError as error:
                self.inconclusive(f"{error.what}: {error.hint}")
            # Without a common start, the first callback may be answered before the last thread has begun.
            start = Barrier(len(callbacks))
            with ThreadPoolExecutor(len(callbacks)) as pool:
                sent = [
                    pool.submit(copy_context().run, _deliver, branch, events, given, start) for branch, events in pairs
                ]
                made = [each.result() for each in sent]
        return [delivery.attempts[-1] for deliveries in made for delivery in deliveries]

    def works_in_threads(self) -> bool:
        """Tell whether an app that is called in process also works in a thread other than the test's."""
        message = self.message()
        self.send_at_once(self.event(message), 1)
        return self.await_effect(message)

    def expect_threads(self) -> None:
        """End the trial if a WSGI app only works in the test's own thread."""
        if self.transport == "wsgi" and not self.works_in_threads():
            self.inconclusive(
                "the app only works in the test's own thread, for example because of a transaction there: "
                "check it over a socket"
            )

    def resend(self, attempt: Attempt, message: Message) -> Attempt:
        """Send the bytes of an earlier attempt again, including the signature."""
        return self.send(message, body(attempt.callback.body), again(attempt))

    def ping(self, content: Literal["empty", "json"] = "empty", *, signed: bool = False) -> Attempt:
        """Send an address validation."""
        self._set_limit()
        return self.engagelab.validate_address(content, signed=signed, check=False).attempts[-1]

    # --- See the state

    def look(self, message: Message) -> Snapshot:
        """Return the state of a message after waiting for work that the app does after its answer."""
        self.context.settle()
        return self.glance(message)

    def glance(self, message: Message) -> Snapshot:
        """Return the present state of a message."""
        return self._looked(message, self.context.look(message))

    def numbers(self, places: Sequence[Message]) -> dict[tuple[int, Path], float]:
        """Return each number in the present states of messages, by the message's index and the path."""
        states = [(index, state_of(self.glance(place), place)) for index, place in enumerate(places)]
        leaves = [((index, path), value) for index, state in states for path, value in state.items()]
        return {leaf: value for leaf, value in leaves if type(value) in {int, float}}

    def await_effect(self, message: Message) -> bool:
        """Wait for a change of a message's state since the last read, and tell whether it has changed."""
        before = self._states[message.id]
        lag = self.context.profile.lag
        after = self.context.look_for_change(before, message, 1.5 * lag if lag else None)
        if lag and not self.context.changed(before, after, message):
            # The app may still be busy with earlier callbacks.
            self.context.settle()
            after = self.context.look(message)
        self._looked(message, after)
        return self.context.changed(before, after, message)

    def effects(self, *messages: Message) -> list[bool]:
        """Tell which states have changed since the last read, after the app had time to work after its answer."""
        before = [self._states[message.id] for message in messages]
        self.context.settle()
        now = [self.glance(message) for message in messages]
        return [self.context.changed(*each) for each in zip(before, now, messages, strict=True)]

    def settled(self, messages: Sequence[Message]) -> list[Snapshot]:
        """Return the states of messages after waiting for work that the app does after its answer."""
        self.context.settle()
        self.context.wait_until_idle(*messages)
        return [self.context.look(message) for message in messages]

    def show(self, message: Message, *changes: Change) -> None:
        """Make the finding show only this message and others passed to `show`; its changes come last."""
        self.shown.add(message.id)
        others_first = sorted(self.changes, key=lambda change: change.after.message_id == message.id)
        self.changes = [*others_first, *changes]

    def shows(self, delivery: Delivery) -> bool:
        """Tell whether the finding shows a delivery."""
        return not self.shown or any(getattr(event, "message_id", "") in self.shown for event in delivery.events)

    def _looked(self, message: Message, now: Snapshot) -> Snapshot:
        self.changes.append(Change(self._states.get(message.id, now), now))
        self._states[message.id] = now
        return now

    # --- End the trial

    def fail(
        self, reason: str, schedule: Schedule | None = None, *, basis: Basis | None = None, fix: Fix | None = None
    ) -> NoReturn:
        """End the trial with FAIL; `schedule` repeats its callbacks, `basis` is its basis, `fix` another fix."""
        raise Ended(Judgement.FAIL, reason, schedule, basis, fix)

    def inconclusive(self, reason: str) -> NoReturn:
        """End the trial with INCONCLUSIVE."""
        raise Ended(Judgement.INCONCLUSIVE, reason)

    def not_applicable(self, reason: str) -> NoReturn:
        """End the trial with NOT_APPLICABLE: the app does not use the data that the check is about."""
        raise Ended(Judgement.NOT_APPLICABLE, reason)

    def skip(self, reason: str) -> NoReturn:
        """End the trial with SKIPPED."""
        raise Ended(Judgement.SKIPPED, reason)

    def warn(self, text: str) -> None:
        """Add a warning: a problem that is not a failure."""
        if text not in self.warnings:
            self.warnings.append(text)

    # --- Expectations

    def expect_accepted(
        self, attempt: Attempt, what: str = "a valid callback", schedule: Schedule | None = None
    ) -> None:
        """Fail unless an attempt was answered with a 2xx in time."""
        if not accepted(attempt):
            self.fail(f"{what}: {describe(attempt)}", schedule, basis="answer")

    def expect_effect(self, message: Message, what: str = "a valid callback", schedule: Schedule | None = None) -> None:
        """Fail unless the state of a message has changed; pass if no state can be seen."""
        if self.sees and not self.await_effect(message):
            self.fail(f"{what} was acknowledged and had no effect", schedule)

    def expect_not_lost(self, attempt: Attempt, message: Message, what: str) -> None:
        """Fail if a callback crashed the receiver, or was acknowledged without an effect; a refusal is not a loss."""
        self.expect_answer(attempt, what)
        if accepted(attempt):
            self.expect_effect(message, what)

    def expect_answer(self, attempt: Attempt, what: str, schedule: Schedule | None = None) -> None:
        """Fail if the receiver crashed, did not answer in time, or closed the connection."""
        status = attempt.response.status if attempt.response is not None else 0
        if attempt.outcome is Outcome.APP_RAISED or status >= 500 or not status:
            self.fail(f"{what}: {describe(attempt)}", schedule, basis="answer")
        if attempt.outcome is Outcome.TIMEOUT:
            self.fail(f"{what}: {attempt.error}", schedule, basis="answer")

    def expect_own_state(self) -> None:
        """End the trial if effects are only visible in values that all messages share, which are not compared."""
        if not self.context.profile.own:
            self.inconclusive(
                "`observe` returns the same for every message, such as totals: return the state of the message whose "
                "id it is given"
            )

    def expect_no_effect(self, attempt: Attempt, message: Message, what: str) -> None:
        """Fail if the state of a message has changed; pass if no state can be seen."""
        if self.sees:
            before = self._states[message.id]
            status = attempt.response.status if attempt.response is not None else 0
            # If an app refuses a request, it does no work after its answer.
            now = self.glance(message) if 400 <= status < 500 else self.look(message)
            if self.context.changed(before, now, message):
                self.fail(f"{what} had an effect", basis="state")

    def expect_refused(self, attempt: Attempt, message: Message, what: str) -> None:
        """Fail unless a callback had no effect and was answered; any status is accepted.

        If no state can be seen, fail if the answer is a success.
        """
        self.expect_no_effect(attempt, message, what)
        self.expect_answer(attempt, what)
        if not accepted(attempt):
            return
        if not self.sees:
            self.fail(
                f"{what} was answered like a genuine callback: {describe(attempt)}; if the receiver ignores it, give "
                "`observe`, which shows that it had no effect",
                basis="answer",
            )
        self.warn(f"{what} had no effect, but was {describe(attempt)} like a genuine callback; 401 would be clearer")

    def time_left(self) -> float:
        """Return how long this trial may still take, in seconds, so that the receiver's time limit still fits in."""
        profile = self.context.known_profile
        # If a receiver takes long to answer, the same check needs more time.
        seconds = self.seconds + (60 * profile.answer if profile and profile.answer > _SLOW else 0.0)
        ends = [self._started + seconds, *([] if self.context.deadline is None else [self.context.deadline])]
        return min(ends) - stopwatch() - self.limit

    def out_of_time(self) -> NoReturn:
        """End the trial because no time is left for it."""
        self.inconclusive(NO_TIME)

    def _set_limit(self) -> None:
        """Give the receiver its full time limit. If less time is left, end the trial as inconclusive."""
        self.context.allow(self.context.limit)
        if self.time_left() < 0:
            self.out_of_time()


def _deliver(branch: Engine, events: Sequence[Event], given: Any, start: Barrier) -> list[Delivery]:
    with suppress(BrokenBarrierError):
        start.wait(ACKNOWLEDGEMENT_LIMIT)
    return run_sync(branch.deliver(SYNC, events, given))
