"""`engagelab-mock init`: write a safe receiver, its tests and a step for CI into a folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from engagelab_mock.cli.options import output_options
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.errors import UsageError
from engagelab_mock.starters import Starter, starter

_HELP = """Write a safe receiver, its tests and a step for CI into a folder.

NAME is flask, django, fastapi, node, express, php, go, java or ruby. DIR is made if it does not exist (default: the
current directory). No file is ever replaced.
"""


@click.command(help=_HELP, short_help="Write a safe receiver and its tests into a folder.")
@click.argument("name")
@click.argument("directory", metavar="[DIR]", default=".")
@output_options
def init(name: str, directory: str, format: str) -> int:
    """Write the files of a starter into a folder."""
    chosen = starter(name)
    folder = Path(directory)
    write(chosen, folder)
    Output(format).show(Written(name, chosen, folder))
    return ExitCode.OK


def write(chosen: Starter, folder: Path) -> None:
    """Write the files of a starter. Raise `UsageError` before the first is written if one of them exists."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is not a directory", where="DIR", hint="give a new or an empty directory")
    # A link that leads nowhere would be written through.
    there = [name for name in chosen.files if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        names = ", ".join(there)
        raise UsageError(f"{str(folder)!r} already has {names}", where="DIR", hint="give a new or an empty directory")
    try:
        for name in chosen.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x" never replaces a file, even one that another program has just made.
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(chosen.text(name))
    except OSError as error:
        what = f"{str(error.filename)!r} cannot be written: {error.strerror}"
        raise UsageError(what, where="DIR", hint="give a directory that you may write to") from None


@dataclass(frozen=True)
class Written:
    """Show the files that were written, and the next commands."""

    name: str
    starter: Starter
    folder: Path

    def record(self) -> dict[str, Any]:
        """Return the files, the commands and the guide."""
        return {
            "type": "starter",
            "name": self.name,
            "folder": str(self.folder),
            "files": list(self.starter.files),
            "next": self._next,
            "guide": self.starter.guide,
        }

    def write(self, screen: Screen) -> None:
        """Print the files, then the commands, then the guide."""
        for name in self.starter.files:
            screen.line(Text.assemble(screen.mark(True), f" {self.folder / name}"))
        screen.line()
        screen.line("Next:")
        for command in self._next:
            screen.line(f"  {command}")
        screen.line()
        screen.line(f"Guide: {self.starter.guide} of engagelab-mock")

    @property
    def _next(self) -> list[str]:
        change = [] if self.folder == Path() else [f"cd {shlex.quote(str(self.folder))}"]
        return [*change, *self.starter.commands]
