"""EngageLab OTP as one object: it accepts messages and calls the receivers back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack, cast

from engagelab_mock.clock import Clock, Timer, VirtualClock, check_delay
from engagelab_mock.delivery.dispatcher import Dispatcher
from engagelab_mock.delivery.fault.catalogue import faults
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery, Run
from engagelab_mock.delivery.pace import AWAITING, BLOCKING, Pace, drive
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.delivery.schedule import Planned, schedule
from engagelab_mock.delivery.sender import Sender
from engagelab_mock.errors import EngageLabMockError, InvalidSettings, UnknownName
from engagelab_mock.generate import Generator
from engagelab_mock.lifecycle.account import Account
from engagelab_mock.lifecycle.catalogue import scenario as find_scenario
from engagelab_mock.lifecycle.message import Message
from engagelab_mock.lifecycle.timeline import timeline
from engagelab_mock.protocol.channel import Channel
from engagelab_mock.protocol.dialect import Dialect
from engagelab_mock.protocol.dialect import dialect as find_dialect
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.settings import fits_header
from engagelab_mock.protocol.status import Status
from engagelab_mock.service.batch import Batching
from engagelab_mock.service.crowd import Crowd
from engagelab_mock.service.options import DeliverOptions, SendOptions, check_options
from engagelab_mock.service.play import Manner, Play

#: The content type of the ping: what `curl -d ''`, the document's own form of it, sends [?].
FORM = "application/x-www-form-urlencoded"
#: How long a code can be entered, in seconds, unless told otherwise [?: a template's ttl is 1 to 10 minutes, D].
CODE_TTL = 300.0
#: The bodies an address-validation ping can have: the document's [S] and the newer pages' [D].
PINGS = {"empty": b"", "json": b"{}"}


class EngageLab:
    """Play EngageLab towards one or more receivers, with a clock, a journal and a seed of its own.

    >>> with EngageLab() as engagelab:
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']

    Without a receiver the bundled one, which verifies and records, gets the callbacks. `clock` is a `VirtualClock`
    unless given; `code_ttl` is in seconds, None for codes that never expire; `abnormal` says whether a receiver whose
    address failed its validation still gets callbacks ("deliver") or none ("skip") [?]; `defaults` are arguments for
    `send`.
    """

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
    ) -> None:
        given = Receiver.recording() if receiver is None else receiver
        #: Who gets callbacks.
        self.receivers = [given] if isinstance(given, Receiver) else list(given)
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
        #: Everything that happened.
        self.journal = Journal() if journal is None else journal
        self.generate = Generator.seeded(seed)
        #: The account's ids, and the events that are about it.
        self.account = Account(self.generate)
        self.batching: Batching | None = None
        self._sender = Sender(journal=self.journal, clock=self.clock, generate=self.generate)
        self._dispatcher = Dispatcher(self.clock, self._sender)
        self._crowds = 0

    @property
    def receiver(self) -> Receiver:
        """Return the receiver, or the first of several."""
        return self.receivers[0]

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

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="delivered")
        ...     [timer.label.split()[0] for timer in engagelab.pending]
        ['verified_timeout']
        """
        pending: list[Timer] = self.clock.pending
        return pending

    def send(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Accept a message and deliver its scenario's callbacks, letting the clock pass between them.

        `to` is an E.164 number or an e-mail address, made up when left out; the options are those of `SendOptions`.
        Raises `NotAcknowledged` at the first callback that is given up without an HTTP 200 in time, unless `check` is
        False or a fault is declared; raises a `UsageError` for what EngageLab would not accept.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="sent_failed")
        >>> run.events[-1].status.error_detail.message
        'sender config is invalid'
        """
        __tracebackhide__ = True
        run, play = self._accept(to, options)
        drive(self.see_through(BLOCKING, play))
        return run

    async def asend(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Do what `send` does, in the running event loop: an ASGI app is called in that very loop.

        >>> import asyncio
        >>> asyncio.run(EngageLab().asend("+6591234567", scenario="delivered")).statuses
        ['plan', 'sent', 'delivered']
        """
        __tracebackhide__ = True
        run, play = self._accept(to, options)
        await self.see_through(AWAITING, play)
        return run

    def notify(self, event: str, **fields: Any) -> list[Delivery]:
        """Send a notification about the account: insufficient_balance and its fellows.

        `fields` are the notification's own, any that the vendor may add, and the keys of `DeliverOptions`. Returns a
        delivery for each receiver; raises `UnknownName` for a notification EngageLab does not have.

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.notify("insufficient_balance", remain_balance=-0.005, balance_threshold=2)
        >>> delivery.statuses
        ['insufficient_balance']
        """
        __tracebackhide__ = True
        return drive(self._tell(BLOCKING, self.account.notification, (event,), fields))

    async def anotify(self, event: str, **fields: Any) -> list[Delivery]:
        """Do what `notify` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._tell(AWAITING, self.account.notification, (event,), fields)

    def uplink(self, sender: str, *, body: str, **fields: Any) -> list[Delivery]:
        """Send what a user wrote back, as `notify` sends a notification.

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.uplink("+6591234567", body="STOP")
        >>> delivery.statuses
        ['uplink_message']
        """
        __tracebackhide__ = True
        return drive(self._tell(BLOCKING, self.account.uplink, (sender,), {"body": body, **fields}))

    async def auplink(self, sender: str, *, body: str, **fields: Any) -> list[Delivery]:
        """Do what `uplink` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._tell(AWAITING, self.account.uplink, (sender,), {"body": body, **fields})

    def system_event(self, event: str, **fields: Any) -> list[Delivery]:
        """Send what somebody did in the console or with a key, as `notify` sends a notification.

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.system_event("account_login", action="login_failed", fail_reason="locked")
        >>> delivery.events[0].system_event.data.account_login.fail_reason
        'locked'
        """
        __tracebackhide__ = True
        return drive(self._tell(BLOCKING, self.account.system_event, (event,), fields))

    async def asystem_event(self, event: str, **fields: Any) -> list[Delivery]:
        """Do what `system_event` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._tell(AWAITING, self.account.system_event, (event,), fields)

    def deliver(self, events: Sequence[Event], **options: Unpack[DeliverOptions]) -> list[Delivery]:
        """Send any events, of one kind or several, in one callback.

        >>> with EngageLab() as engagelab:
        ...     low = engagelab.account.notification("insufficient_balance", at=engagelab.clock.time())
        ...     [delivery] = engagelab.deliver([low, low], total=5, check=False)
        >>> delivery.callback.body[:10]
        b'{"total":5'
        """
        __tracebackhide__ = True
        return drive(self._deliver(BLOCKING, events, options))

    async def adeliver(self, events: Sequence[Event], **options: Unpack[DeliverOptions]) -> list[Delivery]:
        """Do what `deliver` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._deliver(AWAITING, events, options)

    def batch(self, **options: Unpack[DeliverOptions]) -> Batching:
        """Collect what is sent inside a `with` block, and deliver it as one callback at its end.

        >>> with EngageLab() as engagelab, engagelab.batch(total=7, check=False):
        ...     run = engagelab.send("+6591234567")
        """
        return Batching(self, options)

    def send_many(
        self, count: int, *, to: Sequence[str] | None = None, concurrency: int = 16, **options: Unpack[SendOptions]
    ) -> list[Run]:
        """Send `count` messages, up to `concurrency` at once, and return their runs in order.

        Each message has its own virtual time and its own data from the seed, so the runs are the same whatever the
        order in which they finish. `to` gives the recipients in turn.

        >>> with EngageLab() as engagelab:
        ...     len(engagelab.send_many(3, scenario="delivered", concurrency=2))
        3
        """
        __tracebackhide__ = True
        return self._crowd(count, to, concurrency).send(options)

    async def asend_many(
        self, count: int, *, to: Sequence[str] | None = None, concurrency: int = 16, **options: Unpack[SendOptions]
    ) -> list[Run]:
        """Do what `send_many` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._crowd(count, to, concurrency).asend(options)

    def validate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        receiver: Receiver | None = None,
        signed: bool = False,
        content_type: str = FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Ping a receiver, the first unless given, as EngageLab does when a callback's address is saved [S].

        `body` is "empty" [S] or "json" [D], by default the dialect's; `signed` adds X-CALLBACK-ID, which the documents
        leave open. The answer sets the receiver's `state`. Raises `NotAcknowledged` if it is not 200 in time, unless
        `check` is False.

        >>> with EngageLab() as engagelab:
        ...     engagelab.validate_address("json", signed=True).acknowledged
        True
        """
        __tracebackhide__ = True
        return drive(self._validate(BLOCKING, body, receiver, signed, content_type, check))

    async def avalidate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        receiver: Receiver | None = None,
        signed: bool = False,
        content_type: str = FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Do what `validate_address` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._validate(AWAITING, body, receiver, signed, content_type, check)

    def save_receiver(self, receiver: Receiver, *, signed: bool = False) -> Delivery:
        """Add a receiver as the console does on "save": its address is validated, and its `state` says how it went.

        >>> with EngageLab() as engagelab:
        ...     _ = engagelab.save_receiver(Receiver.recording())
        ...     [receiver.state for receiver in engagelab.receivers]
        ['unvalidated', 'normal']
        """
        self.receivers.append(receiver)
        return self.validate_address(receiver=receiver, signed=signed, check=False)

    def refresh(self, *, signed: bool = False) -> list[Delivery]:
        """Validate every receiver's address again, as the console's "refresh" does [D].

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.refresh()
        >>> delivery.receiver.state
        'normal'
        """
        return [self.validate_address(receiver=receiver, signed=signed, check=False) for receiver in self.receivers]

    def close(self) -> None:
        """Give up the receivers' connections and loops; the journal stays."""
        for receiver in self.receivers:
            receiver.close()

    def begin(self, options: DeliverOptions, message_id: str = "") -> Play:
        """Make a play for callbacks delivered in the manner that the options say."""
        struck = faults(options.get("fault"))
        for fault in struck:
            for receiver in self.receivers:
                fault.check_transport(receiver.transport.name)
        manner = Manner(
            checked=not struck if options.get("check") is None else bool(options["check"]),
            retry=retry_policy(options.get("retry")),
            faults=struck,
            total=options.get("total"),
        )
        return Play(self._dispatcher, self._open_receivers, self.dialect, manner, message_id)

    async def see_through(self, pace: Pace, play: Play) -> None:
        """Let the clock pass until the play is closed."""
        __tracebackhide__ = True
        while not play.closed and await pace.run_next(self.clock):
            pass

    def _accept(self, to: str | None, given: SendOptions) -> tuple[Run, Play]:
        """Validate what `send` was given, as the API would, make the message, and put its callbacks on the clock."""
        __tracebackhide__ = True
        try:
            check_options(given, where="send")
            options = {**self.defaults, **{name: value for name, value in given.items() if value is not None}}
            to = options.pop("to", None) if to is None else to
            scenario = find_scenario(options.get("scenario", "verified"))
            channel = options.get("channel")
            if channel is not None and channel not in list(Channel):
                raise UnknownName("channel", channel, Channel, where="channel")
            message = Message(
                id=self.generate.message_id(),
                to=self.generate.recipient() if to is None else to,
                template_key=options.get("template") or self.account.template_key,
                business_id=self.account.business_id,
                accepted=self.clock.time(),
                custom_args=options.get("custom_args"),
            )
            timed = timeline(message, scenario, channel or message.default_channel, self.generate)
            planned = schedule(timed, batch=options.get("batch", 1))
            play = self.begin(cast("DeliverOptions", options), message.id)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        if self.batching is not None:
            self.batching.collect(timed, play.deliveries)
        else:
            play.plan(planned)
            self._await_code(message, timed, play)
        return Run(message, scenario, play.deliveries), play

    def _await_code(self, message: Message, timed: Sequence[tuple[float, StatusEvent]], play: Play) -> None:
        """Let the code expire in virtual time, if the message arrives and the scenario leaves it at that."""
        last = timed[-1][1].status if timed else None
        if last is None or last.message_status not in {Status.DELIVERED, Status.READ}:
            return
        if self.code_ttl is not None and isinstance(self.clock, VirtualClock):
            when = message.accepted + self.code_ttl
            channel = last.status_data.current_send_channel
            expired = message.event(Status.VERIFIED_TIMEOUT, at=when, channel=channel)
            play.afterwards(Planned(when, (expired,)))

    async def _tell(
        self, pace: Pace, make: Callable[..., Event], arguments: tuple[Any, ...], fields: dict[str, Any]
    ) -> list[Delivery]:
        """Make an event about the account and deliver it; `fields` hold the event's and the delivery's options."""
        __tracebackhide__ = True
        options = {name: fields.pop(name) for name in DeliverOptions.__annotations__ if name in fields}
        try:
            event = make(*arguments, at=self.clock.time(), **fields)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        return await self._deliver(pace, [event], cast("DeliverOptions", options))

    async def _deliver(self, pace: Pace, events: Sequence[Event], options: DeliverOptions) -> list[Delivery]:
        __tracebackhide__ = True
        try:
            play = self.begin(options)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        now = self.clock.time()
        if self.batching is not None:
            self.batching.collect([(now, event) for event in events], play.deliveries)
        else:
            play.plan([Planned(now, tuple(events))])
            await self.see_through(pace, play)
        return play.deliveries

    async def _validate(
        self,
        pace: Pace,
        body: str | None,
        receiver: Receiver | None,
        signed: bool,
        content_type: str,
        check: bool | None,
    ) -> Delivery:
        __tracebackhide__ = True
        if body is not None and body not in PINGS:
            raise self._refused(UnknownName("ping body", body, PINGS, where="validate_address"))
        if not fits_header(content_type):
            raise self._refused(InvalidSettings(f"{content_type!r} cannot stand in a header", where="content_type"))
        content = self.dialect.ping if body is None else PINGS[body]
        target = self.receiver if receiver is None else receiver
        delivery = Delivery(target, (), content, signed=signed, content_type=content_type)
        await self._sender.attempt(pace, delivery)
        target.state = "normal" if delivery.acknowledged else "abnormal"
        checked = self.defaults.get("check", True) if check is None else check
        if checked and not delivery.acknowledged:
            raise not_acknowledged(delivery)
        return delivery

    def _open_receivers(self) -> Sequence[Receiver]:
        if self.abnormal == "deliver":
            return self.receivers
        return [receiver for receiver in self.receivers if receiver.state != "abnormal"]

    def _crowd(self, count: int, to: Sequence[str] | None, concurrency: int) -> Crowd:
        self._crowds += 1
        return Crowd(self, count, to, concurrency, seed=f"{self.seed}:crowd {self._crowds}")

    def _refused(self, error: EngageLabMockError) -> EngageLabMockError:
        """Enter what cannot be used in the journal; without its traceback, it shows at the caller's own line."""
        self.journal.refuse(error, at=self.clock.time())
        return error.with_traceback(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        towards = ", ".join(map(repr, self.receivers))
        return f"<EngageLab towards {towards}, {len(self.journal)} journal entries>"
