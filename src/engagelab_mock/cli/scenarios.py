"""`engagelab-mock scenarios`: list the built-in scenarios."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from engagelab_mock.cli.options import output_options
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

_HELP = """List the built-in scenarios."""


@click.command(help=_HELP)
@output_options
def scenarios(format: str) -> int:
    """List the built-in scenarios."""
    output = Output(format)
    if not output.json:
        output.screen.console.print(_table(output.screen))
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


def _table(screen: Screen) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="dim")
    table.add_column("scenario", no_wrap=True)
    table.add_column("what happens; its statuses, and the seconds before each")
    for scenario in CATALOGUE.values():
        what = Text.assemble(scenario.description, "\n", _transitions(scenario, screen))
        table.add_row(Text(scenario.name, "bold"), what)
    return table


def _transitions(scenario: Scenario, screen: Screen) -> Text:
    """Return the transitions as one line, with the channels that the scenario sets."""
    if not scenario.transitions:
        return Text("no callback", "dim")
    line = Text()
    for index, transition in enumerate(scenario.transitions):
        line.append(f" {screen.arrow} " if index else "", "dim")
        line.append(f"+{transition.after:g} " if transition.after else "", "dim")
        line.append(transition.status, "green")
        line.append(f" {transition.channel}" if transition.channel else "", "cyan")
    return line
