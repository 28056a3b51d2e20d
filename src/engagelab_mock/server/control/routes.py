"""What the control API can be asked, and which function answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engagelab_mock.errors import did_you_mean
from engagelab_mock.server.control.call import Call
from engagelab_mock.server.control.inbox import read_inbox, read_inbox_of
from engagelab_mock.server.control.journal import read_journal
from engagelab_mock.server.control.play import play_scenario
from engagelab_mock.server.control.rules import add_rule, list_rules, remove_rule, remove_rules
from engagelab_mock.server.control.state import list_scenarios, ready, reset
from engagelab_mock.server.control.time import advance, freeze, read_clock, resume, set_speed
from engagelab_mock.server.exchange import HttpAnswer
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp
    from engagelab_mock.server.exchange import HttpRequest


class Route(NamedTuple):
    """Say which function answers what; a part of the path in braces is named, and can be anything."""

    method: str
    path: str
    answer: Callable[[Call], HttpAnswer]


ROUTES = (
    Route("GET", "/_mock/readyz", ready),
    Route("POST", "/_mock/reset", reset),
    Route("GET", "/_mock/journal", read_journal),
    Route("GET", "/_mock/inbox", read_inbox),
    Route("GET", "/_mock/inbox/{to}", read_inbox_of),
    Route("GET", "/_mock/clock", read_clock),
    Route("POST", "/_mock/clock/advance", advance),
    Route("POST", "/_mock/clock/freeze", freeze),
    Route("POST", "/_mock/clock/resume", resume),
    Route("POST", "/_mock/clock/speed", set_speed),
    Route("GET", "/_mock/scenarios", list_scenarios),
    Route("GET", "/_mock/rules", list_rules),
    Route("POST", "/_mock/rules", add_rule),
    Route("DELETE", "/_mock/rules", remove_rules),
    Route("DELETE", "/_mock/rules/{id}", remove_rule),
    Route("POST", "/_mock/send", play_scenario),
)
PATHS = tuple(dict.fromkeys(route.path for route in ROUTES))


def answer_control(app: ServerApp, request: HttpRequest) -> HttpAnswer:
    """Answer a call of the control API, or raise `ApiError` for one that it does not have."""
    method = "GET" if request.method == "HEAD" else request.method
    fitting = [(route, named) for route in ROUTES if (named := fit(route.path, request.path)) is not None]
    for route, named in fitting:
        if route.method == method:
            return route.answer(Call(app, request, named))
    if fitting:
        allowed = ", ".join(sorted({route.method for route, _ in fitting}))
        message = f"{request.path[:100]} takes {allowed}, not {request.method[:20]}"
        raise ApiError(3002, message, http_status=405, headers=(("Allow", allowed),))
    hint = did_you_mean(request.path[:100], PATHS) or f"There are {', '.join(PATHS)}"
    raise ApiError(4001, f"there is no {request.path[:100]!r}; {hint}", http_status=404)


def fit(template: str, path: str) -> dict[str, str] | None:
    """Return what a path has in the place of a template's names, or None if it is another.

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
