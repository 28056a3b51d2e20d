"""Transports to a receiver, HTTP, or WSGI and ASGI in process: their interface, and code that several of them use."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.errors import InvalidSettings, UsageError, did_you_mean
from engagelab_mock.eventloop import in_trio, to_thread
from engagelab_mock.protocol.callback import Callback

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from engagelab_mock.delivery.transport.wire import Wire

P = ParamSpec("P")
T = TypeVar("T")


#: How much of an answer's body is kept, in bytes. The rest is read and dropped.
BODY_LIMIT = 1 << 20
#: The maximum number of threads of a transport.
_MOST_AT_ONCE = 1000
#: Freezegun does not freeze time for a function that the module `threading` calls over fewer functions than this.
_DEPTH = 5


class Transport(Protocol):
    """Send a callback to a receiver and return its answer, or raise `TransportFailure`.

    `limit` is in seconds, measured to the last byte of the answer; None waits without a limit.
    `wire` says how the request is written, if a fault changes that.
    """

    #: "http", "wsgi" or "asgi".
    name: str
    #: The URL of the receiver.
    address: str

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Send the callback and wait for the answer."""

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Send the callback and wait for the answer in the running event loop."""

    def exchange_many(
        self, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Send the callback several times at the same time; return the answer or failure of each."""

    def close(self) -> None:
        """Close connections and loops; a later exchange opens them again."""


class DistantTransport:
    """Replace the transport of a receiver from another process, because its app is only in that process.

    >>> DistantTransport("wsgi", "http://testserver/engagelab").address
    'http://testserver/engagelab'
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Raise `UsageError`."""
        raise UsageError(
            f"the app at {self.address} is in another process",
            where="Receiver",
            hint="make a receiver of it in this process",
        )

    async def aexchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        """Raise `UsageError`."""
        return self.exchange(callback, limit, wire)

    def exchange_many(
        self, callback: Callback, limit: float | None, wire: Wire | None, copies: int
    ) -> list[Response | TransportFailure]:
        """Raise `UsageError`."""
        return [self.exchange(callback, limit, wire)]

    def close(self) -> None:
        """Do nothing, because nothing is open."""


def exchange_in_threads(
    transport: Transport, callback: Callback, limit: float | None, wire: Wire | None, copies: int
) -> list[Response | TransportFailure]:
    """Send a callback several times at the same time, each copy from its own thread; a single copy from this thread."""

    def one(_: int) -> Response | TransportFailure:
        try:
            return transport.exchange(callback, limit, wire)
        except TransportFailure as failure:
            return failure

    if copies == 1:
        # The app may use one database connection per thread, as Django's tests do.
        return [one(0)]
    from concurrent.futures import ThreadPoolExecutor  # only duplicates need it

    with ThreadPoolExecutor(copies) as pool:
        made = [pool.submit(copy_context().run, one, number) for number in range(copies)]
        return [future.result() for future in made]


def _called_deep(function: Callable[[], T], depth: int) -> T:
    return _called_deep(function, depth - 1) if depth else function()


class Threads:
    """Run blocking functions in threads, which are made at the first use, and made again in a forked process.

    Each function gets a copy of the caller's context.

    >>> threads = Threads()
    >>> threads.submit(sum, [1, 2]).result()
    3
    >>> threads.close()
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a function in a thread."""
        if self._pool is None or self._process != os.getpid():
            from concurrent.futures import ThreadPoolExecutor  # only loops need it

            # A loop's own pool has few threads, and other code uses it.
            self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="engagelab")
            self._process = os.getpid()
        return self._pool.submit(copy_context().run, _called_deep, partial(function, *args, **kwargs), _DEPTH)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread, without blocking the running event loop."""
        if in_trio():
            return await to_thread(function, *args, **kwargs)
        import asyncio

        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def close(self) -> None:
        """End the threads when they are idle; a later call makes new threads."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(wait=False)
        self._pool = None


