"""What all checks of one run share: the engine, the receiver and its profile, the probe, the time limits."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.probe import ProbeOptions, check_probe
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import NothingObserved, StateNotSettled, UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.lifecycle import lifecycle
from engagelab_mock.explore.state import Snapshot, plain
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Dialect

# How long things may take, in seconds.
#: A whole run.
TOTAL = 120.0
#: One check, at least; it may take that part of the whole run, and more of it if the app works after its answer.
EACH, SHARE = 20.0, 1 / 6
#: The work of an app that acknowledges first and works afterwards.
PATIENCE = 2.0
#: The recovery of a receiver that did not answer, before the next check.
RECOVERY = 3.0

#: How often the state is read while the checks wait for a change, in seconds.
_LOOK = 0.01
#: The statuses that are tried, in this order, until one has an effect that is seen.
_STATUSES = ("delivered", "verified", "sent", "plan", "delivered_failed")
#: The scenarios that are tried if none of the statuses alone has an effect that is seen.
_SCENARIOS = ("verified", "delivered_failed")
#: How long an effect of the first status may still come after one of the others has an effect, in seconds.
_GRACE = 0.1

#: Why no state can be seen without `observe`.
NO_OBSERVE = "the state of the app cannot be seen: give `observe`"


#: Takes seconds and returns a context in which the handler's downstream calls take that long.
Stall = Callable[[float], AbstractContextManager[object]]


class ReceiverProfile(msgspec.Struct):
    """Say how a receiver handles valid callbacks. It is found out when the first check needs it."""

    #: Why the receiver accepts no valid callback; empty if it does.
    refuses: str = ""
    #: Why the state shows no effect; empty if it does.
    blind: str = ""
    #: The status that has an effect.
    status: str = "delivered"
    #: Whether the state shows something although it shows no effect of a single callback, so that checks can judge it.
    shows: bool = False
    #: How long after the answer an effect is seen, in seconds.
    lag: float = 0.0


class Context:
    """Hold the engine that sends all callbacks of a run, and find out how the receiver handles a valid callback.

    >>> context = Context(Receiver.recording())
    >>> context.profile.refuses, context.profile.blind
    ('', 'the state of the app cannot be seen: give `observe`')

    `probe` goes over the receiver's own. `wait_for` waits, from the thread of the checks, for what an asynchronous
    function returned.
    """

    def __init__(
        self,
        receiver: Receiver,
        probe: ProbeOptions | None = None,
        *,
        stall: Stall | None = None,
        patience: float = PATIENCE,
        wait_for: Callable[[Awaitable[Any]], Any] | None = None,
        seed: object = None,
        dialect: str | Dialect = "2023-03",
    ) -> None:
        if stall is not None and not callable(stall):
            raise UsageError(f"stall must be callable, {stall!r:.100} is not", where="check")
        # A copy, because the checks change its limit.
        self.receiver = receiver.with_settings()
        self.limit = receiver.limit
        #: How long to wait for an effect of an acknowledged callback, in seconds.
        self.patience = check_delay(patience, where="patience")
        self.stall = stall
        check_probe(probe or {}, where="check")
        self.probe = receiver.probe(probe or {}, copy=plain, wait_for=wait_for)
        # A receiver that remembers nonces and messages would take a second run with the same seed for a replay.
        self.seed = secrets.token_hex(4) if seed is None else seed
        self.engagelab = EngageLab(
            self.receiver,
            seed=f"check:{self.seed}",
            dialect=dialect,
            code_ttl=None,
            journal=Journal(limit=1000),
            defaults={},
        )
        #: The messages that callbacks were sent about.
        self.messages: list[Message] = []
        self.callbacks = 0
        self.pings = 0
        #: When the run must be over, by the stopwatch; None for no limit.
        self.deadline: float | None = None
        self._attempts: list[tuple[Delivery, Attempt]] = []
        self._attempted = 0
        #: How many attempts there were when the app was last idle, for each message that was looked at.
        self._idle: dict[str, int] = {}
        self._profile: ReceiverProfile | None = None
        self.engagelab.journal.listeners.append(self._note)

    @property
    def observed(self) -> bool:
        """Tell whether there is a function that returns the state of the app."""
        return self.probe.observe is not None

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

    def new_message(self, *, prepared: bool = True, accepted: float | None = None) -> Message:
        """Make a message, accepted at a Unix time (default: now), and call `prepare` with it unless told not to."""
        generate = self.engagelab._engine.generate
        message = Message(
            id=generate.message_id(),
            to=generate.recipient(),
            template_key=self.engagelab.account.template_key,
            business_id=self.engagelab.account.business_id,
            accepted=self.engagelab.clock.time() if accepted is None else accepted,
            msg_time=self.engagelab.dialect.msg_time,
        )
        self.messages.append(message)
        if prepared:
            run_sync(self.probe.prepare_message(SYNC, message))
        self._idle[message.id] = self._attempted
        return message

    def look(self, message: Message) -> Snapshot:
        """Return the state of a message once the app is idle; it is None without `observe`."""
        self.wait_until_idle(message)
        return Snapshot(message.id, run_sync(self.probe.look(SYNC, message.id)))

    def wait_until_idle(self, *messages: Message) -> None:
        """Call `wait_idle`, unless it was called for these messages since the last attempt."""
        ids = tuple(each.id for each in messages if self._idle.get(each.id) != self._attempted)
        if ids and self.observed:
            run_sync(self.probe.idle(SYNC, ids))
            self._idle.update(dict.fromkeys(ids, self._attempted))

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
        if profile.refuses or not self.observed:
            profile.blind = "" if self.observed else NO_OBSERVE
            return profile
        started = stopwatch()
        if not self._see(profile, tried, 0.0):
            # The app may not use that status, or may do its work after its answer.
            tried += [self._try(profile, status) for status in others]
            profile.refuses = ""  # the receiver accepts the first, so a refusal of another is that status's own
            # If another status has an effect, and the first has none soon after, the app does not use the first.
            late = self._see(profile, tried[:1], _GRACE) or not self._see(profile, tried, 0.0)
            if late and self._see(profile, tried, self.patience):
                profile.lag = stopwatch() - started
        if profile.blind:
            self._follow_lifecycles(profile, ticked)
        if profile.blind and not profile.shows:
            self._look_for_floats(profile)
        self._check_steady()
        return profile

    def _follow_lifecycles(self, profile: ReceiverProfile, ticked: Sequence[str]) -> None:
        """Find out whether an app that shows no effect of a single status shows one of all statuses in order."""
        tried = []
        for scenario in _SCENARIOS:
            message = self.new_message()
            before = self.look(message)
            for transition in lifecycle(scenario).transitions:
                if transition.status in ticked:
                    self.send_valid(message, transition.status)
            tried.append((profile.status, message, before))
        if self._see(profile, tried, self.patience):
            profile.shows = True
            profile.blind = "no single callback has an effect that can be seen, only all statuses of a message in order"

    def _look_for_floats(self, profile: ReceiverProfile) -> None:
        """Find out whether the app keeps ids as floats, and so shows the effects at other ids."""
        message = self.new_message()
        nearest = as_float(message)
        before = self.look(nearest)
        self.send_valid(message, profile.status)
        if nearest.id != message.id and self.look_for_change(before, nearest, self.patience) != before:
            profile.shows = True
            profile.blind = f"the app keeps ids as floating-point numbers, {message.id} as {nearest.id}: see D14"

    def _check_steady(self) -> None:
        """Raise `StateNotSettled` if the state of a message keeps changing although nothing is sent."""
        untouched = self.new_message()
        one, end = self.look(untouched), stopwatch() + self.patience
        while (other := self.look(untouched)) != one:
            if stopwatch() >= end:
                raise StateNotSettled(
                    f"{_where_they_differ(one.value, other.value)} changed although nothing was sent in between",
                    where="observe",
                    hint="do not return values that change on every read, such as the current time; or give "
                    "`wait_idle` if the app still works",
                )
            # The app may still work on an earlier callback.
            time.sleep(_LOOK)
            one = other

    def prove(self) -> None:
        """Raise if a function of the probe fails, or if the state shows no effect of callbacks that are acknowledged.

        Raises `ProbeFailed`, `StateNotSettled` or `NothingObserved`. A receiver that refuses valid callbacks, or that
        shows effects in another way, is judged by its checks.
        """
        profile = self.profile
        if not profile.blind or not self.observed:
            return
        self.probe.check_seen()
        if not profile.shows:
            prepare = (
                "give `prepare` if the app ignores messages that it did not send (in a test in pytest)"
                if self.probe.prepare is None
                else "make sure that `prepare` enters each message under its id"
            )
            raise NothingObserved(
                profile.blind,
                where="check",
                hint=f"{prepare}; make sure that `observe` reads where the app writes; give `wait_idle`, or more "
                "`patience`, if the app works after its answer",
            )

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
            profile.blind = f"valid callbacks were acknowledged, but `observe` still returned {now!s:.100}"
            if stopwatch() >= end:
                return False
            time.sleep(_LOOK)

    def _note(self, delivery: Delivery, attempt: Attempt) -> None:
        if delivery.events:
            self.callbacks += 1
        else:
            self.pings += 1
        self._attempted += 1
        self._attempts.append((delivery, attempt))


def as_float(message: Message) -> Message:
    """Return a message with the id that its id becomes as a floating-point number, which has 53 bits.

    >>> as_float(Message(id="1744569418236633089", to="+6591234567")).id
    '1744569418236633088'
    """
    return msgspec.structs.replace(message, id=str(int(float(message.id))))


def _where_they_differ(one: Any, other: Any) -> str:
    """Name the keys at which two states differ, and show them."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        named = ", ".join(f"{key!r} ({one.get(key)!r:.60}, then {other.get(key)!r:.60})" for key in keys)
        return f"{named} in the state"
    return f"the state ({one!r:.60}, then {other!r:.60})"


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
