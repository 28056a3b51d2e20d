"""A tape file: its JSON Lines format, and how it is read and written."""

from __future__ import annotations

import base64
import binascii
import os
import threading
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from engagelab_mock.errors import InvalidBody, UsageError
from engagelab_mock.explore.tape.sanitise import Sanitiser
from engagelab_mock.protocol.callback import Headers, decode
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.signature import HEADER

#: The version of the format. The first line of a tape has it.
VERSION = 1
#: The type of the first line.
KIND = "engagelab-tape"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the first line of a tape; `started` is in Unix seconds.

    >>> msgspec.json.encode(Head(started=1712458844.5, sanitised=True))
    b'{"type":"engagelab-tape","version":1,"started":1712458844.5,"sanitised":true}'
    """

    type: str = KIND
    version: int = VERSION
    started: float
    sanitised: bool


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the status of the receiver's answer and how long it took, in seconds."""

    status: int
    elapsed: float


class TapeEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """Hold one recorded request; `at`, the time of arrival, is in Unix seconds.

    >>> TapeEntry(at=0.0, method="POST", path="/", headers=(("Content-Type", "application/json"),), body="{}").content
    b'{}'
    """

    at: float
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    #: The body. None if it was dropped, or if it is not text and `base64` has it.
    body: str | None = None
    base64: str | None = None
    #: The receiver's answer; None if there was none.
    answer: Answer | None = None
    #: Why the answer is missing, or why the body was dropped.
    note: str = ""

    @property
    def content(self) -> bytes | None:
        """Return the bytes of the body; None if they were dropped."""
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        return None if self.body is None else self.body.encode()

    @property
    def signed(self) -> bool:
        """Tell whether the request has a signature."""
        return HEADER in Headers(self.headers)

    @property
    def content_type(self) -> str:
        """Return the content type of the request."""
        return Headers(self.headers).get("Content-Type", "application/json")

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Return the rows; an empty tuple for a ping, or for a body that is not an envelope."""
        content = self.content
        try:
            return decode(content or b"").rows
        except InvalidBody:
            return ()


def written(line: Head | TapeEntry) -> bytes:
    """Return a line of a tape, with its line break, as ASCII, which every tool keeps intact.

    >>> written(Head(started=0.0, sanitised=False))[-2:]
    b'}\\n'
    """
    import json

    plain: Any = msgspec.to_builtins(line)
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


_SHOWN_CHARACTERS = 80


class TapeProblem(msgspec.Struct, frozen=True):
    """Hold the fault of one line of a tape; lines are counted from 1.

    >>> print(TapeProblem(3, "it is not JSON"))
    line 3: it is not JSON
    """

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


class Contents(msgspec.Struct, frozen=True):
    """Hold the contents of a tape file; `head` is None if the first line is not the head of a tape."""

    head: Head | None
    entries: tuple[TapeEntry, ...]
    problems: tuple[TapeProblem, ...]
    #: The number of each entry's line.
    lines: tuple[int, ...] = ()


def read(path: str | os.PathLike[str]) -> Contents:
    """Return the contents of a tape file; raise `UsageError` if it cannot be read or has another version.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as log:
    ...     _ = log.write(b"GET /\\n")
    ...     _ = log.seek(0)
    ...     print(*read(log.name).problems, sep="\\n")
    line 1: this is not a tape: its first line does not have "engagelab-tape" and a version
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        hint = "give the file that `engagelab-mock record` wrote"
        raise UsageError(f"the tape cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    lines = content.split(b"\n")
    torn = lines.pop()
    head = _head(lines[0] if lines else torn, where=str(path))
    problems = []
    if head is None:
        what = f'this is not a tape: its first line does not have "{KIND}" and a version'
        problems.append(TapeProblem(1, what))
    entries, numbers = [], []
    for number, line in enumerate(lines, 1):
        if (number == 1 and (head is not None or _entry(line)[0] is None)) or not line.strip():
            continue
        entry, what = _entry(line)
        if entry is not None:
            entries.append(entry)
            numbers.append(number)
        else:
            problems.append(TapeProblem(number, what))
    if torn:
        problems.append(TapeProblem(len(lines) + 1, f"the line is incomplete: it ends after {len(torn)} bytes"))
    return Contents(head, tuple(entries), tuple(problems), tuple(numbers))


def _head(line: bytes, *, where: str) -> Head | None:
    """Return the head in a line; None if the line is not a head."""
    try:
        known = msgspec.json.decode(line)
        version = known["version"] if known["type"] == KIND else None
        if version == VERSION:
            return msgspec.convert(known, Head)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, LookupError, TypeError):
        return None
    if version is None:
        return None
    hint = f"this version of engagelab-mock reads version {VERSION}: record it again, or update engagelab-mock"
    raise UsageError(f"the tape has version {version!r:.20}", where=f"{where}, line 1", hint=hint)


