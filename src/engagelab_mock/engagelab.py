"""The public class `EngageLab`. Its methods only call the engine; `service/` shows how things work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from engagelab_mock.clock import Clock, Entry, VirtualClock
from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Delivery, Run
from engagelab_mock.delivery.receiver import Receiver, check_receivers
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.messages.account import Account
from engagelab_mock.protocol.events import Dialect, Event
from engagelab_mock.service import addresses
from engagelab_mock.service.accept import DeliverOptions, ScenarioChoice, SendOptions, check_deliver_options
from engagelab_mock.service.engine import CODE_TTL, Engine
from engagelab_mock.service.rules import audit_template
from engagelab_mock.service.store import Store

if TYPE_CHECKING:
    from engagelab_mock.checks.finding import Report
    from engagelab_mock.checks.runner import CheckOptions
    from engagelab_mock.delivery.probe import ProbeOptions
    from engagelab_mock.delivery.retry import RetryPolicy
    from engagelab_mock.explore.exploration import Exploration
    from engagelab_mock.explore.invariants import Invariant
    from engagelab_mock.explore.options import Explored, ExploreOptions
    from engagelab_mock.explore.played import Played
    from engagelab_mock.explore.schedule import Schedule
    from engagelab_mock.explore.tape import Tape
    from engagelab_mock.load.run import LoadOptions
    from engagelab_mock.load.summary import LoadSummary
    from engagelab_mock.service.bulk import Batching
    from engagelab_mock.service.inbox import Inbox
    from engagelab_mock.service.messages import Messages
    from engagelab_mock.service.rest.api import RestApi
    from engagelab_mock.service.rest.exchange import ApiSettings
    from engagelab_mock.service.rules import Rule, Rules, Templates


class EngageLab:
    """Play EngageLab towards one or more receivers, with its own clock, journal and seed.

    >>> with EngageLab() as engagelab:
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']

    Send messages: `send`, `begin_send`, `send_many`, `batch`. Send other events: `deliver`, `notify`, `uplink`,
    `system_event`, `audit_template`. See the results: `journal`, `inbox`, `accepted`, `pending`, `settle`. Answer
    the app's own calls: `rule`, `rules`, `templates`, `api`. Receivers: `receiver`, `receivers`,
    `validate_address`, `save_receiver`, `refresh`. Test a receiver: `explore`, `play`, `replay`, `tape`, `check`,
    `load`. State: `clock`, `seed`, `dialect`, `defaults`, `account`, `reset`, `close`.

    Most methods have a variant that can be awaited: `asend` does in the running event loop what `send` does.
    There, `journal`, `inbox`, `pending` and the end of the block raise a `UsageError` if callbacks wait for an `await`.

    Without a receiver, the callbacks go to the bundled receiver, which verifies and records them. `clock` is a
    `VirtualClock` by default. The same `seed`, of any type, makes the same ids and data; the default is 0. Nonces
    differ in every run, because receivers remember them. The same `seed` and `nonce_seed` make the same nonces.
    `dialect` is a `Dialect` or its name. It decides how callbacks are spelt.

    `code_ttl` is how long a code is valid, in seconds (None: for ever). `abnormal` is "deliver" or "skip": whether a
    receiver still gets callbacks after its address validation failed [?]. `defaults` are arguments for `send`.
    `journal` is a `Journal` to write to (default: a new one). `keep` is the largest number of messages, and of entries
    of a new journal (None: no limit). `api` is an `ApiSettings`: how the REST API behaves.

    >>> EngageLab(seed="acme").send().message.id == EngageLab(seed="acme").send().message.id
    True
    """

    def __init__(
        self,
        receiver: Receiver | Sequence[Receiver] | None = None,
        *,
        clock: Clock | None = None,
        seed: object = 0,
        nonce_seed: object = None,
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
        # Plugin, server, command line and checks use the engine directly; a test needs only the public names.
        self._engine = Engine(
            check_receivers([given] if isinstance(given, Receiver) else given, where="EngageLab"),
            VirtualClock() if clock is None else clock,
            seed=seed,
            nonce_seed=nonce_seed,
            dialect=dialect,
            code_ttl=code_ttl,
            abnormal=abnormal,
            defaults=defaults,
            journal=journal,
            api=api,
            store=store,
            keep=keep,
        )
        self._api: RestApi | None = None

    # Send messages.

    def send(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Accept a message and send the callbacks of its scenario; a virtual clock moves from one to the next.

        `to` is an E.164 number or an e-mail address. By default, the recipient is drawn from the seed. The options are
        those of `SendOptions`. Raises `NotAcknowledged` for the first callback that is given up without an HTTP 200 in
        time, unless `check` is False or a fault was applied to it. Raises a `UsageError` for unacceptable input.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="sent_failed")
        >>> run.events[-1].status.error_detail.message
        'sender config is invalid'
        """
        __tracebackhide__ = True
        return run_sync(self._engine.send(SYNC, to, options))

    async def asend(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Do what `send` does, in the running event loop. An ASGI app is called in the same loop.

        >>> import asyncio
        >>> asyncio.run(EngageLab().asend("+6591234567", scenario="delivered")).statuses
        ['plan', 'sent', 'delivered']
        """
        __tracebackhide__ = True
        return await self._engine.send(ASYNC, to, options)

    def begin_send(self, to: str | None = None, **options: Unpack[SendOptions]) -> Run:
        """Accept a message as `send` does, and return before any callback is sent.

        On a virtual clock, the callbacks go out at the next `settle`. On another clock, a running server sends them
        when they are due. The next call that settles raises `NotAcknowledged` for a callback that was given up.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.begin_send("+6591234567", scenario="delivered")
        ...     before = run.statuses
        ...     engagelab.settle()
        >>> before, run.statuses
        ([], ['plan', 'sent', 'delivered'])
        """
        __tracebackhide__ = True
        return self._engine.begin_send(to, options)

    def send_many(
        self, count: int, *, to: Sequence[str] | None = None, concurrency: int = 16, **options: Unpack[SendOptions]
    ) -> list[Run]:
        """Send `count` messages, up to `concurrency` at once, and return their runs in order.

        Each message has its own virtual time and its own data from the seed, so the runs do not depend on the order in
        which they finish. The clock then shows the time at which the last of them ended. The messages go to the
        recipients in `to` in turn. After a `NotAcknowledged`, no further message starts, and the messages under way
        finish. Then the error of the earliest message is raised.

        >>> with EngageLab() as engagelab:
        ...     len(engagelab.send_many(3, scenario="delivered", concurrency=2))
        3
        """
        __tracebackhide__ = True
        from engagelab_mock.service.bulk import BulkSend  # most tests send one message at a time

        run_sync(self._engine.outbox.settle(SYNC))
        return BulkSend(self._engine, count, to, concurrency, options).send()

    async def asend_many(
        self, count: int, *, to: Sequence[str] | None = None, concurrency: int = 16, **options: Unpack[SendOptions]
    ) -> list[Run]:
        """Do what `send_many` does, in the running event loop."""
        __tracebackhide__ = True
        from engagelab_mock.service.bulk import BulkSend

        await self._engine.outbox.settle(ASYNC)
        return await BulkSend(self._engine, count, to, concurrency, options).asend()

    def batch(self, **options: Unpack[DeliverOptions]) -> Batching:
        """Collect the events of a `with` block, and send them as one callback at its end.

        `async with` does the same in the running event loop. The callback goes out when its last event has happened.
        The events keep the order in which they were sent. If an exception leaves the block, nothing is sent.

        >>> with EngageLab() as engagelab, engagelab.batch(total=7, check=False):
        ...     run = engagelab.send("+6591234567")
        """
        __tracebackhide__ = True
        from engagelab_mock.service.bulk import Batching

        try:
            check_deliver_options(options, where="batch")
            self._engine.sending(options)
        except EngageLabMockError as error:
            raise self._engine.refused(error) from None
        return Batching(self._engine, options)

    # Send other events.

    def deliver(self, events: Sequence[Event], **options: Unpack[DeliverOptions]) -> list[Delivery]:
        """Send events of any kinds in one callback.

        >>> with EngageLab() as engagelab:
        ...     low = engagelab.account.notification("insufficient_balance", at=engagelab.clock.time())
        ...     [delivery] = engagelab.deliver([low, low], total=5, check=False)
        >>> delivery.callback.body[:10]
        b'{"total":5'
        """
        __tracebackhide__ = True
        return run_sync(self._engine.deliver(SYNC, events, options))

    async def adeliver(self, events: Sequence[Event], **options: Unpack[DeliverOptions]) -> list[Delivery]:
        """Do what `deliver` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._engine.deliver(ASYNC, events, options)

    def notify(self, event: str, **fields: Any) -> list[Delivery]:
        """Send a notification about the account, such as insufficient_balance.

        `fields` are the fields of the notification, fields that the vendor may add, and the keys of `DeliverOptions`.
        Returns a delivery for each receiver. Raises `UnknownName` for a notification that EngageLab does not have.

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.notify("insufficient_balance", remain_balance=-0.005, balance_threshold=2)
        >>> delivery.statuses
        ['insufficient_balance']
        """
        __tracebackhide__ = True
        return run_sync(self._engine.send_event(SYNC, self._engine.account.notification, (event,), fields))

    async def anotify(self, event: str, **fields: Any) -> list[Delivery]:
        """Do what `notify` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._engine.send_event(ASYNC, self._engine.account.notification, (event,), fields)

    def uplink(self, sender: str, *, body: str, **fields: Any) -> list[Delivery]:
        """Send a message that a user wrote back. Fields and result are as for `notify`.

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.uplink("+6591234567", body="STOP")
        >>> delivery.statuses
        ['uplink_message']
        """
        __tracebackhide__ = True
        return run_sync(self._engine.send_event(SYNC, self._engine.account.uplink, (sender,), {"body": body, **fields}))

    async def auplink(self, sender: str, *, body: str, **fields: Any) -> list[Delivery]:
        """Do what `uplink` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._engine.send_event(ASYNC, self._engine.account.uplink, (sender,), {"body": body, **fields})

    def system_event(self, event: str, **fields: Any) -> list[Delivery]:
        """Send an event of the console or of an API key, such as account_login. Fields and result are as for `notify`.

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.system_event("account_login", action="login_failed", fail_reason="locked")
        >>> delivery.events[0].system_event.data.account_login.fail_reason
        'locked'
        """
        __tracebackhide__ = True
        return run_sync(self._engine.send_event(SYNC, self._engine.account.system_event, (event,), fields))

    async def asystem_event(self, event: str, **fields: Any) -> list[Delivery]:
        """Do what `system_event` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._engine.send_event(ASYNC, self._engine.account.system_event, (event,), fields)

    def audit_template(self, template_id: str, status: str, *, reason: str = "") -> list[Delivery]:
        """Set a template's status, "approved", "rejected" or "pending", and send the notification of it [X].

        >>> from engagelab_mock import ApiSettings
        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.audit_template("sandbox-otp-tpl", "rejected", reason="too short")
        >>> delivery.statuses
        ['template_audit_result']
        """
        __tracebackhide__ = True
        return run_sync(audit_template(self._engine, SYNC, template_id, status, reason))

    async def aaudit_template(self, template_id: str, status: str, *, reason: str = "") -> list[Delivery]:
        """Do what `audit_template` does, in the running event loop."""
        __tracebackhide__ = True
        return await audit_template(self._engine, ASYNC, template_id, status, reason)

    # See the results.

    @property
    def journal(self) -> Journal:
        """Return the journal of every delivery and refused input. Settles first."""
        __tracebackhide__ = True
        self._engine.outbox.settle_soon("journal")
        return self._engine.journal

    def inbox(self, to: str | None = None) -> Inbox:
        """Return the messages that arrived for a recipient, or for all, oldest first. Settles first.

        `.code` and `.text` are those of the latest message. `.wait()` waits for an app in another thread or process.
        The messages of `send` are included.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="delivered")
        ...     message = engagelab.inbox("+6591234567")[-1]
        >>> message.channel, len(message.code), message.code in message.text
        ('sms', 6, True)
        """
        __tracebackhide__ = True
        from engagelab_mock.service.inbox import open_inbox

        self._engine.outbox.check_reader("inbox")
        return run_sync(open_inbox(self._engine, SYNC, to))

    async def ainbox(self, to: str | None = None) -> Inbox:
        """Do what `inbox` does, in the running event loop."""
        __tracebackhide__ = True
        from engagelab_mock.service.inbox import open_inbox

        return await open_inbox(self._engine, ASYNC, to)

    @property
    def accepted(self) -> Messages:
        """Return the messages that were accepted, oldest first.

        >>> with EngageLab() as engagelab:
        ...     engagelab.send("+6591234567").message_id in {accepted.message.id for accepted in engagelab.accepted}
        True
        """
        return self._engine.messages

    @property
    def pending(self) -> list[Entry]:
        """Return the pending callbacks, earliest first: retries, expiries of codes. Does not settle.

        In an event loop, raises a `UsageError` if a callback is overdue, because its consequences, such as a retry,
        would be missing. `await engagelab.asettle()` first. Callbacks that are due later do not raise it.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567", scenario="delivered")
        ...     [callback.label.split()[0] for callback in engagelab.pending]
        ['verified_timeout']
        """
        __tracebackhide__ = True
        self._engine.outbox.check_reader("pending")
        pending: list[Entry] = self._engine.clock.pending
        return pending

    def settle(self) -> None:
        """Send the callbacks that are accepted and not sent yet. Expiries of codes wait for `clock.advance`.

        Raises `NotAcknowledged` for a callback that was given up, also by another thread since the last call.
        `journal`, `inbox`, `send`, `clock.advance` and the end of a `with` block settle by themselves. Called from a
        receiver's handler, it does nothing.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.begin_send("+6591234567", scenario="delivered")
        ...     engagelab.settle()
        >>> run.statuses
        ['plan', 'sent', 'delivered']
        """
        __tracebackhide__ = True
        run_sync(self._engine.outbox.settle(SYNC))

    async def asettle(self) -> None:
        """Do what `settle` does, in the running event loop."""
        __tracebackhide__ = True
        await self._engine.outbox.settle(ASYNC)

    # Answer the app's own calls.

    def rule(
        self,
        to: str | None = None,
        template: str | None = None,
        *,
        call: str | None = None,
        scenario: ScenarioChoice | None = None,
        error: int | None = None,
        message: str = "",
        times: int | None = None,
    ) -> Rule:
        """Give the app's messages a scenario, or answer its calls with an error, until the rule is cancelled.

        A rule applies to a recipient, a template and a call ("messages", "codes", "custom-messages", "verifications",
        "template-configs"). By default it applies to all. The newest rule that fits applies, at most `times` times.
        Recipients of the sandbox have priority over rules.

        >>> with EngageLab() as engagelab:
        ...     blacklisted = engagelab.rule("+6591234567", error=5013)
        ...     flaky = engagelab.rule(call="verifications", error=1000, times=1)
        ...     undelivered = engagelab.rule(template="login", scenario="delivered_failed")
        ...     len(engagelab.rules)
        3
        """
        __tracebackhide__ = True
        engine = self._engine
        try:
            with engine.scheduler.lock:
                return engine.rules.make(
                    to=to, template=template, call=call, scenario=scenario, error=error, message=message, times=times
                )
        except EngageLabMockError as error_:
            raise engine.refused(error_) from None

    @property
    def rules(self) -> Rules:
        """Return the rules in force, oldest first."""
        return self._engine.rules

    @property
    def templates(self) -> Templates:
        """Return the templates, including those of the sandbox."""
        return self._engine.templates

    @property
    def api(self) -> RestApi:
        """Return the REST API as an object: its `handle` takes a request and returns an answer.

        >>> from engagelab_mock import ApiRequest
        >>> with EngageLab() as engagelab:
        ...     engagelab.api.handle(ApiRequest("GET", "/v1/template-configs")).status
        401
        """
        if self._api is None:
            from engagelab_mock.service.rest.api import RestApi

            self._api = RestApi(self._engine)
        return self._api

    # Receivers and their addresses.

    @property
    def receivers(self) -> list[Receiver]:
        """Return the receivers that get callbacks; the list can be changed."""
        return self._engine.receivers

    @property
    def receiver(self) -> Receiver:
        """Return the first receiver. Setting it makes it the only one."""
        return self._engine.receiver

    @receiver.setter
    def receiver(self, receiver: Receiver) -> None:
        self._engine.receivers[:] = [receiver]

    def validate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        receiver: Receiver | None = None,
        signed: bool = False,
        content_type: str = addresses.FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Ping a receiver, by default the first, as EngageLab does when a callback's address is saved [S].

        `body` is "empty" [S] or "json" [D]; by default the dialect decides. `signed` adds X-CALLBACK-ID; the documents
        do not say whether the ping has it. The answer sets the receiver's `state`. Raises `NotAcknowledged` if it is
        not 200 in time, unless `check` is False.

        >>> with EngageLab() as engagelab:
        ...     engagelab.validate_address("json", signed=True).acknowledged
        True
        """
        __tracebackhide__ = True
        return run_sync(
            addresses.validate(
                self._engine, SYNC, body, receiver, signed=signed, content_type=content_type, check=check
            )
        )

    async def avalidate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        receiver: Receiver | None = None,
        signed: bool = False,
        content_type: str = addresses.FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Do what `validate_address` does, in the running event loop."""
        __tracebackhide__ = True
        return await addresses.validate(
            self._engine, ASYNC, body, receiver, signed=signed, content_type=content_type, check=check
        )

    def save_receiver(self, receiver: Receiver, *, signed: bool = False) -> Delivery:
        """Add a receiver as the console does on "save": validate its address, and set its `state`.

        The receiver is added even if it is "abnormal". A receiver that is in the list already is only validated again.

        >>> with EngageLab() as engagelab:
        ...     _ = engagelab.save_receiver(Receiver.recording())
        ...     [receiver.state for receiver in engagelab.receivers]
        ['unvalidated', 'normal']
        """
        __tracebackhide__ = True
        return run_sync(addresses.save(self._engine, SYNC, receiver, signed=signed))

    async def asave_receiver(self, receiver: Receiver, *, signed: bool = False) -> Delivery:
        """Do what `save_receiver` does, in the running event loop."""
        __tracebackhide__ = True
        return await addresses.save(self._engine, ASYNC, receiver, signed=signed)

    def refresh(self, *, signed: bool = False) -> list[Delivery]:
        """Validate every receiver's address again, as the console's "refresh" does [D].

        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.refresh()
        >>> delivery.receiver.state
        'normal'
        """
        __tracebackhide__ = True
        return run_sync(addresses.refresh(self._engine, SYNC, signed=signed))

    async def arefresh(self, *, signed: bool = False) -> list[Delivery]:
        """Do what `refresh` does, in the running event loop."""
        __tracebackhide__ = True
        return await addresses.refresh(self._engine, ASYNC, signed=signed)

    # Test a receiver.

    def play(
        self,
        schedule: Schedule | str,
        invariants: Sequence[Invariant] | Invariant = (),
        *,
        events: Mapping[str, Event] | None = None,
        retry: RetryPolicy | Sequence[float] | None = None,
        check: bool | None = None,
        **probe: Unpack[ProbeOptions],
    ) -> Played:
        """Play a schedule, or its token, to the first receiver, and record the receiver's state after each attempt.

        Raises `ScheduleFailed` if an invariant fails, or if a callback without a fault is given up, unless `check` is
        False. Raises `NothingObserved` if an invariant could not judge anything. `events` replace the events made for
        their labels. `retry` says when a callback that was not acknowledged is sent again, as in `send`. The probe's
        options override those of the receiver.

        >>> with EngageLab() as engagelab:
        ...     played = engagelab.play("eg1:plan,sent!ackloss")
        >>> [record.events for record in played.records]
        [('plan',), ('sent',), ('sent',)]
        """
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import play

        options: ExploreOptions = {"invariants": invariants, "retry": retry, "check": check}
        options.update(probe)  # type: ignore[typeddict-item]  # its keys are among those of the options
        return run_sync(play(self._engine, SYNC, schedule, options, events))

    async def aplay(
        self,
        schedule: Schedule | str,
        invariants: Sequence[Invariant] | Invariant = (),
        *,
        events: Mapping[str, Event] | None = None,
        retry: RetryPolicy | Sequence[float] | None = None,
        check: bool | None = None,
        **probe: Unpack[ProbeOptions],
    ) -> Played:
        """Do what `play` does, in the running event loop; `observe` and invariants may be coroutine functions."""
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import play

        options: ExploreOptions = {"invariants": invariants, "retry": retry, "check": check}
        options.update(probe)  # type: ignore[typeddict-item]  # its keys are among those of the options
        return await play(self._engine, ASYNC, schedule, options, events)

    def explore(self, *lifecycles: Explored, **options: Unpack[ExploreOptions]) -> Exploration:
        """Play every schedule of one or more lifecycles, smallest first, and check the invariants in each.

        `lifecycles` are scenarios as `send` takes them, or schedules; default: all built-in scenarios. The options are
        those of `ExploreOptions`. Raises `ScheduleFailed` at the first schedule that fails, with the smallest schedule
        that fails by the same invariant, unless `check` is False.

        >>> from engagelab_mock import Receiver, converges
        >>> seen = {}
        >>> def app(environ, start_response):
        ...     from engagelab_mock import decode
        ...     for row in decode(environ["wsgi.input"].read()).rows:
        ...         seen.setdefault(row.message_id, set()).add(row.name)
        ...     start_response("200 OK", [])
        ...     return [b""]
        >>> with EngageLab(Receiver.wsgi(app, observe=seen.get)) as engagelab:
        ...     engagelab.explore("delivered", invariants=[converges()], duplicates=1)
        <Exploration: 42 of 42 schedules, 162 deliveries, 7 states, no failure>
        """
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import explore

        return run_sync(explore(self._engine, SYNC, lifecycles, options))

    async def aexplore(self, *lifecycles: Explored, **options: Unpack[ExploreOptions]) -> Exploration:
        """Do what `explore` does, in the running event loop; `observe`, `reset` and invariants may be asynchronous."""
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import explore

        return await explore(self._engine, ASYNC, lifecycles, options)

    def replay(self, token: str, **options: Unpack[ExploreOptions]) -> Played:
        """Play the schedule that a token spells, as `explore` plays it and with the same options.

        >>> with EngageLab() as engagelab:
        ...     engagelab.replay("eg1:plan,delivered!ackloss,sent*2@+3.1s")
        <Played eg1:plan,delivered!ackloss,sent*2@+3.1s: 5 attempts, acknowledgements only>
        """
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import replay

        return run_sync(replay(self._engine, SYNC, token, options))

    async def areplay(self, token: str, **options: Unpack[ExploreOptions]) -> Played:
        """Do what `replay` does, in the running event loop."""
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import replay

        return await replay(self._engine, ASYNC, token, options)

    def tape(self, path: str | os.PathLike[str], *, strict: bool = True) -> Tape:
        """Open a tape that `engagelab-mock record` made, to look at it or to send it again.

        Raises `InvalidTape`, with the line, if the tape is damaged or the file is not a tape. With `strict=False`, the
        tape has the lines that can be read, and `problems` lists the other lines.

        >>> EngageLab().tape("day.jsonl")
        Traceback (most recent call last):
        ...
        engagelab_mock.errors.UsageError: day.jsonl: the tape cannot be read: No such file or directory
          hint: give the file that `engagelab-mock record` wrote
        """
        __tracebackhide__ = True
        from engagelab_mock.explore.tape import open_tape

        return open_tape(self._engine, path, strict=strict)

    def check(self, receiver: Receiver | None = None, **options: Unpack[CheckOptions]) -> Report:
        """Run the checks against a receiver (default: the first) and return the report.

        The options are those of `CheckOptions`. The checks use their own journal, and data that differ in every run.
        Raises a `UsageError` for options that cannot be used. If the state cannot be seen, the error is a
        `ProbeFailed`, `StateNotSettled` or `NothingObserved`.

        >>> with EngageLab() as engagelab:
        ...     report = engagelab.check(only=["A*", "sig-missing"])
        >>> report.assert_none("major")
        """
        __tracebackhide__ = True
        from engagelab_mock.checks.runner import check

        return check(self._engine, receiver, options)

    async def acheck(self, receiver: Receiver | None = None, **options: Unpack[CheckOptions]) -> Report:
        """Do what `check` does, from a thread, leaving the running event loop free.

        An ASGI app is called in that thread's own loop, with its own lifespan. Asynchronous functions, such as
        `observe`, are awaited in the running loop.

        >>> import asyncio
        >>> asyncio.run(EngageLab().acheck(only=["A01"])).summary()["pass"]
        1
        """
        __tracebackhide__ = True
        from engagelab_mock.checks.runner import acheck

        return await acheck(self._engine, receiver, options)

    def load(self, *, check: bool = True, **options: Unpack[LoadOptions]) -> LoadSummary:
        """Send callbacks to the first receiver at a rate, and find the messages that it lost, doubled or regressed.

        The options are those of `LoadOptions`. Unless `check` is False, it raises like `LoadSummary.assert_clean`.
        """
        __tracebackhide__ = True
        from engagelab_mock.load.run import load

        return load(self._engine, options, check=check)

    async def aload(self, *, check: bool = True, **options: Unpack[LoadOptions]) -> LoadSummary:
        """Do what `load` does, in the running event loop of asyncio."""
        __tracebackhide__ = True
        from engagelab_mock.load.run import aload

        return await aload(self._engine, options, check=check)

    # State.

    @property
    def clock(self) -> Any:
        """Return the clock. Move a virtual clock, the default, with `clock.advance(minutes=5)`."""
        return self._engine.clock

    @property
    def seed(self) -> object:
        """Return the seed of ids and data."""
        return self._engine.seed

    @property
    def dialect(self) -> Dialect:
        """Return the dialect in which callbacks are spelt."""
        return self._engine.dialect

    @property
    def defaults(self) -> dict[str, Any]:
        """Return the default arguments of `send`; they can be changed."""
        return self._engine.defaults

    @property
    def account(self) -> Account:
        """Return the account: its ids, and the events about it."""
        return self._engine.account

    def reset(self) -> None:
        """Forget messages, codes, rules, templates, the journal and pending callbacks; keep the clock and receivers.

        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.reset()
        ...     len(engagelab.journal), len(engagelab.inbox())
        (0, 0)
        """
        __tracebackhide__ = True
        self._engine.reset()

    def close(self) -> None:
        """Close every receiver's connections and loops, then raise the first error, such as an app's lifespan error."""
        __tracebackhide__ = True
        errors: list[Exception] = []
        for receiver in self._engine.receivers:
            try:
                receiver.close()
            except Exception as error:
                errors.append(error)
        for other in errors[1:]:
            errors[0].add_note(f"and: {other}")
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._engine.outbox.end(error, self.close, sends=self._engine.ledger is None)

    def __repr__(self) -> str:
        towards = ", ".join(map(repr, self._engine.receivers))
        return f"<EngageLab towards {towards}, {len(self._engine.journal)} journal entries>"
