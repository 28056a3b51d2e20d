"""`engagelab-mock send`: send the callbacks of one scenario to a receiver."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.progress import TextColumn

from engagelab_mock.cli.options import (
    clock_for,
    message_options,
    output_options,
    receiver_options,
    seed_option,
    setting,
    speed_option,
    tls_verify,
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
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario, Transition

#: How often the progress line moves while a delay passes, in seconds of the machine's clock.
_STEP = 0.1


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """Hold the options of the command."""

    scenario: str | None
    replay: str | None
    url: str | None
    username: str
    secret: str
    authorization: str
    timeout: float
    insecure: bool
    ca: str | None
    to: str | None
    template: str | None
    channel: str | None
    custom_arg: tuple[str, ...]
    dialect: str
    seed: str | None
    speed: float
    validate: bool
    format: str


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--replay", metavar="TOKEN", help="Send the schedule of this token instead, such as eg1:sent,plan!ackloss."
)
@receiver_options
@message_options
@seed_option
@speed_option
@setting("validate", is_flag=True, help="Ping the address first, as EngageLab does when it is saved.")
@output_options
def send(**given: Any) -> int:
    """Send the callbacks of one scenario to a receiver.

    SCENARIO is a built-in name, such as verified (see `engagelab-mock scenarios`), or statuses separated by commas,
    such as plan,sent,delivered. With --replay there is no SCENARIO: the token contains everything.

    Exits 0 when the receiver acknowledged every callback, 1 when it did not, 3 when it could not be reached.
    """
    options = SendOptions(**given)
    # A receiver that remembers messages would take a second run with the same seed for duplicates, so each has its own.
    seed = options.seed or secrets.token_hex(4)
    scenario, schedule = scenario_of(options)
    receiver = receiver_of(options)
    waiting = Waiting(clock_for(options.speed), scenario)
    journal = Journal()
    engagelab = EngageLab(
        receiver,
        clock=waiting.clock,
        seed=seed,
        dialect=options.dialect,
        code_ttl=None,
        defaults=message_of(options),
        journal=journal,
    )
    output = Output(options.format)
    # Shown with the first result, and not earlier: sending may find that an option cannot be used.
    section = Section(scenario.name, f"{output.screen.arrow} {receiver.address}  ({signing(receiver.settings)})")
    started = engagelab.clock.time()

    def attempted(delivery: Delivery, attempt: Attempt) -> None:
        with waiting.hidden():
            output.show(section)
            output.show(AttemptMade(delivery, attempt, started))
        if delivery.events:
            waiting.next()

    def sum_up(deliveries: Sequence[Delivery], ids: Iterable[str], to: Iterable[str], *, interrupted: bool) -> None:
        output.show(section)
        output.show(SendSummary(scenario.name, deliveries, ", ".join(ids), ", ".join(to), seed, interrupted))

    journal.listeners.append(attempted)
    with engagelab:
        try:
            # The line on the terminal is removed before the summary is printed.
            with waiting.visible():
                if options.validate:
                    engagelab.validate_address(check=False)
                messages, deliveries = deliver(engagelab, schedule or scenario)
        except KeyboardInterrupt:
            ended = [each for each in journal.deliveries if each.events]
            answered = [each for each in ended if not isinstance(each.attempts[-1].exception, KeyboardInterrupt)]
            ids = dict.fromkeys(delivery.message_id for delivery in answered)
            to = recipients(event for delivery in answered for event in delivery.events)
            sum_up(answered, ids, to, interrupted=True)
            raise
    sum_up(deliveries, [message.id for message in messages], [message.to for message in messages], interrupted=False)
    return exit_code_of(journal.attempts if schedule is None else last_attempts(journal))


def scenario_of(options: SendOptions) -> tuple[Scenario, Schedule | None]:
    """Return the scenario to send; for --replay its schedule, and a scenario with its name and delays."""
    if options.replay is None:
        if options.scenario is None:
            raise click.MissingParameter(
                ctx=click.get_current_context(), param_hint="'SCENARIO'", param_type="argument"
            )
        return read_scenario(options.scenario), None
    if options.scenario is not None:
        raise UsageError(
            "a token contains the whole schedule", where="--replay", hint=f"leave {options.scenario!r} out"
        )
    schedule = Schedule.parse(options.replay)
    waits = (Transition("plan", after=step.delay) for step in schedule.steps)
    return Scenario(schedule.token, transitions=tuple(waits), graph=None), schedule


def read_scenario(given: str) -> Scenario:
    """Return the scenario that a SCENARIO argument names, or whose statuses it lists.

    >>> read_scenario("verified").name, read_scenario("plan, sent").statuses
    ('verified', ['plan', 'sent'])
    """
    return find_scenario([status.strip() for status in given.split(",")] if "," in given else given)


def receiver_of(options: SendOptions) -> Receiver:
    """Return the receiver, or raise `UsageError` if there is no address."""
    if not options.url:
        raise UsageError(
            "there is no address to send callbacks to",
            where="--url",
            hint=f"give --url http://127.0.0.1:5000/engagelab, or set {SETTINGS['url'].environment}, or put url = '…'"
            " under [tool.engagelab-mock] in pyproject.toml",
        )
    return Receiver.http(
        options.url,
        username=options.username,
        secret=options.secret,
        authorization=options.authorization,
        limit=options.timeout,
        tls_verify=tls_verify(options.insecure, options.ca),
    )


def message_of(options: SendOptions) -> dict[str, Any]:
    """Return what `EngageLab` has to know about the message."""
    return {
        "to": options.to,
        "template": options.template,
        "channel": options.channel,
        "custom_args": custom_args(options.custom_arg),
    }


def custom_args(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """Return the --custom-arg options as a dict, or raise `UsageError` for one without `=`.

    >>> custom_args(("order=42", "note=a=b"))
    {'order': '42', 'note': 'a=b'}
    """
    args: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair!r} is not KEY=VALUE", where="--custom-arg", hint="such as --custom-arg order=42")
        args[key] = value
    return args or None


def deliver(engagelab: EngageLab, what: Scenario | Schedule) -> tuple[Sequence[Message], Sequence[Delivery]]:
    """Send the whole scenario or schedule, also if the receiver refuses it; return its messages and deliveries."""
    if isinstance(what, Schedule):
        played = engagelab.play(what, check=False)
        return played.messages, played.deliveries
    run = engagelab.send(scenario=what, check=False)
    return [run.message], run.deliveries


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
    """While delays pass in real time, show on a terminal which status is next."""

    def __init__(self, clock: VirtualClock | SystemClock, scenario: Scenario) -> None:
        self._next = iter(scenario.statuses)
        self._line = ProgressLine(
            TextColumn("waiting for [bold]{task.description}"),
            bar(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
            total=scenario.duration,
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
        """Show the status after the one that was sent."""
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
