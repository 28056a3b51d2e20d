"""How an error is told: on stderr for a person, and as an object on stdout where JSON was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise

import click
from rich.text import Text

from engagelab_mock.cli.output import Output, note
from engagelab_mock.config import SETTINGS, project_settings
from engagelab_mock.errors import EngageLabMockError


def tell(error: EngageLabMockError | click.ClickException, arguments: Sequence[str]) -> None:
    """Print an error, its hint, and in JSON mode its object."""
    if isinstance(error, EngageLabMockError):
        name, message, hint = type(error).__name__, _message(error), error.hint
        _print(message, hint)
    else:
        # Click's own classes are no part of this package's tree; for a reader they are all errors of usage.
        name, message, hint = "UsageError", error.format_message(), _help_hint(error)
        error.show()
    if wants_json(arguments):
        sys.stdout.flush()
        Output("json").record(type="error", error=name, message=message, hint=hint)


def tell_unreachable(output: Output, error: EngageLabMockError) -> None:
    """Print that no request got through, which is nobody's misuse of the command."""
    _print(_message(error), error.hint)
    if output.json:
        output.record(type="error", error="Unreachable", message=_message(error), hint=error.hint)


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether JSON was asked for, even by arguments that could not be parsed to the end.

    >>> wants_json(["send", "verified", "--format", "json", "--ulr"]), wants_json(["sign", "--format=text"])
    (True, False)
    """
    form = os.environ.get(SETTINGS["format"].environment) or _configured_format()
    for argument, following in pairwise([*arguments, ""]):
        if argument == "--":
            break
        if argument == "--format":
            form = following
        elif argument.startswith("--format="):
            form = argument.partition("=")[2]
    return form == "json"


def _configured_format() -> object:
    try:
        return project_settings().get("format")
    except EngageLabMockError:
        # This is the very error being told, or will be the next.
        return None


def _message(error: EngageLabMockError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what


def _print(message: str, hint: str) -> None:
    talk = Output().talk
    note(talk, Text.assemble(("Error:", "bold red"), " ", message), indent=0)
    if hint:
        note(talk, Text.assemble(("hint: ", "dim"), hint), indent=2)


def _help_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see '{context.command_path} --help'" if context is not None else "see 'engagelab-mock --help'"
