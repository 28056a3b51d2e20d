"""`engagelab-mock tape`: show a tape, remove personal data from it, and refuse tapes that have some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from engagelab_mock.cli.options import Commands, output_options, setting
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.cli.render import DETAIL, offset
from engagelab_mock.delivery.render import counted, milliseconds, printable, recipients
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.tape.file import Contents, TapeEntry, TapeWriter, read
from engagelab_mock.explore.tape.personal import personal_data
from engagelab_mock.explore.tape.sanitise import Pseudonyms, Sanitiser

_FILE = click.Path(path_type=Path)


@click.group(
    cls=Commands,
    help="Show a tape of `record`, remove personal data from it, or look for personal data.",
    short_help="Show, scrub or scan a tape.",
)
def tape() -> None:
    """Hold the commands that read a tape."""


_SHOW_HELP = """Show the callbacks of a tape.

A line for each: the seconds after the first, its events, its recipient, and the receiver's answer. Exits 1 when a
line cannot be read.
"""


@tape.command(help=_SHOW_HELP, short_help="Show the callbacks of a tape.")
@click.argument("file", type=_FILE)
@output_options
def show(file: Path, format: str) -> int:
    """Show the callbacks of a tape."""
    output = Output(format)
    contents = _contents(file)
    started = contents.entries[0].at if contents.entries else 0.0
    for entry in contents.entries:
        output.show(EntryShown(entry, started))
    output.show(TapeSummary(file, contents))
    return ExitCode.FELL_SHORT if contents.problems else ExitCode.OK


_SCRUB_HELP = """Copy a tape without personal data and secrets.

Phone numbers, addresses and names become pseudonyms, the same for the same person; secrets are dropped. Lines that
cannot be read are left out, and counted. Exits 1 then.
"""


@tape.command(help=_SCRUB_HELP, short_help="Copy a tape without personal data.")
@click.argument("file", type=_FILE)
@click.option("--out", metavar="FILE", help="The tape to write, such as clean.jsonl; an existing file is not touched.")
@setting("pseudonym_key", metavar="KEY", help="Give people the same pseudonyms as on other tapes with this key.")
@output_options
def scrub(file: Path, out: str | None, pseudonym_key: str | None, format: str) -> int:
    """Copy a tape without personal data and secrets."""
    if not out:
        raise UsageError("no tape is named", where="--out", hint="such as clean.jsonl")
    output = Output(format)
    contents = _contents(file)
    changed = sum(bool(personal_data(entry)) for entry in contents.entries)
    started = contents.head.started if contents.head else 0.0
    with TapeWriter(out, started=started, sanitiser=Sanitiser(Pseudonyms(pseudonym_key))) as clean:
        for entry in contents.entries:
            clean.write(entry)
    output.show(Scrubbed(out, len(contents.entries), changed, contents))
    return ExitCode.FELL_SHORT if contents.problems else ExitCode.OK


_SCAN_HELP = """Refuse tapes that have personal data or secrets on them.

