"""The command of `--restart-command`, which kills the app under test and starts it again."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial

from engagelab_mock.errors import EngageLabMockError, UsageError

#: How long the command may take, in seconds.
LIMIT = 60.0
_OPTION = "--restart-command"
_EXAMPLE = f'{_OPTION} "docker compose restart -t 0 app"'


def restarter(command: str | None) -> Callable[[], None] | None:
    """Return a function that runs the command; None without a command.

    >>> restarter("true")()

    Raises `UsageError` for a command that cannot be used.
    """
    if command is None:
        return None
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command!r} is not a command line: {error}", where=_OPTION, hint=_EXAMPLE) from None
    if not words:
        raise UsageError("the command is empty", where=_OPTION, hint=_EXAMPLE)
    return partial(_run, words)


def _run(words: list[str]) -> None:
    # Not through a pipe: an app that the command leaves running would keep it open. The app also gets a session of its
    # own, so that Ctrl-C ends the checks and not the app.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=LIMIT,
                start_new_session=True,
                check=False,
            )
        except OSError as error:
            what = f"{words[0]!r} cannot be run: {error.strerror}"
            raise EngageLabMockError(what, where=_OPTION, hint="is it on the PATH?") from None
        except subprocess.TimeoutExpired:
            what = f"{words[0]!r} did not end within {LIMIT:g} s"
            hint = "it must start the app in the background, and end"
            raise EngageLabMockError(what, where=_OPTION, hint=hint) from None
        if done.returncode:
            said.seek(0)
            last = next(
                (line.strip()[:300] for line in reversed(said.readlines()) if line.strip()), "without a message"
            )
            hint = "it must exit 0 once the app is being started"
            raise EngageLabMockError(f"{words[0]!r} exited {done.returncode}: {last}", where=_OPTION, hint=hint)
