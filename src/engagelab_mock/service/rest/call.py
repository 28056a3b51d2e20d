"""One call under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagelab_mock.service.rest.body import Fields
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.service.accepting import Accepting
    from engagelab_mock.service.play import Play
    from engagelab_mock.service.rules import Rule


class Call:
    """Hold what an operation works on: the engine, its own name, the body's fields, and what is to go out after."""

    def __init__(self, engagelab: Accepting, name: str, fields: Fields, resource: str = "") -> None:
        self.intake = engagelab.intake
        self.clock = engagelab.clock
        #: The call's name in rules and documents: messages, codes, custom-messages, verifications, template-configs.
        self.name = name
        self.fields = fields
        #: What the path names.
        self.resource = resource
        #: What is to go out once the call is answered.
        self.plays: list[Play] = []

    def rule(self, *, to: str = "", template: str = "") -> Rule | None:
        """Return the rule that applies, or raise the error that it wants answered."""
        rule = self.intake.rules.apply(self.name, to=to, template=template)
        if rule is not None and rule.error is not None:
            raise ApiError(rule.error, rule.message, hint=f"rule {rule.id} wants it")
        return rule


#: What an operation answers, to be written as JSON.
Content = dict[str, Any] | list[dict[str, Any]]
