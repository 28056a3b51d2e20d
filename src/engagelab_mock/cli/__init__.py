"""The command line: `main`, the group of commands, its errors, and the signals that end it."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from itertools import pairwise
from types import FrameType
from typing import Any

import click

from engagelab_mock import __version__
from engagelab_mock.cli.check import check
from engagelab_mock.cli.demo import demo, scenarios
from engagelab_mock.cli.init import init
from engagelab_mock.cli.listen import listen, record
from engagelab_mock.cli.load import load
from engagelab_mock.cli.mcp import mcp
from engagelab_mock.cli.options import Commands
from engagelab_mock.cli.output import ExitCode, Output, drop_unwritable
from engagelab_mock.cli.ready import ready
from engagelab_mock.cli.schema import schema
from engagelab_mock.cli.send import send
from engagelab_mock.cli.serve import serve
from engagelab_mock.cli.signature import sign, verify
from engagelab_mock.cli.tape import tape
from engagelab_mock.config import SETTINGS, check_settings, project_settings
from engagelab_mock.errors import EngageLabMockError, UsageError

# Help texts are not docstrings, which `python -OO` removes.
_HELP = """EngageLab OTP on your own machine.

It sends signed callbacks to the receiver that you are building, and reports how the receiver reacts.
"""

_EPILOG = """\b
Exit codes: 0 all good, 1 the receiver fell short, 2 usage, or nothing could
be judged, 3 receiver unreachable, 130 interrupted.

Arguments override environment variables, which override
[tool.engagelab-mock] in pyproject.toml, which overrides the defaults.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code; `argv` does not contain the program's name.

    >>> main(["sign", "--username", "test", "--secret", "s3cret", "--timestamp", "1681991058", "--nonce", "1"])
    timestamp=1681991058;nonce=1;username=test;signature=9c4157c50929b3a7fe1d9f36f583812a08a553c4255676f72873fcc786f380cc
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with ExitStack() as stack:
        if sys.stderr is None:  # closed by the shell, with 2>&-
            stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        if sys.stdout is None:
            return _cannot_print("stdout is closed")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A character that the terminal's encoding does not have must not end the command.
                stream.reconfigure(errors="replace")
        try:
            code = _run(arguments)
        except OSError as error:
            # Files and sockets raise other errors. If stdout can be written, this error is a bug, with a traceback.
            if not drop_unwritable(sys.stdout, probe="\n"):
                raise
            code = _cannot_print(f"stdout cannot be written: {error.strerror or error}")
        drop_unwritable(sys.stderr)
        return code


def _run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit code, also if an error or a signal ends it."""
    try:
        with _terminable():
            return int(group.main([*arguments], prog_name="engagelab-mock", standalone_mode=False) or ExitCode.OK)
    except click.Abort as abort:
        # Click turns KeyboardInterrupt into this, and `Terminated` is one.
        return int(ExitCode.TERMINATED if isinstance(abort.__cause__, Terminated) else ExitCode.INTERRUPTED)
    except (EngageLabMockError, click.ClickException) as error:
        _show_error(error, arguments)
        return int(ExitCode.USAGE)


def _cannot_print(why: str) -> int:
    """Say on stderr that the results cannot be printed."""
    Output().error("UsageError", UsageError(why, hint="redirect it to a file on a disk with room, or to /dev/null"))
    return int(ExitCode.FELL_SHORT)


@click.group(
    cls=Commands,
    help=_HELP,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="engagelab-mock", message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Read the settings of pyproject.toml for all commands."""
    settings = project_settings()
    context.default_map = {name: _defaults(command, settings) for name, command in group.commands.items()}
    own = check_settings()
    for name in ("suppress", "effect"):
        table = own.get(name)
        if isinstance(table, dict):
            own[name] = [f"{key}={value}" for key, value in table.items()]
    context.default_map["check"] |= own


def _defaults(command: click.Command, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings for a command, and for each command of a group."""
    if isinstance(command, click.Group):
        return {name: _defaults(each, settings) for name, each in command.commands.items()}
    return dict(settings)


_COMMANDS = (
    demo,
    send,
    serve,
    ready,
    check,
    load,
    listen,
    record,
    tape,
    mcp,
    scenarios,
    init,
    schema,
    sign,
    verify,
)
for _command in _COMMANDS:
    group.add_command(_command)


def _show_error(error: EngageLabMockError | click.ClickException, arguments: Sequence[str]) -> None:
    """Print an error and its hint, and in JSON mode its object."""
    output = Output("json" if wants_json(arguments) else "text")
    if isinstance(error, EngageLabMockError):
        output.error(type(error).__name__, error)
        return
    with suppress(OSError):  # stderr is full
        error.show()
    if output.json:
        # Click's own classes are not part of this package's errors; for a reader all of them are errors of usage.
        context = getattr(error, "ctx", None)
        hint = f"see '{context.command_path if context is not None else 'engagelab-mock'} --help'"
        output.record(type="error", error="UsageError", message=error.format_message(), hint=hint)


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether JSON output was asked for, even if the arguments could not be parsed.

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
        # Either this is the error to be shown, or the settings could not be read before it.
        return None


class Terminated(KeyboardInterrupt):
    """Raised by SIGTERM in the main thread; code that handles Ctrl-C handles it too.

    >>> issubclass(Terminated, KeyboardInterrupt)
    True
    """


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` while the block lasts."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set signal handlers; a program that runs a command elsewhere keeps its own.
        yield
        return
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
