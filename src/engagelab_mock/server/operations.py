"""The list of the control API's calls, to which each module that answers some adds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from engagelab_mock.server.app import Nothing, Operation

_W = TypeVar("_W", bound=Callable[..., Any])
#: Every call of the control API.
CONTROL: list[Operation] = []
#: The body of a call that takes none.
NO_BODY: dict[str, Any] = {"body": Nothing, "body_required": False}


def answers(method: str, path: str, answer: str, **more: Any) -> Callable[[_W], _W]:
    """Add a call to the list; its name, summary and result are those of the function that answers it.

    >>> [each.name for each in CONTROL if each.path == "/_mock/readyz"]
    ['ready']
    """

    def add(work: _W) -> _W:
        first, *others = work.__name__.split("_")
        name = first + "".join(map(str.title, others))
        summary = (work.__doc__ or "").partition("\n")[0].removesuffix(".")
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
