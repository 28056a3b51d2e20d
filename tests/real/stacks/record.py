"""What a receiver writes down of each request that reached it, for the process that sent it to read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

_PATIENCE = 10.0


class Seen(msgspec.Struct, frozen=True):
    """One request as the app saw it: the client's port, the value of X-CALLBACK-ID, the body or why it is missing."""

    port: int
    header: str
    body: bytes = b""
    error: str = ""
    #: The statuses that the vendor's SDK read, if it was the receiver.
    statuses: list[str] = []


class Record:
    """A file of JSON lines; several processes and threads may write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, seen: Seen) -> None:
        """Append a line, whole."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, msgspec.json.encode(seen) + b"\n")
        finally:
            os.close(file)

    def read(self) -> list[Seen]:
        """Return the records, in order."""
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        return [msgspec.json.decode(line, type=Seen) for line in lines]

    def await_one(self, wanted: Callable[[Seen], bool], *, patience: float = _PATIENCE) -> Seen | None:
        """Wait for a request of this kind to be written down, for so many seconds at most."""
        deadline = time.monotonic() + patience
        while True:
            found = next(filter(wanted, self.read()), None)
            if found is not None or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    def clear(self) -> None:
        """Forget everything."""
        self.path.unlink(missing_ok=True)
