"""The tables of the commands: their options, their settings and their exit codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import click
from cells import comments, table

from engagelab_mock.cli import group
from engagelab_mock.cli.output import ExitCode
from engagelab_mock.config import COMMAND_SETTINGS, SETTINGS, Setting


def exit_codes() -> str:
    comment_of = comments(ExitCode) | {"OK": "All good."}
    return table(["exit code", "meaning"], ([str(int(code)), comment_of[code.name]] for code in ExitCode))


def settings(section: str, known: Mapping[str, Setting]) -> str:
    rows = ([f"`{_key(name)}`", each.kind, f"`{each.environment}`"] for name, each in known.items())
    return table([f"key in `[{section}]`", "value", "environment variable"], rows)


def options_of(command: click.Command) -> str:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    rows = ([f"`{_usage(option)}`", option.help or "", _environment(option)] for option in options)
    return table(["option", "meaning", "environment variable"], rows)


def _key(name: str) -> str:
    return name.replace("_", "-")


def _usage(option: click.Option) -> str:
    if option.is_flag:
        return " / ".join([*option.opts[:1], *option.secondary_opts])
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    return f"{option.opts[0]} {option.metavar or '|'.join(choices) or option.opts[0].removeprefix('--').upper()}"


def _environment(option: click.Option) -> str:
    return f"`{option.envvar}`" if option.envvar else ""


TABLES: dict[str, Callable[[], str]] = {
    "exit-codes": exit_codes,
    "settings": partial(settings, "tool.engagelab-mock", SETTINGS),
    "check-settings": partial(settings, "tool.engagelab-mock.check", COMMAND_SETTINGS["check"]),
    "explore-settings": partial(settings, "tool.engagelab-mock.explore", COMMAND_SETTINGS["explore"]),
}
for _name, _command in group.commands.items():
    _subcommands = _command.commands if isinstance(_command, click.Group) else {}
    TABLES |= {f"options-{_name}-{name}": partial(options_of, command) for name, command in _subcommands.items()}
    TABLES |= {} if _subcommands else {f"options-{_name}": partial(options_of, _command)}
