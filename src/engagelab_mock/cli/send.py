"""`engagelab-mock send`: play one scenario to a receiver."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import click

from engagelab_mock.checks.engagelab import EngageLab
from engagelab_mock.cli.engine import clock_for, course, custom_args, refusals, tls_verify
from engagelab_mock.cli.exitcode import exit_code_of
from engagelab_mock.cli.options import message_options, output_options, pace_options, receiver_options, setting
from engagelab_mock.cli.output import Output
from engagelab_mock.cli.progress import Pacer, pace
from engagelab_mock.cli.send_report import JsonReport, Report, Sent, TextReport
from engagelab_mock.config import SETTINGS
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.scenario import Scenario, Transition


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """Hold what the command was given."""

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
@click.option("--replay", metavar="TOKEN", help="Deliver what this token says instead, such as eg1:sent,plan!ackloss.")
@receiver_options
@message_options
@pace_options
@setting("validate", is_flag=True, help="Ping the address first, as EngageLab does when it is saved.")
@output_options
def send(**given: Any) -> int:
    """Play one scenario to a receiver.

    SCENARIO is a built-in name, such as verified (see `engagelab-mock scenarios`), or statuses separated by commas,
    such as plan,sent,delivered. With --replay there is none: the token says it all.

    Exits 0 when the receiver acknowledged every callback, 1 when it did not, 3 when it could not be reached.
    """
    options = SendOptions(**given)
    output = Output(options.format)
    journal = Journal()
    # A receiver that remembers nonces would take two runs of one seed for a replay, so each run draws its own.
    seed = options.seed or secrets.token_hex(4)
    with refusals(journal):
        scenario, schedule = course_of(options)
        receiver = receiver_from(options)
        pacer = pace(clock_for(options.speed), scenario)
        engagelab = EngageLab(
            receiver,
            clock=pacer.clock,
            seed=seed,
            dialect=options.dialect,
            code_ttl=None,
            defaults=message_from(options),
            journal=journal,
        )
    report: Report = JsonReport(output, seed) if output.json else TextReport(output, receiver, scenario, seed)
    report.begin(engagelab.clock.time())
    journal.listeners.append(pacer.between(report.attempt))
    with engagelab:
        play(engagelab, scenario, schedule, pacer, report, validate=options.validate)
    return exit_code_of(journal.attempts if schedule is None else last_attempts(journal))


def course_of(options: SendOptions) -> tuple[Scenario, Schedule | None]:
    """Return what is sent: a scenario, or a schedule and what stands for it in the report."""
    if options.replay is None:
        if options.scenario is None:
            raise click.MissingParameter(
                ctx=click.get_current_context(), param_hint="'SCENARIO'", param_type="argument"
            )
        return find_scenario(course(options.scenario)), None
    if options.scenario is not None:
        raise UsageError("a token says it all", where="--replay", hint=f"leave {options.scenario!r} out")
    schedule = Schedule.parse(options.replay)
    waits = (Transition("plan", after=step.delay) for step in schedule.steps)
    return Scenario(schedule.token, transitions=tuple(waits), graph=None), schedule


def last_attempts(journal: Journal) -> list[Attempt]:
    """Return what the deliveries came to: that a fault strikes an attempt is not the receiver's doing."""
    return [delivery.attempts[-1] for delivery in journal.deliveries]


def receiver_from(options: SendOptions) -> Receiver:
    """Make the receiver, or raise `UsageError` when nothing says where it is."""
    if not options.url:
        raise UsageError(
            "nothing says where callbacks go",
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


def message_from(options: SendOptions) -> dict[str, Any]:
    """Return what `EngageLab` is told about the message."""
    return {
        "to": options.to,
        "template": options.template,
        "channel": options.channel,
        "custom_args": custom_args(options.custom_arg),
    }


def play(
    engagelab: EngageLab,
    scenario: Scenario,
    schedule: Schedule | None,
    pacer: Pacer,
    report: Report,
    *,
    validate: bool,
) -> None:
    """Send the whole scenario, whatever the answers are, and report what is known even when interrupted."""
    try:
        # The display ends with the sending: what is reported after it would meet it on the terminal.
        with pacer:
            if validate:
                engagelab.validate_address(check=False)
            if schedule is None:
                sent = Sent.of(engagelab.send(scenario=scenario, check=False))
            else:
                sent = Sent.of_schedule(engagelab.play(schedule, check=False))
    except KeyboardInterrupt:
        report.run(Sent.so_far(scenario, engagelab.journal))
        raise
    report.run(sent)
