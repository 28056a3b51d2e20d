"""The engine: the objects that one EngageLab consists of, and how they work together."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from engagelab_mock.clock import Clock, check_delay
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery, DeliveryOptions, Run
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.delivery.sender import Sender
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.messages.account import Account
from engagelab_mock.protocol.events import Dialect, Event
from engagelab_mock.protocol.events import dialect as find_dialect
from engagelab_mock.service.accept import (
    SEND,
    Acceptance,
    DeliverOptions,
    Request,
    SendOptions,
    accept,
    check,
    check_deliver_options,
    check_events,
    check_joins_batch,
    check_options,
    check_total,
    split_options,
)
from engagelab_mock.service.messages import Messages
from engagelab_mock.service.outbox import Outbox
from engagelab_mock.service.scheduler import Scheduler
from engagelab_mock.service.sending import Sending
from engagelab_mock.service.store import MemoryStore, Store

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.catalogue import FaultChoice
    from engagelab_mock.delivery.faults.fault import Fault
    from engagelab_mock.service.bulk import Batching
    from engagelab_mock.service.rest.exchange import ApiSettings
    from engagelab_mock.service.rules import Rules, Templates
    from engagelab_mock.service.store.ledger import Ledger

T = TypeVar("T")

#: How long a code is valid by default, in seconds [?: a template's ttl is 1 to 10 minutes, D].
CODE_TTL = 300.0
_DELIVER_OPTIONS = tuple(DeliverOptions.__annotations__)


class once(Generic[T]):
    """Make an attribute of an engine when it is first used, and only once if several threads use it first.

    The library's `cached_property` has no lock since Python 3.12: two threads could make two lists of messages.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make

    def __get__(self, engine: Any, owner: type[Any] | None = None) -> T:
        name, made = self._make.__name__, engine.__dict__
        with engine.scheduler.lock:
            if name not in made:
                made[name] = self._make(engine)
        value: T = made[name]
        return value


class ExploreState:
    """Hold an engine's records of its explorations and checks.

    >>> ExploreState().replaying is None
    True
    """

    __slots__ = ("count", "explorations", "played", "progress", "replaying", "reports")

    def __init__(self) -> None:
        #: The token that every exploration plays. None: each plays all its schedules.
        self.replaying: str | None = None
        #: The schedule that was played last. After an exploration: the schedule that failed.
        self.played: Any = None
        #: Called with the progress of an exploration. None: show a line on stderr if that is a terminal.
        self.progress: Callable[[Any, bool], object] | None = None
        #: How many explorations and single schedules were started. Each has its own messages.
        self.count = 0
        #: The last explorations and reports of checks. Their deliveries are not in the journal.
        self.explorations: deque[Any] = deque(maxlen=10)
        self.reports: deque[Any] = deque(maxlen=10)


