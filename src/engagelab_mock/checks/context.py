"""What all checks of one run share: the engine, the receiver and its profile, the probe, the time limits."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
from engagelab_mock.explore.state import Path, Snapshot, differing, plain, state_of
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Dialect

# How long things may take, in seconds.
#: A whole run.
TOTAL = 180.0
#: One check, at least; it may take that part of the whole run, and more of it if the app works after its answer.
EACH, SHARE = 20.0, 1 / 6
#: The work of an app that acknowledges first and works afterwards.
PATIENCE = 4.0
#: The recovery of a receiver that did not answer, before the next check.
RECOVERY = 3.0

#: How often the state is read while the checks wait for a change, in seconds.
_LOOK = 0.01
#: The statuses that are tried, in this order, until one has an effect that is seen.
_STATUSES = ("delivered", "verified", "sent", "plan", "delivered_failed")
#: The scenarios that are tried if none of the statuses alone has an effect that is seen.
_SCENARIOS = ("verified", "delivered_failed")
#: How long an effect may take if the app was seen to work before it answers, in seconds.
_PROMPT = 1.0
#: How long after a later callback the work of an earlier one may end, and how long a queue may take, in seconds.
_OVERTAKEN, _QUEUE = 0.05, 10.0
#: A receiver that refuses these does not depend on the status of the message.
_IDENTITY = frozenset({401, 403})

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
    #: How long after the answer an effect is seen, in seconds; 0 if the app works before it answers.
    lag: float = 0.0
    #: How long an answer takes, in seconds.
    answer: float = 0.0
    #: The leaves that also change for a message that had no callback, such as totals over all messages.
    shared: frozenset[Path] = frozenset()
    #: Whether an effect is seen in the state of its own message, and not only in what is shared.
    own: bool = True


class _Tried(msgspec.Struct, frozen=True):
    status: str
    message: Message
    before: Snapshot
    #: How long its answer took, in seconds.
    answer: float


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
        self._recipients: set[str] = set()
        self.engagelab.journal.listeners.append(self._note)

    @property
    def observed(self) -> bool:
        """Tell whether there is a function that returns the state of the app."""
        return self.probe.observe is not None

    @property
    def profile(self) -> ReceiverProfile:
        """Return the receiver's profile; find it out the first time."""
        if self._profile is None:
            with self._apart():
                self._profile = self._find_profile()
        return self._profile

    @property
    def known_profile(self) -> ReceiverProfile | None:
        """Return the receiver's profile if it was found before."""
        return self._profile

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Keep the attempts that are made in this context out of the finding of the check that runs."""
        sent, self._attempts = self._attempts, []
        try:
            yield
        finally:
            self._attempts = sent

    def take_attempts(self) -> list[tuple[Delivery, Attempt]]:
        """Return the attempts made since the last call."""
        taken, self._attempts = self._attempts, []
        return taken

    def new_message(self, *, prepared: bool = True, accepted: float | None = None) -> Message:
        """Make a message, accepted at a Unix time (default: now), and call `prepare` with it unless told not to."""
        generate = self.engagelab._engine.generate
        message = Message(
            id=generate.message_id(),
            to=self._new_recipient(),
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

    def _new_recipient(self) -> str:
        """Return another recipient for each message, for apps that keep one state for each recipient."""
        generate = self.engagelab._engine.generate
        for _ in range(100):
            recipient = generate.recipient()
            if recipient not in self._recipients:
                break
        self._recipients.add(recipient)
        return recipient

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

    def changed(self, before: Snapshot, now: Snapshot, message: Message) -> bool:
        """Tell whether the state of a message has changed, apart from what also changes for other messages."""
        if before == now or self._profile is None or not (self._profile.shared and self._profile.own):
            return before != now
        return not differing(state_of(before, message), state_of(now, message)) <= self._profile.shared

    def look_for_change(self, before: Snapshot, message: Message, patience: float | None = None) -> Snapshot:
        """Return the state of a message as soon as it differs from `before`, or after `patience` seconds.

        Default of `patience`: some times as long as the first effect took.
        """
        if patience is None:
            patience = max(min(self.patience, _PROMPT), 3 * self.profile.lag)
        end = stopwatch() + patience
        while not self.changed(before, now := self.look(message), message) and stopwatch() < end:
            time.sleep(_LOOK)
        return now

    def settle(self) -> None:
        """If the app works after its answer, wait until it has done the work of all callbacks that it has answered.

        A callback about another message shows it: when that one has its effect, the work before it is done.
        """
        profile = self.profile
        if not profile.lag or profile.blind or self.probe.wait_idle is not None:
            return
        if not profile.own:
            # The callback would change what is shared.
            time.sleep(1.5 * profile.lag)
            return
        with self._apart():
            message = self.new_message()
            before = self.look(message)
            self.send_valid(message, profile.status)
            self.look_for_change(before, message, max(_QUEUE, 5 * profile.lag))
        time.sleep(min(_OVERTAKEN, profile.lag))

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
        control = self.new_message()
        rest = self.look(control)
        tried, seen = self._try_statuses(profile)
        if not tried or not self.observed:
            profile.blind = "" if self.observed else NO_OBSERVE
            return profile
        profile.refuses = ""
        profile.status, profile.answer = tried[0].status, max(each.answer for each in tried)
        # The callback that was sent last was looked at once: its effect came before its answer.
        late = seen is not tried[-1]
        seen = seen or self._see(tried, self.patience)
        if seen is None:
            now = self.look(tried[0].message)
            profile.blind = f"valid callbacks were acknowledged, but `observe` still returned {now!s:.100}"
            self._follow_lifecycles(profile)
            if not profile.shows:
                self._look_for_floats(profile)
            self._check_steady()
            return profile
        profile.status = seen.status
        if late:
            profile.lag = self._measure(seen.status)
        self._check_steady()
        if self.look(seen.message) == seen.before:
            profile.blind = (
                "`observe` showed an effect of a valid callback for a short time only: return what the app keeps, "
                "or give `wait_idle`"
            )
        now = self.look(control)
        profile.shared = frozenset(differing(state_of(rest, control), state_of(now, control)))
        effect = differing(state_of(seen.before, seen.message), state_of(self.look(seen.message), seen.message))
        profile.own = not profile.shared or not effect <= profile.shared
        return profile

    def _follow_lifecycles(self, profile: ReceiverProfile) -> None:
        """Find out whether an app that shows no effect of a single status shows one of all statuses in order."""
        tried = []
        for scenario in _SCENARIOS:
            message = self.new_message()
            before = self.look(message)
            for transition in lifecycle(scenario).transitions:
                if transition.status in self._ticked():
                    self.send_valid(message, transition.status)
            tried.append(_Tried(profile.status, message, before, profile.answer))
        if self._see(tried, self.patience):
            profile.shows = True
            profile.blind = "no single callback has an effect that can be seen, only all statuses of a message in order"

    def _ticked(self) -> list[str]:
        """Return the statuses that the receiver's settings tick, of those that are tried."""
        events = self.receiver.settings.events
        return [status for status in _STATUSES if not events or status in events or "status" in events]

    def _look_for_floats(self, profile: ReceiverProfile) -> None:
        """Find out whether the app keeps ids as floats, and so shows the effects at other ids."""
        message = self.new_message()
        nearest = as_float(message)
        before = self.look(nearest)
        self.send_valid(message, profile.status)
        if nearest.id != message.id and self.look_for_change(before, nearest, min(self.patience, _PROMPT)) != before:
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

    def _try_statuses(self, profile: ReceiverProfile) -> tuple[list[_Tried], _Tried | None]:
        """Send a callback of each status until one has an effect; return those that were accepted, and that one.

        The app may not use the first status, may refuse it without the statuses before it, or may work after its
        answer.
        """
        tried: list[_Tried] = []
        for status in self._ticked() or _STATUSES:
            message = self.new_message()
            before = self.look(message)
            attempt = self.send_valid(message, status)
            if attempt is None:
                profile.refuses = profile.refuses or f"the receiver's settings do not tick {status}"
                continue
            if accepted(attempt):
                tried.append(_Tried(status, message, before, attempt.elapsed))
                if not self.observed:
                    break
                if seen := self._see(tried, 0.0):
                    return tried, seen
                continue
            profile.refuses = profile.refuses or describe(attempt)
            if attempt.response is None or attempt.response.status in _IDENTITY:
                break
        return tried, None

    def _see(self, tried: list[_Tried], patience: float) -> _Tried | None:
        """Return the first of the callbacks that has an effect, within `patience` seconds."""
        end = stopwatch() + patience
        while True:
            for each in tried:
                if self.look(each.message) != each.before:
                    return each
            if stopwatch() >= end:
                return None
            time.sleep(_LOOK)

    def _measure(self, status: str) -> float:
        """Return how long after their answers two callbacks of this status have an effect."""
        measured = [_LOOK]
        sent = []
        for _ in range(2):
            message = self.new_message()
            before = self.look(message)
            self.send_valid(message, status)
            sent.append((stopwatch(), before, message))
        for answered, before, message in sent:
            self.look_for_change(before, message, self.patience)
            measured.append(stopwatch() - answered)
        return max(measured)

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
