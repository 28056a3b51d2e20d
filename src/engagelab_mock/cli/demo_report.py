"""What `demo` prints: as JSON objects, or as a timeline for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rich.text import Text

from engagelab_mock.cli.output import Output, note
from engagelab_mock.cli.timeline import DETAIL, Timeline
from engagelab_mock.delivery.model import Attempt, Delivery, Run
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.messages.scenario import Scenario
from engagelab_mock.protocol.signature import Verdict


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Count what was sent and what came of it."""

    runs: int
    acknowledged: int
    callbacks: int
    pings_acknowledged: bool
    signatures_valid: bool
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Tell whether all of it went as it should."""
        complete = not self.interrupted and self.acknowledged == self.runs
        return complete and self.pings_acknowledged and self.signatures_valid


class Report(Protocol):
    """Tell what happens while it happens."""

    def begin(self) -> None:
        """Say what is about to happen."""

    def scenario(self, scenario: Scenario, *, now: float) -> None:
        """Announce a scenario; `now` is in Unix seconds of the engine's clock."""

    def attempt(self, delivery: Delivery, attempt: Attempt, verdict: Verdict | None) -> None:
        """Tell of an attempt, and what the receiver thought of its signature."""

    def run(self, run: Run) -> None:
        """Tell how a scenario ended."""

    def summary(self, summary: Summary) -> None:
        """Sum up."""


class JsonReport:
    """Print one object a ping, one a run, and a summary."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def begin(self) -> None:
        """Print nothing."""

    def scenario(self, scenario: Scenario, *, now: float) -> None:
        """Print nothing."""

    def attempt(self, delivery: Delivery, attempt: Attempt, verdict: Verdict | None) -> None:
        """Print an address validation; callbacks are in their run's object."""
        if not delivery.events:
            self._output.record(
                type="validation",
                body=attempt.callback.body.decode(),
                http_status=attempt.response.status if attempt.response else None,
                acknowledged=attempt.acknowledged,
                elapsed_ms=round(attempt.elapsed * 1000, 3),
                error=attempt.error or None,
            )

    def run(self, run: Run) -> None:
        """Print a run."""
        self._output.record(
            type="run",
            scenario=run.scenario.name,
            message_id=run.message_id,
            statuses=run.statuses,
            acknowledged=run.acknowledged,
        )

    def summary(self, summary: Summary) -> None:
        """Print the summary."""
        self._output.record(
            type="summary",
            runs=summary.runs,
            acknowledged=summary.acknowledged,
            signatures_valid=summary.signatures_valid,
            callbacks=summary.callbacks,
            interrupted=summary.interrupted,
        )


class TextReport:
    """Print a timeline, and what to do next."""

    def __init__(self, output: Output, receiver: Receiver) -> None:
        self._target = output.results
        self._timeline = Timeline(output.results)
        self._receiver = receiver

    def begin(self) -> None:
        """Say where callbacks go and what is watched."""
        title = Text.assemble(("EngageLab, on this machine", "bold"), "  ", (self._receiver.address, "cyan"))
        self._target.print(title, soft_wrap=True)
        about = "A fake EngageLab signs callbacks and POSTs them to a receiver that verifies each one."
        note(self._target, Text(about, "dim"), indent=0)
        self._timeline.heading("address validation", "what EngageLab sends when the address is saved")

    def scenario(self, scenario: Scenario, *, now: float) -> None:
        """Print the scenario's name and what happens in it."""
        self._timeline.started = now
        self._timeline.heading(scenario.name, scenario.description)

    def attempt(self, delivery: Delivery, attempt: Attempt, verdict: Verdict | None) -> None:
        """Print an attempt."""
        if delivery.events:
            self._timeline.attempt(delivery, attempt, verdict)
        else:
            self._timeline.validation(attempt.callback.body, attempt)

    def run(self, run: Run) -> None:
        """Print something where there was nothing to see."""
        if not run.deliveries:
            note(self._target, Text("nothing came, as it should be", "dim"), indent=DETAIL)

    def summary(self, summary: Summary) -> None:
        """Print how it ended, and what to do next."""
        callbacks = f"{summary.callbacks} callbacks in {summary.runs} scenarios"
        self._target.print()
        if summary.interrupted:
            self._target.print(f"Interrupted after {callbacks}", soft_wrap=True)
            return
        acknowledged = "all" if summary.acknowledged == summary.runs else f"{summary.acknowledged} of {summary.runs}"
        signatures = "every signature valid" if summary.signatures_valid else "not every signature valid"
        mark = self._timeline.marks.of(summary.good)
        ended = Text.assemble(mark, (f" {callbacks}: {acknowledged} acknowledged, {signatures}", "bold"))
        self._target.print(ended, soft_wrap=True)
        self._next_steps()

    def _next_steps(self) -> None:
        self._target.print()
        for label, text in (
            ("your receiver  ", "engagelab-mock send verified --url URL --username NAME --secret SECRET"),
            ("your tests     ", 'def test_login(engagelab): engagelab.send("+6591234567", scenario="verified")'),
        ):
            self._target.print(Text.assemble((label, "dim"), text), soft_wrap=True)
