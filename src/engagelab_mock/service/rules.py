"""The account's rules and templates, which decide how a message is sent. They are kept in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError, reduce_struct
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.message import check_recipient
from engagelab_mock.messages.scenario import Scenario, Transition
from engagelab_mock.messages.template import AUDITS, Template
from engagelab_mock.protocol.errorcodes import error_code

if TYPE_CHECKING:
    from engagelab_mock.delivery.io import Io
    from engagelab_mock.delivery.model import Delivery
    from engagelab_mock.service.accept import ScenarioChoice
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.store import Store


#: The kind of their records in the store.
RULE = "rule"
#: The calls that send something, and all calls.
SENDING = ("messages", "codes", "custom-messages")
CALLS = (*SENDING, "verifications", "template-configs")


class StoredRule(msgspec.Struct, kw_only=True, eq=False, omit_defaults=True):
    """Hold a rule in its stored form, with how often it was used."""

    id: str
    to: str | None = None
    template: str | None = None
    call: str | None = None
    error: int | None = None
    #: The error's message. Default: the documented one.
    message: str = ""
    #: The scenario's name.
    scenario: str | None = None
    #: The steps of the scenario; None for a built-in one.
    steps: tuple[Transition, ...] | None = None
    times: int | None = None
    used: int = 0

    def restored(self) -> Rule:
        """Return the rule.

        >>> StoredRule(id="1", error=5013).restored().error
        5013
        """
        return Rule(**_stored_fields(self))


class Rule(StoredRule, eq=False):
    """Answer calls that fit with an error, or give the messages they send a scenario.

    >>> from engagelab_mock import EngageLab
    >>> rule = EngageLab().rule("+6591234567", error=5013)
    >>> rule.fits("messages", to="+6591234567", template="login")
    True

    None matches everything. `times` is how often the rule applies (None: always). `used` is how often it has applied.
    """

    cancelled: bool = False
    #: Called with the rule when it changes.
    on_change: Callable[[Rule], object] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, without=("on_change",))

    def fits(self, call: str, *, to: str, template: str) -> bool:
        """Tell whether the rule applies to a call."""
        if self.cancelled or (self.times is not None and self.used >= self.times):
            return False
        if self.error is None and call not in SENDING:
            return False
        wanted = ((self.call, call), (self.to, to), (self.template, template))
        return all(mine is None or mine == given for mine, given in wanted)

    @property
    def as_scenario(self) -> Scenario | None:
        """Return the scenario that the rule gives to messages; None for a rule about an error."""
        if self.scenario is None:
            return None
        if self.steps is None:
            return find_scenario(self.scenario)
        return Scenario(self.scenario, transitions=self.steps, graph=None)

    def cancel(self) -> None:
        """Cancel the rule, so that it does not apply any more."""
        self.cancelled = True
        if self.on_change is not None:
            self.on_change(self)


class Rules(Sequence[Rule]):
    """Keep rules, oldest first. The newest rule that matches applies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rules: list[Rule] = []
        self._made = 0
        self._lock = threading.Lock()

    def adopt(self, rule: Rule) -> None:
        """Add a rule that is in the store already."""
        rule.on_change = self._changed
        self._rules.append(rule)
        self._made = max(self._made, int(rule.id) if rule.id.isdecimal() else 0)

    def make(self, **given: Any) -> Rule:
        """Check the arguments, and add a rule."""
        checked = _checked(**given)
        with self._store.transaction(), self._lock:
            rule = Rule(id=str(self._made + 1), **checked)
            self._put(rule)
            self._store.undo(partial(setattr, self, "_rules", list(self._rules)))
            self.adopt(rule)
        return rule

    def apply(self, call: str, *, to: str = "", template: str = "") -> Rule | None:
        """Return the newest rule that matches a call, and count its use; None if no rule matches."""
        if not self._rules:
            return None
        with self._lock:
            for rule in reversed(self._rules):
                if rule.fits(call, to=to, template=template):
                    rule.used += 1
                    break
            else:
                return None
        self._store.undo(partial(setattr, rule, "used", rule.used - 1))
        self._changed(rule)
        return rule

    def clear(self) -> None:
        """Cancel every rule."""
        for rule in list(self._rules):
            rule.cancel()

    def __getitem__(self, index: Any) -> Any:
        return list(self._rules)[index]

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(list(self._rules))

    def _changed(self, rule: Rule) -> None:
        if rule.cancelled:
            with self._store.transaction():
                self._store.undo(partial(setattr, self, "_rules", self._rules))
                self._store.undo(partial(setattr, rule, "cancelled", False))
                with self._lock:
                    self._rules = [other for other in self._rules if other is not rule]
                self._store.delete(RULE, rule.id)
        else:
            self._put(rule)

    def _put(self, rule: Rule) -> None:
        self._store.put(RULE, rule.id, StoredRule(**_stored_fields(rule)))


