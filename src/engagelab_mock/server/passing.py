"""A request that passes through the proxy, the answer to it, and the record of both."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engagelab_mock.protocol.callback import Headers

#: Headers that are about one connection and not about what is carried over it.
HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)


class Passed(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Hold one request that passed; `at`, when it came, is in Unix seconds, `elapsed` in seconds."""

    at: float
    method: str
    path: str
    headers: Headers
    body: bytes
    #: The receiver's status; None where it gave no answer.
    status: int | None
    elapsed: float
    #: Why there was no answer; empty where there was one.
    error: str = ""


class Answer(msgspec.Struct, frozen=True, eq=False):
    """Hold a receiver's answer as it goes back to the sender."""

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class Request(msgspec.Struct, frozen=True, eq=False):
    """Hold a request as it came: its first line taken apart, the lines of its headers untouched."""

    method: str
    path: str
    lines: tuple[bytes, ...]
    headers: Headers
    body: bytes
    chunked: bool

    @property
    def content(self) -> bytes:
        """Return the body as it goes on, in one chunk if it came in chunks."""
        if not self.chunked:
            return self.body
        size = f"{len(self.body):x}\r\n".encode() + self.body + b"\r\n" if self.body else b""
        return size + b"0\r\n\r\n"

    def head(self, path: str) -> bytes:
        """Return the first line and the headers as they go on: all but what was about the sender's connection."""
        dropped = {*HOP_BY_HOP, "expect"}
        for value in self.headers.get_all("connection"):
            dropped.update(name.strip().lower() for name in value.split(","))
        kept = [f"{self.method} {path} HTTP/1.1\r\n".encode("latin-1")]
        keep = True
        for line in self.lines:
            if line[:1] not in {b" ", b"\t"}:  # a folded line goes with the one before it
                keep = line.partition(b":")[0].strip().decode("latin-1").lower() not in dropped
            if keep:
                kept.append(line)
        if self.chunked:
            kept.append(b"Transfer-Encoding: chunked\r\n")
        return b"".join([*kept, b"Connection: close\r\n\r\n"])