def _entry(line: bytes) -> tuple[TapeEntry | None, str]:
    """Return the entry in a line, or the problem with it."""
    try:
        entry = msgspec.json.decode(line, type=TapeEntry)
        entry.content  # noqa: B018  # raises if it is not base64
    except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error) as error:
        return None, f"it is not an entry of a tape: {str(error)[:_SHOWN_CHARACTERS]}"
    return entry, ""


#: The note of an entry whose body was dropped.
NOT_JSON = "the body was dropped: it is not JSON, so it cannot be sanitised"


def sanitised(entry: TapeEntry, sanitiser: Sanitiser) -> TapeEntry:
    """Return an entry without personal data; one that has none is unchanged.

    >>> entry = TapeEntry(at=0.0, method="POST", path="/x", headers=(), body='{"to": "+6591234567"}')
    >>> once = sanitised(entry, Sanitiser())
    >>> "91234567" in once.body, sanitised(once, Sanitiser()) == once
    (False, True)
    """
    content = entry.content
    body = None if content is None else sanitiser.body(content)
    return msgspec.structs.replace(
        entry,
        path=sanitiser.path(entry.path),
        headers=sanitiser.headers(Headers(entry.headers)).pairs,
        body=body,
        base64=None,
        note=entry.note or (NOT_JSON if body is None and content is not None else ""),
    )


class TapeWriter:
    """Write a new tape, from any thread. Without a sanitiser, keep everything unchanged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with TapeWriter(Path(directory) / "day.jsonl", started=0.0, sanitiser=Sanitiser()) as tape:
    ...         tape.add(at=1.0, method="POST", path="/", headers=Headers(), body=b"{}")
    ...     len((Path(directory) / "day.jsonl").read_text().splitlines())
    2

    Raises `UsageError` if the file exists or cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str], *, started: float, sanitiser: Sanitiser | None) -> None:
        self.path = Path(path)
        self._sanitiser = sanitiser
        self._lock = threading.Lock()
        try:
            # Only this user may read it: a tape that is not sanitised has personal data.
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UsageError(
                "the file exists", where=str(self.path), hint="a tape is never overwritten: choose another name"
            ) from None
        except OSError as error:
            hint = "give a file in a directory that you may write to"
            raise UsageError(f"the tape cannot be created: {error.strerror}", where=str(self.path), hint=hint) from None
        self._file = os.fdopen(number, "wb", buffering=0)
        self._file.write(written(Head(started=started, sanitised=sanitiser is not None)))

    def add(
        self,
        *,
        at: float,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        answer: Answer | None = None,
        note: str = "",
    ) -> None:
        """Add a request, sanitised if the tape has a sanitiser."""
        text, encoded = None, None
        try:
            text = body.decode()
        except UnicodeDecodeError:
            encoded = base64.b64encode(body).decode()
        self.write(
            TapeEntry(
                at=at,
                method=method,
                path=path,
                headers=headers.pairs,
                body=text,
                base64=encoded,
                answer=answer,
                note=note,
            )
        )

    def write(self, entry: TapeEntry) -> None:
        """Write an entry, sanitised if the tape has a sanitiser."""
        with self._lock:
            line = written(entry if self._sanitiser is None else sanitised(entry, self._sanitiser))
            # One write for each line, so that at most the last line of an interrupted tape is incomplete.
            self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
