"""HTTP/1.1 as it arrives: the head of a request, and its body up to its end and no further."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    Stream = io.BufferedReader[Any]

#: The longest request line or header, in bytes.
LINE_LIMIT = 65536
#: The most headers of one request.
HEADER_LIMIT = 100
#: The longest line that may begin a chunk, in bytes.
_CHUNK_LINE = 8192
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(r"HTTP/([0-9])\.[0-9]")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_EMPTY = frozenset({b"\r\n", b"\n"})


class BadRequest(Exception):
    """Say which HTTP status to answer to bytes that are not a request, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head(msgspec.Struct, frozen=True):
    """Hold a request's line and headers."""

    method: str
    target: str
    version: str
    #: The lines of the headers as they came.
    lines: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...]

    def get_all(self, name: str) -> list[str]:
        """Return the values of a header; the name is given in lower case."""
        return [value for given, value in self.headers if given.lower() == name]

    def lists(self, name: str, word: str) -> bool:
        """Tell whether a header that is a list of words has this one."""
        return has_word(",".join(self.get_all(name)), word)


def read_head(stream: Stream) -> Head:
    """Read a request's line and headers, or raise `BadRequest`.

    >>> read_head(io.BufferedReader(io.BytesIO(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"))).headers
    (('Host', 'x'),)
    """
    line = stream.readline(LINE_LIMIT + 1)
    if line in _EMPTY:  # one that a client sent after the body before [RFC 9112, 2.2]
        line = stream.readline(LINE_LIMIT + 1)
    if len(line) > LINE_LIMIT:
        raise BadRequest(414, "the request line is too long")
    words = line.decode("latin-1").split()
    version = _VERSION.fullmatch(words[-1]) if len(words) == 3 else None
    if version is None:
        raise BadRequest(400, f"the request line {line.decode('latin-1').strip()[:100]!r} is not HTTP")
    if version[1] != "1":
        raise BadRequest(505, f"{words[2]} is not supported")
    lines: list[bytes] = []
    while (line := stream.readline(LINE_LIMIT + 1)) not in _EMPTY:
        if len(line) > LINE_LIMIT or len(lines) == HEADER_LIMIT:
            raise BadRequest(431, "the headers are too long or too many")
        if not line.endswith(b"\n"):
            raise BadRequest(400, "the request ended within its headers")
        lines.append(line)
    return Head(words[0], words[1], words[2], tuple(lines), tuple(_headers(lines)))


def _headers(lines: list[bytes]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in {b" ", b"\t"} and headers:  # folded: it continues the one before
            name, value = headers.pop()
            headers.append((name, f"{value} {line.strip().decode('latin-1')}"))
            continue
        given, colon, rest = line.partition(b":")
        if not colon or not _NAME.fullmatch(given):
            raise BadRequest(400, f"{line.decode('latin-1').strip()[:100]!r} is not a header")
        headers.append((given.decode("latin-1"), rest.strip().decode("latin-1")))
    return headers


def has_word(header: str, word: str) -> bool:
    """Tell whether a header that is a list of words has this one.

    >>> has_word("TE, Close", "close")
    True
    """
    return bool(header) and word in [given.strip().lower() for given in header.split(",")]


class Body(io.RawIOBase):
    """Read one request's body and nothing that follows it; raise `BadRequest` if the head does not say where it ends.

    Reading raises `OSError` for chunks that are malformed or cut off.
    """

    def __init__(self, head: Head, stream: Stream) -> None:
        self._stream = stream
        length = _length(head)
        self.chunked = length is None
        #: Bytes left of the body, or of the chunk.
        self._left = length or 0
        #: Whether all of it has been read.
        self.ended = length == 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some of it."""
        if self.chunked and not self.ended and not self._left:
            self._begin_chunk()
        view = memoryview(buffer)
        part = b"" if self.ended else self._stream.read(min(len(view), self._left))
        view[: len(part)] = part
        self._left -= len(part)
        if self.chunked and not self.ended:
            if not part:
                raise OSError("it ended within a chunk")
            if not self._left and self._stream.readline(3) not in _EMPTY:
                raise OSError("a chunk is longer than it says")
        self.ended = self.ended or not (self.chunked or self._left)
        return len(part)

    def _begin_chunk(self) -> None:
        size = self._stream.readline(_CHUNK_LINE).partition(b";")[0].strip()
        if not size or not _HEX.issuperset(size):
            raise OSError(f"a chunk's size is {size[:40].decode('latin-1')!r}")
        self._left = int(size, 16)
        if self._left:
            return
        for _ in range(HEADER_LIMIT):  # trailers are about the connection
            if self._stream.readline(_CHUNK_LINE) in _EMPTY:
                self.ended = True
                return
        raise OSError("it has no end, or too many trailers")


def _length(head: Head) -> int | None:
    """Return how many bytes a body has, and None if it comes in chunks."""
    lengths, codings = head.get_all("content-length"), head.get_all("transfer-encoding")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise BadRequest(501, f"Transfer-Encoding is {', '.join(codings)[:40]!r}, not 'chunked'")
        if lengths:
            raise BadRequest(400, "the request has both a Content-Length and a Transfer-Encoding")
        return None
    given = lengths[0] if lengths else "0"
    # Not `isdigit` alone, which knows the digits of many scripts.
    if len(set(lengths)) > 1 or not (given.isascii() and given.isdigit() and len(given) < 16):
        raise BadRequest(400, f"Content-Length is {', '.join(lengths)[:40]!r}, not a number of bytes")
    return int(given)


def printable(text: str) -> str:
    """Return a text without control characters that a terminal obeys, at most 200 characters long.

    >>> printable("red: \\x1b[31m")
    'red: \\\\x1b[31m'
    """
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])[:200]
