"""Requests and answers of the REST API, and its settings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.messages.template import AUDITS
from engagelab_mock.protocol.errorcodes import ERROR_CODES

Pairs = tuple[tuple[str, str], ...]

_JSON = ("Content-Type", "application/json")


class ApiRequest(msgspec.Struct, frozen=True):
    """Hold a request to the REST API; `path` is decoded and has no query.

    >>> ApiRequest("GET", "/v1/template-configs").body
    b''
    """

    method: str
    path: str
    authorization: str | None = None
    body: bytes = b""


class ApiAnswer(msgspec.Struct, eq=False):
    """Hold the REST API's answer to a request.

    >>> ApiAnswer.of({"code": 0, "message": "success"}).body
    b'{"code":0,"message":"success"}'
    """

    status: int
    body: bytes
    headers: Pairs = (_JSON,)
    #: What waits for the answer to be on its way.
    after: Callable[[], object] | None = None

    @classmethod
    def of(cls, content: Any, status: int = 200, headers: Pairs = ()) -> ApiAnswer:
        """Make an answer of what can be written as JSON."""
        return cls(status, _encode(content), (_JSON, *headers))

    def written(self) -> None:
        """Let the callbacks of what was accepted go out: to be called once the answer is on its way.

        A second time does nothing, and any thread may call it.
        """
        with _WRITING:
            after, self.after = self.after, None
        if after is not None:
            after()

    def __repr__(self) -> str:
        return f"<ApiAnswer {self.status}, {len(self.body)} bytes>"


_WRITING = threading.Lock()


def _encode(content: Any) -> bytes:
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:  # a path can hold what is no Unicode text
        return json.dumps(content).encode()


class ApiError(EngageLabMockError):
    """Report what the REST API refuses, with the code and the HTTP status that it answers.

    >>> error = ApiError(4001, "config not exist")
    >>> error.http_status, error.answer().body
    (400, b'{"code":4001,"message":"config not exist"}')

    Without a message it is the documented one; without `http_status`, the one documented for the code.
    """

    def __init__(
        self,
        code: int,
        message: str = "",
        *,
        http_status: int | None = None,
        headers: Pairs = (),
        where: str = "",
        hint: str = "",
    ) -> None:
        known = ERROR_CODES.get(code)
        self.code = code
        self.http_status = http_status or (known.http_status if known else 400)
        self.headers = headers
        self.message = message or (known.message if known else "error")
        super().__init__(f"{self.code}, {self.message}", where=where, hint=hint)

    def answer(self) -> ApiAnswer:
        """Return the error object as an answer."""
        return ApiAnswer.of({"code": self.code, "message": self.message}, self.http_status, self.headers)


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Say how the REST API behaves where the documents leave it open, or where a test wants it otherwise.

    >>> ApiSettings(dev_key="key", dev_secret="secret").pinned
    True

    `dev_key` and `dev_secret` are the only pair that is let in; left empty, any pair is. With `strict_templates` an
    unknown template id is refused with 4001. With `callback_before_response` the callbacks go out before the answer.
    Without `rate_limit` the same recipient gets a second code while the first is valid; without `sandbox` there are no
    recipients and templates of the vendor's sandbox. New templates are "approved", or "pending" until `audit_template`.
    """

    dev_key: str = ""
    dev_secret: str = ""
    strict_templates: bool = False
    callback_before_response: bool = False
    rate_limit: bool = True
    sandbox: bool = True
    template_status: Literal["approved", "pending"] = "approved"

    def __post_init__(self) -> None:
        for name in ("dev_key", "dev_secret"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{name} is a string, not {getattr(self, name)!r}", where="ApiSettings")
        if bool(self.dev_key) != bool(self.dev_secret):
            missing = "dev_secret" if self.dev_key else "dev_key"
            raise UsageError(f"{missing} is missing", where="ApiSettings", hint="give both, or neither")
        if ":" in self.dev_key:
            raise UsageError("dev_key cannot hold a ':'", where="ApiSettings", hint="HTTP Basic splits the pair there")
        if self.template_status not in {"approved", "pending"}:
            raise UnknownName("template status", self.template_status, AUDITS, where="template_status")

    @property
    def pinned(self) -> bool:
        """Tell whether one pair of credentials alone is let in."""
        return bool(self.dev_key)
