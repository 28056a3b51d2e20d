"""The awkward apps as WSGI: one of each case, at its path."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tests.real.differential.cases import LONGER, Notes

App = Callable[..., Iterable[bytes]]
PIECES = [b"one", b"two", b"three"]
_USER: ContextVar[str] = ContextVar("_USER", default="nobody")


def wsgi_app(directory: Path) -> App:
    """Return an app that notes the begin and the end of each request, with all that happens in between."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        case = environ["PATH_INFO"].strip("/").partition("/")[0]
        notes = Notes(directory / case)
        notes.add("begin")
        try:
            return _Answer(_APPS[case](notes, environ, start_response), notes)
        except BaseException:
            notes.add("end")
            raise

    return app


class _Answer:
    def __init__(self, chunks: Iterable[bytes], notes: Notes) -> None:
        self._chunks = chunks
        self._notes = notes

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        try:
            getattr(self._chunks, "close", lambda: None)()
        finally:
            self._notes.add("end")


class _Closing(list[bytes]):
    """A body that calls a function when it is closed."""

    def __init__(self, close: Callable[[], None]) -> None:
        super().__init__([b"fine"])
        self.close = close


def _read(environ: Any) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return body


def _ok(start_response: Any, body: bytes = b"fine", status: str = "200 OK") -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _plain(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    return _ok(start_response)


def _reads(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    notes.add(f"read {len(_read(environ)) // 1000} kB")
    return _ok(start_response)


def _streams(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for piece in PIECES:
        time.sleep(0.01)
        notes.add(piece.decode())
        yield piece


def _empty(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return []


def _large(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    return _ok(start_response, b"x" * 2_000_000)


def _early(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    write(b"fine")
    notes.add(f"read: {bool(_read(environ))}")
    return []


def _context(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    notes.add(_USER.get())
    token = _USER.set("an earlier request")
    try:
        return _ok(start_response)
    finally:
        _USER.reset(token)  # the threads of WSGI servers keep it otherwise


def _loop(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    asyncio.run(asyncio.sleep(0))
    notes.add("worked")
    return _ok(start_response)


def _works_after(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    def close() -> None:
        time.sleep(LONGER)
        notes.add("worked")

    _ok(start_response)
    return _Closing(close)


def _fails_after(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    def close() -> None:
        raise LookupError("too late")

    _ok(start_response)
    return _Closing(close)


def _late(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    time.sleep(LONGER)
    notes.add("worked")
    return _ok(start_response)


def _retried(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    again = "refused" in notes.read()
    notes.add("accepted" if again else "refused")
    return _ok(start_response, status="200 OK" if again else "503 Service Unavailable")


def _redirects(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("307 Temporary Redirect", [("Location", "/plain"), ("Content-Length", "0")])
    return []


def _gzip(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    body = gzip.compress(b"fine" * 500)
    start_response("200 OK", [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))])
    return [body]


def _buffered(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    body = b"".join(_streams(notes, environ, lambda *given: None))
    return _ok(start_response, body)


def _mounted(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    def sub_app(environ: Any, start_response: Any) -> Iterable[bytes]:
        notes.add(f"root {environ['SCRIPT_NAME']}, path {environ['PATH_INFO']}")
        return _ok(start_response)

    def outside(environ: Any, start_response: Any) -> Iterable[bytes]:
        return _ok(start_response, status="404 Not Found")

    return DispatcherMiddleware(outside, {"/mounted": sub_app})(environ, start_response)


def _called(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    notes.add("called")
    return _ok(start_response)


def _late_streaming(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    time.sleep(LONGER)
    notes.add("worked")
    yield b"fine"  # a server may or may not notice at once that the client has gone


def _cut(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    try:
        whole = len(_read(environ)) == int(environ["CONTENT_LENGTH"])
    except OSError:
        notes.add("told")
        raise
    notes.add("whole" if whole else "half")
    return _ok(start_response)


def _fails(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    raise LookupError("no such message")


def _fails_midway(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    yield b"fine"
    raise LookupError("no such message")


def _silent(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    return []


def _short(notes: Notes, environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    return [b"fine"]


_APPS: dict[str, App] = {
    "plain": _plain,
    "reads": _reads,
    "streams": _streams,
    "empty": _empty,
    "large": _large,
    "early": _early,
    "context": _context,
    "loop": _loop,
    "works_after": _works_after,
    "fails_after": _fails_after,
    "late": _late,
    "retried": _retried,
    "redirects": _redirects,
    "gzip": _gzip,
    "buffered": _buffered,
    "mounted": _mounted,
    "twice": _called,
    "late_streaming": _late_streaming,
    "cut": _cut,
    "fails": _fails,
    "fails_midway": _fails_midway,
    "silent": _silent,
    "short": _short,
}
