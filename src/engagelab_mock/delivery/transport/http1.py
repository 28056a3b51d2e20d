"""HTTP/1.1 messages as they arrive: the head of a request or an answer, and the body exactly to its end."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.errors import reduce_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    Stream = io.BufferedReader[Any]


class Bounds(msgspec.Struct, frozen=True):
    """Hold the largest size of a head in bytes, and the largest number of its headers (None: no limit)."""

    size: int
    headers: int | None = None


#: The bounds of a server for requests of any client.
SERVER_BOUNDS = Bounds(1 << 16, 100)
#: The bounds for the receiver's answer, and for messages that the recording proxy forwards.
WIDE_BOUNDS = Bounds(1 << 20)
#: The longest first line of a chunk, in bytes, and the maximum number of trailers.
_CHUNK_LINE = 8192
_TRAILERS = 100
#: A longer Content-Length, of ten gigabytes and more, is a mistake or an attack.
_LENGTH_DIGITS = 10
_SHOWN = 100
_STATUS_LINE = re.compile(rb"HTTP/(1\.[0-9]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n")
# No blanks next to the second group: a pattern that can divide them in several ways takes quadratic time.
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\r\n\0]*)\r?\n")
_FOLDED = re.compile(rb"[ \t][^\r\n\0]*\r?\n")
_VERSION = re.compile(rb"HTTP/([0-9])\.[0-9]")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_EMPTY = frozenset({b"\r\n", b"\n"})


class BadMessage(Exception):
    """Report bytes that are not HTTP, and the status to answer if they are a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    __reduce__ = reduce_error


class BadBody(OSError):
    """Report malformed chunks."""


class CutOff(OSError):
    """Report that the peer closed the connection before the end of its message."""


class NoAnswer(CutOff):
    """Report that the peer closed the connection before its answer."""


class Fields(msgspec.Struct, frozen=True):
    """Hold the headers of a message, in order."""

    #: Their lines as they arrived.
    lines: tuple[bytes, ...]
    pairs: tuple[tuple[str, str], ...]

    def get_all(self, name: str) -> list[str]:
        """Return the values of a header; the name is given in lower case."""
        return [value for given, value in self.pairs if given.lower() == name]

    def lists(self, name: str, word: str) -> bool:
        """Tell whether a header that is a list of words contains this word."""
        return has_word(",".join(self.get_all(name)), word)

    def without(self, names: Iterable[str]) -> list[bytes]:
        """Return the lines of the headers that have none of these names, given in lower case."""
        dropped = {name.encode("latin-1") for name in names}
        kept, keep = [], True
        for line in self.lines:
            if line[:1] not in {b" ", b"\t"}:  # a folded line belongs to the line before it
                keep = line.partition(b":")[0].lower() not in dropped
            if keep:
                kept.append(line)
        return kept


class Head(msgspec.Struct, frozen=True):
    """Hold a request's line and headers."""

    method: str
    target: str
    version: str
    fields: Fields


class AnswerHead(msgspec.Struct, frozen=True):
    """Hold an answer's line and headers; the version is "1.0" or "1.1"."""

    version: str
    status: int
    reason: str
    fields: Fields

    @property
    def closes(self) -> bool:
        """Tell whether the connection ends with this answer, as far as its headers say."""
        if self.fields.lists("connection", "close") or self.status == 101:
            return True
        return self.version == "1.0" and not self.fields.lists("connection", "keep-alive")


def read_head(stream: Stream, bounds: Bounds = SERVER_BOUNDS) -> Head:
    """Read a request's line and headers, or raise `BadMessage`.

    >>> read_head(io.BufferedReader(io.BytesIO(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"))).fields.pairs
    (('Host', 'x'),)
    """
    line = stream.readline(bounds.size + 1)
    if line in _EMPTY:  # a client may send one after the body before [RFC 9112, 2.2]
        line = stream.readline(bounds.size + 1)
    if len(line) > bounds.size:
        raise BadMessage(414, "the request line is too long")
    words = line.split()
    version = _VERSION.fullmatch(words[-1]) if len(words) == 3 else None
    if version is None or b"\0" in line:
        raise BadMessage(400, f"the request line {_show(line)} is not HTTP")
    if version[1] != b"1":
        raise BadMessage(400, f"{words[2].decode()} is not supported: this is HTTP/1.1")
    method, target, protocol = [word.decode("latin-1") for word in words]
    if not target.startswith("/") and "://" in target:  # clients send this form to a proxy
        try:
            urlsplit(target)
        except ValueError:
            raise BadMessage(400, f"the request's target {_show(target)} is not a URL") from None
    try:
        fields = _read_fields(stream, bounds, len(line))
    except CutOff:
        raise BadMessage(400, "the request ended within its headers") from None
    return Head(method, target, protocol, fields)