Prints a line for each place, with the kind of its data and without the data. Exits 1 when there is one, 2 when a
file is not a tape. Made for a hook before a commit.
"""


@tape.command(help=_SCAN_HELP, short_help="Look for personal data on tapes.")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("--skip-others", is_flag=True, help="Leave out files that are not tapes.")
@output_options
def scan(files: Sequence[Path], skip_others: bool, format: str) -> int:
    """Refuse tapes that have personal data or secrets on them."""
    output = Output(format)
    found = tapes = 0
    for file in files:
        contents = read(file)
        if contents.head is None and skip_others:
            continue
        contents = _contents(file, contents)
        tapes += 1
        entries = zip(contents.lines, contents.entries, strict=True)
        places = [(line, place) for line, entry in entries for place in personal_data(entry)]
        places += [(problem.line, f"a line that cannot be read: {problem.what}") for problem in contents.problems]
        for line, place in sorted(places):
            output.show(PlaceFound(file, line, place))
        found += len(places)
    output.show(ScannedTapes(len(files), tapes, found))
    return ExitCode.FELL_SHORT if found else ExitCode.OK


def _contents(file: Path, contents: Contents | None = None) -> Contents:
    """Return the contents of a tape, or raise `UsageError` for a file that is not one."""
    contents = contents or read(file)
    if contents.head is None:
        hint = "record one with engagelab-mock record --forward URL --out day.jsonl"
        raise UsageError(contents.problems[0].what, where=str(file), hint=hint)
    return contents


@dataclass(frozen=True)
class EntryShown:
    """Show a request on a tape."""

    entry: TapeEntry
    started: float

    @property
    def _recipients(self) -> list[str]:
        return list(recipients(self.entry.events))

    def record(self) -> dict[str, Any]:
        """Return the request and its answer."""
        entry = self.entry
        return {
            "type": "request",
            "at": entry.at,
            "method": entry.method,
            "path": entry.path,
            "statuses": [event.name for event in entry.events],
            "recipients": self._recipients,
            "signed": entry.signed,
            "answered": entry.answer.status if entry.answer else None,
            "elapsed_ms": milliseconds(entry.answer.elapsed) if entry.answer else None,
            "note": entry.note or None,
        }

    def write(self, screen: Screen) -> None:
        """Print one line, and a note below it."""
        entry = self.entry
        statuses = ", ".join(event.name for event in entry.events)
        if not statuses:
            statuses = "ping" if entry.method == "POST" and not (entry.content or b"").strip() else entry.method
        line = Text(f"{offset(entry.at - self.started):>9}  ", "dim")
        line.append(printable(f"{statuses:<16}  {', '.join(self._recipients):<15}  "), "not dim")
        good = entry.answer is not None and entry.answer.status == 200
        answered = f"answered {entry.answer.status}" if entry.answer else "no answer"
        screen.note(line.append(answered, "not dim green" if good else "not dim yellow"), hang=DETAIL)
        if entry.note:
            screen.note(Text(printable(entry.note), "dim"), indent=DETAIL)


@dataclass(frozen=True)
class TapeSummary:
    """Sum up a tape."""

    file: Path
    contents: Contents

    @property
    def _duration(self) -> float:
        entries = self.contents.entries
        return entries[-1].at - entries[0].at if entries else 0.0

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        head = self.contents.head
        return {
            "type": "tape",
            "file": str(self.file),
            "started": head.started if head else None,
            "sanitised": bool(head and head.sanitised),
            "requests": len(self.contents.entries),
            "duration": round(self._duration, 3),
            "unreadable": [{"line": each.line, "why": each.what} for each in self.contents.problems],
        }

    def write(self, screen: Screen) -> None:
        """Print how many requests there are, when they were recorded, and the lines that cannot be read."""
        head = self.contents.head
        screen.line()
        began = datetime.fromtimestamp(head.started if head else 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        kept = "without personal data" if head and head.sanitised else "with personal data and secrets"
        requests = counted(len(self.contents.entries), "request")
        screen.note(Text(f"{requests} in {offset(self._duration)[1:]}, recorded {began}, {kept}"))
        _write_problems(screen, self.contents)


@dataclass(frozen=True)
class Scrubbed:
    """Say how many requests were copied, and how many of them had personal data."""

    out: str
    requests: int
    changed: int
    contents: Contents

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "type": "scrubbed",
            "out": self.out,
            "requests": self.requests,
            "changed": self.changed,
            "left_out": len(self.contents.problems),
        }

    def write(self, screen: Screen) -> None:
        """Print the counts, and the lines that were left out."""
        screen.line(
            f"{counted(self.requests, 'request')} copied to {self.out}; {self.changed} had personal data or secrets"
        )
        _write_problems(screen, self.contents)


@dataclass(frozen=True)
class PlaceFound:
    """Name a place that has personal data; never the data."""

    file: Path
    line: int
    place: str

    def record(self) -> dict[str, Any]:
        """Return the place."""
        return {"type": "found", "file": str(self.file), "line": self.line, "place": self.place}

    def write(self, screen: Screen) -> None:
        """Print the place as editors and CI systems read it."""
        screen.line(printable(f"{self.file}:{self.line}: {self.place}"))


@dataclass(frozen=True)
class ScannedTapes:
    """Sum up `tape scan`."""

    files: int
    tapes: int
    found: int

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "type": "summary",
            "files": self.files,
            "tapes": self.tapes,
            "found": self.found,
            "ok": not self.found if self.tapes else None,
        }

    def write(self, screen: Screen) -> None:
        """Print the counts, and the command that mends the tape."""
        if not self.tapes:
            # A mark would say that something was scanned.
            screen.line(f"no tape among {counted(self.files, 'file')}")
            return
        screen.line(
            Text.assemble(
                screen.mark(not self.found),
                f" {counted(self.tapes, 'tape')}, {counted(self.found, 'place')} with personal data or secrets",
            )
        )
        if self.found:
            screen.note(Text("mend a tape with engagelab-mock tape scrub FILE --out CLEAN", "dim"), indent=2)


def _write_problems(screen: Screen, contents: Contents) -> None:
    screen.remarks([printable(str(problem)) for problem in contents.problems], indent=2)
