"""`engagelab-mock demo` sends every built-in scenario to a bundled receiver; `engagelab-mock scenarios` lists them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import click
from rich.text import Text

from engagelab_mock.cli.option_values import clock_for
from engagelab_mock.cli.options import output_options, seed_option, speed_option
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.cli.render import DETAIL, AttemptMade, Section
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Run
from engagelab_mock.delivery.receiver import SANDBOX_SECRET, SANDBOX_USERNAME, Receiver
from engagelab_mock.delivery.recorder import Recorder
from engagelab_mock.delivery.render import counted
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Transition

_HELP = """Send every built-in scenario to a bundled receiver.

The receiver listens on a real socket of this machine and verifies every signature. Exits 0 when it acknowledged
every callback and found every signature valid.
"""


@click.command(help=_HELP)
@seed_option
@speed_option
@click.option("--verbose", "-v", is_flag=True, help="Show every callback. With --speed they are always shown.")
@click.option("--open", is_flag=True, help="Show it in a browser as well, until Ctrl-C.")
@output_options
def demo(seed: str | None, speed: float, verbose: bool, open: bool, format: str) -> int:
    """Send every built-in scenario to a bundled receiver."""
    from engagelab_mock.server.loopback import LoopbackServer  # importing Werkzeug takes longer than the whole demo

    clock = clock_for(speed)
    recorder = Recorder(username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
    journal = Journal()
    output = Output(format)
    with LoopbackServer(recorder) as server:
        receiver = Receiver.http(f"{server.url}/engagelab", username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)
        with (
            EngageLab(receiver, clock=clock, seed=seed or 0, code_ttl=None, journal=journal) as engagelab,
            _console(engagelab, output) if open else nullcontext(),
        ):
            good = run_demo(engagelab, journal, recorder, output, verbose=verbose or speed > 0)
    return ExitCode.OK if good else ExitCode.FELL_SHORT


@contextmanager
def _console(engagelab: EngageLab, output: Output) -> Iterator[None]:
    """Open the console in a browser, and after the demo keep it there until Ctrl-C."""
    from engagelab_mock.cli.serve import open_page
    from engagelab_mock.server import ApiServer

    with ApiServer(engagelab) as server:
        open_page(output.notice, server.url)
        yield
        output.say(f"the console is at {server.url}/; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            while True:
                # With a short timeout: some systems deliver Ctrl-C only between waits.
                threading.Event().wait(0.5)


def run_demo(
    engagelab: EngageLab, journal: Journal, recorder: Recorder, output: Output, *, verbose: bool = False
) -> bool:
    """Validate the address, send every scenario, and return whether `recorder` found everything valid.

    The callbacks of a scenario are shown if `verbose`, or if one was refused. Sums up even when interrupted.
    """
    runs: list[Run] = []
    shown = _Attempts(recorder, output, verbose=verbose)
    journal.listeners.append(shown.attempted)
    try:
        output.show(DemoBegun(engagelab.receiver, verbose))
        validation = Section("address validation", "EngageLab's pings when an address is saved")
        shown.begin(validation)
        engagelab.validate_address("empty", check=False)
        engagelab.validate_address("json", check=False)
        if not shown.in_detail():
            output.show(Step(True, validation.title, "2 pings", validation.about))
        for scenario in CATALOGUE.values():
            shown.begin(Section(scenario.name, scenario.description), engagelab.clock.time())
            runs.append(engagelab.send(scenario=scenario, check=False))
            output.show(ScenarioSent(runs[-1], in_detail=shown.in_detail()))
    except KeyboardInterrupt:
        output.show(_summary(runs, journal, recorder, interrupted=True))
        raise
    summary = _summary(runs, journal, recorder, interrupted=False)
    output.show(summary)
    return summary.good


class _Attempts:
    """Show the attempts of each section: all of them if `verbose`, else only if one of the section was refused."""

    def __init__(self, recorder: Recorder, output: Output, *, verbose: bool) -> None:
        self._recorder = recorder
        self._output = output
        self._verbose = verbose
        self._kept: list[AttemptMade] = []

    def begin(self, section: Section, started: float = 0.0) -> None:
        self._section, self._started = section, started
        self._kept.clear()
        if self._verbose:
            self._output.show(section)

    def attempted(self, delivery: Delivery, attempt: Attempt) -> None:
        answered = attempt.response and self._recorder.received
        verdict = self._recorder.received[-1].verdict if answered else None
        made = AttemptMade(delivery, attempt, self._started, verdict, with_hint=False)
        # In JSON the callbacks are part of their run's object.
        if not (self._verbose or self._output.json):
            self._kept.append(made)
        elif not (delivery.events and self._output.json):
            self._output.show(made)

    def in_detail(self) -> bool:
        """Tell whether the attempts of the section are shown; show them now if one was refused."""
        if not self._verbose and not all(made.good for made in self._kept):
            self._output.show(self._section)
            for made in self._kept:
                self._output.show(made)
            return True
        return self._verbose


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


@dataclass(frozen=True)
class Step:
    """Show one step of the demo in one line."""

    good: bool
    name: str
    counted: str
    about: str

    def record(self) -> None:
        """Return nothing: JSON has an object for each part of the step."""

    def write(self, screen: Screen) -> None:
        """Print the line, cut if it is too long."""
        line = Text.assemble("  ", screen.mark(self.good), f" {self.name:<18}  {self.counted:<11}  ")
        screen.cut(line.append(self.about, "dim"))


@dataclass(frozen=True)
class ScenarioSent:
    """Show that `demo` sent a scenario."""

    run: Run
    #: Whether its callbacks were shown.
    in_detail: bool

    def record(self) -> dict[str, Any]:
        """Return the run as a JSON object."""
        run = self.run
        return {
            "type": "run",
            "scenario": run.scenario.name,
            "message_id": run.message_id,
            "statuses": run.statuses,
            "acknowledged": run.acknowledged,
        }

    def write(self, screen: Screen) -> None:
        """Print one line, unless its callbacks were printed."""
        run = self.run
        if not self.in_detail:
            callbacks = counted(len(run.deliveries), "callback")
            Step(run.acknowledged, run.scenario.name, callbacks, run.scenario.description).write(screen)
        elif not run.deliveries:
            screen.note(Text("this scenario sends no callbacks", "dim"), indent=DETAIL)


#: How to go on after the demo, with the user's app in place of the bundled receiver.
_NEXT = """
Check your own app while it runs:

  engagelab-mock check http://127.0.0.1:5000/engagelab

