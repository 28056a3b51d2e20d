"""EngageLab's REST API for an app that calls it with `requests`: in process, without a socket."""

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
    from engagelab_mock.service.engagelab import EngageLab


#: Where EngageLab's API is [D].
API_URL = "https://otp.api.engagelab.cc"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Interception:
    """Answer what `requests` sends to EngageLab's API, for as long as a `with` block lasts, and nothing else.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab, Interception(engagelab):
    ...     requests.get("https://otp.api.engagelab.cc/v1/template-configs").status_code
    401

    Requests to other hosts go where they would go without it: to the network, or to what the test has set up with
    `responses` or another library. Callbacks are not sent with `requests`, so nothing can stand in their way.
    """

    def __init__(self, engagelab: EngageLab, url: str = API_URL) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
            raise UsageError(f"{url!r} is not where an API can be", where="Interception", hint=f"as in {API_URL}")
        self.engagelab = engagelab
        self.url = url.rstrip("/")
        self._answers: list[ApiAnswer] = []
        # It is never started, and so takes no place from those that are: it finds what fits and makes the response.
        self._mock = responses.RequestsMock(assert_all_requests_are_fired=False)
        address = re.compile(re.escape(self.url) + r"(/|\?|$)", re.IGNORECASE)
        for method in _METHODS:
            self._mock.add_callback(method, address, callback=self._answer, content_type=None)
        self._patches = ExitStack()

    @property
    def calls(self) -> responses.CallList:
        """Return what was asked and answered, oldest first, as `responses` keeps it."""
        return self._mock.calls

    def __enter__(self) -> Self:
        find = requests.Session.get_adapter

        def get_adapter(session: requests.Session, url: str) -> BaseAdapter:
            found = find(session, url)
            return _Intercepting(self, found) if self._is_ours(url) else found

        # Where a session chooses who sends, and not in who does: `responses` replaces that one, in tests of all kinds.
        self._patches.enter_context(patch.object(requests.Session, "get_adapter", get_adapter))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._patches.close()

    def send(self, adapter: BaseAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Answer one request as the adapter would have had it answered, its retries included."""
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
        # Nothing goes out before the caller has the answer in hand: see `_Intercepting`.
        self._answers.append(answer)
        return answer.status, dict(answer.headers), answer.body

    def written(self) -> None:
        """Let the callbacks go out that wait for what was answered."""
        while self._answers:
            self._answers.pop(0).written()


class _Intercepting(BaseAdapter):
    """Stand in for the adapter that a session would send with."""

    def __init__(self, interception: Interception, adapter: BaseAdapter) -> None:
        super().__init__()
        self._interception = interception
        self._adapter = adapter

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        # The names of what an adapter can also be given by position.
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
    """Return a body as it would have gone out: text, bytes, or parts of either."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    parts: Iterable[Any] = body
    encode: Callable[[Any], bytes] = _bytes
    return b"".join(encode(part) for part in parts)
