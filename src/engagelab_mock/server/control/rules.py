"""/_mock/rules: what is to happen instead of the usual."""

from __future__ import annotations

from typing import Any

import msgspec

from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.control.call import Call, answer, refused
from engagelab_mock.server.control.time import Nothing
from engagelab_mock.server.exchange import HttpAnswer
from engagelab_mock.service.rest.exchange import ApiError


class NewRule(msgspec.Struct, forbid_unknown_fields=True):
    """Say for which calls, and what happens to them, as `EngageLab.rule` takes it."""

    to: str | None = None
    template: str | None = None
    call: str | None = None
    scenario: str | list[str] | None = None
    error: int | None = None
    times: int | None = None


def list_rules(call: Call) -> HttpAnswer:
    """Answer with the rules in force, oldest first."""
    call.parameters()
    return answer({"rules": [_rule(rule) for rule in call.engagelab.rules]})


def add_rule(call: Call) -> HttpAnswer:
    """Add a rule."""
    wanted = call.body(NewRule)
    try:
        rule = call.engagelab.rule(**msgspec.structs.asdict(wanted))
    except EngageLabMockError as error:
        raise refused(error) from None
    return answer(_rule(rule), status=201)


def remove_rules(call: Call) -> HttpAnswer:
    """Cancel every rule."""
    call.body(Nothing)
    for rule in list(call.engagelab.rules):
        rule.cancel()
    return answer({"rules": []})


def remove_rule(call: Call) -> HttpAnswer:
    """Cancel one rule."""
    call.body(Nothing)
    for rule in list(call.engagelab.rules):
        if rule.id == call.named["id"]:
            rule.cancel()
            return answer(_rule(rule))
    raise ApiError(4001, f"there is no rule {call.named['id'][:100]!r}", http_status=404)


def _rule(rule: Any) -> dict[str, Any]:
    return {
        "id": rule.id,
        "to": rule.to,
        "template": rule.template,
        "call": rule.call,
        "scenario": rule.scenario,
        "error": rule.error,
        "times": rule.times,
    }