Or test it with pytest, in process:

  import pytest
  from engagelab_mock import Receiver
  from shop import app  # your app

  @pytest.fixture
  def engagelab_receiver():
      return Receiver.wsgi(app, path="/engagelab")

  def test_login(engagelab):
      engagelab.send("+6591234567", scenario="verified")"""


@dataclass(frozen=True)
class DemoBegun:
    """Announce the demo."""

    receiver: Receiver
    in_detail: bool

    def record(self) -> None:
        """Return nothing: this is for people."""

    def write(self, screen: Screen) -> None:
        """Print the address of the receiver, and how it treats the callbacks."""
        about = "A fake EngageLab signs callbacks and POSTs them to a bundled receiver, which verifies each one."
        screen.note(Text(about))
        screen.line(Text(self.receiver.address, "cyan"))
        if not self.in_detail:
            screen.line()


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """Sum up the demo."""

    runs: int
    acknowledged: int
    callbacks: int
    pings_acknowledged: bool
    signatures_valid: bool
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Tell whether everything was sent, acknowledged, and validly signed."""
        complete = not self.interrupted and self.acknowledged == self.runs
        return complete and self.pings_acknowledged and self.signatures_valid

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "type": "summary",
            "runs": self.runs,
            "acknowledged": self.acknowledged,
            "signatures_valid": self.signatures_valid,
            "callbacks": self.callbacks,
            "interrupted": self.interrupted,
        }

    def write(self, screen: Screen) -> None:
        """Print the result, and the next step."""
        callbacks = counted(self.callbacks, "callback")
        screen.line()
        if self.interrupted:
            screen.line(f"Interrupted after {callbacks}; {counted(self.runs, 'scenario')} finished")
            return
        acknowledged = "all" if self.acknowledged == self.runs else f"{self.acknowledged} of {self.runs}"
        signatures = "every signature valid" if self.signatures_valid else "not every signature valid"
        ended = f"{callbacks} in {self.runs} scenarios: {acknowledged} acknowledged, {signatures}"
        screen.note(Text.assemble(screen.mark(self.good), (f" {ended}", "bold")), hang=2)
        screen.line(Text(_NEXT))


_SCENARIOS_HELP = """List the built-in scenarios."""


@click.command(help=_SCENARIOS_HELP)
@output_options
def scenarios(format: str) -> int:
    """List the built-in scenarios."""
    output = Output(format)
    if not output.json:
        _show_scenarios(output.screen)
        return ExitCode.OK
    for scenario in CATALOGUE.values():
        output.record(
            name=scenario.name,
            statuses=scenario.statuses,
            description=scenario.description,
            delays=[transition.after for transition in scenario.transitions],
            channels=[transition.channel for transition in scenario.transitions],
            error_codes=[transition.error_code for transition in scenario.transitions],
        )
    return ExitCode.OK


def _show_scenarios(screen: Screen) -> None:
    screen.note(Text("+2 sent: two seconds after the status before it", "dim"))
    for scenario in CATALOGUE.values():
        screen.line()
        screen.line(Text(scenario.name, "bold"))
        screen.note(Text(scenario.description), indent=2)
        screen.steps([_step(each) for each in scenario.transitions] or [Text("no callback", "dim")], indent=2)


def _step(transition: Transition) -> Text:
    """Return a transition with its delay, and its channel if the scenario sets one."""
    step = Text(f"+{transition.after:g} " if transition.after else "", "dim").append(transition.status, "green")
    return step.append(f" {transition.channel}" if transition.channel else "", "cyan")