def _stored_fields(rule: StoredRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in StoredRule.__struct_fields__}


def _checked(
    to: str | None,
    template: str | None,
    call: str | None,
    scenario: ScenarioChoice | None,
    error: int | None,
    message: str,
    times: int | None,
) -> dict[str, Any]:
    where = "rule"
    if (scenario is None) == (error is None):
        what = "a rule has a scenario or an error" + (", not both" if error is not None else "")
        raise UsageError(what, where=where, hint="rule(to, scenario='sent_failed'), or rule(to, error=5013)")
    if call is not None and call not in CALLS:
        raise UnknownName("call", call, CALLS, where=where)
    if scenario is not None and call is not None and call not in SENDING:
        raise UsageError(
            f"{call} sends no message that could take a scenario", where=where, hint="error=… works for any call"
        )
    if to is not None:
        check_recipient(to, where=where)
    named: Any = template
    if template is not None and (not isinstance(named, str) or not template):
        raise UsageError(f"a template is an id, not {template!r}", where=where)
    given: Any = times
    if times is not None and (isinstance(given, bool) or not isinstance(given, int) or times < 1):
        raise UsageError(f"times is a number from 1, not {times!r}", where=where)
    chosen = None if scenario is None else find_scenario(scenario, where=where)
    built_in = chosen is None or isinstance(scenario, str)
    return {
        "to": to,
        "template": template,
        "call": call,
        "error": None if error is None else error_code(error, where=where).code,
        "message": message,
        "scenario": None if chosen is None else chosen.name,
        "steps": None if built_in or chosen is None else chosen.transitions,
        "times": times,
    }


#: The kind of their records in the store.
TEMPLATE = "template"


class Templates:
    """Keep templates by id.

    >>> from engagelab_mock.service.store import MemoryStore
    >>> templates = Templates(MemoryStore())
    >>> templates.add(Template(template_id="login", send_channel_strategy="sms"))
    >>> [template.template_id for template in templates]
    ['login']
    """

    def __init__(self, store: Store, ready: tuple[Template, ...] = ()) -> None:
        self._store = store
        self._ready = ready
        self._templates = {template.template_id: template for template in ready}

    def adopt(self, template: Template) -> None:
        """Add a template that is in the store already."""
        self._templates[template.template_id] = template

    def add(self, template: Template) -> None:
        """Add a template, or replace the one with its id, and write it to the store."""
        self._will_change()
        self.adopt(template)
        self._store.put(TEMPLATE, template.template_id, template)

    def find(self, template_id: str) -> Template | None:
        """Return the template with an id, or None."""
        return self._templates.get(template_id)

    def remove(self, template_id: str) -> bool:
        """Remove a template, and return whether there was one."""
        self._will_change()
        self._store.delete(TEMPLATE, template_id)
        return self._templates.pop(template_id, None) is not None

    def audit(self, template_id: str, status: str, remark: str) -> Template:
        """Set the audit status of a template, and return the template."""
        known = self._templates.get(template_id)
        if known is None:
            raise UnknownName("template", template_id, self._templates, where="audit_template")
        if status not in AUDITS:
            raise UnknownName("template status", status, AUDITS, where="audit_template")
        audited = replace(known, status=AUDITS[status], audit_remark=remark)
        self.add(audited)
        return audited

    def clear(self) -> None:
        """Remove every template except those of the sandbox."""
        for template_id in list(self._templates):
            self.remove(template_id)
        self._templates = {template.template_id: template for template in self._ready}

    def _will_change(self) -> None:
        self._store.undo(partial(setattr, self, "_templates", dict(self._templates)))

    def __iter__(self) -> Iterator[Template]:
        return iter(list(self._templates.values()))

    def __len__(self) -> int:
        return len(self._templates)


async def audit_template(engine: Engine, io: Io, template_id: str, status: str, reason: str) -> list[Delivery]:
    """Set the audit status of a template, and send the notification of it."""
    __tracebackhide__ = True
    try:
        with engine.scheduler.lock, engine.store.transaction():
            engine.templates.audit(template_id, status, reason)
    except EngageLabMockError as error:
        raise engine.refused(error) from None
    fields = {"template_id": template_id, "status": status, "reason": reason}
    return await engine.send_event(io, engine.account.notification, ("template_audit_result",), fields)
