"""One check under way: what it sends, and how it judges what comes back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NoReturn

from engagelab_mock.checks.context import Context, accepted, describe
from engagelab_mock.checks.evidence import Change
from engagelab_mock.checks.probe import Snapshot
from engagelab_mock.checks.stimulus import again, body
from engagelab_mock.checks.verdict import Ended, Judgement
from engagelab_mock.clock import stopwatch
from engagelab_mock.delivery.faults.catalogue import fault as find_fault
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import gather
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Event
from engagelab_mock.service.crowd import Crowd


class Trial:
    """Give a check's work all it needs: messages, ways to send, and judgements, which end it where they fail.

    A work that comes to its end has passed.
    """

    def __init__(self, context: Context, *, seconds: float) -> None:
        self.context = context
        self.engagelab = context.engagelab
        self.receiver = context.receiver
        self.warnings: list[str] = []
        self.changes: list[Change] = []
        #: The ids of the messages that the finding is to show; none is all.
        self.shown: set[str] = set()
        self._deadline = stopwatch() + seconds
        #: The state of each message of this trial when it was last looked at.
        self._states: dict[str, Snapshot] = {}

    # --- What is known

    @property
    def sees(self) -> bool:
        """Tell whether effects can be seen."""
        return self.context.probe is not None and not self.context.standing.blind

    @property
    def limit(self) -> float:
        """Return how long the receiver has for its answer, in seconds."""
        return ACKNOWLEDGEMENT_LIMIT if self.context.limit is None else self.context.limit

    @property
    def transport(self) -> str:
        """Return the name of the transport: http, wsgi or asgi."""
        return self.receiver.transport.name

    # --- What is sent

    def message(self, *, prepared: bool = True) -> Message:
        """Make a message that the receiver has not heard of; `prepared` says whether its app has."""
        message = self.context.new_message(prepared=prepared)
        if self.context.probe is not None:
            self._states[message.id] = self.context.look(message)
        return message

    def event(self, message: Message, status: str = "", **fields: Any) -> Event:
        """Make an event of a message; the status is one that is known to have an effect, unless given."""
        status = status or self.context.standing.status
        given: dict[str, Any] = {"at": self.engagelab.clock.time(), "channel": "sms", **fields}
        return message.event(status, **given)

    def ticks(self, status: str) -> bool:
        """Tell whether the receiver's settings tick a message status."""
        events = self.receiver.settings.events
        return not events or "status" in events or status in events

    def send(self, what: Message | Event | Sequence[Event], *faults: Fault | str) -> Attempt:
        """Send one callback and return its last attempt; a message stands for an event of it that has an effect.

        Ends the trial as skipped where the transport or the receiver's settings cannot express it.
        """
        return self.send_all(what, *faults)[-1]

    def send_all(self, what: Message | Event | Sequence[Event], *faults: Fault | str) -> list[Attempt]:
        """Do what `send` does and return every attempt: those of copies at once, failed ones last."""
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

    def send_at_once(self, event: Event, copies: int) -> list[Attempt]:
        """Send a callback of one event so many times at once, each signed anew."""
        self._set_limit()
        crowd = Crowd(self.engagelab, copies, None, copies, seed=f"check:{self.engagelab.generate.nonce()}")
        members = [crowd.member(index) for index in range(copies)]
        if self.transport == "asgi":
            app: Any = self.receiver.transport
            made = app.run(gather(member.adeliver([event], check=False) for member in members))
        else:
            with ThreadPoolExecutor(copies) as pool:
                made = list(pool.map(lambda member: member.deliver([event], check=False), members))
        return [delivery.attempts[-1] for deliveries in made for delivery in deliveries]

    def resend(self, attempt: Attempt, message: Message) -> Attempt:
        """Send the very bytes of an earlier attempt again, signature included."""
        return self.send(message, body(attempt.callback.body), again(attempt))

    def ping(self, content: Literal["empty", "json"] = "empty", *, signed: bool = False) -> Attempt:
        """Send an address validation."""
        self._set_limit()
        return self.engagelab.validate_address(content, signed=signed, check=False).attempts[-1]

    def burst(self, count: int, *, status: str = "plan") -> list[Attempt]:
        """Send so many valid callbacks of different messages at once."""
        self._set_limit()
        runs = self.engagelab.send_many(count, scenario=[status], concurrency=count, check=False)
        self.context.messages.extend(run.message for run in runs)
        return [delivery.attempts[-1] for run in runs for delivery in run.deliveries]

    # --- What is seen

    def look(self, message: Message) -> Snapshot:
        """Return the state of a message once the app has had time for what it does after its answer."""
        if self.context.standing.lag:
            time.sleep(min(3 * self.context.standing.lag, self.context.patience))
        return self._looked(message, self.context.look(message))

    def await_change(self, message: Message) -> Change:
        """Return what has changed of a message since it was last looked at, waiting for it for a while."""
        before = self._states[message.id]
        after = self.context.look_for_change(before, message, max(self.context.patience, 5 * self.context.standing.lag))
        self._looked(message, after)
        return Change(before, after)

    def settled(self, messages: Sequence[Message]) -> list[Snapshot]:
        """Return the states of messages once an app that works after its answer has come to rest."""
        lag = self.context.standing.lag
        now = [self.context.look(message) for message in messages]
        end = stopwatch() + 2 * self.context.patience
        while lag and stopwatch() < end:
            time.sleep(min(self.context.patience, max(3 * lag, 0.02)))
            before, now = now, [self.context.look(message) for message in messages]
            if now == before:
                break
        return now

    def show(self, message: Message, *changes: Change) -> None:
        """Have the finding show what was sent about this message, and about others that are shown, alone."""
        self.shown.add(message.id)
        self.changes += changes

    def shows(self, delivery: Delivery) -> bool:
        """Tell whether the finding is to show a delivery."""
        return not self.shown or any(getattr(event, "message_id", "") in self.shown for event in delivery.events)

    def change(self, message: Message) -> Change:
        """Return what has changed of a message since it was last looked at, once the app has had time for it."""
        self.look(message)
        return self.changes[-1]

    def _looked(self, message: Message, now: Snapshot) -> Snapshot:
        self.changes.append(Change(self._states.get(message.id, now), now))
        self._states[message.id] = now
        return now

    # --- How it is judged

    def fail(self, reason: str, schedule: Schedule | None = None) -> NoReturn:
        """End the trial: the receiver fell short, over a schedule if what was sent is one."""
        raise Ended(Judgement.FAIL, reason, schedule)

    def inconclusive(self, reason: str) -> NoReturn:
        """End the trial: it cannot be told."""
        raise Ended(Judgement.INCONCLUSIVE, reason)

    def skip(self, reason: str) -> NoReturn:
        """End the trial: it cannot be sent."""
        raise Ended(Judgement.SKIPPED, reason)

    def warn(self, text: str) -> None:
        """Note what is not as it should be, and is no failure."""
        if text not in self.warnings:
            self.warnings.append(text)

    def accepted(self, attempt: Attempt, what: str = "a valid callback", schedule: Schedule | None = None) -> None:
        """Fail unless an attempt was answered with a success in time."""
        if not accepted(attempt):
            self.fail(f"{what}: {describe(attempt)}", schedule)

    def applied(self, message: Message, what: str = "a valid callback", schedule: Schedule | None = None) -> None:
        """Fail unless something has changed of a message; say nothing where nothing can be seen."""
        if self.sees and not self.await_change(message).changed:
            self.fail(f"{what} was acknowledged and had no effect", schedule)

    def not_lost(self, attempt: Attempt, message: Message, what: str) -> None:
        """Fail if something was acknowledged and had no effect, or brought the receiver down; a refusal is no loss."""
        self.survived(attempt, what)
        if accepted(attempt):
            self.applied(message, what)

    def survived(self, attempt: Attempt, what: str, schedule: Schedule | None = None) -> None:
        """Fail if the receiver crashed, hung, or closed the connection over it."""
        status = attempt.response.status if attempt.response is not None else 0
        if attempt.outcome is Outcome.APP_RAISED or status >= 500 or not status:
            self.fail(f"{what}: {describe(attempt)}", schedule)
        if attempt.outcome is Outcome.TIMEOUT:
            self.fail(f"{what}: {attempt.error}", schedule)

    def no_effect(self, message: Message, what: str) -> None:
        """Fail if something has changed of a message; say nothing where nothing can be seen."""
        if self.sees:
            before = self._states[message.id]
            if self.look(message) != before:
                self.fail(f"{what} had an effect")

    def refused(self, attempt: Attempt, message: Message, what: str) -> None:
        """Fail unless what should be refused was survived and had no effect.

        The status is not prescribed. Without a way to see effects, a success is all there is to judge by.
        """
        self.no_effect(message, what)
        self.survived(attempt, what)
        if not accepted(attempt):
            return
        if not self.sees:
            self.fail(f"{what} was answered as a genuine callback is: {describe(attempt)}")
        self.warn(f"{what} had no effect, but was {describe(attempt)} as a genuine callback is; 401 would be clearer")

    def _set_limit(self) -> None:
        """Give the receiver its full time, or end the trial: an answer cut short would say nothing about it."""
        self.receiver.limit = self.context.limit
        ends = [self._deadline, *([] if self.context.deadline is None else [self.context.deadline])]
        if min(ends) - stopwatch() < self.limit:
            self.inconclusive("there was no time left for it")
