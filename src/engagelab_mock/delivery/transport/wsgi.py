"""Call a WSGI app in process: on the caller's own thread, unless an event loop runs there."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from contextvars import copy_context
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure, app_raised
from engagelab_mock.delivery.transport import (
    Threads,
    check_length,
    connections_stay_open,
    exchange_in_threads,
    in_django_transaction,
    split_address,
)
from engagelab_mock.eventloop import in_loop, stopwatch
from engagelab_mock.protocol.callback import Callback, Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from engagelab_mock.delivery.transport.wire import Wire


class WsgiTransport:
    """Call an app as PEP 3333 says, without a server; with a prepared environ a call costs microseconds.

    >>> def app(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [b""]
    >>> WsgiTransport(app, "http://testserver/engagelab").exchange(Callback(Headers(), b"{}"), 3).status
    200

    A synchronous app cannot be interrupted, so a late answer is judged after it has come. As behind a server, each call
    has its own context and a thread without a running event loop, so that a view can run one.
    """

    name = "wsgi"

    def __init__(self, app: WSGIApplication, address: str) -> None:
        self.app = app
        self.address = address
        self._environ = _environ(address)
        self._names: dict[str, str] = {}
        self._threads = Threads()

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Call the app with the callback and collect its answer."""
        if in_loop():
            return self._threads.submit(self._call, callback, limit, wire).result()
        if in_django_transaction():
            with connections_stay_open():
                return copy_context().run(self._call, callback, limit, wire)
        return copy_context().run(self._call, callback, limit, wire)

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Call the app as `exchange` does, in a thread, so that the running event loop stays free."""
        return await self._threads.run(self._call, callback, limit, wire)

    def exchange_many(
        self, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Send the callback several times at the same time, from threads."""
        return exchange_in_threads(self, callback, limit, wire, copies)

    def close(self) -> None:
        """End the threads, which only calls from a running event loop need."""
        self._threads.close()

    def _call(self, callback: Callback, limit: float | None, wire: Wire | None) -> Response:
        started = stopwatch()
        answer: list[tuple[Any, Any]] = []  # of any type, checked after the app has returned
        written: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            if exc_info is not None:
                if any(written):
                    # PEP 3333: the first status went out with the first bytes, and cannot be taken back.
                    raise exc_info[1].with_traceback(exc_info[2])
                answer.clear()
            elif answer:
                raise AssertionError("start_response was called twice without exc_info")
            answer.append((status, headers))
            return written.append

        try:
            environ = self._prepare(callback)
            if wire is not None:
                environ["REQUEST_METHOD"] = wire.method
                self._break_off(environ, start_response, callback, wire)
            chunks = self.app(environ, start_response)
        except TransportFailure:
            raise
        except BaseException as error:
            raise app_raised(error) from error
        body, elapsed, raised = _collect(chunks, written, started)
        if not answer:
            raise TransportFailure(Outcome.MALFORMED, "the app answered without calling start_response")
        status, headers = answer[0]
        code, _, phrase = status.partition(" ") if isinstance(status, str) else ("", "", "")
        if len(code) != 3 or not code.isdecimal():
            raise TransportFailure(Outcome.MALFORMED, f"the app answered with the status {status!r}")
        try:
            pairs = tuple(map(tuple, headers))
            for _name, _value in pairs:
                pass
        except (TypeError, ValueError):
            reason = f"the app answered with headers that are not a list of pairs: {headers!r}"
            raise TransportFailure(Outcome.MALFORMED, reason) from None
        response = Response(int(code), phrase, Headers(pairs), body, elapsed, raised)
        check_length(response)
        return response

    def _break_off(self, environ: dict[str, Any], start_response: Any, callback: Callback, wire: Wire) -> None:
        from engagelab_mock.delivery.transport.wire import break_off_wsgi  # only faults need it

        break_off_wsgi(self.app, environ, start_response, callback, wire)

    def _prepare(self, callback: Callback) -> dict[str, Any]:
        environ = self._environ.copy()
        environ["wsgi.input"] = BytesIO(callback.body)
        environ["wsgi.errors"] = sys.stderr
        environ["CONTENT_LENGTH"] = str(len(callback.body))
        names = self._names
        for name, value in callback.headers.pairs:
            key = names.get(name) or self._learn(name)
            # WSGI servers join a repeated header with a comma.
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ

    def _learn(self, name: str) -> str:
        key = name.upper().replace("-", "_")
        self._names[name] = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        return self._names[name]


def _collect(
    chunks: Iterable[bytes], written: list[bytes], started: float
) -> tuple[bytes, float, BaseException | None]:
    """Return the whole body, the seconds to its last byte, and the exception that `close` raised after that."""
    if type(chunks) is list and len(chunks) == 1 and not written and type(chunks[0]) is bytes:
        return chunks[0], stopwatch() - started, None  # most apps return a list, which has nothing to close
    try:
        iterator = iter(chunks)
    except TypeError:
        reason = f"the app returned {chunks!r:.100}, not an iterable of bytes"
        raise TransportFailure(Outcome.MALFORMED, reason) from None
    raised: BaseException | None = None
    try:
        # Not `extend`: if an app writes while its answer is iterated, its bytes must come in that order.
        for chunk in iterator:
            written.append(chunk)
    except BaseException as error:
        raise app_raised(error) from error
    finally:
        elapsed = stopwatch() - started
        try:
            if (close := getattr(chunks, "close", None)) is not None:
                close()
        except BaseException as error:
            raised = error  # the client has its answer already
    try:
        return b"".join(written), elapsed, raised
    except TypeError as error:
        raise TransportFailure(Outcome.MALFORMED, f"the app's body is not bytes: {error}") from None


@functools.lru_cache(maxsize=64)
def _environ(address: str) -> dict[str, Any]:
    """Return the data that all requests to an address share; each request gets a copy."""
    parts = split_address(address, where="base_url")
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        # PEP 3333: text in an environ is bytes read as latin-1.
        "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": str(parts.port or (443 if parts.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": parts.scheme,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
