"""Write a tape line by line, each on the disk before the next is begun."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from engagelab_mock.errors import UsageError
from engagelab_mock.explore.tape.entry import Answer, Head, TapeEntry, written
from engagelab_mock.explore.tape.sanitise import Sanitiser
from engagelab_mock.protocol.headers import Headers

#: Stands in an entry whose body was dropped.
NOT_JSON = "the body was dropped: it is not JSON, so nobody knows what is in it"


class TapeWriter:
    """Open a new tape and add to it, from any thread; without a sanitiser, everything is kept as it is.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with TapeWriter(Path(directory) / "day.jsonl", started=0.0, sanitiser=Sanitiser()) as tape:
    ...         tape.add(at=1.0, method="POST", path="/", headers=Headers(), body=b"{}")
    ...     len((Path(directory) / "day.jsonl").read_text().splitlines())
    2

    Raises `UsageError` for a file that is there already, or cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], *, started: float, sanitiser: Sanitiser | None) -> None:
        self.path = Path(path)
        self._sanitiser = sanitiser
        self._lock = threading.Lock()
        try:
            # For this user alone: what is not sanitised is somebody's.
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UsageError(
                "the file is there already", where=str(self.path), hint="a tape is never written over: name another"
            ) from None
        except OSError as error:
            raise UsageError(f"the tape cannot be made: {error.strerror}", where=str(self.path)) from None
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
        """Add a request as it came; what the tape says of it is sanitised here."""
        with self._lock:
            line = written(self._entry(at, method, path, headers, body, answer, note))
            # One write a line, so that a tape broken off ends in one torn line at most.
            self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _entry(
        self, at: float, method: str, path: str, headers: Headers, body: bytes, answer: Answer | None, note: str
    ) -> TapeEntry:
        text: str | None
        encoded: str | None = None
        if self._sanitiser is not None:
            headers, path = self._sanitiser.headers(headers), self._sanitiser.path(path)
            text = self._sanitiser.body(body)
            note = note or ("" if text is not None else NOT_JSON)
        else:
            try:
                text = body.decode()
            except UnicodeDecodeError:
                text, encoded = None, base64.b64encode(body).decode()
        return TapeEntry(
            at=at,
            method=method,
            path=path,
            headers=headers.pairs,
            body=text,
            base64=encoded,
            answer=answer,
            note=note,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
