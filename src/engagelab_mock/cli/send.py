"""`engagelab-mock send`: send the callbacks of one scenario to a receiver."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click
from click.core import ParameterSource
from rich.progress import TextColumn

from engagelab_mock.cli.option_values import MessageOptions, ReceiverOptions, clock_for, naming, taken
from engagelab_mock.cli.options import (
    message_options,
    output_options,
    receiver_options,
    seed_option,
    setting,
    speed_option,
)
from engagelab_mock.cli.output import ExitCode, Output, ProgressLine, bar
from engagelab_mock.cli.render import AttemptMade, Section, SendSummary, signing
from engagelab_mock.clock import SystemClock, VirtualClock, check_delay
from engagelab_mock.config import SETTINGS
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import recipients
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.tape import Tape
from engagelab_mock.explore.tape.file import read
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import INFERRED, Scenario
from engagelab_mock.protocol.event_table import EVENTS, KnownEvent
from engagelab_mock.protocol.settings import ACCOUNT_EVENTS
from engagelab_mock.protocol.status import Status
from engagelab_mock.service.accept import DeliverOptions

#: How often the progress line moves while a delay passes, in seconds of the machine's clock.
_STEP = 0.1
#: The options that have no effect on a schedule, or on a tape, which has its own recipients and texts.
_NOT_FOR_TOKENS = ("any_order", "field")
_NOT_FOR_TAPES = (*_NOT_FOR_TOKENS, "to", "template", "channel", "custom_arg", "dialect", "seed")
#: The events that are not about a message: notifications, the uplink, system events.
_ACCOUNT_EVENTS = [name for names in ACCOUNT_EVENTS.values() for name in names]


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """Hold the options of the command."""

    scenario: str | None
    replay: str | None
    any_order: bool
    field: tuple[str, ...]
    receiver: ReceiverOptions
    message: MessageOptions
    seed: str | None
    speed: float
    validate: bool
    format: str

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return the options that click collected."""
        return cls(receiver=taken(ReceiverOptions, given), message=taken(MessageOptions, given), **given)


_HELP = """Send a scenario's callbacks, or one event, to a receiver.

SCENARIO is one of these:

\b
  verified                      a built-in name, see `engagelab-mock scenarios`
  sent                          a status, after those that come before it
  plan,sent:sms,delivered       statuses, with or without their channels
  insufficient_balance          an event that is not about a message

With --replay, do not give a SCENARIO: the token or the tape contains everything. The callbacks of a tape are signed
again, and the times in them move to now.

Exits 0 when the receiver acknowledged every callback, 1 when it did not, 3 when it could not be reached.
"""


@click.command(help=_HELP)
@click.argument("scenario", required=False)
@click.option(
    "--replay",
    metavar="TOKEN|FILE",
    help="Send the schedule of this token instead, such as eg1:sent,plan!ackloss, or this tape of `record`.",
)
@click.option("--any-order", is_flag=True, help="Send the statuses that SCENARIO lists even if EngageLab would not.")
@click.option("--field", multiple=True, metavar="NAME=VALUE", help="A field of the event SCENARIO; can be repeated.")
@receiver_options
@message_options
@seed_option
@speed_option
@setting("validate", is_flag=True, help="Ping the address first, as EngageLab does when it is saved.")
@output_options
def send(**given: Any) -> int:
    """Send the callbacks of one scenario to a receiver."""
    options = SendOptions.of(given)
    # A receiver that remembers messages would take a second run with the same seed for duplicates, so each has its own.
    seed = options.seed or secrets.token_hex(4)
    source = source_of(options)
    receiver = receiver_of(options)
    waiting = Waiting(clock_for(options.speed), source)
    journal = Journal()
    engagelab = EngageLab(
        receiver,
        clock=waiting.clock,
        seed=seed,
        dialect=options.message.dialect,
        code_ttl=None,
        defaults=options.message.defaults,
        journal=journal,
    )
    shown = Shown(
        Output(options.format), receiver, source, waiting, again="" if isinstance(source.what, Tape) else seed
    )
    journal.listeners.append(shown.attempted)
    with engagelab:
        try:
            # The line on the terminal is removed before the summary is printed.
            with waiting.visible():
                if options.validate:
                    engagelab.validate_address(check=False)
                messages, deliveries = deliver(engagelab, source)
        except KeyboardInterrupt:
            answered = answered_deliveries(journal)
            ids = [*dict.fromkeys(delivery.message_id for delivery in answered)]
            to = [*recipients(event for delivery in answered for event in delivery.events)]
            shown.sum_up(answered, ids, to, interrupted=True)
            raise
    # A tape has no messages of this engine; its recipients are pseudonyms, and there may be thousands.
    ids, to = [message.id for message in messages], [message.to for message in messages]
    shown.sum_up(deliveries, ids, to, interrupted=False)
    return exit_code_of(last_attempts(journal) if isinstance(source.what, Schedule) else journal.attempts)


