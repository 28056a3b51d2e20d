"""Run a test file as a reader would, and draw the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

from svg import Picture, width_of

COLUMNS = 80
_SIZE = 13
_LINE = 19


def run_test(code: str, name: str = "test_shop.py") -> list[str]:
    """Return the lines that pytest prints for this test file, with the same times in every run."""
    with TemporaryDirectory() as directory:
        (Path(directory) / name).write_text(code, encoding="utf-8")
        plain = ["-c", os.devnull, "--rootdir=.", "-p", "no:cacheprovider", "-p", "no:faker", "-p", "no:asyncio"]
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", *plain, "-q", name],
            cwd=directory,
            env={**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    steady = re.sub(r"\d+\.\d+(?= s\b)", "0.002", re.sub(r"\d+\.\d+(?= ms\b)", "1.5", finished.stdout))
    return [line.rstrip() for line in steady.splitlines()]


def find(lines: list[str], start: str) -> str:
    """Return the line that begins like this, which has to be there."""
    for line in lines:
        if line.startswith(start):
            return line
    raise LookupError(f"pytest printed no line that begins with {start!r}:\n" + "\n".join(lines))


def draw_terminal(lines: list[str], *, alt: str) -> str:
    """Return a picture of a terminal with these lines; one that starts with a circled number is a note on the next."""
    shown = [part for line in lines for part in _wrapped(line)]
    picture = Picture(round(width_of("x" * COLUMNS, size=_SIZE)) + 32, 44 + len(shown) * _LINE, alt)
    for number, colour in enumerate(["bad", "amber", "good"]):
        picture.text(16 + number * 18, 24, "●", colour)
    for number, line in enumerate(shown):
        if line:
            picture.text(16, 50 + number * _LINE, line, _style(line), size=_SIZE)
    return picture.render()


def _wrapped(line: str) -> list[str]:
    """Return a line as a terminal breaks it, but between words, and indented like its beginning."""
    start = line[: len(line) - len(line.lstrip("E> "))]
    indent = start.replace(">", " ")
    return textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _style(line: str) -> str:
    styles = {r"[①-⑨]": "blue bold", r"\$ |>": "bold", r"E( |$)": "bad", r"-----": "soft"}
    return next((style for start, style in styles.items() if re.match(start, line)), "")