def in_django_transaction() -> bool:
    """Tell whether a transaction of Django is open in this thread, as in most tests that use its database.

    >>> in_django_transaction()
    False
    """
    database: Any = sys.modules.get("django.db")
    if database is None:
        return False
    from django.conf import settings

    return settings.configured and any(each.in_atomic_block for each in database.connections.all(initialized_only=True))


@contextlib.contextmanager
def connections_stay_open() -> Iterator[None]:
    """Keep Django from closing the database connection of a test's transaction, as Django's test client does."""
    from django.core.signals import request_finished, request_started
    from django.db import close_old_connections

    signals = [signal for signal in (request_started, request_finished) if signal.disconnect(close_old_connections)]
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def check_length(response: Response) -> None:
    """Raise `TransportFailure` if an in-process app announced a longer body than it sent, as an HTTP client would.

    >>> from engagelab_mock.protocol.callback import Headers
    >>> check_length(Response(200, "OK", Headers([("Content-Length", "4")]), b"fine"))
    """
    for name, value in response.headers.pairs:
        if len(name) == 14 and name.lower() == "content-length" and value.isdecimal():
            missing = int(value) - len(response.body)
            if missing > 0 and response.status not in {204, 304}:
                reason = f"the app announced {value} bytes and sent {len(response.body)}"
                raise TransportFailure(Outcome.INCOMPLETE, reason, response=response)


def split_address(url: str, *, where: str) -> SplitResult:
    """Split an http or https URL, or raise `InvalidSettings` with the reason.

    A host with non-ASCII letters is returned in its ASCII form, as DNS and the Host header need it.

    >>> split_address("http://127.0.0.1:5000/engagelab", where="url").port
    5000
    >>> split_address("http://bücher.example/engagelab", where="url").netloc
    'xn--bcher-kva.example'
    """
    if not isinstance(url, str):
        raise InvalidSettings(f"an address is a string, not {url!r}", where=where)
    example = "an address looks like 'http://127.0.0.1:5000/engagelab'"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidSettings(f"{url!r} is not a URL: {error}", where=where, hint=example) from None
    if parts.scheme not in {"http", "https"}:
        guess = did_you_mean(parts.scheme, ["http", "https"]) if parts.scheme else ""
        raise InvalidSettings(
            f"{url!r} has the scheme {parts.scheme!r}, not http or https",
            where=where,
            hint=guess or example,
        )
    if not parts.hostname or port == 0:
        raise InvalidSettings(f"{url!r} has no {'port' if parts.hostname else 'host'}", where=where, hint=example)
    if parts.username is not None:
        raise InvalidSettings(
            f"{parts.hostname!r} is given with credentials in the URL",
            where=where,
            hint="EngageLab sends an Authorization header verbatim: pass it as authorization='Basic …'",
        )
    if not parts.hostname.isascii():
        parts = parts._replace(netloc=_ascii_host(parts.hostname, where) + (f":{port}" if port else ""))
    if not (parts.geturl().isascii() and url.isprintable()) or " " in url:
        raise InvalidSettings(f"{url!r} holds blanks or non-ASCII characters", where=where, hint="percent-encode them")
    return parts


def target_of(parts: SplitResult) -> str:
    """Return the path and the query of a URL, as a request names them.

    >>> target_of(split_address("http://127.0.0.1:5000?page=1", where="url"))
    '/?page=1'
    """
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _ascii_host(host: str, where: str) -> str:
    """Return the ASCII form of an international host name."""
    try:
        name = host.encode("idna").decode("ascii")
        # If the letters do not come back, they are letters such as ß that the two versions of the standard encode
        # differently.
        same = name.encode("ascii").decode("idna") == host
    except UnicodeError:
        same = False
    if not same:
        raise InvalidSettings(
            f"the host {host!r} has no certain ASCII form", where=where, hint="write that form, such as xn--bcher-kva"
        )
    return name
