"""What all checks of one run share: the engine, the receiver and its profile, the probe, the time limits."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.state import Snapshot, plain
from engagelab_mock.messages.message import Message

# How long things may take, in seconds.
#: A whole run.
TOTAL = 120.0
#: One check.
EACH = 20.0
#: The work of an app that acknowledges first and works afterwards.
PATIENCE = 2.0
#: The recovery of a receiver that did not answer, before the next check.
RECOVERY = 3.0

#: How often the state is read while the checks wait for a change, in seconds.
_LOOK = 0.01
#: The statuses that are tried, in this order, until one has an effect that is seen.
_STATUSES = ("delivered", "verified", "sent", "plan")
#: How long an effect of the first status may still come after one of the others has an effect, in seconds.
_GRACE = 0.1

#: Why no state can be seen without `observe`.
NO_OBSERVE = "the state of the app cannot be seen: give `observe`"


class Hooks(msgspec.Struct, frozen=True):
    """Hold the functions of the project that the checks call."""

    #: Takes a message's id and returns the state that the receiver's app holds of it.
    observe: Callable[[str], Any] | None = None
    #: Called with each message before its callbacks, for apps that know only the messages they sent.
    prepare: Callable[[Message], object] | None = None
    #: Takes seconds and returns a context in which the handler's downstream calls take that long.
    stall: Callable[[float], AbstractContextManager[object]] | None = None
    #: How long an effect may follow its acknowledgement, in seconds.
    patience: float = PATIENCE


def check_hooks(hooks: Hooks) -> None:
    """Raise `UsageError` for a hook that is not callable.

    >>> check_hooks(Hooks(observe=len))
    """
    check_delay(hooks.patience, where="patience")
    for name in ("observe", "prepare", "stall"):
        hook = getattr(hooks, name)
        if hook is not None and not callable(hook):
            raise UsageError(f"{name} must be callable, not {hook!r:.100}", where="check")


class ReceiverProfile(msgspec.Struct):
    """Say how a receiver handles valid callbacks. It is found out when the first check needs it."""

    #: Why the receiver accepts no valid callback; empty if it does.
    refuses: str = ""
    #: Why the state shows no effect; empty if it does.
    blind: str = ""
    #: The status that has an effect.
    status: str = "delivered"
    #: How long after the answer an effect is seen, in seconds.
    lag: float = 0.0


class Context:
    """Hold the engine that sends all callbacks of a run, and find out how the receiver handles a valid callback.

    >>> context = Context(Receiver.recording(), Hooks())
    >>> context.profile.refuses, context.profile.blind
    ('', 'the state of the app cannot be seen: give `observe`')
    """

    def __init__(self, receiver: Receiver, hooks: Hooks, *, seed: object = None) -> None:
        # A copy, because the checks change its limit.
        self.receiver = receiver.with_settings()
        self.limit = receiver.limit
        #: How long to wait for an effect of an acknowledged callback, in seconds.
        self.patience = hooks.patience
        self.hooks = hooks
        # A receiver that remembers nonces and messages would take a second run with the same seed for a replay.
        self.seed = secrets.token_hex(4) if seed is None else seed
        self.engagelab = EngageLab(
            self.receiver, seed=f"check:{self.seed}", code_ttl=None, journal=Journal(limit=1000), defaults={}
        )
        probe = receiver.probe({"observe": hooks.observe, "prepare": hooks.prepare}, copy=plain)
        self.probe = None if probe.observe is None else probe
        #: The messages that callbacks were sent about.
        self.messages: list[Message] = []
        self.callbacks = 0
        self.pings = 0
        #: When the run must be over, by the stopwatch; None for no limit.
        self.deadline: float | None = None
        self._attempts: list[tuple[Delivery, Attempt]] = []
        self._profile: ReceiverProfile | None = None
        self.engagelab.journal.listeners.append(self._note)

    @property
    def profile(self) -> ReceiverProfile:
        """Return the receiver's profile; find it out the first time."""
        if self._profile is None:
            # The callbacks for the profile are not part of the check that asks for it.
            sent, self._attempts = self._attempts, []
            self._profile = self._find_profile()
            self._attempts = sent
        return self._profile

    def take_attempts(self) -> list[tuple[Delivery, Attempt]]:
        """Return the attempts made since the last call."""
        taken, self._attempts = self._attempts, []
        return taken

    def new_message(self, *, prepared: bool = True) -> Message:
        """Make a new message, and call `prepare` with it unless `prepared` is False."""
        generate = self.engagelab._engine.generate
        message = Message(
            id=generate.message_id(),
            to=generate.recipient(),
            template_key=self.engagelab.account.template_key,
            business_id=self.engagelab.account.business_id,
            accepted=self.engagelab.clock.time(),
        )
        self.messages.append(message)
        if prepared and self.hooks.prepare is not None:
            self.hooks.prepare(message)
        return message

    def look(self, message: Message) -> Snapshot:
        """Return the present state of a message; it is None without `observe`."""
        return Snapshot(message.id, None if self.probe is None else run_sync(self.probe.look(SYNC, message.id)))

    def look_for_change(self, before: Snapshot, message: Message, patience: float) -> Snapshot:
        """Return the state of a message as soon as it differs from `before`, or after `patience` seconds."""
        end = stopwatch() + patience
        while (now := self.look(message)) == before and stopwatch() < end:
            time.sleep(_LOOK)
        return now

    def send_valid(self, message: Message, status: str) -> Attempt | None:
        """Send a valid callback of one status; return None if the receiver's settings do not tick it."""
        self.receiver.limit = self.limit
        event = message.event(status, at=self.engagelab.clock.time(), channel="sms")
        deliveries = self.engagelab.deliver([event], check=False)
        return deliveries[0].attempts[-1] if deliveries else None

    def reach(self) -> Attempt:
        """Ping the receiver, to see if a server listens at its address."""
        self.receiver.limit = self.limit
        return self.engagelab.validate_address(check=False).attempts[-1]

    def is_alive(self, patience: float, *, once: bool = False) -> bool:
        """Tell whether the receiver answers as before, at the first try (`once`) or within `patience` seconds."""
        end = stopwatch() + patience
        while not self._answers(max(0.05, min(1.0, end - stopwatch()))):
            if once or stopwatch() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def _answers(self, limit: float) -> bool:
        self.receiver.limit = limit
        if self._profile is None or self._profile.refuses:
            delivery = self.engagelab.validate_address(check=False)
            return delivery.attempts[-1].response is not None or delivery.outcome is Outcome.APP_RAISED
        event = self.new_message().event(self._profile.status, at=self.engagelab.clock.time(), channel="sms")
        return all(accepted(each.attempts[-1]) for each in self.engagelab.deliver([event], check=False))

    def _find_profile(self) -> ReceiverProfile:
        profile = ReceiverProfile()
        events = self.receiver.settings.events
        ticked = [status for status in _STATUSES if not events or status in events or "status" in events]
        first, *others = ticked or _STATUSES
        tried = [self._try(profile, first)]
        if profile.refuses or self.probe is None:
            profile.blind = "" if self.probe else NO_OBSERVE
            return profile
        started = stopwatch()
        if not self._see(profile, tried, 0.0):
            # The app may not use that status, or may do its work after its answer.
            tried += [self._try(profile, status) for status in others]
            # If another status has an effect, and the first has none soon after, the app does not use the first.
            late = self._see(profile, tried[:1], _GRACE) or not self._see(profile, tried, 0.0)
            if late and self._see(profile, tried, self.patience):
                profile.lag = stopwatch() - started
        untouched = self.new_message()
        if not profile.blind and self.look(untouched) != self.look(untouched):
            profile.blind = (
                "`observe` returned two different values, although nothing was sent in between: "
                "do not return values that change on every read, such as the current time"
            )
        return profile

    def _try(self, profile: ReceiverProfile, status: str) -> tuple[str, Message, Snapshot]:
        """Send a valid callback about a new message, and return the state before it."""
        message = self.new_message()
        before = self.look(message)
        attempt = self.send_valid(message, status)
        if attempt is None:
            profile.refuses = profile.refuses or f"the receiver's settings do not tick {status}"
        else:
            profile.refuses = "" if accepted(attempt) else describe(attempt)
        return status, message, before

    def _see(self, profile: ReceiverProfile, tried: list[tuple[str, Message, Snapshot]], patience: float) -> bool:
        """Tell whether one of the callbacks has an effect within `patience` seconds."""
        end = stopwatch() + patience
        while True:
            for status, message, before in tried:
                now = self.look(message)
                if now != before:
                    profile.status = status
                    profile.blind = ""
                    return True
            profile.blind = (
                f"valid callbacks were acknowledged, but `observe` still returned {now!s:.100}: "
                "either the app ignores messages that it did not send (then give `prepare`, in a test in pytest), "
                "or `observe` reads the wrong place"
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
    """Tell whether an attempt was answered with a 2xx in time; the check A04 asks for exactly 200.

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
