"""The list of the control API's calls, to which each module that answers some adds them, and who answers which."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import msgspec
from msgspec import Meta
from werkzeug import Request, Response

from engagelab_mock.errors import did_you_mean
from engagelab_mock.server.app import CONTROL as ROOT
from engagelab_mock.server.app import DOCUMENT, Call, Nothing, Operation, json_response, read_body, read_query

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp

_W = TypeVar("_W", bound=Callable[..., Any])
#: Every call of the control API.
CONTROL: list[Operation] = []
#: The body of a call that takes none.
NO_BODY: dict[str, Any] = {"body": Nothing, "body_required": False}


def answers(method: str, path: str, summary: str, answer: str, **more: Any) -> Callable[[_W], _W]:
    """Add a call to the list; its name and its result are those of the function that answers it.

    The summary is not the function's docstring, which `python -OO` removes.

    >>> [each.name for each in CONTROL if each.path == "/_mock/readyz"]
    ['ready']
    """

    def add(work: _W) -> _W:
        first, *others = work.__name__.split("_")
        name = first + "".join(map(str.title, others))
        content = more.pop("content", None) or get_type_hints(work)["return"]
        CONTROL.append(Operation(method, path, name, summary, answer, content, work=work, **more))
        return work

    return add


def fit(template: str, path: str) -> dict[str, str] | None:
    """Return the values that a path has for a template's names, or None if the path does not fit the template.

    >>> fit("/_mock/inbox/{to}", "/_mock/inbox/+6591234567")
    {'to': '+6591234567'}
    """
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    named = {}
    for part, value in zip(wanted, given, strict=True):
        if part.startswith("{") and value:
            named[part.strip("{}")] = value
        elif part != value:
            return None
    return named


def answer_control(app: ServerApp, request: Request) -> Response:
    """Answer a call of the control API; an unknown one is answered with the calls that there are."""
    path = request.path if request.path != f"{ROOT}/" else ROOT
    method = "GET" if request.method == "HEAD" else request.method
    fitting = [(each, named) for each in CONTROL if (named := fit(each.path, path)) is not None]
    for operation, named in fitting:
        if operation.method == method and operation.work is not None:
            body = None if operation.body is None else read_body(request, operation.body)
            answer = operation.work(Call(app, request, body, read_query(request, operation.query), named))
            return answer if isinstance(answer, Response) else json_response(answer, operation.status)
    # A call that deletes something is never suggested.
    calls = {"calls": [f"{each.method} {each.path}" for each in CONTROL if not each.forgets]}
    if fitting:
        allowed = ", ".join(sorted({operation.method for operation, _ in fitting}))
        message = f"{request.path[:100]} takes {allowed}, not {request.method[:20]}"
        response = json_response({"code": 3002, "message": message, **(calls if path == ROOT else {})}, 405)
        response.headers["Allow"] = allowed
        return response
    safe = [operation.path for operation in CONTROL if not operation.forgets]
    # All paths begin alike, so only a high similarity counts.
    nearest = did_you_mean(request.path[:100], [operation.path for operation in CONTROL], cutoff=0.8)
    if method == "DELETE" or not any(f"'{path}'" in nearest for path in safe):
        nearest = f"GET {ROOT} lists all calls"
    return json_response({"code": 4001, "message": f"there is no {request.path[:100]!r}; {nearest}", **calls}, 404)


class KnownCall(msgspec.Struct):
    """One call of the control API."""

    method: str
    path: str
    summary: str


class Calls(msgspec.Struct):
    """Every call of the control API."""

    calls: list[KnownCall]
    document: Annotated[str, Meta(description="The path of the OpenAPI document, which describes them.")]


@answers("GET", ROOT, "List the calls of this API", "Every call.")
def list_calls(call: Call) -> Calls:
    """List the calls of this API."""
    return Calls([KnownCall(each.method, each.path, each.summary) for each in CONTROL], DOCUMENT)
