"""`engagelab-mock scenarios`: list the built-in scenarios."""

from __future__ import annotations

import click
from rich.text import Text

from engagelab_mock.cli.options import output_options
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Transition

_HELP = """List the built-in scenarios."""


@click.command(help=_HELP)
@output_options
def scenarios(format: str) -> int:
    """List the built-in scenarios."""
    output = Output(format)
    if not output.json:
        _show(output.screen)
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


def _show(screen: Screen) -> None:
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
