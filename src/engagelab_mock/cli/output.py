"""Where words go: results to stdout, talk to stderr, colour only where somebody sees it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

#: How wide tables may get where no terminal sets the limit, in characters.
_WIDE = 160


class Output:
    """Write one command's results, as text for a person or as one JSON object a line.

    >>> Output("json").record(type="run", acknowledged=True)
    {"type":"run","acknowledged":true}
    """

    def __init__(self, form: str = "text") -> None:
        self.json = form == "json"

    def record(self, **fields: object) -> None:
        """Print one JSON object on stdout, at once."""
        # ASCII only, so that no encoding of stdout can apply_faults it.
        print(json.dumps(fields, separators=(",", ":")), flush=True)

    @cached_property
    def results(self) -> Console:
        """Return stdout, for a person."""
        return console(sys.stdout)

    @cached_property
    def talk(self) -> Console:
        """Return stderr, for a person."""
        return console(sys.stderr)


class Marks:
    """Hold the signs used in text, plain ones where the encoding has no better.

    >>> Marks("ascii").ok
    'ok'
    """

    def __init__(self, encoding: str) -> None:
        rich = encoding.lower().startswith("utf")
        self.ok = "✓" if rich else "ok"
        self.bad = "✗" if rich else "no"
        self.arrow = "→" if rich else "->"
        self.dot = "·" if rich else "-"

    def of(self, good: bool) -> Text:
        """Return the sign for good or bad, in its colour."""
        return Text(self.ok, "green") if good else Text(self.bad, "bold red")


def console(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Console:
    """Make a console that colours only where `coloured` says so.

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
    """Tell whether to colour: NO_COLOR, then FORCE_COLOR, then whether there is a terminal that can.

    >>> coloured(True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}), coloured(False, {"FORCE_COLOR": "1"})
    (False, True)
    >>> coloured(True, {"TERM": "xterm"}), coloured(True, {"TERM": "dumb"})
    (True, False)
    """
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (terminal and environ.get("TERM") != "dumb")


def note(target: Console, text: Text, *, indent: int) -> None:
    """Print an indented remark: wrapped to a terminal, on one line anywhere else."""
    if target.file.isatty():
        target.print(Padding(text, (0, 0, 0, indent)))
    else:
        target.print(Text(" " * indent).append_text(text), soft_wrap=True)
