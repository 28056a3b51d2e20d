"""Interception of `requests`: answer an app's calls of EngageLab's REST API in process, without a socket."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch
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
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Interception:
    """Answer the requests that `requests` sends to EngageLab's API, inside a `with` block.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab, Interception(engagelab):
    ...     requests.get("https://otp.api.engagelab.cc/v1/template-configs").status_code
    401

    Requests to other hosts are not touched: they go to the network, or to a mock that the test has set up with
    `responses` or another library. Callbacks are not sent with `requests`, so such mocks do not affect them.
    """

    def __init__(self, engagelab: EngageLab, url: str = API_URL) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
            raise UsageError(f"{url!r} is not an address of an API", where="Interception", hint=f"as in {API_URL}")
        self.engagelab = engagelab
        self.url = url.rstrip("/")
        self._answers: list[ApiAnswer] = []
        # It is never started, so that it replaces no mock of the test: it only matches requests and makes responses.
        self._mock = responses.RequestsMock(assert_all_requests_are_fired=False)
        address = re.compile(re.escape(self.url) + r"(/|\?|$)", re.IGNORECASE)
        for method in _METHODS:
            self._mock.add_callback(method, address, callback=self._answer, content_type=None)
        self._patches = ExitStack()

    @property
    def calls(self) -> responses.CallList:
        """Return the calls with their answers, oldest first, as `responses` keeps them."""
        return self._mock.calls

    def __enter__(self) -> Self:
        find = requests.Session.get_adapter

        def get_adapter(session: requests.Session, url: str) -> BaseAdapter:
            found = find(session, url)
            return _Intercepting(self, found) if self._is_ours(url) else found

        # It replaces how a session chooses its adapter, not the adapter: many tests replace that one with `responses`.
        self._patches.enter_context(patch.object(requests.Session, "get_adapter", get_adapter))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._patches.close()

    def send(self, adapter: BaseAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Answer one request as the adapter would, with its retries."""
        sender = adapter if isinstance(adapter, HTTPAdapter) else HTTPAdapter()
        response: requests.Response = self._mock.unbound_on_send()(sender, request, **options)
        return response

    def _is_ours(self, url: str) -> bool:
        given, own = urlsplit(url), urlsplit(self.url)
        return (given.scheme.lower(), given.netloc.lower()) == (own.scheme.lower(), own.netloc.lower())

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(str(request.url))
        answer = self.engagelab.api.handle(
            ApiRequest(
                method=request.method or "GET",
                path=unquote(parts.path),
                authorization=_header(request, "Authorization"),
                body=_bytes(request.body),
            )
        )
        # Callbacks go out after the caller has the answer: see `_Intercepting`.
        self._answers.append(answer)
        return answer.status, dict(answer.headers), answer.body

    def written(self) -> None:
        """Release the callbacks that were held until the answer."""
        while self._answers:
            self._answers.pop(0).written()


class _Intercepting(BaseAdapter):
    """Replace the adapter that a session would send with."""

    def __init__(self, interception: Interception, adapter: BaseAdapter) -> None:
        super().__init__()
        self._interception = interception
        self._adapter = adapter

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        # The names of an adapter's positional arguments.
        named = dict(zip(("stream", "timeout", "verify", "cert", "proxies"), args, strict=False))
        try:
            return self._interception.send(self._adapter, request, **named, **options)
        finally:
            self._interception.written()

    def close(self) -> None:
        self._adapter.close()


def _header(request: requests.PreparedRequest, name: str) -> str | None:
    value: str | bytes | None = request.headers.get(name)
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    """Return a body as bytes; it was given as text, bytes, or an iterable of them."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    parts: Iterable[Any] = body
    encode: Callable[[Any], bytes] = _bytes
    return b"".join(encode(part) for part in parts)
