"""What all checks of one run share: the engine, the receiver, the way to see its state, and what is known of both."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from engagelab_mock.checks.bounds import PATIENCE
from engagelab_mock.checks.probe import Probe, Snapshot
from engagelab_mock.clock import check_delay, stopwatch
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import UsageError
from engagelab_mock.messages.message import Message
from engagelab_mock.service.engagelab import EngageLab

#: How often the state is looked at while something is waited for, in seconds.
_LOOK = 0.01
#: The statuses that are tried, in this order, until one is seen to have an effect.
_STATUSES = ("delivered", "verified", "sent", "plan")
#: How long an effect of the first is waited for when one of the others is seen, in seconds.
_GRACE = 0.1


class Hooks(msgspec.Struct, frozen=True):
    """Hold what a project gives beside its receiver."""

    #: Returns the state of the receiver's app for a message's id.
    observe: Callable[[str], Any] | None = None
    #: Called with each message before its callbacks are sent, for apps that know only what they have sent themselves.
    prepare: Callable[[Message], object] | None = None
    #: Called with seconds, gives a context in which what the handler calls downstream stalls that long.
    stall: Callable[[float], AbstractContextManager[object]] | None = None
    #: How long an app that acknowledges first and works afterwards may take for its work, in seconds.
    patience: float = PATIENCE


def check_hooks(hooks: Hooks) -> None:
    """Raise `UsageError` for a hook that cannot be called.

    >>> check_hooks(Hooks(observe=len))
    """
    check_delay(hooks.patience, where="patience")
    for name in ("observe", "prepare", "stall"):
        hook = getattr(hooks, name)
        if hook is not None and not callable(hook):
            raise UsageError(f"{name} is called, and {hook!r:.100} cannot be", where="check")


class Standing(msgspec.Struct):
    """Say what is known of a receiver before it is checked; found out when a check first asks."""

    #: Why it accepts no valid callback; empty if it does.
    refuses: str = ""
    #: Why nothing of its state is seen; empty if it is.
    blind: str = ""
    #: The status that is seen to have an effect.
    status: str = "delivered"
    #: How long after the answer an effect is seen, in seconds.
    lag: float = 0.0


class Context:
    """Hold the engine that everything is sent by, and find out what the receiver makes of a valid callback.

    >>> context = Context(Receiver.recording(), Hooks())
    >>> context.standing.refuses, context.standing.blind
    ('', 'nothing says how to see the state of the app: give `observe`')
    """

    def __init__(self, receiver: Receiver, hooks: Hooks, *, seed: object = None) -> None:
        # A copy, whose limit is set from check to check.
        self.receiver = receiver.with_settings()
        self.limit = receiver.limit
        #: How long to wait for an effect of what was acknowledged, in seconds.
        self.patience = hooks.patience
        self.hooks = hooks
        # A receiver that remembers nonces and messages would take two runs of one seed for a replay.
        self.seed = secrets.token_hex(4) if seed is None else seed
        self.engagelab = EngageLab(
            self.receiver, seed=f"check:{self.seed}", code_ttl=None, journal=Journal(limit=1000), defaults={}
        )
        observe = hooks.observe or receiver.observe
        self.probe = None if observe is None else Probe(observe)
        #: The messages that callbacks were sent about.
        self.messages: list[Message] = []
        self.callbacks = 0
        self.pings = 0
        #: Until when everything must be over, by the stopwatch; None for no bound.
        self.deadline: float | None = None
        self._attempts: list[tuple[Delivery, Attempt]] = []
        self._standing: Standing | None = None
        self.engagelab.journal.listeners.append(self._note)

    @property
    def standing(self) -> Standing:
        """Return what is known of the receiver, finding it out the first time."""
        if self._standing is None:
            # What finding out takes is no part of what a check has sent.
            sent, self._attempts = self._attempts, []
            self._standing = self._find_out()
            self._attempts = sent
        return self._standing

    def take_attempts(self) -> list[tuple[Delivery, Attempt]]:
        """Return the attempts made since this was last called."""
        taken, self._attempts = self._attempts, []
        return taken

    def new_message(self, *, prepared: bool = True) -> Message:
        """Make a message nobody has heard of, and let the project prepare for it, unless told otherwise."""
        generate = self.engagelab.generate
        message = Message(
            id=generate.message_id(),
            to=generate.recipient(),
            template_key=self.engagelab.template_key,
            business_id=self.engagelab.business_id,
            accepted=self.engagelab.clock.time(),
        )
        self.messages.append(message)
        if prepared and self.hooks.prepare is not None:
            self.hooks.prepare(message)
        return message

    def look(self, message: Message) -> Snapshot:
        """Return the state of a message as it is now; without `observe` there is none."""
        return Snapshot(message.id, None) if self.probe is None else self.probe.look(message.id)

    def look_for_change(self, before: Snapshot, message: Message, patience: float) -> Snapshot:
        """Return the state of a message once it differs from before, or after so many seconds."""
        end = stopwatch() + patience
        while (now := self.look(message)) == before and stopwatch() < end:
            time.sleep(_LOOK)
        return now

    def send_valid(self, message: Message, status: str) -> Attempt | None:
        """Send a valid callback of one status; None if the receiver's settings do not tick it."""
        self.receiver.limit = self.limit
        event = message.event(status, at=self.engagelab.clock.time(), channel="sms")
        deliveries = self.engagelab.deliver([event], check=False)
        return deliveries[0].attempts[-1] if deliveries else None

    def reach(self) -> Attempt:
        """Ping the receiver, to see whether anything listens there."""
        self.receiver.limit = self.limit
        return self.engagelab.validate_address(check=False).attempts[-1]

    def is_alive(self, patience: float, *, once: bool = False) -> bool:
        """Tell whether the receiver answers as it did before, within so many seconds or at the first try."""
        end = stopwatch() + patience
        while not self._answers(max(0.05, min(1.0, end - stopwatch()))):
            if once or stopwatch() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def _answers(self, limit: float) -> bool:
        self.receiver.limit = limit
        if self._standing is None or self._standing.refuses:
            delivery = self.engagelab.validate_address(check=False)
            return delivery.attempts[-1].response is not None or delivery.outcome is Outcome.APP_RAISED
        event = self.new_message().event(self._standing.status, at=self.engagelab.clock.time(), channel="sms")
        return all(accepted(each.attempts[-1]) for each in self.engagelab.deliver([event], check=False))

    def _find_out(self) -> Standing:
        standing = Standing()
        events = self.receiver.settings.events
        ticked = [status for status in _STATUSES if not events or status in events or "status" in events]
        first, *others = ticked or _STATUSES
        tried = [self._try(standing, first)]
        if standing.refuses or self.probe is None:
            standing.blind = "" if self.probe else "nothing says how to see the state of the app: give `observe`"
            return standing
        started = stopwatch()
        if not self._see(standing, tried, 0.0):
            # An app may have no use for that status, or do its work after its answer.
            tried += [self._try(standing, status) for status in others]
            # Where a later one is seen and the first is not, nor soon after, it is the status, and not the time.
            late = self._see(standing, tried[:1], _GRACE) or not self._see(standing, tried, 0.0)
            if late and self._see(standing, tried, self.patience):
                standing.lag = stopwatch() - started
        unheard_of = self.new_message()
        if not standing.blind and self.look(unheard_of) != self.look(unheard_of):
            standing.blind = (
                "what `observe` returns differs from one look to the next, though nothing was sent between them: "
                "leave out of it what is about the look"
            )
        return standing

    def _try(self, standing: Standing, status: str) -> tuple[str, Message, Snapshot]:
        """Send a valid callback of a message of its own, and return what was to be seen before."""
        message = self.new_message()
        before = self.look(message)
        attempt = self.send_valid(message, status)
        if attempt is None:
            standing.refuses = standing.refuses or f"the receiver's settings do not tick {status}"
        else:
            standing.refuses = "" if accepted(attempt) else describe(attempt)
        return status, message, before

    def _see(self, standing: Standing, tried: list[tuple[str, Message, Snapshot]], patience: float) -> bool:
        """Tell whether one of the callbacks is seen to have an effect within so many seconds."""
        end = stopwatch() + patience
        while True:
            for status, message, before in tried:
                now = self.look(message)
                if now != before:
                    standing.status = status
                    standing.blind = ""
                    return True
            standing.blind = (
                f"valid callbacks were acknowledged, and what `observe` returns, {now!s:.100}, did not change: "
                "either they have no effect on messages that the app did not send itself, which `prepare` is for, "
                "in a test in pytest, or `observe` looks elsewhere"
            )
            if stopwatch() >= end:
                return False
            time.sleep(_LOOK)

    def _note(self, delivery: Delivery, attempt: Attempt) -> None:
        if delivery.events:
            self.callbacks += 1
        else:
            self.pings += 1
        self._attempts.append((delivery, attempt))


def accepted(attempt: Attempt) -> bool:
    """Tell whether an attempt was answered in time with a success; whether it had to be 200 is a check of its own.

    >>> from engagelab_mock import Callback, Headers
    >>> accepted(Attempt(1, 0.0, Callback(Headers(), b"")))
    False
    """
    return (
        attempt.outcome in {Outcome.ACKNOWLEDGED, Outcome.NOT_200}
        and attempt.response is not None
        and 200 <= attempt.response.status < 300
    )


def describe(attempt: Attempt) -> str:
    """Say in a few words how an attempt was answered."""
    if attempt.outcome is Outcome.ACKNOWLEDGED and attempt.response is not None:
        return f"answered {attempt.response.status}"
    return attempt.error.partition(";")[0] or str(attempt.outcome)