class Shown:
    """Show each attempt and the summary, under a heading.

    The heading comes with the first result: an error about an option comes before it, without a heading. `again` is the
    seed that sends the same again, or empty for a tape, which has all its data.
    """

    def __init__(self, output: Output, receiver: Receiver, source: Source, waiting: Waiting, *, again: str) -> None:
        self._output = output
        self._section = Section(
            source.name, f"{output.screen.arrow} {receiver.address}  ({signing(receiver.settings)})"
        )
        self._source = source
        self._waiting = waiting
        self._again = again
        self._started = waiting.clock.time()

    def attempted(self, delivery: Delivery, attempt: Attempt) -> None:
        """Show an attempt."""
        with self._waiting.hidden():
            self._output.show(self._section)
            self._output.show(AttemptMade(delivery, attempt, self._started))
        if delivery.events:
            self._waiting.next()

    def sum_up(
        self, deliveries: Sequence[Delivery], ids: Iterable[str], to: Iterable[str], *, interrupted: bool
    ) -> None:
        """Show the summary."""
        self._output.show(self._section)
        joined = ", ".join(ids), ", ".join(to)
        self._output.show(SendSummary(self._source.name, deliveries, *joined, self._again, interrupted))


@dataclass(frozen=True)
class AccountEvent:
    """Hold an event that is not about a message, and its fields."""

    known: KnownEvent
    fields: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Hold what the command sends, with its name, the names of its callbacks, and the seconds that they take."""

    name: str
    what: Scenario | Schedule | AccountEvent | Tape
    callbacks: Sequence[str]
    duration: float


def source_of(options: SendOptions) -> Source:
    """Return what the arguments name; raise `UsageError` if that cannot be sent."""
    if options.replay is not None:
        if options.scenario is not None:
            hint = f"leave {options.scenario!r} out"
            raise UsageError("a token or a tape contains the whole schedule", where="--replay", hint=hint)
        source = _replayed(options.replay)
        unused = _NOT_FOR_TAPES if isinstance(source.what, Tape) else _NOT_FOR_TOKENS
        came_from = click.get_current_context().get_parameter_source
        if given := [name for name in unused if came_from(name) is ParameterSource.COMMANDLINE]:
            option = f"--{given[0].replace('_', '-')}"
            raise UsageError("a token or a tape contains the whole schedule", where=option, hint=f"leave {option} out")
        return source
    if options.scenario is None:
        raise click.MissingParameter(ctx=click.get_current_context(), param_hint="'SCENARIO'", param_type="argument")
    if options.scenario in _ACCOUNT_EVENTS:
        known = EVENTS[options.scenario]
        return Source(known.name, AccountEvent(known, event_fields(known, options)), [], 0.0)
    if options.field:
        hint = f"only events have fields: {', '.join(_ACCOUNT_EVENTS)}"
        raise UsageError(f"{options.scenario!r} is not an event", where="--field", hint=hint)
    scenario = read_scenario(options.scenario, any_order=options.any_order)
    return Source(scenario.name, scenario, scenario.statuses, scenario.duration)


def _replayed(given: str) -> Source:
    """Return the tape in a file, or the schedule of a token."""
    if not (Path(given).suffix == ".jsonl" or Path(given).is_file()):
        schedule = Schedule.parse(given)
        callbacks = [",".join(step.events) for step in schedule.steps]
        return Source(schedule.token, schedule, callbacks, sum(step.delay for step in schedule.steps))
    tape = Tape(None, read(given))
    if tape.problems:
        hint = f"engagelab-mock tape scrub {given} --out clean.jsonl keeps the lines that are good"
        if tape.problems[0].line == 1:
            hint = "engagelab-mock record makes a tape"
        raise UsageError(tape.problems[0].what, where=f"{given}, line {tape.problems[0].line}", hint=hint)
    if not tape.callbacks:
        raise UsageError("the tape has no callbacks", where=given, hint=f"see engagelab-mock tape show {given}")
    callbacks = [", ".join(event.name for event in entry.events) for entry in tape.callbacks]
    return Source(given, tape, callbacks, tape.duration)


def read_scenario(given: str, *, any_order: bool = False) -> Scenario:
    """Return the scenario that a SCENARIO argument names, or whose statuses it lists, with or without their channels.

    >>> read_scenario("verified").name, read_scenario("plan, sent:voice").transitions[1].channel
    ('verified', 'voice')

    A status alone comes after those before it.

    >>> read_scenario("sent").statuses
    ['plan', 'sent']
    """
    if given in CATALOGUE:
        return CATALOGUE[given]
    words = [word.strip().partition(":") for word in given.split(",")]
    if len(words) == 1:
        status = words[0][0]
        if status not in list(Status):
            raise UnknownName("scenario", given, {*CATALOGUE, *map(str, Status), *_ACCOUNT_EVENTS}, where="scenario")
        if status != Status.PLAN and not any_order:
            words.insert(0, (Status.PLAN, "", ""))
    scenario = Scenario(given, graph=None if any_order else INFERRED)
    for number, (status, _, channel) in enumerate(words):
        scenario = scenario.then(status, after=1 if number else 0, channel=channel or None)
    return scenario


def event_fields(known: KnownEvent, options: SendOptions) -> dict[str, Any]:
    """Return the --field options of an event: JSON, or text. The sender of an uplink can also be given by --to."""
    fields: dict[str, Any] = {}
    if known.kind == "response":
        fields = {"body": "STOP"} | ({"sender": options.message.to} if options.message.to else {})
    for pair in options.field:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{pair!r} is not NAME=VALUE", where="--field", hint="such as --field remain_balance=-0.5")
        if name in DeliverOptions.__annotations__:
            hint = "such as --field remain_balance=-0.5"
            raise UsageError(f"{name!r} is not a field of an event", where="--field", hint=hint)
        field = known.field(name)
        fields[name] = value if field is not None and field.type == "string" else _value(value)
    return fields


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def receiver_of(options: SendOptions) -> Receiver:
    """Return the receiver, or raise `UsageError` without an address."""
    if not options.receiver.url:
        raise UsageError(
            "the address of the receiver is missing",
            where="--url",
            hint=f"give --url http://127.0.0.1:5000/engagelab, or set {SETTINGS['url'].environment}, or put url = '…'"
            " under [tool.engagelab-mock] in pyproject.toml",
        )
    return options.receiver.receiver(options.receiver.url)


def deliver(engagelab: EngageLab, source: Source) -> tuple[Sequence[Message], Sequence[Delivery]]:
    """Send every callback, even if the receiver refuses one; return the messages and deliveries."""
    what = source.what
    if isinstance(what, Tape):
        return [], engagelab.tape(source.name).replay(check=False)
    if isinstance(what, AccountEvent):
        with naming("--field"):
            return [], _deliver_event(engagelab, what)
    if isinstance(what, Schedule):
        played = engagelab.play(what, check=False)
        return played.messages, played.deliveries
    run = engagelab.send(scenario=what, check=False)
    return [run.message], run.deliveries


def _deliver_event(engagelab: EngageLab, event: AccountEvent) -> list[Delivery]:
    known, fields = event.known, dict(event.fields)
    account = engagelab.account
    if known.kind == "response" and not fields.get("sender"):
        fields["sender"] = account.generate.recipient()
    return engagelab.deliver([account.event(known.name, fields, at=engagelab.clock.time())], check=False)


def answered_deliveries(journal: Journal) -> list[Delivery]:
    """Return the deliveries of events, without one that an interrupt of this command ended."""
    ended = [each for each in journal.deliveries if each.events]
    return [each for each in ended if not isinstance(each.attempts[-1].exception, KeyboardInterrupt)]


def last_attempts(journal: Journal) -> list[Attempt]:
    """Return the last attempt of each delivery; an earlier one may have failed only because of a fault."""
    return [delivery.attempts[-1] for delivery in journal.deliveries]


def exit_code_of(attempts: Iterable[Attempt]) -> ExitCode:
    """Return the exit code for these attempts.

    >>> exit_code_of([])
    <ExitCode.OK: 0>
    """
    attempts = list(attempts)
    if any(attempt.outcome.unreachable for attempt in attempts):
        return ExitCode.UNREACHABLE
    return ExitCode.OK if all(attempt.acknowledged for attempt in attempts) else ExitCode.FELL_SHORT


class Waiting:
    """While delays pass in real time, show on a terminal which callback is next."""

    def __init__(self, clock: VirtualClock | SystemClock, source: Source) -> None:
        self._next = iter(source.callbacks)
        self._line = ProgressLine(
            TextColumn("waiting for [bold]{task.description}"),
            bar(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
            total=source.duration,
            wanted=isinstance(clock, SystemClock),
        )
        #: The clock to send by.
        self.clock = clock
        if self._line.shown and isinstance(clock, SystemClock):
            self.clock = WatchedClock(clock.speed, self._move)
        self._started = self.clock.time()
        self.hidden = self._line.hidden
        self.visible = self._line.visible
        self.next()

    def next(self) -> None:
        """Show the callback after the one that was sent."""
        self._line.update(text=next(self._next, "the end"))

    def _move(self) -> None:
        self._line.update(completed=self.clock.time() - self._started)


class WatchedClock(SystemClock):
    """Follow the machine's clock, and call `tick` repeatedly while a delay passes.

    >>> WatchedClock(20, lambda: print("tick")).sleep(1)
    tick
    """

    def __init__(self, speed: float, tick: Callable[[], object]) -> None:
        super().__init__(speed)
        self._tick = tick

    def sleep(self, seconds: float) -> None:
        """Wait until that many seconds of this clock have passed, in short steps."""
        end = self.time() + check_delay(seconds, where="WatchedClock.sleep")
        while (left := end - self.time()) > 0:
            super().sleep(min(left, _STEP * self.speed))
            self._tick()
