"""The data that all checks of one run share: the engine, the receiver and its profile, the probe, the time limits."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from engagelab_mock.checks.profile import LOOK, PROMPT, ReceiverProfile, accepted, find_profile, worker_of
from engagelab_mock.clock import VirtualClock, check_delay
from engagelab_mock.delivery.app_clock import AppClock
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.probe import ProbeOptions, check_probe
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import NothingObserved, ProbeFailed, UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.state import Snapshot, differing, plain, state_of
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.events import Dialect, Event

# Time limits, in seconds.
#: A whole run.
TOTAL = 180.0
#: One check, at least. It may take that part of the whole run, and more if the app works after its answer.
EACH, SHARE = 20.0, 1 / 6
#: The work of an app that acknowledges first and works afterwards.
PATIENCE = 4.0
#: The recovery of a receiver that did not answer, before the next check.
RECOVERY = 3.0

#: How long after a later callback the work of an earlier one may end, and how long a queue may take, in seconds.
_OVERTAKEN, _QUEUE = 0.05, 10.0
#: How many times the state of a message is read, at most, until it stays the same.
_LOOKS = 20
#: Takes seconds and returns a context in which the handler's downstream calls take that long.
Stall = Callable[[float], AbstractContextManager[object]]


class Context:
    """Hold the engine that sends all callbacks of a run, and find out how the receiver handles a valid callback.

    >>> context = Context(Receiver.recording())
    >>> context.profile.refuses, context.profile.blind
    ('', 'the state of the app cannot be seen: give `observe`')

    `probe` overrides the receiver's probe. `now` is the time of the clock that the app reads, in Unix seconds; default:
    the system time. `wait_for` waits, from the thread of the checks, for the awaitable of an asynchronous function.
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
        now: float | None = None,
    ) -> None:
        if stall is not None and not callable(stall):
            raise UsageError(f"stall must be callable, {stall!r:.100} is not", where="check")
        # A copy, because the checks change its time limit.
        self.receiver = receiver.with_settings()
        self.limit = receiver.limit
        #: How long to wait for an effect of an acknowledged callback, in seconds.
        self.patience = check_delay(patience, where="patience")
        self.stall = stall
        check_probe(probe or {}, where="check")
        self.probe = receiver.probe(probe or {}, copy=plain, wait_for=wait_for)
        self.probe.check_meaning(where="check")
        self.app_clock = AppClock(self.probe)
        #: Moves the virtual clock of the test by seconds; None if the app does not read such a clock.
        self.along: Callable[[float], object] | None = None
        if self.app_clock.can_be_set:
            self.receiver.signature_clock = "virtual"
        # With the same seed, a receiver that remembers messages would regard those of a second run as duplicates.
        self.seed = secrets.token_hex(4) if seed is None else seed
        self.engagelab = EngageLab(
            self.receiver,
            clock=VirtualClock(now),
            seed=f"check:{self.seed}",
            dialect=dialect,
            code_ttl=None,
            journal=Journal(limit=1000),
            defaults={},
        )
        #: The messages of all callbacks that were sent.
        self.messages: list[Message] = []
        self.callbacks = 0
        self.pings = 0
        #: When the run must be over, by the stopwatch; None: no limit.
        self.deadline: float | None = None
        #: Why nothing shows that the app's clock moves; empty if something does, None before it was moved.
        self.unmoved: str | None = None
        self._attempts: list[tuple[Delivery, Attempt]] = []
        self._attempted = 0
        #: The number of attempts when the app was last idle, for each message whose state was read.
        self._idle: dict[str, int] = {}
        self._profile: ReceiverProfile | None = None
        #: Whether the state shows the effect of account events, by their kinds.
        self._shown: dict[str, bool] = {}
        #: The kinds whose effect is only shown with a message that the app knows.
        self._needs_known: set[str] = set()
        self._recipients: set[str] = set()
        #: The worker processes that have answered since the last restart, if the answers name them.
        self.workers: set[str] = set()
        #: The largest number of workers that have answered between two restarts.
        self.most_workers = 0
        self.engagelab.journal.listeners.append(self._note)

    @property
    def observed(self) -> bool:
        """Tell whether a function returns the state of the app."""
        return self.probe.observe is not None

    @property
    def moves_time(self) -> bool:
        """Tell whether the app's clock can be moved: by `set_time`, or because it is a virtual clock of the test."""
        return self.app_clock.can_be_set or self.along is not None

    def advance(self, seconds: float) -> None:
        """Move the app's clock, and that of the signatures, forward."""
        self.engagelab.clock.advance(seconds)
        if self.along is not None:
            self.along(seconds)
        self.keep_time()

    def keep_time(self) -> None:
        """Set the app's clock to the time of the signatures. Called before each callback."""
        run_sync(self.app_clock.keep(SYNC, self.engagelab.clock.time()))

    def allow(self, limit: float | None) -> None:
        """Prepare to send a callback that the receiver must answer within so many seconds."""
        self.receiver.limit = limit
        self.keep_time()

    @property
    def profile(self) -> ReceiverProfile:
        """Return the receiver's profile; make it at the first call."""
        if self._profile is None:
            with self.apart():
                self._profile = find_profile(self)
        return self._profile

    @property
    def known_profile(self) -> ReceiverProfile | None:
        """Return the receiver's profile if it was made before."""
        return self._profile

    def shows(self, kind: str) -> bool:
        """Tell whether `observe` shows the effect of an account event of this kind. Test it at the first call."""
        if kind not in self._shown:
            with self.apart():
                # Many apps show nothing of a message that they do not know, so make it known first.
                known = self.new_message()
                if self.observed and not self.profile.refuses:
                    self.make_known(known)
                self._shown[kind] = self._shows(kind, known)
                if self._shown[kind] and not self._shows(kind, self.new_message()):
                    self._needs_known.add(kind)
        return self._shown[kind]

    def _shows(self, kind: str, message: Message) -> bool:
        places = self.places_of(message)
        try:
            before = [self.look(each) for each in places]
            sent = self.observed and self.engagelab.deliver([self.new_event(kind, message)], check=False)
            self.settle()
            now = [self.look(each) for each in places] if sent else before
            return any(map(self.changed, before, now, places))
        except ProbeFailed:
            # `observe` fails for the id of all replies, because no message has that id.
            return False

    def make_known(self, message: Message) -> Message:
        """Send a valid callback about a message, so that the app knows it; return the message.

        Its effect must not be taken for that of the next event, so wait until the state has changed, and is the same
        at two looks.
        """
        before = self.look(message)
        self.send_valid(message, self.profile.status)
        self.settle()
        now = self.look_for_change(before, message)
        for _ in range(_LOOKS):
            self.receiver.wait(LOOK)
            known, now = now, self.look(message)
            if now == known:
                break
        return message

    def new_place(self, kind: str, message: Message) -> Message:
        """Make a message known to the app if the app shows events of this kind only with a known message."""
        return self.make_known(message) if kind in self._needs_known else message

    def places_of(self, message: Message) -> list[Message]:
        """Return the messages whose states may show a reply of a message's recipient, or another account event.

        They are the message itself, and the id that all replies have.
        """
        return [Message(id="0", to=message.to), message]

    def new_event(self, kind: str, message: Message, text: str = "HELP") -> Event:
        """Make an event of a kind: of the account, or a reply of a message's recipient with a text."""
        account, at = self.engagelab.account, self.engagelab.clock.time()
        if kind == "response":
            return account.uplink(message.to, body=text, at=at)
        if kind == "notification":
            # Use another balance each time, so that two events are never equal.
            balance = -int(self.engagelab._engine.generate.nonce()) / 1e6
            return account.notification("insufficient_balance", at=at, remain_balance=balance)
        return account.system_event("account_login", at=at)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep the attempts that are made in this context out of the finding of the running check."""
        sent, self._attempts = self._attempts, []
        try:
            yield
        finally:
            self._attempts = sent

    def take_attempts(self) -> list[tuple[Delivery, Attempt]]:
        """Return the attempts made since the last call."""
        taken, self._attempts = self._attempts, []
        return taken

    def new_message(
        self,
        *,
        prepared: bool = True,
        accepted: float | None = None,
        to: str = "",
        custom_args: dict[str, Any] | None = None,
    ) -> Message:
        """Make a message, accepted at a Unix time (default: now), and call `prepare` with it unless told otherwise.

        Without `to`, its recipient is different from those of all other messages.
        """
        generate = self.engagelab._engine.generate
        message = Message(
            id=generate.message_id(),
            to=to or self.new_recipient(),
            template_key=self.engagelab.account.template_key,
            business_id=self.engagelab.account.business_id,
            accepted=self.engagelab.clock.time() if accepted is None else accepted,
            msg_time=self.engagelab.dialect.msg_time,
            custom_args=custom_args,
        )
        self.messages.append(message)
        if prepared:
            self.keep_time()
            run_sync(self.probe.prepare_message(SYNC, message))
        self._idle[message.id] = self._attempted
        return message

    def new_recipient(self) -> str:
        """Return a different recipient each time, for apps that keep data by recipient.

        The recipients of an earlier run, of which the app may have data, are seldom among them.
        """
        generate = self.engagelab._engine.generate
        for _ in range(100):
            recipient = generate.rare_recipient()
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
        """Tell whether the state of a message has changed, apart from values that also change for other messages."""
        if before == now or self._profile is None or not (self._profile.shared and self._profile.own):
            return before != now
        return not differing(state_of(before, message), state_of(now, message)) <= self._profile.shared

    def look_for_change(self, before: Snapshot, message: Message, patience: float | None = None) -> Snapshot:
        """Return the state of a message as soon as it differs from `before`, or after `patience` seconds.

        Default of `patience`: several times as long as the first effect took.
        """
        if patience is None:
            patience = max(min(self.patience, PROMPT), 3 * self.profile.lag)
        end = stopwatch() + patience
        while not self.changed(before, now := self.look(message), message) and stopwatch() < end:
            self.receiver.wait(LOOK)
        return now

    def settle(self) -> None:
        """If the app works after its answer, wait until it has done the work of all callbacks that it has answered.

        To find out, send a callback about another message: when that has its effect, the earlier work is done.
        """
        profile = self.profile
        if profile.blind or self.probe.wait_idle is not None:
            return
        # Over a socket, a look takes a few milliseconds. An app that works only that long after its answer can seem to
        # work before it, and the next look can be faster.
        if not profile.lag and self.receiver.transport.name != "http":
            return
        if not profile.own:
            # The callback would change the shared values.
            self.receiver.wait(max(LOOK, 1.5 * profile.lag))
            return
        with self.apart():
            message = self.new_message()
            before = self.look(message)
            attempt = self.send_valid(message, profile.status)
            if attempt is not None and accepted(attempt):
                self.look_for_change(before, message, max(_QUEUE, 5 * profile.lag) if profile.lag else None)
        self.receiver.wait(min(_OVERTAKEN, profile.lag))

    def send_valid(self, message: Message, status: str) -> Attempt | None:
        """Send a valid callback of one status; return None if the receiver does not subscribe to that status."""
        self.allow(self.limit)
        event = message.event(status, at=self.engagelab.clock.time(), channel="sms")
        deliveries = self.engagelab.deliver([event], check=False)
        return deliveries[0].attempts[-1] if deliveries else None

    def reach(self) -> Attempt:
        """Ping the receiver, to find out whether a server listens at its address."""
        self.allow(self.limit)
        return self.engagelab.validate_address(check=False).attempts[-1]

    def is_alive(self, patience: float, *, once: bool = False) -> bool:
        """Tell whether the receiver answers as before, at the first try (`once`) or within `patience` seconds."""
        end = stopwatch() + patience
        while not self._answers(max(0.05, min(1.0, end - stopwatch()))):
            if once or stopwatch() >= end:
                return False
            self.receiver.wait(LOOK)
        return True

    def _answers(self, limit: float) -> bool:
        self.allow(limit)
        if self._profile is None or self._profile.refuses:
            delivery = self.engagelab.validate_address(check=False)
            return delivery.attempts[-1].response is not None or delivery.outcome is Outcome.APP_RAISED
        event = self.new_message().event(self._profile.status, at=self.engagelab.clock.time(), channel="sms")
        return all(accepted(each.attempts[-1]) for each in self.engagelab.deliver([event], check=False))

    def prove(self) -> None:
        """Raise if a function of the probe fails, or if the state shows no effect of acknowledged callbacks.

        Raises `ProbeFailed`, `StateNotSettled` or `NothingObserved`. A receiver that refuses valid callbacks, or that
        shows effects in another way, is judged by its checks.
        """
        # First read the state of a message that was not prepared. If `observe` raises for it, that means no state.
        run_sync(self.probe.look(SYNC, self.engagelab._engine.generate.message_id()))
        run_sync(self.probe.look_at_account(SYNC))
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
                hint="make sure that `observe` reads where the app writes, and look into the app's log: an app that "
                f"answers 200 to everything hides its errors; {prepare}; give more `patience` or --patience, or "
                "`wait_idle` (in a test in pytest), if the app works after its answer",
            )

    def _note(self, delivery: Delivery, attempt: Attempt) -> None:
        if delivery.events:
            self.callbacks += 1
        else:
            self.pings += 1
        self._attempted += 1
        self._attempts.append((delivery, attempt))
        if worker := worker_of(attempt):
            self.workers.add(worker)
            self.most_workers = max(self.most_workers, len(self.workers))
