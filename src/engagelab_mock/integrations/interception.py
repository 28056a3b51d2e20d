"""Interception: calls of an app to EngageLab's REST API are answered in process and do not reach the real service."""

from __future__ import annotations

import functools
import http.client
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http import HTTPMethod
from importlib import import_module
from types import MethodType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

import requests
import responses
from requests.adapters import BaseAdapter, HTTPAdapter

from engagelab_mock.errors import UsageError
from engagelab_mock.service.rest.exchange import ApiAnswer, ApiRequest

if TYPE_CHECKING:
    from engagelab_mock.engagelab import EngageLab


#: The address of EngageLab's API [D].
API_URL = "https://otp.api.engagelab.cc"
#: The domains of EngageLab's hosts [D]: its other APIs and its console are not for tests either.
_DOMAINS = ("engagelab.cc", "engagelab.com")
_PORTS = {"http": 80, "https": 443}


class Interception:
    """Answer the requests that `requests` and `httpx` send to EngageLab's API, inside a `with` block.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab, Interception(engagelab):
    ...     requests.get("https://otp.api.engagelab.cc/v1/template-configs").status_code
    401

    Another client that tries to reach EngageLab gets a `UsageError`, so that real credentials never leave the machine.
    Requests to other hosts are not touched: they go to the network, or to a mock that the test has set up. Callbacks
    are not sent with `requests` or `httpx`, so such mocks do not affect them.
    """

    def __init__(self, engagelab: EngageLab, url: str = API_URL) -> None:
        parts, endpoint = urlsplit(url), _endpoint(url)
        if endpoint is None or parts.path.strip("/"):
            raise UsageError(f"{url!r} is not an address of an API", where="Interception", hint=f"as in {API_URL}")
        self.engagelab = engagelab
        self.url = url.rstrip("/")
        host, port = endpoint
        # A default port counts for the other scheme too: an accidental http: call must not leave the machine either.
        self._endpoints = {(host, each) for each in (_PORTS.values() if port in _PORTS.values() else [port])}
        # It is never started, so it replaces no mock of the test. It only makes responses.
        self._mock = responses.RequestsMock(assert_all_requests_are_fired=False)
        for method in HTTPMethod:
            self._mock.add_callback(str(method), re.compile(""), callback=self._answer_requests, content_type=None)

    @property
    def calls(self) -> Sequence[Any]:
        """Return the calls, oldest first: each has the `request` and the `response` of `requests` or `httpx`."""
        return self._mock.calls

    def __enter__(self) -> Self:
        _activate(self)
        return self

    def __exit__(self, *_: object) -> None:
        _deactivate(self)

    def answers(self, url: str) -> bool:
        """Tell whether a URL belongs to the API: by host and port, in any spelling."""
        return _endpoint(url) in self._endpoints

    def refuse(self, host: str, port: int | None) -> None:
        """Raise `UsageError` if a connection to this host, given by its plain name, would reach EngageLab."""
        ours = (host, _PORTS["https"] if port is None else port) in self._endpoints
        if not ours and not any(f".{host}".endswith(f".{domain}") for domain in _DOMAINS):
            return
        error = UsageError(
            f"{host} was not called: only calls of {self.url} with `requests` or `httpx` are answered in process",
            where="engagelab_api",
            hint="for another client there is engagelab_server: give the client its base_url, or the program its env",
        )
        engine = self.engagelab._engine
        engine.journal.refuse(error, at=engine.clock.time())  # the app may swallow it
        raise error

    def send_requests(self, adapter: BaseAdapter, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        """Answer a request of `requests` as the adapter would, with its retries."""
        sender = adapter if isinstance(adapter, HTTPAdapter) else HTTPAdapter()
        with _released_after():
            answered: requests.Response = self._mock.unbound_on_send()(sender, request, **given)
            return answered

    def _answer_requests(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        path = unquote(urlsplit(str(request.url)).path)
        answer = self._answer(request.method, path, request.headers, _bytes(request.body))
        return answer.status, dict(answer.headers), b"" if request.method == "HEAD" else answer.body

    def answer_httpx(self, request: Any, library: Any) -> Any:
        """Answer a request of `httpx`, whose body has been read, with a response of the library."""
        answer = self._answer(request.method, request.url.path, request.headers, request.content)
        body = b"" if request.method == "HEAD" else answer.body
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        # A stream, because the client measures the time until its end.
        response = library.Response(answer.status, headers=headers, stream=library.ByteStream(body))
        self._mock.calls.add(request, response)
        return response

    def _answer(self, method: str | None, path: str, headers: Mapping[str, Any], body: bytes) -> ApiAnswer:
        values = [headers.get(name) for name in ("Authorization", "Content-Type")]
        authorization, content_type = [each.decode("latin-1") if isinstance(each, bytes) else each for each in values]
        answer = self.engagelab.api.handle(ApiRequest(method or "GET", path, authorization, body, content_type))
        _given.get().append(answer)
        return answer


#: The answers that the running call of a client has got.
_given: ContextVar[list[ApiAnswer]] = ContextVar("_given")


@contextmanager
def _released_after() -> Iterator[None]:
    """Release the callbacks that answers inside the block hold back, because the caller has its answer at the end."""
    answers: list[ApiAnswer] = []
    token = _given.set(answers)
    try:
        yield
    finally:
        _given.reset(token)
        for answer in answers:
            answer.written()


#: The interceptions whose blocks run, the innermost last. The functions below use it, and do nothing if it is empty.
_active: list[Interception] = []
_patches: list[_Patch] = []
_lock = threading.Lock()


def _activate(interception: Interception) -> None:
    with _lock:
        if not _active:
            _patches.extend(_Patch(*each) for each in (*_requests_patches(), *_httpx_patches(), *_guards()))
        _active.append(interception)


def _deactivate(interception: Interception) -> None:
    with _lock:
        _active.remove(interception)
        while not _active and _patches:
            _patches.pop().undo()


def _answering(url: object) -> Interception | None:
    """Return the interception that answers this URL."""
    return next((each for each in reversed(tuple(_active)) if each.answers(str(url))), None)


_MISSING = object()


class _Patch:
    """Replace a function, or a method of a class, with the function that `make` makes from it."""

    def __init__(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        self._owner, self._name = owner, name
        self._original = vars(owner).get(name, _MISSING)
        self._ours = make(getattr(owner, name))
        setattr(owner, name, self._ours)

    def undo(self) -> None:
        """Restore the original. If other code has replaced our function in the meantime, leave it, without effect."""
        if vars(self._owner).get(self._name) is not self._ours:
            return
        if self._original is _MISSING:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._original)


_Patches = Iterator[tuple[Any, str, Callable[[Any], Any]]]


def _requests_patches() -> _Patches:
    """Replace how a session chooses its adapter. Most mocks replace the adapter, which is used later."""

    def make_send(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
            if _answering(request.url) is None:
                return original(adapter, request, *args, **options)
            return _Answering(adapter).send(request, *args, **options)

        return send

    yield requests.Session, "get_adapter", _AdapterChoice
    # For an adapter that is called directly, or by a session that chooses adapters in another way.
    yield HTTPAdapter, "send", make_send


class _AdapterChoice:
    """Stand for `Session.get_adapter`, and for the function that mocks such as requests_mock set on one session.

    It has `__set__`, so that Python finds it before the attributes of the session.
    """

    def __init__(self, original: Callable[[requests.Session, str], BaseAdapter]) -> None:
        @functools.wraps(original)
        def get_adapter(session: requests.Session, url: str) -> BaseAdapter:
            return _answered(original(session, url), url)

        self._get_adapter = get_adapter

    def __get__(self, session: requests.Session | None, owner: type) -> Callable[..., BaseAdapter]:
        if session is None:
            return self._get_adapter
        own = vars(session).get("get_adapter")
        return MethodType(self._get_adapter if own is None else lambda _, url: _answered(own(url), url), session)

    def __set__(self, session: requests.Session, value: Callable[..., BaseAdapter]) -> None:
        vars(session)["get_adapter"] = value

    def __delete__(self, session: requests.Session) -> None:
        del vars(session)["get_adapter"]


def _answered(adapter: BaseAdapter, url: str) -> BaseAdapter:
    return adapter if isinstance(adapter, _Answering) or _answering(url) is None else _Answering(adapter)


class _Answering(BaseAdapter):
    """Replace the adapter with which a session would send."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self._adapter = adapter

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        interception = _answering(request.url)
        # The names of an adapter's positional arguments.
        options.update(zip(("stream", "timeout", "verify", "cert", "proxies"), args, strict=False))
        if interception is None:
            return self._adapter.send(request, **options)
        return interception.send_requests(self._adapter, request, **options)

    def close(self) -> None:
        self._adapter.close()


#: Libraries with the same interface; the second is a continuation of the first.
_HTTPX = ("httpx", "httpx2")


def _httpx_patches() -> _Patches:
    """Replace `send` of the clients of `httpx`. Most mocks replace a client's transport, which is used later."""
    for name in _HTTPX:
        try:
            library = import_module(name)
        except ImportError:
            continue
        yield library.Client, "send", functools.partial(_answering_send, library, library.Client)
        yield library.AsyncClient, "send", functools.partial(_answering_async_send, library, library.AsyncClient)


def _answering_send(library: Any, kind: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(client: Any, request: Any, **options: Any) -> Any:
        with _released_after():
            return original(_answering_client(library, kind, client, request), request, **options)

    return send


def _answering_async_send(library: Any, kind: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def send(client: Any, request: Any, **options: Any) -> Any:
        with _released_after():
            return await original(_answering_client(library, kind, client, request), request, **options)

    return send


def _answering_client(library: Any, kind: Any, client: Any, request: Any) -> Any:
    """Return a client with the same settings whose transport answers, or the client itself for other requests."""
    interception = None if client.is_closed else _answering(request.url)
    if interception is None:
        return client

    def handle(asked: Any) -> Any:
        if interception.answers(str(asked.url)):
            return interception.answer_httpx(asked, library)
        return client.send(asked, auth=None)  # an authentication calls another host first

    transport = library.MockTransport(handle)
    answering = kind(
        transport=transport,
        auth=client.auth,
        cookies=client.cookies,
        event_hooks=client.event_hooks,
        timeout=client.timeout,
        follow_redirects=client.follow_redirects,
        max_redirects=client.max_redirects,
    )
    # respx can replace this method of the class. If the class has no such method, this does nothing.
    answering._transport_for_url = lambda _: transport
    return answering


def _guards() -> _Patches:
    """Refuse to resolve the names of EngageLab's hosts, to connect to them, and to reach them through a proxy."""
    yield socket, "getaddrinfo", _guard(lambda host, port, *_, **__: (host, port))
    for name in ("gethostbyname", "gethostbyname_ex"):
        yield socket, name, _guard(lambda host: (host, None))
    for name in ("connect", "connect_ex"):  # the address of a Unix socket is text
        yield socket.socket, name, _guard(lambda _, address: address[:2] if isinstance(address, tuple) else None)
    # A client may use its own resolver, event loop or proxy, or may be connected already.
    for name in ("wrap_socket", "wrap_bio"):
        yield ssl.SSLContext, name, _guard(_name_of_peer)
    yield http.client.HTTPConnection, "set_tunnel", _guard(lambda _, host, *__, **___: _endpoint(f"https://{host}"))
    yield http.client.HTTPConnection, "putrequest", _guard(_addressee)
    if "aiohttp" in sys.modules:  # it has its own HTTP code, and may send to a proxy
        from aiohttp import BaseConnector

        yield BaseConnector, "connect", _guard(lambda _, request, *__, **___: _endpoint(str(request.url)))


def _guard(target: Callable[..., tuple[object, object] | None]) -> Callable[[Any], Any]:
    """Return a function that makes a function refuse calls by their target: a host, and a port or None."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def guarded(*args: Any, **options: Any) -> Any:
            if _active and (found := target(*args, **options)) is not None:
                host, port = _plain(found[0]), _number(found[1])
                for interception in reversed(tuple(_active)):
                    interception.refuse(host, port)
            return original(*args, **options)

        return guarded

    return make


def _name_of_peer(*args: Any, server_hostname: object = None, **_: object) -> tuple[object, None]:
    # By position, it is the only text.
    return server_hostname or next((each for each in args if isinstance(each, str)), None), None


def _addressee(connection: Any, method: str, url: str, *_: object, **__: object) -> tuple[object, object]:
    """Return the host and port of a request, also if a proxy gets a whole URL."""
    return _endpoint(url) or (connection.host, connection.port)


def _endpoint(url: str) -> tuple[str, int] | None:
    """Return the plain name of the host and the port of an HTTP URL, or None for another URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        default = _PORTS.get(parts.scheme.lower())
        if default is not None and parts.hostname:
            return _plain(parts.hostname), parts.port or default
    return None


def _plain(host: object) -> str:
    """Return the plain name of a host: lower case, without the final dot, as ASCII."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("latin-1")
    if not isinstance(host, str):
        return ""
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode()
    return host.lower().rstrip(".")


def _number(port: object) -> int | None:
    """Return a port, given as a number, as text or by the name of its service."""
    text = port.decode("latin-1") if isinstance(port, bytes) else str(port)
    return int(text) if text.isdecimal() else _PORTS.get(text)


def _bytes(body: Any) -> bytes:
    """Return a body as bytes; the body is text, bytes, or an iterable of them."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    return b"".join(_bytes(part) for part in body)
