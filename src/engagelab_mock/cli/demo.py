"""`engagelab-mock demo`: send every built-in scenario to a bundled receiver on a real socket."""

from __future__ import annotations

import click

from engagelab_mock.cli.options import clock_for, output_options, seed_option, speed_option
from engagelab_mock.cli.output import ExitCode, Output
from engagelab_mock.cli.render import AttemptMade, DemoBegun, DemoSummary, ScenarioSent, Section
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Run
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME, Receiver
from engagelab_mock.delivery.recorder import Recorder
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.messages.catalogue import CATALOGUE

_HELP = """Send every built-in scenario to a bundled receiver.

The receiver listens on a real socket of this machine and verifies every signature. Exits 0 when it acknowledged
every callback and found every signature valid.
"""


@click.command(help=_HELP)
@seed_option
@speed_option
@output_options
def demo(seed: str | None, speed: float, format: str) -> int:
    """Send every built-in scenario to a bundled receiver."""
    from engagelab_mock.server.loopback import LoopbackServer  # importing Werkzeug takes longer than the whole demo

    clock = clock_for(speed)
    recorder = Recorder(username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
    journal = Journal()
    with LoopbackServer(recorder) as server:
        receiver = Receiver.http(f"{server.url}/engagelab", username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
        with EngageLab(receiver, clock=clock, seed=seed or 0, code_ttl=None, journal=journal) as engagelab:
            good = run_demo(engagelab, journal, recorder, Output(format))
    return ExitCode.OK if good else ExitCode.FELL_SHORT


def run_demo(engagelab: EngageLab, journal: Journal, recorder: Recorder, output: Output) -> bool:
    """Validate the address, send every scenario, and return whether `recorder` found everything valid.

    Sums up even when interrupted.
    """
    started = 0.0
    runs: list[Run] = []

    def attempted(delivery: Delivery, attempt: Attempt) -> None:
        # In JSON the callbacks are part of their run's object.
        if not (output.json and delivery.events):
            answered = attempt.response and recorder.received
            verdict = recorder.received[-1].verdict if answered else None
            output.show(AttemptMade(delivery, attempt, started, verdict, with_hint=False))

    def sum_up(*, interrupted: bool) -> bool:
        summary = _summary(runs, journal, recorder, interrupted=interrupted)
        output.show(summary)
        return summary.good

    journal.listeners.append(attempted)
    try:
        output.show(DemoBegun(engagelab.receiver))
        output.show(Section("address validation", "what EngageLab sends when the address is saved"))
        engagelab.validate_address("empty", check=False)
        engagelab.validate_address("json", check=False)
        for scenario in CATALOGUE.values():
            started = engagelab.clock.time()
            output.show(Section(scenario.name, scenario.description))
            runs.append(engagelab.send(scenario=scenario, check=False))
            output.show(ScenarioSent(runs[-1]))
    except KeyboardInterrupt:
        sum_up(interrupted=True)
        raise
    return sum_up(interrupted=False)


def _summary(runs: list[Run], journal: Journal, recorder: Recorder, *, interrupted: bool) -> DemoSummary:
    # A callback that was under way when the demo was interrupted does not count.
    finished = [each for each in journal.deliveries if not isinstance(each.attempts[-1].exception, KeyboardInterrupt)]
    received = recorder.received
    attempts = sum(len(delivery.attempts) for delivery in finished)
    return DemoSummary(
        runs=len(runs),
        acknowledged=sum(run.acknowledged for run in runs),
        callbacks=sum(bool(delivery.events) for delivery in finished),
        pings_acknowledged=all(delivery.acknowledged for delivery in finished if not delivery.events),
        # A callback that did not arrive did not have a valid signature either.
        signatures_valid=len(received) >= attempts and all(entry.verdict for entry in received),
        interrupted=interrupted,
    )