class Engine:
    """Hold receivers, clock, journal, scheduler and accepted messages. `EngageLab` is the public class for it.

    The verbs take an `Io`: `SYNC` for `send`, `ASYNC` for `asend`. Objects that a test may never use are made at their
    first use, so an unused fixture costs little.
    """

    def __init__(
        self,
        receivers: list[Receiver],
        clock: Clock,
        *,
        seed: object,
        dialect: str | Dialect,
        code_ttl: float | None,
        abnormal: Literal["deliver", "skip"],
        defaults: Mapping[str, Any] | None,
        journal: Journal | None,
        api: ApiSettings | None,
        store: Store | None,
        keep: int | None,
        nonce_seed: object = None,
    ) -> None:
        self.receivers = receivers
        self.seed = seed
        #: A receiver that remembers nonces would treat callbacks of two engines with the same nonces as replays.
        self.nonce_seed = os.urandom(8).hex() if nonce_seed is None else nonce_seed
        self.dialect = find_dialect(dialect)
        self.code_ttl = None if code_ttl is None else check_delay(code_ttl, where="code_ttl")
        if abnormal not in {"deliver", "skip"}:
            raise UnknownName("way with abnormal receivers", abnormal, ["deliver", "skip"], where="abnormal")
        self.abnormal = abnormal
        self.batching: Batching | None = None
        self.defaults = dict(defaults or {})
        if self.defaults:
            check_options({name: value for name, value in self.defaults.items() if name != "to"}, where="defaults")
            # An error in them is raised here, and is not the answer to an API call.
            self._delivery_options(self.defaults)
            check(self, self.request(None, {}))
        #: How many messages and journal entries are kept at most; None keeps all.
        self.keep = journal.limit if keep is None and journal is not None else keep
        self.journal = Journal(keep) if journal is None else journal
        self._api = api
        self.store: Store = MemoryStore() if store is None else store
        #: Keeps callbacks in the store for another process; None without a store.
        self.ledger: Ledger | None = None
        self.scheduler = Scheduler(clock)
        #: Messages and events that are accepted and not sent yet. Made at once: it must know every move of the clock.
        self.outbox = Outbox(self.scheduler, self.open_receivers)
        #: How many bulk sends were made. Each has different data.
        self.bulk_sends = 0

    @property
    def clock(self) -> Any:
        """Return the clock. Only the caller knows its type and its methods."""
        return self.scheduler.clock

    @once
    def generate(self) -> Generator:
        """Return the generator that draws ids and data from the seed."""
        return Generator.seeded(self.seed)

    @once
    def api_generate(self) -> Generator:
        """Return the generator of the ids and codes of API calls."""
        return Generator.seeded(self.seed, "api")

    @once
    def account(self) -> Account:
        """Return the account: its ids, and the events about it."""
        return Account(Generator.seeded(self.seed, "account"))

    @once
    def sender(self) -> Sender:
        """Return the sender, which makes every attempt."""
        nonces = Generator.seeded(self.seed, "nonces", self.nonce_seed)
        return Sender(journal=self.journal, clock=self.clock, generate=self.generate, nonces=nonces)

    @once
    def messages(self) -> Messages:
        """Return the accepted messages."""
        return Messages(self)

    @once
    def api_settings(self) -> ApiSettings:
        """Return the settings of the REST API."""
        from engagelab_mock.service.rest.exchange import ApiSettings

        return self._api or ApiSettings()

    @once
    def rules(self) -> Rules:
        """Return the rules in force."""
        from engagelab_mock.service.rules import Rules

        return Rules(self.store)

    @once
    def templates(self) -> Templates:
        """Return the templates, including those of the sandbox."""
        from engagelab_mock.messages.sandbox import sandbox_templates
        from engagelab_mock.service.rules import Templates

        return Templates(self.store, sandbox_templates(self.clock.time()) if self.api_settings.sandbox else ())

    @once
    def exploring(self) -> ExploreState:
        """Return the state that the explorations of this engine share."""
        return ExploreState()

    # Sending.

    async def send(self, io: Io, to: str | None, options: SendOptions) -> Run:
        """Accept a message and advance until its callbacks are sent."""
        __tracebackhide__ = True
        if self.outbox.waiting:
            await self.outbox.settle(io, required=False)
        accepted = self.accept(to, options)
        await self.scheduler.run(io, accepted.sending)
        return accepted.run

    def begin_send(self, to: str | None, options: SendOptions) -> Run:
        """Accept a message; its callbacks go out when a caller settles."""
        __tracebackhide__ = True
        with self.scheduler.lock, self.store.transaction():
            accepted = self.accept(to, options, held=True)
            self.outbox.accept(accepted.sending)
        self.outbox.release([accepted.sending])
        return accepted.run

    def accept(self, to: str | None, options: SendOptions, *, held: bool = False) -> Acceptance:
        """Accept the arguments of `send`; enter arguments that cannot be used in the journal."""
        __tracebackhide__ = True
        try:
            return accept(self, self.request(to, options), held=held)
        except EngageLabMockError as error:
            raise self.refused(error) from None

    def request(self, to: str | None, options: SendOptions) -> Request:
        """Return the request that arguments of `send` make, with the defaults filled in."""
        __tracebackhide__ = True
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        check_options(options, where="send")
        if self.batching is not None:
            check_joins_batch(given, where="send")
        if self.defaults:
            given = {**self.defaults, **given}
            to = given.pop("to", None) if to is None else to
        return Request(
            call=SEND,
            to=to,
            template=given.get("template", ""),
            custom_args=given.get("custom_args"),
            scenario=given.get("scenario"),
            channel=given.get("channel"),
            batch=given.get("batch", 1),
            options=cast("DeliverOptions", given),
        )

    async def deliver(self, io: Io, events: Sequence[Event], options: DeliverOptions) -> list[Delivery]:
        """Send events in one callback, now."""
        __tracebackhide__ = True
        if self.outbox.waiting:
            await self.outbox.settle(io, required=False)
        try:
            check_deliver_options(options, where="deliver")
            check_events(events)
            if self.batching is not None:
                check_joins_batch(options, where="deliver")
            sending = self.sending(options)
        except EngageLabMockError as error:
            raise self.refused(error) from None
        now = self.clock.time()
        if self.batching is not None:
            self.batching.collect([(now, event) for event in events], sending)
        else:
            sending.schedule_callback(now, tuple(events))
            await self.scheduler.run(io, sending)
        return sending.deliveries

    async def send_event(
        self, io: Io, make: Callable[..., Event], arguments: tuple[Any, ...], fields: dict[str, Any]
    ) -> list[Delivery]:
        """Make an event about the account and send it; `fields` hold those of the event and delivery options."""
        __tracebackhide__ = True
        try:
            options, own = split_options(fields, where=make.__name__)
            event = make(*arguments, at=self.clock.time(), **own)
        except EngageLabMockError as error:
            raise self.refused(error) from None
        return await self.deliver(io, [event], options)

    def sending(self, options: DeliverOptions, message_id: str = "") -> Sending:
        """Return a sending with these delivery options, and the defaults for the others."""
        given: Mapping[str, Any] = options
        if self.defaults:
            given = {**self.defaults, **{name: value for name, value in given.items() if value is not None}}
        return self.sending_with(self._delivery_options(given), message_id)

    def _delivery_options(self, given: Mapping[str, Any]) -> DeliveryOptions:
        if given.keys().isdisjoint(_DELIVER_OPTIONS):
            return _PLAIN
        return DeliveryOptions(
            check=given.get("check"),
            retry=retry_policy(given.get("retry")),
            faults=self._faults(given.get("fault")),
            total=check_total(given.get("total")),
        )

    def sending_with(self, options: DeliveryOptions, message_id: str = "") -> Sending:
        """Return a sending with delivery options that were checked before."""
        return Sending(self.scheduler, self.sender, self.open_receivers, self.dialect, options, message_id, self.ledger)

    def _faults(self, chosen: FaultChoice | None) -> tuple[Fault, ...]:
        """Return the chosen faults, or raise `UsageError` if a receiver cannot get one of them."""
        if chosen is None:
            return ()
        from engagelab_mock.delivery.faults.catalogue import faults  # a third of the imports, and few tests need it

        found = faults(chosen)
        for fault in found:
            for receiver in self.receivers:
                fault.check_receiver(transport=receiver.transport.name, signs=receiver.settings.signs)
        return found

    def open_receivers(self) -> Sequence[Receiver]:
        """Return the receivers that get callbacks."""
        if self.abnormal == "deliver":
            return self.receivers
        return [receiver for receiver in self.receivers if receiver.state != "abnormal"]

    @property
    def receiver(self) -> Receiver:
        """Return the first receiver; raise `UsageError` without one."""
        if not self.receivers:
            raise UsageError("it has no receiver yet", where="EngageLab", hint="engagelab.save_receiver(…) adds one")
        return self.receivers[0]

    def advance_quietly(self, seconds: float) -> float:
        """Advance the clock, keep failures for the next caller that settles, and return the new Unix time."""
        kept = self.outbox.take_failures()  # otherwise the clock would raise them instead of moving
        try:
            self.clock.advance(seconds)
        except EngageLabMockError as error:
            if isinstance(error, UsageError):
                raise
            kept.append(error)
        finally:
            self.outbox.keep_failure(*kept)
        now: float = self.clock.time()
        return now

    def is_checked(self, check: bool | None) -> bool:
        """Tell whether a callback that was given up raises an error; None is the default."""
        default = self.defaults.get("check")
        return (default is None or bool(default)) if check is None else check

    def refused(self, error: EngageLabMockError) -> EngageLabMockError:
        """Enter an unusable input in the journal. Without its traceback, the error shows the caller's line."""
        self.journal.refuse(error, at=self.clock.time())
        return error.with_traceback(None)

    # Bulk send: each message has its own engine, with its own time and seed.

    def branch(self, seed: object) -> Engine:
        """Return an engine of the same account and receivers, with its own time and seed, that shares the journal."""
        branch = Engine(
            self.receivers,
            self.clock.branch(),
            seed=seed,
            dialect=self.dialect,
            code_ttl=self.code_ttl,
            abnormal=self.abnormal,
            defaults=self.defaults,
            journal=self.journal,
            api=self._api,
            store=None,
            keep=self.keep,
            nonce_seed=self.nonce_seed,
        )
        branch.account = self.account
        branch.messages = self.messages
        return branch

    def reset(self) -> None:
        """Forget messages, rules, templates and the journal, and withdraw pending callbacks."""
        with self.scheduler.lock:
            self.store.clear()  # first: if the store cannot be cleared, nothing is forgotten
            with self.store.transaction():
                self.outbox.clear()
                if self.batching is not None:
                    self.batching.clear()
                self.messages.clear()
                self.rules.clear()
                self.templates.clear()
                for entry in self.clock.pending:
                    entry.cancel()
                self.journal.clear()
                self.store.clear()


_PLAIN = DeliveryOptions()
