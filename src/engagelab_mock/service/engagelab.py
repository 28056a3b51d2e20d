"""EngageLab OTP as one object: it accepts messages and calls the receiver back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from engagelab_mock.clock import Clock, SystemClock, VirtualClock, check_delay
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery, Run
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.delivery.sender import FORM, Sender
from engagelab_mock.errors import EngageLabMockError, InvalidSettings, UnknownName
from engagelab_mock.generate import Generator
from engagelab_mock.lifecycle.catalogue import scenario as find_scenario
from engagelab_mock.lifecycle.message import Message
from engagelab_mock.lifecycle.scenario import Scenario, Transition
from engagelab_mock.protocol.channel import Channel
from engagelab_mock.protocol.dialect import Dialect
from engagelab_mock.protocol.dialect import dialect as find_dialect
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.settings import fits_header
from engagelab_mock.protocol.status import Status

#: How long a code can be entered, in seconds, unless told otherwise [?: a template's ttl is 1 to 10 minutes, D].
CODE_TTL = 300.0
#: The bodies an address-validation ping can have: the document's [S] and the newer pages' [D].
PINGS = {"empty": b"", "json": b"{}"}

ScenarioChoice = str | Scenario | Sequence[str]


class EngageLab:
    """Play EngageLab towards one receiver, with a clock, a journal and a seed of its own.

    >>> with EngageLab() as engagelab:
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']

    Without a receiver the bundled one, which verifies and records, gets the callbacks. `clock` is a `VirtualClock`
    unless given; `code_ttl` is in seconds, None for codes that never expire; `defaults` are arguments for `send`.
    """

    def __init__(
        self,
        receiver: Receiver | None = None,
        *,
        clock: Clock | None = None,
        seed: object = 0,
        dialect: str | Dialect = "2023-03",
        code_ttl: float | None = CODE_TTL,
        defaults: Mapping[str, Any] | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.receiver = Receiver.recording() if receiver is None else receiver
        self.clock: Any = VirtualClock() if clock is None else clock
        self.seed = seed
        self.dialect = find_dialect(dialect)
        self.code_ttl = None if code_ttl is None else check_delay(code_ttl, where="code_ttl")
        self.defaults = dict(defaults or {})
        #: Everything that happened.
        self.journal = Journal() if journal is None else journal
        self.generate = Generator.seeded(seed)
        #: The account's own id, and the template used when none is named.
        self.business_id = self.generate.business_id()
        self.template_key = self.generate.template_key()
        self._sender = Sender(journal=self.journal, clock=self.clock, generate=self.generate)

    def send(
        self,
        to: str | None = None,
        *,
        scenario: ScenarioChoice | None = None,
        template: str | None = None,
        channel: str | None = None,
        custom_args: dict[str, Any] | None = None,
        check: bool | None = None,
    ) -> Run:
        """Accept a message and deliver its scenario's callbacks, letting the clock pass between them.

        `to` is an E.164 number or an e-mail address, made up when left out; `scenario` a name, a `Scenario` or a list
        of statuses; `channel` what is used where the scenario names none; `custom_args` are echoed in each row [D].
        Raises `NotAcknowledged` at the first callback that is not answered 200 in time, unless `check` is False; raises
        `UnknownName`, `IllegalTransition` or `InvalidRecipient` for what EngageLab would not accept.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="sent_failed")
        >>> run.events[-1].status.error_detail.message
        'sender config is invalid'
        """
        __tracebackhide__ = True
        run, steps = self._accept(to, scenario, template, channel, custom_args)
        checked = self._checked(check)
        for transition in steps:
            self.clock.sleep(transition.after)
            delivery = self._sender.deliver(self.receiver, self._events(run, transition), message_id=run.message_id)
            run.deliveries.append(delivery)
            if checked and not delivery.acknowledged:
                raise not_acknowledged(delivery)
        self._await_code(run, checked)
        return run

    async def asend(
        self,
        to: str | None = None,
        *,
        scenario: ScenarioChoice | None = None,
        template: str | None = None,
        channel: str | None = None,
        custom_args: dict[str, Any] | None = None,
        check: bool | None = None,
    ) -> Run:
        """Do what `send` does, in the running event loop: an ASGI app is called in that very loop.

        >>> import asyncio
        >>> asyncio.run(EngageLab().asend("+6591234567", scenario="delivered")).statuses
        ['plan', 'sent', 'delivered']
        """
        __tracebackhide__ = True
        run, steps = self._accept(to, scenario, template, channel, custom_args)
        checked = self._checked(check)
        for transition in steps:
            await self._asleep(transition.after)
            delivery = await self._sender.adeliver(
                self.receiver, self._events(run, transition), message_id=run.message_id
            )
            run.deliveries.append(delivery)
            if checked and not delivery.acknowledged:
                raise not_acknowledged(delivery)
        self._await_code(run, checked)
        return run

    def validate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        signed: bool = False,
        content_type: str = FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Ping the receiver as EngageLab does when a callback's address is saved [S].

        `body` is "empty" [S] or "json" [D], by default the dialect's; `signed` adds X-CALLBACK-ID, which the documents
        leave open. Raises `NotAcknowledged` if the answer is not 200 in time, unless `check` is False.

        >>> with EngageLab() as engagelab:
        ...     engagelab.validate_address("json", signed=True).acknowledged
        True
        """
        __tracebackhide__ = True
        if body is not None and body not in PINGS:
            raise self._refused(UnknownName("ping body", body, PINGS, where="validate_address"))
        if not fits_header(content_type):
            raise self._refused(InvalidSettings(f"{content_type!r} cannot stand in a header", where="content_type"))
        content = self.dialect.ping if body is None else PINGS[body]
        delivery = self._sender.ping(self.receiver, content, signed=signed, content_type=content_type)
        if self._checked(check) and not delivery.acknowledged:
            raise not_acknowledged(delivery)
        return delivery

    def close(self) -> None:
        """Give up the receiver's connections and loops; the journal stays."""
        self.receiver.close()

    def _accept(
        self,
        to: str | None,
        scenario: ScenarioChoice | None,
        template: str | None,
        channel: str | None,
        custom_args: dict[str, Any] | None,
    ) -> tuple[Run, Iterator[Transition]]:
        """Validate what `send` was given, as the API would, and make the message."""
        defaults = self.defaults
        scenario = defaults.get("scenario", "verified") if scenario is None else scenario
        channel = defaults.get("channel") if channel is None else channel
        to = defaults.get("to") if to is None else to
        __tracebackhide__ = True
        try:
            chosen = find_scenario(scenario)
            if channel is not None and channel not in list(Channel):
                raise UnknownName("channel", channel, Channel, where="channel")
            message = Message(
                id=self.generate.message_id(),
                to=self.generate.recipient() if to is None else to,
                template_key=template or defaults.get("template") or self.template_key,
                business_id=self.business_id,
                accepted=self.clock.time(),
                custom_args=defaults.get("custom_args") if custom_args is None else custom_args,
            )
        except EngageLabMockError as error:
            raise self._refused(error) from None
        return Run(message, chosen, []), chosen.steps(channel or message.default_channel)

    def _events(self, run: Run, transition: Transition) -> tuple[Event]:
        event = run.message.event(
            transition.status,
            at=self.clock.time(),
            channel=transition.channel or "",
            error_code=transition.error_code,
            error_message=transition.error_message or "",
            cost=self.generate.cost() if transition.status == Status.SENT else None,
        )
        return (self.dialect.spell(event),)

    def _await_code(self, run: Run, checked: bool) -> None:
        """Let the code expire in virtual time, if the message arrived and the scenario left it at that."""
        arrived = run.scenario.statuses[-1:] in ([Status.DELIVERED], [Status.READ])
        if not arrived or self.code_ttl is None or not isinstance(self.clock, VirtualClock):
            return

        def expire() -> None:
            __tracebackhide__ = True
            channel = run.events[-1].status.status_data.current_send_channel
            timeout = Transition(Status.VERIFIED_TIMEOUT, channel=channel)
            delivery = self._sender.deliver(self.receiver, self._events(run, timeout), message_id=run.message_id)
            run.deliveries.append(delivery)
            if checked and not delivery.acknowledged:
                raise not_acknowledged(delivery)

        self.clock.call_at(run.message.accepted + self.code_ttl, expire, label=f"verified_timeout of {run.message_id}")

    def _checked(self, check: bool | None) -> bool:
        return bool(self.defaults.get("check", True) if check is None else check)

    async def _asleep(self, seconds: float) -> None:
        if isinstance(self.clock, SystemClock):
            import asyncio  # a third of this module's imports, and synchronous tests never need it

            await asyncio.sleep(seconds / self.clock.speed)
        else:
            self.clock.sleep(seconds)

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
        return f"<EngageLab towards {self.receiver!r}, {len(self.journal)} journal entries>"