def read_answer_head(stream: Stream, bounds: Bounds = WIDE_BOUNDS) -> AnswerHead:
    """Read the line and headers of the final answer, after any interim ones; raise `BadMessage` or `CutOff`.

    >>> arriving = io.BytesIO(b"HTTP/1.1 103 Early Hints\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\n\\r\\n")
    >>> read_answer_head(io.BufferedReader(arriving)).status
    200
    """
    while True:
        line = stream.readline(bounds.size + 1)
        parts = _STATUS_LINE.fullmatch(line)
        if parts is None:
            if not line:
                raise NoAnswer("the connection was closed without an answer")
            if line.startswith(b"HTTP/1.") and not line.endswith(b"\n") and len(line) <= bounds.size:
                raise CutOff("the connection was closed in the middle of the headers")
            raise BadMessage(400, f"its first line is {_show(line)}")
        fields = _read_fields(stream, bounds, len(line))
        status = int(parts[2])
        # 101 switches to another protocol, so no other answer follows it.
        if status >= 200 or status == 101:
            return AnswerHead(parts[1].decode(), status, (parts[3] or b"").decode("latin-1").strip(), fields)


def _read_fields(stream: Stream, bounds: Bounds, size: int) -> Fields:
    """Read the headers that follow a first line of that many bytes."""
    lines: list[bytes] = []
    pairs: list[tuple[str, str]] = []
    while (line := stream.readline(bounds.size - size + 1)) not in _EMPTY:
        size += len(line)
        if size > bounds.size or len(lines) == bounds.headers:
            most = "" if bounds.headers is None else f" or {bounds.headers} of them"
            raise BadMessage(431, f"the headers are too long or too many: more than {bounds.size} bytes{most}")
        if not line.endswith(b"\n"):
            raise CutOff("the connection was closed in the middle of the headers")
        lines.append(line)
        if (parts := _HEADER.fullmatch(line)) is not None:
            pairs.append((parts[1].decode("latin-1"), parts[2].strip(b" \t").decode("latin-1")))
        elif pairs and _FOLDED.fullmatch(line):  # it continues the line before
            name, value = pairs[-1]
            pairs[-1] = name, f"{value} {line.strip().decode('latin-1')}"
        else:
            raise BadMessage(400, f"{_show(line)} is not a header")
    return Fields(tuple(lines), tuple(pairs))


def has_word(header: str, word: str) -> bool:
    """Tell whether a header that is a list of words contains this word.

    >>> has_word("TE, Close", "close")
    True
    """
    return bool(header) and word in [given.strip().lower() for given in header.split(",")]


