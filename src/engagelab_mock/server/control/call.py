"""One call of the control API: what it asks for, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from engagelab_mock.errors import EngageLabMockError, UnknownName
from engagelab_mock.server.exchange import HttpAnswer, HttpRequest
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp
    from engagelab_mock.service.engagelab import EngageLab

Body = TypeVar("Body", bound=msgspec.Struct)
Parsed = TypeVar("Parsed")


class Call:
    """Hold one call: the request, what its path names, and the app it was made to."""

    def __init__(self, app: ServerApp, request: HttpRequest, named: Mapping[str, str]) -> None:
        self.app = app
        self.request = request
        #: What stands in the path where its template has a name in braces.
        self.named = named

    @property
    def engagelab(self) -> EngageLab:
        """Return the engine."""
        return self.app.engagelab

    def body(self, kind: type[Body]) -> Body:
        """Return the body, or raise `ApiError`; none at all is an empty object."""
        try:
            given = msgspec.json.decode(self.request.body or b"{}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise ApiError(3001, f"the body is not JSON: {error}") from None
        if isinstance(given, dict):
            for name in given:
                if name not in kind.__struct_fields__:
                    raise refused(UnknownName("field", name, kind.__struct_fields__))
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            raise ApiError(3002, str(error)) from None

    def parameters(self, **known: Callable[[str, str], Parsed]) -> dict[str, Parsed]:
        """Return the query's parameters, each parsed by its parser; raise `ApiError` for one that is none."""
        found: dict[str, Parsed] = {}
        for name, value in self.request.parameters:
            if name not in known:
                raise refused(UnknownName("parameter", name[:100], known))
            if name in found:
                raise ApiError(3002, f"{name} is given more than once")
            found[name] = known[name](name, value)
        return found


def answer(content: Any, status: int = 200) -> HttpAnswer:
    """Answer with JSON.

    >>> answer({"status": "ready"}).body
    b'{"status":"ready"}'
    """
    return HttpAnswer(status, msgspec.json.encode(content))


def refused(error: EngageLabMockError, *, code: int = 3002, http_status: int = 400) -> ApiError:
    """Turn what cannot be used into an error object, on one line.

    >>> refused(UnknownName("scenario", "verfied", ["verified"])).message
    "unknown scenario 'verfied'; did you mean 'verified'? Known: verified"
    """
    where = f"{error.where}: " if error.where else ""
    hint = f"; {error.hint}" if error.hint else ""
    return ApiError(code, f"{where}{error.what}{hint}", http_status=http_status)


def text(name: str, value: str) -> str:
    """Take a parameter as it is."""
    return value


def number(name: str, value: str, *, least: float = 0.0, most: float = 600.0) -> float:
    """Take a parameter as a number within limits, or raise `ApiError`.

    >>> number("wait", "2.5")
    2.5
    """
    try:
        parsed = float(value)
    except ValueError:
        parsed = float("nan")
    if not least <= parsed <= most:
        raise ApiError(3002, f"{name} is a number from {least:g} to {most:g}, not {value[:40]!r}")
    return parsed
