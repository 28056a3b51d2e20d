"""EngageLab OTP as one object: it accepts messages and calls the receivers back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack, cast

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Run
from engagelab_mock.delivery.schedule import Planned, schedule
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import timeline
from engagelab_mock.protocol.events import StatusEvent
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.service.accepting import Accepting
from engagelab_mock.service.addresses import Addresses
from engagelab_mock.service.batch import Batching
from engagelab_mock.service.crowd import Crowd
from engagelab_mock.service.options import (
    DeliverOptions,
    SendOptions,
    check_deliver_options,
    check_joins_batch,
    check_options,
)
from engagelab_mock.service.play import Play
from engagelab_mock.service.settling import Settling


class EngageLab(Accepting, Addresses, Settling):
    """Accept messages, send their callbacks, and settle what is due.

    >>> with EngageLab() as engagelab:
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']
    """

    def send(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Accept a message and deliver its scenario's callbacks, letting the clock pass between them.

        `to` is an E.164 number or an e-mail address, made up when left out; the options are those of `SendOptions`.
        Raises `NotAcknowledged` at the first callback that is given up without an HTTP 200 in time, unless `check` is
        False or a fault struck it; raises a `UsageError` for what EngageLab would not accept.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="sent_failed")
        >>> run.events[-1].status.error_detail.message
        'sender config is invalid'
        """
        __tracebackhide__ = True
        return run_sync(self.see_send_through(SYNC, to, options))

    async def asend(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Do what `send` does, in the running event loop: an ASGI app is called in that very loop.

        >>> import asyncio
        >>> asyncio.run(EngageLab().asend("+6591234567", scenario="delivered")).statuses
        ['plan', 'sent', 'delivered']
        """
        __tracebackhide__ = True
        return await self.see_send_through(ASYNC, to, options)

    def begin_send(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Accept a message as `send` does, and let no time pass: its callbacks go out when somebody settles.

        On a clock that is not virtual they go out when they are due, if a `Postman` works. What is not acknowledged is
        raised by whoever settles.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.begin_send("+6591234567", scenario="delivered")
        ...     before = run.statuses
        ...     engagelab.settle()
        >>> before, run.statuses
        ([], ['plan', 'sent', 'delivered'])
        """
        __tracebackhide__ = True
        with self.state, self.store.transaction():
            run, play = self._accept(to, options, held=True)
            self.deferred.accept(play)
            self.intake.take_in_sent(keep=True)
        self.deferred.release([play])
        return run

    def batch(self, **options: Unpack[DeliverOptions]) -> Batching:
        """Collect what is sent inside a `with` block, and deliver it as one callback at its end.

        `async with` does the same in the running event loop. The callback goes out when the last of its events has
        happened, with the events in the order in which they were sent. An exception that leaves the block sends
        nothing.

        >>> with EngageLab() as engagelab, engagelab.batch(total=7, check=False):
        ...     run = engagelab.send("+6591234567")
        """
        __tracebackhide__ = True
        try:
            check_deliver_options(options, where="batch")
            self.begin(options)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        return Batching(self, options)

    def begin_batch(self, batching: Batching) -> None:
        """Let a batch collect what is sent from now on."""
        __tracebackhide__ = True
        if self.batching is not None:
            hint = "one block collects everything; leave the inner one out"
            raise self._refused(UsageError("batches do not nest", where="batch", hint=hint))
        self.batching = batching

    def send_many(
        self, count: int, *, to: Sequence[str] | None = None, concurrency: int = 16, **options: Unpack[SendOptions]
    ) -> list[Run]:
        """Send `count` messages, up to `concurrency` at once, and return their runs in order.

        Each message has its own virtual time and its own data from the seed, so the runs are the same whatever the
        order in which they finish; the clock then stands where the last of them ended. `to` gives the recipients in
        turn. After a `NotAcknowledged` no further message is started, those under way finish, and the earliest
        message's error is raised.

        >>> with EngageLab() as engagelab:
        ...     len(engagelab.send_many(3, scenario="delivered", concurrency=2))
        3
        """
        __tracebackhide__ = True
        run_sync(self.settle_first(SYNC))
        return self._crowd(count, to, concurrency, options).send(options)

    async def asend_many(
        self, count: int, *, to: Sequence[str] | None = None, concurrency: int = 16, **options: Unpack[SendOptions]
    ) -> list[Run]:
        """Do what `send_many` does, in the running event loop."""
        __tracebackhide__ = True
        await self.settle_first(ASYNC)
        return await self._crowd(count, to, concurrency, options).asend(options)

    async def see_send_through(self, io: Io, to: str | None, options: SendOptions) -> Run:
        """Do what `send` and `asend` do, with the given `Io`."""
        __tracebackhide__ = True
        if self._deferred is not None:
            await self._deferred.settle(io)
        run, play = self._accept(to, options)
        await self.see_through(io, play)
        return run

    def _accept(self, to: str | None, given: SendOptions, *, held: bool = False) -> tuple[Run, Play]:
        """Validate what `send` was given, as the API would, make the message, and put its callbacks on the clock."""
        __tracebackhide__ = True
        try:
            check_options(given, where="send")
            if self.batching is not None:
                check_joins_batch(given, where="send")
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
            self.batching.collect(timed, play.deliveries, lambda: self._await_code(message, timed, play))
        else:
            play.plan(planned, held=held)
            self._await_code(message, timed, play, held=held)
        self.sent.append((message, timed, play))
        return Run(message, scenario, play.deliveries), play

    def _await_code(
        self, message: Message, timed: Sequence[tuple[float, StatusEvent]], play: Play, *, held: bool = False
    ) -> None:
        """Let the code expire in virtual time, if the message arrives and the scenario leaves it at that."""
        last = timed[-1][1].status if timed else None
        if last is None or last.message_status not in {Status.DELIVERED, Status.READ}:
            return
        if self.code_ttl is not None and (held or isinstance(self.clock, VirtualClock)):
            when = message.accepted + self.code_ttl
            channel = last.status_data.current_send_channel
            expired = message.event(Status.VERIFIED_TIMEOUT, at=when, channel=channel)
            play.afterwards(Planned(when, (expired,)), held=held)

    def _crowd(self, count: int, to: Sequence[str] | None, concurrency: int, options: SendOptions) -> Crowd:
        __tracebackhide__ = True
        try:
            crowd = Crowd(self, count, to, concurrency, seed=f"{self.seed}:crowd {self._crowds}")
        except EngageLabMockError as error:
            raise self._refused(error) from None
        # What would not be accepted is refused here, once, and not by each of them.
        crowd.member(0)._accept(crowd.recipient(0), options)
        self._crowds += 1
        return crowd
