"""`engagelab-mock demo`: every built-in scenario, to a bundled receiver on a real socket."""

from __future__ import annotations

from dataclasses import dataclass

import click

from engagelab_mock.checks.engagelab import EngageLab
from engagelab_mock.cli.demo_report import JsonReport, Report, Summary, TextReport
from engagelab_mock.cli.engine import clock_for, refusals
from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.options import output_options, pace_options
from engagelab_mock.cli.output import Output
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Run
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME, Receiver
from engagelab_mock.delivery.recorder import Recorder
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.service.addresses import PINGS


@click.command()
@pace_options
@output_options
def demo(seed: str | None, speed: float, format: str) -> int:
    """Play every built-in scenario to a bundled receiver.

    The receiver listens on a real socket of this machine and verifies every signature. Exits 0 when it acknowledged
    every callback and found every signature valid.
    """
    from engagelab_mock.server.loopback import LoopbackServer  # Werkzeug costs more than all the rest of this command

    output = Output(format)
    journal = Journal()
    with refusals(journal):
        clock = clock_for(speed)
    recorder = Recorder(username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
    with LoopbackServer(recorder) as server:
        receiver = Receiver.http(f"{server.url}/engagelab", username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
        with EngageLab(receiver, clock=clock, seed=seed or 0, code_ttl=None, journal=journal) as engagelab:
            report: Report = JsonReport(output) if output.json else TextReport(output, receiver)
            return ExitCode.OK if Demo(engagelab, recorder, report).play().good else ExitCode.FELL_SHORT


@dataclass
class Demo:
    """Play the catalogue through one engine, and ask the receiver what it thought of it."""

    engagelab: EngageLab
    recorder: Recorder
    report: Report

    def play(self) -> Summary:
        """Validate the address, send every scenario, and sum up, even when interrupted."""
        self.engagelab.journal.listeners.append(self._attempted)
        runs: list[Run] = []
        try:
            self.report.begin()
            for body in PINGS:
                self.engagelab.validate_address("json" if body == "json" else "empty", check=False)
            for scenario in CATALOGUE.values():
                self.report.scenario(scenario, now=self.engagelab.clock.time())
                runs.append(self.engagelab.send(scenario=scenario, check=False))
                self.report.run(runs[-1])
        except KeyboardInterrupt:
            self.report.summary(self._summary(runs, interrupted=True))
            raise
        summary = self._summary(runs)
        self.report.summary(summary)
        return summary

    def _attempted(self, delivery: Delivery, attempt: Attempt) -> None:
        received = self.recorder.received[-1] if attempt.response and self.recorder.received else None
        self.report.attempt(delivery, attempt, received.verdict if received else None)

    def _summary(self, runs: list[Run], *, interrupted: bool = False) -> Summary:
        deliveries = self.engagelab.journal.deliveries
        answered = [attempt for attempt in self.engagelab.journal.attempts if attempt.outcome is not Outcome.PENDING]
        received = self.recorder.received
        return Summary(
            runs=len(runs),
            acknowledged=sum(run.acknowledged for run in runs),
            callbacks=sum(len(run.deliveries) for run in runs),
            pings_acknowledged=all(delivery.acknowledged for delivery in deliveries if not delivery.events),
            # What never arrived was never found valid.
            signatures_valid=len(received) >= len(answered) and all(entry.verdict for entry in received),
            interrupted=interrupted,
        )
