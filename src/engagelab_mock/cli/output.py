"""Where output goes: results to stdout as text or JSON Lines, remarks to stderr, colour only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import cached_property
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn
from rich.text import Text

from engagelab_mock.errors import EngageLabMockError

#: How wide tables may get when stdout is not a terminal, in characters.
_WIDE = 160


class ExitCode(IntEnum):
    """Name the exit codes of the command line.

    >>> int(ExitCode.UNREACHABLE)
    3
    """

    OK = 0
    #: The receiver was reached and fell short, or the verified header is not valid.
    FELL_SHORT = 1
    #: The command was given something it cannot use, or nothing could be judged.
    USAGE = 2
    #: No request reached the receiver.
    UNREACHABLE = 3
    #: Ended by Ctrl-C.
    INTERRUPTED = 130
    #: Ended by SIGTERM.
    TERMINATED = 143


class Result(Protocol):
    """A result of a command, which can be shown as JSON and as text."""

    def record(self) -> dict[str, Any] | None:
        """Return the JSON object, or None if JSON output does not have this result."""

    def write(self, screen: Screen) -> None:
        """Print the text."""


class Output:
    """Print one command's results, as text or as JSON Lines, and its remarks.

    >>> Output("json").record(type="run", acknowledged=True)
    {"type":"run","acknowledged":true}
    """

    def __init__(self, form: str = "text") -> None:
        self.json = form == "json"

    def show(self, result: Result) -> None:
        """Print a result on stdout, at once."""
        if not self.json:
            result.write(self.screen)
        elif (record := result.record()) is not None:
            self.record(**record)

    def record(self, **fields: object) -> None:
        """Print one JSON object on stdout, at once."""
        # ASCII only, so that it can be written in any encoding of stdout.
        print(json.dumps(fields, separators=(",", ":")), flush=True)

    @cached_property
    def screen(self) -> Screen:
        """Return stdout, for text."""
        return Screen(sys.stdout)

    @cached_property
    def stderr(self) -> Screen:
        """Return stderr."""
        return Screen(sys.stderr)

    def say(self, text: str, style: str = "") -> None:
        """Print a remark on stderr."""
        self.remark(Text(text, style))

    def notice(self, text: str) -> None:
        """Print a warning on stderr."""
        self.remark(Text.assemble(("Notice:", "bold yellow"), " ", text))

    def error(self, kind: str, error: EngageLabMockError) -> None:
        """Print an error and its hint on stderr, and in JSON mode an object on stdout."""
        self.remark(Text.assemble(("Error:", "bold red"), " ", error.problem))
        if error.hint:
            self.remark(Text.assemble(("hint: ", "dim"), error.hint), indent=2)
        if self.json:
            self.record(type="error", error=kind, message=error.problem, hint=error.hint)

    def remark(self, text: Text, *, indent: int = 0, hang: int = 0, whole: bool = False) -> None:
        """Print a remark on stderr, wrapped unless `whole`. If it cannot be written, the command goes on."""
        with suppress(OSError):
            self.stderr.line(text) if whole else self.stderr.note(text, indent=indent, hang=hang)


def drop_unwritable(stream: TextIO, probe: str = "") -> bool:
    """Tell whether a stream cannot be written, and redirect it to nowhere then, so that its last flush does not fail.

    >>> drop_unwritable(sys.stdout)
    False
    """
    try:
        stream.write(probe)
        stream.flush()
    except OSError:
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        return True
    return False


class Screen:
    """Print text to a stream, with marks that its encoding has.

    >>> screen = Screen(sys.stdout)
    >>> screen.line(Text.assemble(screen.mark(True), " 4 callbacks acknowledged"))
    ✓ 4 callbacks acknowledged
    """

    def __init__(self, stream: TextIO) -> None:
        self.console = console(stream)
        #: The width in characters; None for a file or a pipe, which have no width.
        self.width = self.console.width if stream.isatty() or "COLUMNS" in os.environ else None
        unicode = self.console.encoding.lower().startswith("utf")
        self._good, self._bad = ("✓", "✗") if unicode else ("ok", "no")
        self.arrow, self.dot = ("→", "·") if unicode else ("->", "-")
        self._section = ""
        self._remarks: list[str] = []
        self._hints: set[str] = set()

    def cut(self, text: Text) -> None:
        """Print one line, cut at the width if that is known."""
        if self.width is not None:
            text.truncate(self.width, overflow="ellipsis")
        self.line(text)

    def mark(self, good: bool) -> Text:
        """Return the mark for good or bad, in its colour."""
        return Text(self._good, "green") if good else Text(self._bad, "bold red")

    def rendered(self, text: Text) -> str:
        """Return text with the codes for its colours, if the stream gets any."""
        with self.console.capture() as capture:
            self.console.print(text, end="")
        return capture.get()

    def painter(self, style: str) -> Callable[[str], str]:
        """Return a function that adds the codes of a style to text, if the stream gets any: faster than `rendered`.

        >>> Screen(sys.stdout).painter("bold red")("no")
        'no'
        """
        before, _, after = self.rendered(Text("|", style)).partition("|")
        return lambda text: f"{before}{text}{after}"

    def line(self, text: Text | str = "") -> None:
        """Print one line, however long it is."""
        self.console.print(text, soft_wrap=True)

    def note(self, text: Text, *, indent: int = 0, hang: int = 0) -> None:
        """Print an indented line: wrapped if the width is known, with `hang` more before each further line."""
        if self.width is None:
            self.line(Text(" " * indent).append_text(text))
            return
        for part in text.split("\n"):
            # No narrower than a word: on a tiny terminal the lines go over its edge.
            line = part.wrap(self.console, max(20, self.width - indent))[0]
            rest = part[len(line) :]
            self._indented(line, indent)
            if rest.plain.strip():
                blanks = len(rest) - len(rest.plain.lstrip())
                for line in rest[blanks:].wrap(self.console, max(20, self.width - indent - hang)):
                    self._indented(line, indent + hang)

    def _indented(self, line: Text, indent: int) -> None:
        line.rstrip()
        self.line(Text(" " * indent).append_text(line))

    def steps(self, parts: Sequence[Text], *, indent: int = 0) -> None:
        """Print parts with arrows between them, wrapped between the parts if the width is known."""
        line = Text(" " * indent)
        for number, part in enumerate(parts):
            if number and self.width is not None and line.cell_len + part.cell_len + 5 > self.width:
                self.line(line.append(f" {self.arrow}", "dim"))
                line = Text(" " * (indent + 2)).append_text(part)
            else:
                line = line.append(f" {self.arrow} " if number else "", "dim").append_text(part)
        self.line(line)

    def section(self, title: str, about: str) -> None:
        """Print a heading, unless it is that of the current section."""
        if title != self._section:
            self._section = title
            self._remarks = []
            self.line()
            self.note(Text.assemble((title, "bold"), "  ", (about, "dim")))

    def remarks(self, texts: list[str], *, indent: int) -> None:
        """Print remarks about the line above, unless the line before it had the same."""
        if texts != self._remarks:
            for text in texts:
                self.note(Text(text), indent=indent)
        self._remarks = texts

    def hint(self, text: str, *, indent: int) -> None:
        """Print a hint, the first time only."""
        if text not in self._hints:
            self._hints.add(text)
            self.note(Text.assemble(("hint: ", "bold"), text), indent=indent)


class ProgressLine:
    """Show a line on stderr while a command waits, if stderr is a terminal and `wanted`; else do nothing."""

    def __init__(self, *columns: ProgressColumn, total: float | None, text: str = "", wanted: bool = True) -> None:
        self.shown = wanted and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._progress = Progress(
            SpinnerColumn(),
            *columns,
            console=console(sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(text, total=total)

    def update(
        self,
        *,
        text: str | None = None,
        completed: float | None = None,
        advance: float | None = None,
        total: float | None = None,
    ) -> None:
        """Change the text, how much is completed, or how much there is."""
        self._progress.update(self._task, description=text, completed=completed, advance=advance, total=total)

    @contextmanager
    def visible(self) -> Iterator[None]:
        """Show the line while the block lasts."""
        self._start()
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Remove the line while the block prints something else."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    def _start(self) -> None:
        if self.shown:
            self._progress.start()

    def _stop(self) -> None:
        if self.shown:
            self._progress.stop()


def bar() -> BarColumn:
    """Return the column that shows how much is completed."""
    return BarColumn(bar_width=24)


def console(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Console:
    """Make a console that colours only if `coloured` says so.

    >>> import io
    >>> console(io.StringIO()).color_system is None
    True
    """
    terminal = stream.isatty()
    shown = coloured(terminal, environ)
    return Console(
        file=stream,
        color_system=("auto" if terminal else "standard") if shown else None,
        force_terminal=shown or terminal,
        no_color=not shown,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if terminal or "COLUMNS" in environ else _WIDE,
    )


def coloured(terminal: bool, environ: Mapping[str, str]) -> bool:
    """Tell whether to colour: NO_COLOR decides first, then FORCE_COLOR, then whether a terminal can show colour.

    >>> coloured(True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}), coloured(False, {"FORCE_COLOR": "1"})
    (False, True)
    >>> coloured(True, {"TERM": "xterm"}), coloured(True, {"TERM": "dumb"})
    (True, False)
    """
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (terminal and environ.get("TERM") != "dumb")
