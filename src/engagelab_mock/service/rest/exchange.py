"""Requests and answers of the REST API, its settings, and the check of request bodies."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError, reduce_struct
from engagelab_mock.messages.template import AUDITS
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.settings import is_unicode

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
    content_type: str | None = None


class ApiAnswer(msgspec.Struct, eq=False):
    """Hold the REST API's answer to a request.

    >>> ApiAnswer.of({"code": 0, "message": "success"}).body
    b'{"code":0,"message":"success"}'
    """

    status: int
    body: bytes
    headers: Pairs = (_JSON,)
    #: Called once, after the answer was written.
    after: Callable[[], object] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, without=("after",))

    @classmethod
    def of(cls, content: Any, status: int = 200, headers: Pairs = ()) -> ApiAnswer:
        """Return an answer with JSON content."""
        return cls(status, _encode(content), (_JSON, *headers))

    def written(self) -> None:
        """Send the callbacks of the messages that were accepted. Call it after the answer was written.

        A second call does nothing. Any thread may call it.
        """
        with _AFTER_LOCK:
            after, self.after = self.after, None
        if after is not None:
            after()

    def __repr__(self) -> str:
        return f"<ApiAnswer {self.status}, {len(self.body)} bytes>"


_AFTER_LOCK = threading.Lock()


def _encode(content: Any) -> bytes:
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:  # a path can hold lone surrogates, which UTF-8 cannot encode
        return json.dumps(content).encode()


class ApiError(EngageLabMockError):
    """Report a request that the REST API refuses, with the error code and the HTTP status of the answer.

    >>> error = ApiError(4001, "config not exist")
    >>> error.http_status, error.answer().body
    (400, b'{"code":4001,"message":"config not exist"}')

    By default, the message and `http_status` are those documented for the code.
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
    """Set how the REST API behaves if the documents leave it open, or if a test needs another behaviour.

    >>> ApiSettings(dev_key="key", dev_secret="secret").pinned
    True

    `dev_key` and `dev_secret` are the only pair that is accepted; by default, any pair is. With `strict_templates`, an
    unknown template id is refused with 4001. With `strict_content_type`, a body whose Content-Type is not JSON is
    refused with 3001. With `callback_before_response`, callbacks are sent before the answer. Without `rate_limit`, a
    recipient can get a second code while the first is valid. Without `sandbox`, the recipients and templates of the
    vendor's sandbox do not exist. New templates are "approved", or "pending" until `audit_template`.
    """

    dev_key: str = ""
    dev_secret: str = ""
    strict_templates: bool = False
    strict_content_type: bool = False
    callback_before_response: bool = False
    rate_limit: bool = True
    sandbox: bool = True
    template_status: Literal["approved", "pending"] = "approved"

    def __post_init__(self) -> None:
        for name in ("dev_key", "dev_secret"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{name} is a string, not {getattr(self, name)!r}", where="ApiSettings")
            if not is_unicode(getattr(self, name)):
                raise UsageError(f"{name} has bytes that are not UTF-8, so no client can send it", where="ApiSettings")
        if bool(self.dev_key) != bool(self.dev_secret):
            missing = "dev_secret" if self.dev_key else "dev_key"
            raise UsageError(f"{missing} is missing", where="ApiSettings", hint="give both, or neither")
        if ":" in self.dev_key:
            hint = "HTTP Basic separates key and secret by ':'"
            raise UsageError("dev_key cannot contain ':'", where="ApiSettings", hint=hint)
        if self.template_status not in {"approved", "pending"}:
            raise UnknownName("template status", self.template_status, AUDITS, where="template_status")

    @property
    def pinned(self) -> bool:
        """Tell whether only one key and secret are accepted."""
        return bool(self.dev_key)


#: The size limit of a body, in bytes [?].
BODY_LIMIT = 1 << 20
#: The nesting limit of a body [?].
DEPTH_LIMIT = 32


def read_object(body: bytes) -> dict[str, Any]:
    """Return a body's JSON object, or raise `ApiError`.

    >>> read_object(b'{"to": "+6591234567"}')
    {'to': '+6591234567'}
    >>> read_object(b"[]")
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 3002, the body is an array, and must be an object
    """
    if len(body) > BODY_LIMIT:
        raise ApiError(3002, f"the body has more than {BODY_LIMIT} bytes", http_status=413)
    try:
        content = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError as error:
        # The body is JSON, but a number in it is too large.
        raise ApiError(3002, f"the body cannot be used: {error}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ApiError(3001, f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ApiError(3002, f"the body is {kind(content)}, and must be an object")
    if body.count(b"[") + body.count(b"{") > DEPTH_LIMIT:
        _check_depth(content)
    return content


def check_content_type(given: str | None) -> None:
    """Raise `ApiError` unless a Content-Type is JSON's.

    >>> check_content_type("application/json; charset=utf-8")
    >>> check_content_type("application/x-www-form-urlencoded")
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 3001, Content-Type is 'application/x-www-form-urlencoded', not JSON
    """
    if (given or "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(3001, f"Content-Type is {given!r:.80}, not JSON" if given else "Content-Type is missing")


class Fields:
    """Check and return the fields of an object; `where` is the object's place in the body.

    A field that is null counts as missing. Unknown fields are ignored [?].

    >>> Fields({"id": "login"}, "template").text("id")
    'login'
    >>> Fields({"id": 7}, "template").text("id")
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 3002, template.id is a number, and must be a string
    """

    def __init__(self, content: Mapping[str, Any], where: str = "") -> None:
        self._content = content
        self._prefix = f"{where}." if where else ""

    def has(self, name: str) -> bool:
        """Tell whether a field is given."""
        return self._content.get(name) is not None

    def text(self, name: str, *, default: str | None = None, most: int | None = None, least: int = 1) -> str:
        """Return a string; without a default it is required, and must not be empty."""
        value = self._typed(name, str, "a string", default)
        given: str = "" if value is None else value
        if default is not None and not given:
            return default
        if len(given) < least:
            raise self.wrong(name, "is empty" if not given else f"has less than {least} characters")
        if most is not None and len(given) > most:
            raise self.wrong(name, f"has more than {most} characters")
        return given

    def number(self, name: str, low: int, high: int) -> int:
        """Return a required integer, from `low` to `high`."""
        value: int = self._typed(name, int, "an integer", None)
        if isinstance(value, bool):
            raise self.wrong(name, "is a boolean, and must be an integer")
        if not low <= value <= high:
            raise self.wrong(name, f"is {value}, and must be from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """Return a required boolean."""
        return bool(self._typed(name, bool, "a boolean", None))

    def choice(self, name: str, known: Sequence[str], *, default: str | None = None) -> str:
        """Return a string that must be one of `known`."""
        given = self.text(name, default=default)
        if given not in known:
            raise self.wrong(name, f"is {given!r:.80}, and must be one of {', '.join(known)}")
        return given

    def section(self, name: str) -> Fields:
        """Return the fields of a required object."""
        return Fields(self._typed(name, dict, "an object", None), f"{self._prefix}{name}")

    def items(self, name: str) -> Iterator[Fields]:
        """Return the fields of each object in a required array."""
        for index, item in enumerate(self._typed(name, list, "an array", None)):
            place = f"{self._prefix}{name}[{index}]"
            if not isinstance(item, dict):
                raise ApiError(3002, f"{place} is {kind(item)}, and must be an object")
            yield Fields(item, place)

    def texts(self, name: str) -> dict[str, str]:
        """Return an optional object of strings."""
        given: dict[str, Any] = self._typed(name, dict, "an object", {})
        for key, value in given.items():
            if not isinstance(value, str):
                raise self.wrong(name, f".{key:.80} is {kind(value)}, and must be a string", joint="")
        return given

    def object(self, name: str) -> dict[str, Any] | None:
        """Return an optional object, unchecked."""
        return self._typed(name, dict, "an object", {}) if self.has(name) else None

    def value(self, name: str) -> Any:
        """Return a field's value, unchecked."""
        return self._content.get(name)

    def wrong(self, name: str, what: str, *, joint: str = " ") -> ApiError:
        """Return the error about a field."""
        return ApiError(3002, f"{self._prefix}{name}{joint}{what}")

    def _typed(self, name: str, wanted: type, noun: str, default: Any) -> Any:
        value = self._content.get(name)
        if value is None:
            if default is None:
                raise self.wrong(name, "is required")
            return default
        if not isinstance(value, wanted):
            raise self.wrong(name, f"is {kind(value)}, and must be {noun}")
        return value


def kind(value: object) -> str:
    """Return the name of a JSON value's type.

    >>> kind([]), kind(True), kind(1.5)
    ('an array', 'a boolean', 'a number')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "a string", dict: "an object", list: "an array"}
    return names.get(type(value), "a number")


#: The place of a value in msgspec's message about it: a field, or an item of an array in a field.
_PLACE = re.compile(r" - at `\$\.(\w+)(?:\[(\d+)\])?`$")


def misfit(
    error: msgspec.ValidationError, given: Mapping[str, Any], struct: type[msgspec.Struct], *, text: bool
) -> str:
    """Say which field msgspec could not convert, in the words of `Fields`; `text` if all values are a query's text.

    >>> class Speed(msgspec.Struct):
    ...     speed: float
    >>> error = msgspec.ValidationError("Expected `float`, got `null` - at `$.speed`")
    >>> misfit(error, {"speed": None}, Speed, text=False)
    'speed is null, and must be a number'
    """
    from msgspec import inspect  # only errors need it

    fields = {field.name: field for field in inspect.type_info(struct).fields}  # type: ignore[attr-defined]
    for name, field in fields.items():
        if field.required and name not in given:
            return f"{name} is required"
    found = _PLACE.search(str(error))
    if found is None:
        return str(error)
    name, index = found.groups()
    place, value, types = name, given[name], _alternatives(fields[name].type)
    if index is not None:
        [array] = [each for each in types if isinstance(each, inspect.ListType)]
        place, value, types = f"{name}[{index}]", value[int(index)], _alternatives(array.item_type)
    # A number that is out of its limits is shown, and so is text where some texts would be right.
    numeric = type(value) in {int, float} and any(map(_limits, types))
    textual = isinstance(value, str) and (text or any(isinstance(each, inspect.LiteralType) for each in types))
    wrong = f"{value!r:.80}" if numeric or textual else kind(value)
    return f"{place} is {wrong}, and must be {' or '.join(map(_expected, types))}"


def _alternatives(described: Any) -> list[Any]:
    """Return the types in a union, without null."""
    from msgspec import inspect

    while isinstance(described, inspect.Metadata):
        described = described.type
    types = described.types if isinstance(described, inspect.UnionType) else [described]
    flat = [inner for each in types for inner in ([each] if each is described else _alternatives(each))]
    return [each for each in flat if not isinstance(each, inspect.NoneType)]


def _expected(described: Any) -> str:
    """Return, in words, which values are accepted."""
    name = type(described).__name__
    if name == "LiteralType":
        return " or ".join(map(repr, described.values))
    nouns = {"IntType": "an integer", "FloatType": "a number", "StrType": "a string", "DictType": "an object"}
    return nouns.get(name, "an array") + _limits(described)


def _limits(described: Any) -> str:
    least, above, most = (getattr(described, name, None) for name in ("ge", "gt", "le"))
    low = f" from {least:.0f}" if least is not None else f" above {above:.0f}" if above is not None else ""
    high = "" if most is None else f" to {most:.0f}" if above is None else f", and up to {most:.0f}"
    return low + high


def _check_depth(content: object) -> None:
    level = [content]
    for _ in range(DEPTH_LIMIT):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    if any(isinstance(value, (dict, list)) for value in level):
        raise _too_deep()


def _too_deep() -> ApiError:
    return ApiError(3002, f"the body is nested more than {DEPTH_LIMIT} levels deep")
