"""Rules: what a test wants to happen to the messages that its app sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.scenario import Scenario, Transition
from engagelab_mock.protocol.errorcodes import error_code
from engagelab_mock.protocol.recipient import check_recipient

if TYPE_CHECKING:
    from engagelab_mock.service.options import ScenarioChoice
    from engagelab_mock.service.store import Store

#: Under which kind they are kept.
KIND = "rule"
#: The calls that send something, and those that do not.
SENDING = ("messages", "codes", "custom-messages")
CALLS = (*SENDING, "verifications", "template-configs")


class KeptRule(msgspec.Struct, kw_only=True, eq=False, omit_defaults=True):
    """Hold what a store keeps of a rule: what it says, and how often it has applied."""

    id: str
    to: str | None = None
    template: str | None = None
    call: str | None = None
    error: int | None = None
    #: What the error says, if not the usual.
    message: str = ""
    #: The scenario's name; of one that is built in, it is all there is to know.
    scenario: str | None = None
    #: The steps of a scenario that is not built in.
    steps: tuple[Transition, ...] | None = None
    times: int | None = None
    used: int = 0

    def restored(self) -> Rule:
        """Return the rule that was kept.

        >>> KeptRule(id="1", error=5013).restored().error
        5013
        """
        return Rule(**_kept(self))


class Rule(KeptRule, eq=False):
    """Say what happens to calls that fit: an error is answered, or what is accepted takes a scenario.

    >>> from engagelab_mock import EngageLab
    >>> rule = EngageLab().rule("+6591234567", error=5013)
    >>> rule.fits("messages", to="+6591234567", template="login")
    True

    What is None fits everything; `times` is how often it applies, None always, and `used` how often it has.
    """

    cancelled: bool = False
    #: Told of the rule when it changes.
    on_change: Callable[[Rule], object] | None = None

    def fits(self, call: str, *, to: str, template: str) -> bool:
        """Tell whether the rule applies to a call."""
        if self.cancelled or (self.times is not None and self.used >= self.times):
            return False
        if self.error is None and call not in SENDING:
            return False
        wanted = ((self.call, call), (self.to, to), (self.template, template))
        return all(mine is None or mine == given for mine, given in wanted)

    @property
    def course(self) -> Scenario | None:
        """Return the scenario that it has messages take; None for a rule about an error."""
        if self.scenario is None:
            return None
        if self.steps is None:
            return find_scenario(self.scenario)
        return Scenario(self.scenario, transitions=self.steps, graph=None)

    def cancel(self) -> None:
        """Apply to nothing more."""
        self.cancelled = True
        if self.on_change is not None:
            self.on_change(self)


class Rules(Sequence[Rule]):
    """Keep rules, oldest first; the newest that fits is the one that applies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rules: list[Rule] = []
        self._made = 0
        self._lock = threading.Lock()

    def adopt(self, rule: Rule) -> None:
        """Take a rule in that is kept already."""
        rule.on_change = self._changed
        self._rules.append(rule)
        self._made = max(self._made, int(rule.id) if rule.id.isdecimal() else 0)

    def make(self, **given: Any) -> Rule:
        """Check what is given, and add a rule."""
        checked = _checked(**given)
        with self._lock:
            rule = Rule(id=str(self._made + 1), **checked)
            self.adopt(rule)
        self._put(rule)
        return rule

    def apply(self, call: str, *, to: str = "", template: str = "") -> Rule | None:
        """Return the newest rule that fits a call, which counts as used then."""
        if not self._rules:
            return None
        with self._lock:
            for rule in reversed(self._rules):
                if rule.fits(call, to=to, template=template):
                    rule.used += 1
                    break
            else:
                return None
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
            with self._lock:
                self._rules = [other for other in self._rules if other is not rule]
            self._store.delete(KIND, rule.id)
        else:
            self._put(rule)

    def _put(self, rule: Rule) -> None:
        self._store.put(KIND, rule.id, KeptRule(**_kept(rule)))


def _kept(rule: KeptRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in KeptRule.__struct_fields__}


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
            f"{call} sends nothing that could take a scenario", where=where, hint="error=… is for any call"
        )
    if to is not None:
        check_recipient(to, where=where)
    named: Any = template
    if template is not None and (not isinstance(named, str) or not template):
        raise UsageError(f"a template is an id, not {template!r}", where=where)
    given: Any = times
    if times is not None and (isinstance(given, bool) or not isinstance(given, int) or times < 1):
        raise UsageError(f"times is a number from 1, not {times!r}", where=where)
    course = None if scenario is None else find_scenario(scenario, where=where)
    built_in = course is None or isinstance(scenario, str)
    return {
        "to": to,
        "template": template,
        "call": call,
        "error": None if error is None else error_code(error, where=where).code,
        "message": message,
        "scenario": None if course is None else course.name,
        "steps": None if built_in or course is None else course.transitions,
        "times": times,
    }
