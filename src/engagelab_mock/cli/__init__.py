"""The command line; `main` is imported by the console script."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import click

from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.failure import tell
from engagelab_mock.cli.group import group
from engagelab_mock.cli.interrupt import Terminated, terminable
from engagelab_mock.errors import EngageLabMockError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return what the process should exit with; `argv` is without the program's name.

    >>> main(["sign", "--username", "test", "--secret", "s3cret", "--timestamp", "1681991058", "--nonce", "1"])
    timestamp=1681991058;nonce=1;username=test;signature=9c4157c50929b3a7fe1d9f36f583812a08a553c4255676f72873fcc786f380cc
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _print_anything()
    try:
        with terminable():
            return int(group.main(arguments, prog_name="engagelab-mock", standalone_mode=False) or ExitCode.OK)
    except click.Abort as abort:
        # Click turns KeyboardInterrupt into this, and `Terminated` is one.
        return int(ExitCode.TERMINATED if isinstance(abort.__cause__, Terminated) else ExitCode.INTERRUPTED)
    except (EngageLabMockError, click.ClickException) as error:
        tell(error, arguments)
        return int(ExitCode.USAGE)


def _print_anything() -> None:
    """Let no character that a terminal's encoding lacks end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