class Body(io.RawIOBase):
    """Read one message's body to its end and no further: of a fixed length, in chunks, or to the end of the stream.

    Reading raises `BadBody` for chunks that are malformed, and `CutOff` for chunks that are cut off. A body shorter
    than its length ends early, with `ended` False.
    """

    def __init__(self, stream: Stream, length: int | None, *, chunked: bool = False) -> None:
        self._stream = stream
        self.chunked = chunked
        self.length = length
        #: Bytes left of the body, or of the chunk.
        self._left = length or 0
        #: Whether all of it has been read.
        self.ended = length == 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes of it."""
        if self.ended:
            return 0
        if self.chunked and not self._left and not self._begin_chunk():
            self.ended = True
            return 0
        view = memoryview(buffer)
        if self.length is None and not self.chunked:
            part = self._stream.read1(len(view))
            self.ended = not part
        else:
            part = self._stream.read(min(len(view), self._left))
            self._left -= len(part)
        view[: len(part)] = part
        if self.chunked:
            if not part:
                raise CutOff("it ended within a chunk")
            if not self._left:
                self._end_chunk()
        elif self.length is not None:
            self.ended = not self._left
        return len(part)

    def _begin_chunk(self) -> bool:
        """Read the size of the next chunk; return False after the last one."""
        line = self._stream.readline(_CHUNK_LINE)
        if not line.endswith(b"\n"):
            if len(line) < _CHUNK_LINE:
                raise CutOff("it ended before its last chunk")
            raise BadBody("the line that begins a chunk is too long")
        size = line.partition(b";")[0].strip()
        if not size or not _HEX.issuperset(size) or len(size) > 16:
            raise BadBody(f"a chunk's size is {_show(size)}")
        self._left = int(size, 16)
        if self._left:
            return True
        for _ in range(_TRAILERS):  # they are about the connection
            line = self._stream.readline(_CHUNK_LINE)
            if line in _EMPTY:
                return False
            if not line:
                raise CutOff("it ended before its last chunk")
        raise BadBody("it has no end, or too many trailers")

    def _end_chunk(self) -> None:
        end = self._stream.readline(3)
        if end not in _EMPTY:
            if b"\r\n".startswith(end):
                raise CutOff("it ended within a chunk")
            raise BadBody("a chunk is longer than it says")


def request_body(fields: Fields, stream: Stream) -> Body:
    """Return the body of a request; raise `BadMessage` if the headers do not define its end."""
    lengths, codings = fields.get_all("content-length"), fields.get_all("transfer-encoding")
    if not codings:
        # Refuse a second length even if it is the same: the next server that reads the request may take the other one.
        return Body(stream, _number(lengths) if lengths else 0)
    if [coding.lower() for coding in codings] != ["chunked"]:
        raise BadMessage(400, f"Transfer-Encoding is {_show(', '.join(codings))}, not 'chunked'")
    if lengths:
        raise BadMessage(400, "the request has both a Content-Length and a Transfer-Encoding")
    return Body(stream, None, chunked=True)


def answer_body(head: AnswerHead, method: str, stream: Stream) -> Body:
    """Return the body of the answer to a request with that method [RFC 9112, 6.3]."""
    if method == "HEAD" or head.status in {101, 204, 304}:
        return Body(stream, 0)
    codings = head.fields.get_all("transfer-encoding")
    if codings:
        return Body(stream, None, chunked=codings[-1].rpartition(",")[2].strip().lower() == "chunked")
    lengths = head.fields.get_all("content-length")
    return Body(stream, _number(list(dict.fromkeys(lengths))) if lengths else None)


def _number(lengths: list[str]) -> int:
    given = lengths[0]
    # `isdigit` alone would also accept the digits of other scripts.
    if len(lengths) > 1 or not (given.isascii() and given.isdigit() and len(given) <= _LENGTH_DIGITS):
        raise BadMessage(400, f"Content-Length is {_show(', '.join(lengths))}, not a number of bytes")
    return int(given)


def _show(given: str | bytes) -> str:
    text = given.decode("latin-1") if isinstance(given, bytes) else given
    return f"'{printable(text.strip()[:_SHOWN])}'"


def printable(text: str) -> str:
    """Return a text without control characters that a terminal obeys, at most 200 characters long.

    >>> printable("red: \\x1b[31m")
    'red: \\\\x1b[31m'
    """
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])[:200]


def broken_off(error: BadMessage | OSError, refused: OSError | None = None) -> TransportFailure:
    """Return the failure of an exchange that an error ended; `refused` is the error of sending the request, if any.

    >>> broken_off(NoAnswer("the connection was closed without an answer")).outcome
    <Outcome.CLOSED: 'closed'>
    """
    if isinstance(error, (BadMessage, BadBody)):
        return TransportFailure(Outcome.MALFORMED, f"the answer is not HTTP: {error}")
    # If a receiver has refused the request and does not answer, it has broken the connection.
    cause = refused if isinstance(error, NoAnswer) and refused else error
    if isinstance(cause, CutOff):
        outcome = Outcome.CLOSED if isinstance(cause, NoAnswer) else Outcome.INCOMPLETE
        return TransportFailure(outcome, str(cause))
    return TransportFailure(Outcome.RESET, f"the connection broke: {cause.strerror or cause}")
