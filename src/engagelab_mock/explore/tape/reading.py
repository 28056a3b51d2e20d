"""Read a tape: every line that can be used, and of every other one which it is and what is wrong with it."""

from __future__ import annotations

import binascii
import os
from pathlib import Path

import msgspec

from engagelab_mock.errors import UsageError
from engagelab_mock.explore.tape.entry import KIND, VERSION, Head, TapeEntry

_SHOWN_CHARACTERS = 80


class TapeProblem(msgspec.Struct, frozen=True):
    """Say what is wrong with one line of a tape; lines are counted from 1.

    >>> print(TapeProblem(3, "it is not JSON"))
    line 3: it is not JSON
    """

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


class Contents(msgspec.Struct, frozen=True):
    """Hold what a file has of a tape; `head` is None where the first line is none."""

    head: Head | None
    entries: tuple[TapeEntry, ...]
    problems: tuple[TapeProblem, ...]


def read(path: str | os.PathLike[str]) -> Contents:
    """Read a file; raise `UsageError` where there is none, or where it is a tape of another version.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as log:
    ...     _ = log.write(b"GET /\\n")
    ...     _ = log.seek(0)
    ...     print(*read(log.name).problems, sep="\\n")
    line 1: this is not a tape: the first line of one names "engagelab-tape" and a version
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"the tape cannot be read: {error.strerror}", where=str(path)) from None
    lines = content.split(b"\n")
    torn = lines.pop()
    head = _head(lines[0] if lines else torn, where=str(path))
    problems = []
    if head is None:
        what = f'this is not a tape: the first line of one names "{KIND}" and a version'
        problems.append(TapeProblem(1, what))
    entries = []
    for number, line in enumerate(lines, 1):
        if (number == 1 and (head is not None or _entry(line)[0] is None)) or not line.strip():
            continue
        entry, what = _entry(line)
        if entry is not None:
            entries.append(entry)
        else:
            problems.append(TapeProblem(number, what))
    if torn:
        problems.append(TapeProblem(len(lines) + 1, f"it is broken off after {len(torn)} bytes"))
    return Contents(head, tuple(entries), tuple(problems))


def _head(line: bytes, *, where: str) -> Head | None:
    """Return the head that a line is, None for none."""
    try:
        known = msgspec.json.decode(line)
        version = known["version"] if known["type"] == KIND else None
        if version == VERSION:
            return msgspec.convert(known, Head)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, LookupError, TypeError):
        return None
    if version is None:
        return None
    hint = f"this version of engagelab-mock reads version {VERSION}: record it anew, or update engagelab-mock"
    raise UsageError(f"the tape is of version {version!r:.20}", where=f"{where}, line 1", hint=hint)


def _entry(line: bytes) -> tuple[TapeEntry | None, str]:
    """Return the entry that a line is, or what is wrong with it."""
    try:
        entry = msgspec.json.decode(line, type=TapeEntry)
        entry.content  # noqa: B018  # what is not base64 shows here
    except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error) as error:
        return None, f"it is not an entry of a tape: {str(error)[:_SHOWN_CHARACTERS]}"
    return entry, ""
