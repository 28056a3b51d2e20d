"""What the server makes of a WSGI request, and a WSGI answer of what it has to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The most that is kept of a body, in bytes: one more than the API takes, so that it sees that there was too much.
KEPT = 1024 * 1024 + 1
#: The most that is read of a body, in bytes, before the connection is given up.
READ = 64 * 1024 * 1024
JSON = ("Content-Type", "application/json")


class BrokenRequest(Exception):
    """Say that a body did not arrive as announced, and with which HTTP status to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a request as it arrived; the path is decoded, the query is not checked."""

    method: str
    path: str
    query: str = ""
    authorization: str | None = None
    host: str = ""
    origin: str | None = None
    #: Who sent it, as an address; empty where the server does not say.
    peer: str = ""
    body: bytes = b""

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Return the query's names and values, in order."""
        return parse_qsl(self.query, keep_blank_values=True)

    @classmethod
    def of(cls, environ: WSGIEnvironment) -> HttpRequest:
        """Read a request, or raise `BrokenRequest`."""
        return cls(
            method=str(environ["REQUEST_METHOD"]),
            path=path_of(environ),
            query=_text(environ.get("QUERY_STRING", "")),
            authorization=environ.get("HTTP_AUTHORIZATION"),
            host=environ.get("HTTP_HOST", ""),
            origin=environ.get("HTTP_ORIGIN"),
            peer=environ.get("REMOTE_ADDR") or "",
            body=_read_body(environ),
        )


class HttpAnswer(msgspec.Struct, frozen=True):
    """Hold an answer: its body whole, or in parts as they come."""

    status: int
    body: bytes | Iterator[bytes]
    headers: tuple[tuple[str, str], ...] = (JSON,)
    #: Called once the body has gone out.
    written: Callable[[], object] | None = None

    def send(self, start_response: StartResponse, *, head_only: bool = False) -> Iterable[bytes]:
        """Hand the answer to a WSGI server."""
        headers = [*self.headers, ("Cache-Control", "no-store")]
        body = self.body
        if isinstance(body, bytes):
            headers.append(("Content-Length", str(len(body))))
        start_response(f"{self.status} {_reason(self.status)}", headers)
        if isinstance(body, bytes):
            return _Parts(iter([] if head_only else [body]), self.written)
        return _Parts(iter(()) if head_only else body, self.written)


class _Parts:
    """Give a body's parts, and take note when the server has sent the last of them.

    A server asks for the next part when it has sent the one before: that there is none comes sooner than `close`.
    """

    def __init__(self, parts: Iterator[bytes], written: Callable[[], object] | None) -> None:
        self._parts = parts
        self._written = written

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            self._end()
            raise

    def close(self) -> None:
        """Do what is to be done in the end, also if the client has gone away."""
        getattr(self._parts, "close", _nothing)()
        self._end()

    def _end(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            written()


def path_of(environ: WSGIEnvironment) -> str:
    """Return the path below where the app is mounted, decoded.

    >>> path_of({"PATH_INFO": "/v1/messages"})
    '/v1/messages'
    """
    return _text(environ.get("PATH_INFO", "")) or "/"


def error_object(code: int, message: str) -> bytes:
    """Write an error as EngageLab's API does.

    >>> error_object(4001, "not found")
    b'{"code":4001,"message":"not found"}'
    """
    return msgspec.json.encode({"code": code, "message": message})


def _text(native: str) -> str:
    # WSGI hands bytes over as Latin-1.
    return native.encode("latin-1", "replace").decode("utf-8", "replace")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _read_body(environ: WSGIEnvironment) -> bytes:
    """Return the body, cut at `KEPT` bytes; what is more is read and forgotten, so that the client sees the answer."""
    announced = _length(environ)
    source: Any = environ["wsgi.input"]
    kept = bytearray()
    read = 0
    try:
        while announced is None or read < announced:
            part = source.read(65536 if announced is None else min(65536, announced - read))
            if not part:
                break
            read += len(part)
            if len(kept) < KEPT:
                kept += part[: KEPT - len(kept)]
            if read > READ:
                raise BrokenRequest(413, f"the body has more than {READ} bytes")
    except TimeoutError:
        raise BrokenRequest(408, f"the body did not arrive in time: {read} bytes did") from None
    except OSError as error:
        raise BrokenRequest(400, f"the body cannot be read: {error}") from None
    if announced is not None and read < announced:
        raise BrokenRequest(400, f"the body ended after {read} of {announced} bytes")
    return bytes(kept)


def _length(environ: WSGIEnvironment) -> int | None:
    """Return how long the body is announced to be; None is until it ends."""
    if environ.get("wsgi.input_terminated"):
        return None
    given = environ.get("CONTENT_LENGTH") or "0"
    # Not `isdigit` alone, which knows the digits of many scripts.
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        raise BrokenRequest(400, f"Content-Length is {given[:40]!r}, not a number of bytes")
    return int(given)


def _nothing() -> None:
    pass
