"""The state that everything EngageLab sends has in common, and the way it is sent."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast

from engagelab_mock.clock import Clock, Timer, VirtualClock, check_delay
from engagelab_mock.delivery.dispatcher import Dispatcher, Post
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.delivery.sender import Sender
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.messages.account import Account
from engagelab_mock.protocol.dialect import Dialect
from engagelab_mock.protocol.dialect import dialect as find_dialect
from engagelab_mock.protocol.events import Event
from engagelab_mock.service.deferred import GLANCE, Deferred
from engagelab_mock.service.options import (
    DeliverOptions,
    check_deliver_options,
    check_joins_batch,
    check_options,
    check_total,
)
from engagelab_mock.service.play import Manner, Play
from engagelab_mock.service.store import MemoryStore, Store
from engagelab_mock.service.turns import Turns

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.catalogue import FaultChoice
    from engagelab_mock.delivery.faults.fault import Fault
    from engagelab_mock.messages.message import Message
    from engagelab_mock.protocol.events import StatusEvent
    from engagelab_mock.service.batch import Batching
    from engagelab_mock.service.rest.exchange import ApiSettings
    from engagelab_mock.service.store import Store
    from engagelab_mock.service.store.ledger import Ledger

#: How long a code can be entered, in seconds, unless told otherwise [?: a template's ttl is 1 to 10 minutes, D].
CODE_TTL = 300.0
#: How often somebody who waits for a postman looks, in seconds.
_GLANCE = 0.005


class Core:
    """Hold receivers, clock, journal and seed, and send any events; `EngageLab` is made of it."""

    def __init__(
        self,
        receiver: Receiver | Sequence[Receiver] | None = None,
        *,
        clock: Clock | None = None,
        seed: object = 0,
        dialect: str | Dialect = "2023-03",
        code_ttl: float | None = CODE_TTL,
        abnormal: Literal["deliver", "skip"] = "deliver",
        defaults: Mapping[str, Any] | None = None,
        journal: Journal | None = None,
        api: ApiSettings | None = None,
        store: Store | None = None,
        keep: int | None = None,
    ) -> None:
        given = Receiver.recording() if receiver is None else receiver
        #: Who gets callbacks.
        self.receivers = check_receivers([given] if isinstance(given, Receiver) else given, where="EngageLab")
        # Users call `clock.advance`, which only the virtual clock has; which clock it is, only they know.
        self.clock: Any = VirtualClock() if clock is None else clock
        self.seed = seed
        self.dialect = find_dialect(dialect)
        self.code_ttl = None if code_ttl is None else check_delay(code_ttl, where="code_ttl")
        if abnormal not in {"deliver", "skip"}:
            raise UnknownName("way with abnormal receivers", abnormal, ["deliver", "skip"], where="abnormal")
        self.abnormal = abnormal
        self.defaults = dict(defaults or {})
        check_options({name: value for name, value in self.defaults.items() if name != "to"}, where="defaults")
        #: How many messages, and how many journal entries, are kept at most; None keeps all. A journal that forgets is
        #: to be enough to have memory stay flat.
        self.keep = journal.limit if keep is None and journal is not None else keep
        self._journal = Journal(keep) if journal is None else journal
        #: How the REST API is set up; None is as usual.
        self.api_settings = api
        #: Where the state is kept for another process: nowhere, unless told.
        self.store: Store = MemoryStore() if store is None else store
        self.batching: Batching | None = None
        #: What keeps callbacks for another process; nothing, unless `restore` was given a store.
        self.ledger: Ledger | None = None
        self.turns = Turns()
        self._deferred: Deferred | None = None
        #: What `send` sent and nobody has looked for in the inbox yet.
        self.sent: deque[tuple[Message, Sequence[tuple[float, StatusEvent]], Play]] = deque(maxlen=self.keep)
        #: Whoever changes what was accepted holds it, and never while something is delivered.
        self.state = threading.RLock()
        self._crowds = 0

    # What follows is made when it is first used: many a test asks for the fixture and sends nothing.

    @cached_property
    def generate(self) -> Generator:
        """Return what draws ids and data from the seed."""
        return Generator.seeded(self.seed)

    @cached_property
    def draw(self) -> Generator:
        """Return what the REST API draws ids and codes from."""
        return Generator.seeded(self.seed, "api")

    @cached_property
    def account(self) -> Account:
        """Return the account's ids, which makes the events that are about it."""
        return Account(Generator.seeded(self.seed, "account"))

    @cached_property
    def _sender(self) -> Sender:
        return Sender(journal=self._journal, clock=self.clock, generate=self.generate)

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(self.clock, self._sender)

    @property
    def deferred(self) -> Deferred:
        """Return what was accepted and is still to be sent."""
        if self._deferred is None:
            with self.state:
                if self._deferred is None:
                    self._deferred = Deferred(self)
        return self._deferred

    @property
    def journal(self) -> Journal:
        """Return everything that happened, once what the API accepted has been delivered, as `settle` does it."""
        __tracebackhide__ = True
        if self._deferred is not None and self._deferred.waiting:
            self._deferred.glance()
        return self._journal

    @property
    def journal_as_it_is(self) -> Journal:
        """Return everything that has happened so far, and have nothing happen."""
        return self._journal

    @property
    def receiver(self) -> Receiver:
        """Return the receiver, or the first of several; setting it leaves it the only one."""
        if not self.receivers:
            raise UsageError("there is no receiver yet", where="EngageLab", hint="engagelab.save_receiver(…) adds one")
        return self.receivers[0]

    @receiver.setter
    def receiver(self, receiver: Receiver) -> None:
        self.receivers = [receiver]

    @property
    def business_id(self) -> str:
        """Return the account's business id."""
        return self.account.business_id

    @property
    def template_key(self) -> str:
        """Return the key of the template used when none is named."""
        return self.account.template_key

    @property
    def pending(self) -> list[Timer]:
        """Return what is still to be sent, earliest first: retries, expiries.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="delivered")
        ...     [timer.label.split()[0] for timer in engagelab.pending]
        ['verified_timeout']
        """
        pending: list[Timer] = self.clock.pending
        return pending

    def deliver(self, events: Sequence[Event], **options: Unpack[DeliverOptions]) -> list[Delivery]:
        """Send any events, of one kind or several, in one callback.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     low = engagelab.account.notification("insufficient_balance", at=engagelab.clock.time())
        ...     [delivery] = engagelab.deliver([low, low], total=5, check=False)
        >>> delivery.callback.body[:10]
        b'{"total":5'
        """
        __tracebackhide__ = True
        return run_sync(self._deliver(SYNC, events, options))

    async def adeliver(self, events: Sequence[Event], **options: Unpack[DeliverOptions]) -> list[Delivery]:
        """Do what `deliver` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._deliver(ASYNC, events, options)

    def close(self) -> None:
        """Give up the receivers' connections and loops; the journal stays."""
        for receiver in self.receivers:
            receiver.close()

    def move_to(self, clock: Clock) -> None:
        """Live by another clock from now on, and take there what is still to be sent."""
        clock.take_over(self.clock.pending)
        self.clock = self._dispatcher.clock = self._sender.clock = clock

    def employ(self, post: Post) -> None:
        """Have attempts made by somebody else than whoever lets time pass: a `Postman`."""
        self._dispatcher.post = post

    def begin(self, options: DeliverOptions, message_id: str = "") -> Play:
        """Make a play for callbacks delivered in the manner that the options, and the defaults, say."""
        given = {name: value for name, value in options.items() if value is not None}
        usual = {name: self.defaults[name] for name in DeliverOptions.__annotations__ if name in self.defaults}
        options = cast("DeliverOptions", {**usual, **given})
        struck = self._faults(options.get("fault"))
        manner = Manner(
            check=options.get("check"),
            retry=retry_policy(options.get("retry")),
            faults=struck,
            total=check_total(options.get("total")),
        )
        return self.begin_in(manner, message_id)

    def begin_in(self, manner: Manner, message_id: str = "") -> Play:
        """Make a play for callbacks delivered in a manner."""
        return Play(self._dispatcher, self._open_receivers, self.dialect, manner, message_id, self.ledger)

    def _faults(self, chosen: FaultChoice | None) -> tuple[Fault, ...]:
        """Return the faults that are meant, having made sure that every receiver can be sent them."""
        if chosen is None:
            return ()
        from engagelab_mock.delivery.faults.catalogue import faults  # a third of the engine's imports, and few need it

        struck = faults(chosen)
        for fault in struck:
            for receiver in self.receivers:
                fault.check_receiver(transport=receiver.transport.name, signs=receiver.settings.signs)
        return struck

    async def see_through(self, io: Io, play: Play) -> None:
        """Let the clock pass until the play is closed."""
        __tracebackhide__ = True
        try:
            if self._dispatcher.post is not None:
                while not play.closed:
                    await io.pause(_GLANCE)
                return
            passage = None if self._deferred is None else self._deferred.passage
            entered = passage is not None and await passage.enter(io, GLANCE)
            try:
                await self._pass(io, play)
            finally:
                if passage is not None and entered:
                    passage.leave()
        except BaseException:
            # Failed, cancelled or interrupted: the rest is not to surprise whoever lets time pass later.
            play.take_back()
            raise

    async def _pass(self, io: Io, play: Play) -> None:
        __tracebackhide__ = True
        if io is ASYNC:
            await self.turns.see_through(self.clock, play)
            return
        token = self.turns.mark()
        try:
            while not play.closed and await io.run_next(self.clock):
                self.turns.steps += 1
        finally:
            self.turns.unmark(token)

    async def settle_first(self, io: Io) -> None:
        """Settle before something else is sent."""
        __tracebackhide__ = True
        if self._deferred is not None:
            await self._deferred.settle(io)

    async def _deliver(self, io: Io, events: Sequence[Event], options: DeliverOptions) -> list[Delivery]:
        __tracebackhide__ = True
        await self.settle_first(io)
        try:
            check_deliver_options(options, where="deliver")
            check_events(events)
            if self.batching is not None:
                check_joins_batch(options, where="deliver")
            play = self.begin(options)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        now = self.clock.time()
        if self.batching is not None:
            self.batching.collect([(now, event) for event in events], play.deliveries)
        else:
            play.plan([Planned(now, tuple(events))])
            await self.see_through(io, play)
        return play.deliveries

    def is_checked(self, check: bool | None) -> bool:
        """Tell whether what is not acknowledged is raised; None is the default."""
        default = self.defaults.get("check")
        return (default is None or bool(default)) if check is None else check

    def _open_receivers(self) -> Sequence[Receiver]:
        if self.abnormal == "deliver":
            return self.receivers
        return [receiver for receiver in self.receivers if receiver.state != "abnormal"]

    def _refused(self, error: EngageLabMockError) -> EngageLabMockError:
        """Enter what cannot be used in the journal; without its traceback, it shows at the caller's own line."""
        self._journal.refuse(error, at=self.clock.time())
        return error.with_traceback(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        towards = ", ".join(map(repr, self.receivers))
        return f"<EngageLab towards {towards}, {len(self._journal)} journal entries>"


def check_receivers(given: object, *, where: str) -> list[Receiver]:
    """Return receivers as a list, or raise `UsageError` for what is none.

    >>> [receiver.state for receiver in check_receivers([Receiver.recording()], where="EngageLab")]
    ['unvalidated']
    """
    hint = "Receiver.wsgi(app, path=…), Receiver.asgi(app, path=…) or Receiver.http(url), or a list of them"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UsageError(f"{given!r} is no Receiver", where=where, hint=hint)
    receivers = list(given)
    for receiver in receivers:
        if not isinstance(receiver, Receiver):
            raise UsageError(f"{receiver!r} is no Receiver", where=where, hint=hint)
    return receivers


def check_events(given: object) -> None:
    """Raise `UsageError` for what is no list of events, or an empty one.

    >>> check_events([])
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.UsageError: deliver: a callback carries at least one event
    """
    if not isinstance(given, Sequence) or not all(isinstance(event, Event) for event in given):
        raise UsageError(f"events are a list of Event, not {given!r:.100}", where="deliver", hint="deliver([event])")
    if not given:
        raise UsageError("a callback carries at least one event", where="deliver")
