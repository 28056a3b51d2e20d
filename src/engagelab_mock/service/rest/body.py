"""Request bodies: read within bounds, and checked field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engagelab_mock.service.rest.exchange import ApiError

#: How many bytes a body may have [?].
BODY_LIMIT = 1 << 20
#: How deep a body may be nested [?].
DEPTH_LIMIT = 32


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is, or raise `ApiError`.

    >>> read_object(b'{"to": "+6591234567"}')
    {'to': '+6591234567'}
    >>> read_object(b"[]")
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 3002, the body is an array, and has to be an object
    """
    if len(body) > BODY_LIMIT:
        raise ApiError(3002, f"the body has more than {BODY_LIMIT} bytes", http_status=413)
    try:
        content = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError as error:
        # It is JSON, with a number in it that nothing here holds.
        raise ApiError(3002, f"the body cannot be used: {error}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ApiError(3001, f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ApiError(3002, f"the body is {kind(content)}, and has to be an object")
    if body.count(b"[") + body.count(b"{") > DEPTH_LIMIT:
        _check_depth(content)
    return content


class Fields:
    """Take the fields of an object, checked; `where` is the object's own place in the body.

    A field that is null counts as left out, and one that nobody asks for is passed over [?].

    >>> Fields({"id": "login"}, "template").text("id")
    'login'
    >>> Fields({"id": 7}, "template").text("id")
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 3002, template.id is a number, and has to be a string
    """

    def __init__(self, content: Mapping[str, Any], where: str = "") -> None:
        self._content = content
        self._prefix = f"{where}." if where else ""

    def has(self, name: str) -> bool:
        """Tell whether a field is there."""
        return self._content.get(name) is not None

    def text(self, name: str, *, default: str | None = None, most: int | None = None, least: int = 1) -> str:
        """Return a string; without a default it has to be there, and not be empty."""
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
        """Return an integer within bounds; it has to be there."""
        value: int = self._typed(name, int, "an integer", None)
        if isinstance(value, bool):
            raise self.wrong(name, "is a boolean, and has to be an integer")
        if not low <= value <= high:
            raise self.wrong(name, f"is {value}, and has to be from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean; it has to be there."""
        return bool(self._typed(name, bool, "a boolean", None))

    def choice(self, name: str, known: Sequence[str], *, default: str | None = None) -> str:
        """Return one of some strings."""
        given = self.text(name, default=default)
        if given not in known:
            raise self.wrong(name, f"is {given!r:.80}, and has to be one of {', '.join(known)}")
        return given

    def section(self, name: str) -> Fields:
        """Return an object's fields; it has to be there."""
        return Fields(self._typed(name, dict, "an object", None), f"{self._prefix}{name}")

    def items(self, name: str) -> Iterator[Fields]:
        """Return the fields of each object in an array; it has to be there."""
        for index, item in enumerate(self._typed(name, list, "an array", None)):
            place = f"{self._prefix}{name}[{index}]"
            if not isinstance(item, dict):
                raise ApiError(3002, f"{place} is {kind(item)}, and has to be an object")
            yield Fields(item, place)

    def texts(self, name: str) -> dict[str, str]:
        """Return an object of strings; it can be left out."""
        given: dict[str, Any] = self._typed(name, dict, "an object", {})
        for key, value in given.items():
            if not isinstance(value, str):
                raise self.wrong(name, f".{key:.80} is {kind(value)}, and has to be a string", joint="")
        return given

    def object(self, name: str) -> dict[str, Any] | None:
        """Return an object as it is; it can be left out."""
        return self._typed(name, dict, "an object", {}) if self.has(name) else None

    def value(self, name: str) -> Any:
        """Return whatever a field holds."""
        return self._content.get(name)

    def wrong(self, name: str, what: str, *, joint: str = " ") -> ApiError:
        """Make the error about a field."""
        return ApiError(3002, f"{self._prefix}{name}{joint}{what}")

    def _typed(self, name: str, wanted: type, noun: str, default: Any) -> Any:
        value = self._content.get(name)
        if value is None:
            if default is None:
                raise self.wrong(name, "is required")
            return default
        if not isinstance(value, wanted):
            raise self.wrong(name, f"is {kind(value)}, and has to be {noun}")
        return value


def kind(value: object) -> str:
    """Say what a JSON value is.

    >>> kind([]), kind(True), kind(1.5)
    ('an array', 'a boolean', 'a number')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "a string", dict: "an object", list: "an array"}
    return names.get(type(value), "a number")


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
    return ApiError(3002, f"the body is nested more than {DEPTH_LIMIT} deep")
