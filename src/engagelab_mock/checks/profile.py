"""How a receiver handles valid callbacks: which have an effect, how long after the answer, and in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome, hint_for
from engagelab_mock.errors import StateNotSettled
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.lifecycle import lifecycle
from engagelab_mock.explore.state import Path, Snapshot, differing, state_of
from engagelab_mock.messages.message import Message

if TYPE_CHECKING:
    from engagelab_mock.checks.context import Context

#: How often the state is read while the checks wait for a change, in seconds.
LOOK = 0.01
#: How long an effect may take, in seconds, if the app has seemed to work before it answers.
PROMPT = 1.0
#: The statuses to try, in this order, until one has a visible effect.
_STATUSES = ("delivered", "verified", "sent", "plan", "delivered_failed")
#: The scenarios to try if no single status has a visible effect.
_SCENARIOS = ("verified", "delivered_failed")
#: HTTP statuses of a refusal whose reason is not the status of the message.
_IDENTITY = frozenset({401, 403})


#: A header of the answer in which an app can name the worker process that has answered.
WORKER = "X-Worker-Id"

#: Why no state can be seen without `observe`.
NO_OBSERVE = "the state of the app cannot be seen: give `observe`"
#: Why no time passes for the app without `set_time`.
FIXED_TIME = (
    "the app's clock cannot be moved: give `set_time` (in a test in pytest), or let the app read the test's virtual "
    "clock, with `signature_clock='virtual'`"
)


class ReceiverProfile(msgspec.Struct):
    """Hold how a receiver handles valid callbacks. It is found out when the first check needs it."""

    #: Why the receiver does not accept any valid callback; empty if it accepts one.
    refuses: str = ""
    #: Why the state shows no effect; empty if it shows one.
    blind: str = ""
    #: The status that has an effect.
    status: str = "delivered"
    #: Whether checks can judge the state although a single callback has no visible effect.
    shows: bool = False
    #: How long after the answer an effect is seen, in seconds; 0 if the app works before it answers.
    lag: float = 0.0
    #: How long an answer takes, in seconds.
    answer: float = 0.0
    #: The leaves that also change for a message without callbacks, such as totals over all messages.
    shared: frozenset[Path] = frozenset()
    #: Whether the effect is visible in the state of the message, not only in shared values.
    own: bool = True
    #: The leaves that a callback of the status changes.
    effect: frozenset[Path] = frozenset()

    @property
    def scenario(self) -> str:
        """Return a scenario that contains the status."""
        return "delivered_failed" if self.status == "delivered_failed" else "verified"


class _Tried(msgspec.Struct, frozen=True):
    status: str
    message: Message
    before: Snapshot
    #: How long its answer took, in seconds.
    answer: float


def find_profile(context: Context) -> ReceiverProfile:
    """Send valid callbacks, and find out how the receiver handles them."""
    return _Finder(context).find()


class _Finder:
    def __init__(self, context: Context) -> None:
        self._context = context

    def find(self) -> ReceiverProfile:
        profile = ReceiverProfile()
        control = self._context.new_message()
        rest = self._context.look(control)
        tried, seen = self._try_statuses(profile)
        if not tried or not self._context.observed:
            profile.blind = "" if self._context.observed else NO_OBSERVE
            return profile
        profile.refuses = ""
        profile.status, profile.answer = tried[0].status, max(each.answer for each in tried)
        # The state of the last message was read only once. Its effect came before its answer.
        late = seen is not tried[-1]
        seen = seen or self._see(tried, self._context.patience)
        if seen is None:
            now = self._context.look(tried[0].message)
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
        if self._context.look(seen.message) == seen.before:
            profile.blind = (
                "`observe` showed an effect of a valid callback for a short time only: return what the app keeps, "
                "or give `wait_idle`"
            )
        now = self._context.look(control)
        profile.shared = frozenset(differing(state_of(rest, control), state_of(now, control)))
        effect = differing(
            state_of(seen.before, seen.message), state_of(self._context.look(seen.message), seen.message)
        )
        profile.own = not profile.shared or not effect <= profile.shared
        profile.effect = frozenset(effect - profile.shared)
        return profile

    def _follow_lifecycles(self, profile: ReceiverProfile) -> None:
        """Find out whether all statuses in order have an effect, for an app that shows none of a single status."""
        tried = []
        for scenario in _SCENARIOS:
            message = self._context.new_message()
            before = self._context.look(message)
            for transition in lifecycle(scenario).transitions:
                if transition.status in self._ticked():
                    self._context.send_valid(message, transition.status)
            tried.append(_Tried(profile.status, message, before, profile.answer))
        if self._see(tried, self._context.patience):
            profile.shows = True
            profile.blind = "no single callback has an effect that can be seen, only all statuses of a message in order"

    def _ticked(self) -> list[str]:
        """Return the statuses to try that the receiver subscribes to."""
        events = self._context.receiver.settings.events
        return [status for status in _STATUSES if not events or status in events or "status" in events]

    def _look_for_floats(self, profile: ReceiverProfile) -> None:
        """Find out whether the app keeps ids as floats, and so shows the effects at other ids."""
        message = self._context.new_message()
        nearest = as_float(message)
        before = self._context.look(nearest)
        self._context.send_valid(message, profile.status)
        patience = min(self._context.patience, PROMPT)
        if nearest.id != message.id and self._context.look_for_change(before, nearest, patience) != before:
            profile.shows = True
            profile.blind = f"the app keeps ids as floating-point numbers, {message.id} as {nearest.id}: see D14"

    def _check_steady(self) -> None:
        """Raise `StateNotSettled` if the state of a message keeps changing although nothing is sent."""
        untouched = self._context.new_message()
        one, end = self._context.look(untouched), stopwatch() + self._context.patience
        while (other := self._context.look(untouched)) != one:
            if stopwatch() >= end:
                raise StateNotSettled(
                    f"{_where_they_differ(one.value, other.value)} changed although nothing was sent in between",
                    where="observe",
                    hint="do not return values that change on every read, such as the current time; or give "
                    "`wait_idle` if the app still works",
                )
            # The app may still work on an earlier callback.
            self._context.receiver.wait(LOOK)
            one = other

    def _try_statuses(self, profile: ReceiverProfile) -> tuple[list[_Tried], _Tried | None]:
        """Send a callback of each status until one has an effect; return the accepted ones, and that one.

        The app may not use the first status, may refuse it without the earlier statuses, or may work after its answer.
        """
        tried: list[_Tried] = []
        for status in self._ticked() or _STATUSES:
            message = self._context.new_message()
            before = self._context.look(message)
            attempt = self._context.send_valid(message, status)
            if attempt is None:
                profile.refuses = profile.refuses or f"the receiver's settings do not tick {status}"
                continue
            if accepted(attempt):
                tried.append(_Tried(status, message, before, attempt.elapsed))
                if not self._context.observed:
                    break
                if seen := self._see(tried, 0.0):
                    return tried, seen
                continue
            hint = hint_for(self._context.engagelab.journal.deliveries[-1], python=False)
            profile.refuses = profile.refuses or describe(attempt) + (hint and f" ({hint})")
            response = attempt.response
            if response is None or attempt.outcome is Outcome.TIMEOUT or response.status in _IDENTITY:
                break
        return tried, None

    def _see(self, tried: list[_Tried], patience: float) -> _Tried | None:
        """Return the first of the callbacks that has an effect within `patience` seconds."""
        end = stopwatch() + patience
        while True:
            for each in tried:
                if self._context.look(each.message) != each.before:
                    return each
            if stopwatch() >= end:
                return None
            self._context.receiver.wait(LOOK)

    def _measure(self, status: str) -> float:
        """Return how long after their answers two callbacks of this status have an effect."""
        measured = [LOOK]
        sent = []
        for _ in range(2):
            message = self._context.new_message()
            before = self._context.look(message)
            self._context.send_valid(message, status)
            sent.append((stopwatch(), before, message))
        for answered, before, message in sent:
            self._context.look_for_change(before, message, self._context.patience)
            measured.append(stopwatch() - answered)
        return max(measured)


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
    """Tell whether an attempt was answered with a 2xx in time; the check A04 requires exactly 200.

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
    """Describe in a few words how an attempt was answered."""
    if attempt.outcome is Outcome.ACKNOWLEDGED and attempt.response is not None:
        return f"answered {attempt.response.status}"
    return attempt.error.partition(";")[0] or str(attempt.outcome)


def worker_of(attempt: Attempt) -> str:
    """Return the name of the worker process that answered, if the app sends it as a header; else an empty text.

    >>> from engagelab_mock import Callback, Headers
    >>> worker_of(Attempt(1, 0.0, Callback(Headers(), b"")))
    ''
    """
    return "" if attempt.response is None else attempt.response.headers.get(WORKER) or ""


def status_of(attempt: Attempt) -> int:
    """Return the HTTP status of the answer: 500 for an app that raised in process, 0 without an answer.

    >>> from engagelab_mock import Callback, Headers
    >>> status_of(Attempt(1, 0.0, Callback(Headers(), b"")))
    0
    """
    if attempt.outcome is Outcome.APP_RAISED:
        return 500
    return 0 if attempt.response is None else attempt.response.status
