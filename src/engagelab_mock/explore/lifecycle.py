"""The lifecycle of a schedule: a scenario that a token can spell, a label for each of its events, and the events."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.generate import Generator
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.catalogue import scenario as find_scenario
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario, Transition, timeline
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.status import Channel

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine

_STEP = re.compile(
    r"(?P<status>[a-z_]+)(?:/(?P<channel>[a-z]+))?(?:\+(?P<after>[0-9]+(?:\.[0-9]+)?))?"
    r"(?:%(?P<error>[0-9]+)(?:=(?P<text>[^-]*))?)?"
)


def lifecycle(chosen: str | Scenario | Sequence[str], *, where: str = "lifecycle") -> Scenario:
    """Return a scenario that a token can name: a built-in one, or one whose name lists its steps.

    >>> lifecycle("verified").name
    'verified'
    >>> lifecycle(["plan", "sent"]).name
    'plan-sent+1'

    A string that is not the name of a built-in scenario is read as a list of steps.
    """
    if isinstance(chosen, str) and chosen not in CATALOGUE:
        return _read(chosen, where=where)
    scenario = find_scenario(chosen, where=where)
    if CATALOGUE.get(scenario.name) == scenario:
        return scenario
    return _named(tuple(_checked(step) for step in scenario.transitions))


def lifecycle_with(status: str) -> Scenario:
    """Return a built-in lifecycle that has a status, or a short one if none has it.

    >>> lifecycle_with("sent_failed").name, lifecycle_with("target_valid").name
    ('sent_failed', 'plan-target_valid')
    """
    known = (each for each in CATALOGUE.values() if status in each.statuses)
    return next(known, None) or lifecycle(f"plan-{status}")


def spell(seconds: float) -> str:
    """Write a number of seconds without an exponent.

    >>> spell(3.0), spell(1e-05)
    ('3', '0.00001')
    """
    text = format(Decimal(repr(float(seconds))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Labels:
    """Name every event of one or more messages: its status, with the channel or a number if that is not unique.

    >>> Labels((CATALOGUE["fallback"],)).all[:4]
    ('plan', 'sent/whatsapp', 'delivered_failed', 'sent/sms')
    """

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self._meant: dict[str, list[str]] = {}
        #: For each label, the message it is about and the place of its event in that message, both counted from 0.
        self.places: dict[str, tuple[int, int]] = {}
        for message, scenario in enumerate(scenarios):
            suffix = f"#{message + 1}" if message else ""
            for index, names in enumerate(_names(scenario)):
                label = f"{names[0]}{suffix}"
                self.places[label] = (message, index)
                for name in names:
                    self._meant.setdefault(f"{name}{suffix}", []).append(label)
        #: Every label, in the order of the lifecycles.
        self.all = tuple(self.places)

    def find(self, name: str, *, where: str = "schedule") -> str:
        """Return the label for a name; raise `UnknownName` without a match, `UsageError` if there are several."""
        if name in self.places:
            return name
        meant = self._meant.get(name.removesuffix("#1"), [])
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise UsageError(
                f"{name!r} occurs {len(meant)} times in this lifecycle", where=where, hint=f"use {' or '.join(meant)}"
            )
        raise UnknownName("event", name, self.all, where=where)


def names_of(lifecycles: Sequence[Scenario]) -> tuple[str, ...]:
    """Return the names of lifecycles, which determine them completely.

    >>> names_of([lifecycle("verified")])
    ('verified',)
    """
    return tuple([scenario.name for scenario in lifecycles])


@lru_cache(maxsize=256)
def _labels(names: tuple[str, ...]) -> Labels:
    return Labels([lifecycle(name) for name in names])


def labels_of(scenarios: Sequence[Scenario]) -> Labels:
    """Return the labels of lifecycles that `lifecycle` returned; computed once for each combination.

    >>> labels_of([lifecycle("delivered")] * 2).all
    ('plan', 'sent', 'delivered', 'plan#2', 'sent#2', 'delivered#2')
    """
    return _labels(names_of(scenarios))


def _names(scenario: Scenario) -> Iterator[list[str]]:
    """Yield the names of each event; its label, the shortest unique one, comes first."""
    steps = list(scenario.steps(Channel.SMS))
    broad = [step.status for step in steps]
    narrow = [f"{step.status}/{step.channel}" if step.channel else step.status for step in steps]
    count = Counter([*broad, *(name for name in narrow if "/" in name)])
    seen: Counter[str] = Counter()
    for status, channelled in zip(broad, narrow, strict=True):
        seen[status] += 1
        names = [status, channelled, f"{status}.{seen[status]}"]
        first = next((name for name in names if count[name] == 1), names[-1])
        yield list(dict.fromkeys([first, *names]))


def _checked(step: Transition) -> Transition:
    """Return a step as `Scenario.then` makes it, which checks its names."""
    made = Scenario("lifecycle", graph=None).then(
        step.status, after=step.after, channel=step.channel, error=step.error_code, message=step.error_message
    )
    return made.transitions[0]


@lru_cache(maxsize=256)
def _named(steps: tuple[Transition, ...]) -> Scenario:
    name = "-".join(map(_write, steps)) or "-"
    if name in CATALOGUE:
        name += "+0"  # the single status, not the built-in lifecycle of that name
    return Scenario(name, transitions=steps, graph=None)


def _write(step: Transition) -> str:
    text = step.status
    if step.channel:
        text += f"/{step.channel}"
    if step.after:
        text += f"+{spell(step.after)}"
    usual = Scenario("", graph=None).then(step.status).transitions[0].error_code
    if step.error_code != usual or step.error_message is not None:
        text += f"%{step.error_code}"
    if step.error_message is not None:
        text += "=" + quote(step.error_message, safe="").replace("-", "%2D")
    return text


def _read(text: str, *, where: str) -> Scenario:
    steps: list[Transition] = []
    for part in text.split("-") if text != "-" else []:
        found = _STEP.fullmatch(part)
        if found is None:
            raise UnknownName("scenario", text, CATALOGUE, where=where)
        groups: Mapping[str, str | None] = found.groupdict()
        message = groups["text"]
        try:
            made = Scenario("lifecycle", graph=None).then(
                str(groups["status"]),
                after=float(groups["after"] or 0),
                channel=groups["channel"],
                error=None if groups["error"] is None else int(groups["error"]),
                message=None if message is None else unquote(message),
            )
        except UnknownName as error:
            if "-" in text:
                raise error.with_traceback(None) from None
            raise UnknownName("scenario", text, CATALOGUE, where=where) from None
        steps.append(made.transitions[0])
    return _named(tuple(steps))


#: The content of a step: its events, the body that carries them, and the id of their message.
_Content = tuple[tuple[Event, ...], bytes, str]


class Script:
    """Hold the messages of a schedule, their events by label, and the bodies encoded so far.

    All events have happened by the Unix time `now`: schedules differ only in when they deliver them. `ids` are those of
    the messages. `events` replace the events made for their labels.
    """

    def __init__(
        self,
        engine: Engine,
        lifecycles: Sequence[Scenario],
        *,
        ids: Sequence[str],
        now: float,
        events: Mapping[str, Event] | None = None,
    ) -> None:
        self.now = now
        #: The events that replace those made for their labels.
        self.own_events = dict(events or {})
        self._receiver = engine.receiver
        self._dialect = engine.dialect
        account, defaults = engine.account, engine.defaults
        # Every playing has the same data except the message id, so only the schedule can cause a difference.
        generate = Generator.seeded(engine.seed, "schedule")
        self.messages: tuple[Message, ...] = tuple(
            Message(
                id=id,
                to=generate.recipient() if defaults.get("to") is None else defaults["to"],
                template_key=defaults.get("template") or account.template_key,
                business_id=account.business_id,
                accepted=now - scenario.duration,
                custom_args=defaults.get("custom_args"),
                msg_time=engine.dialect.msg_time,
            )
            for id, scenario in zip(ids, lifecycles, strict=True)
        )
        timelines = [
            timeline(message, scenario, defaults.get("channel") or message.default_channel, generate)
            for message, scenario in zip(self.messages, lifecycles, strict=True)
        ]
        places = labels_of(lifecycles).places
        self._events: dict[str, Event] = {
            label: timelines[message][index][1] for label, (message, index) in places.items()
        }
        self._events.update(self.own_events)
        self._contents: dict[tuple[str, ...], _Content] = {}

    def content(self, labels: tuple[str, ...]) -> _Content:
        """Return the events of a step that the receiver subscribes to, their body, and the id of their message."""
        known = self._contents.get(labels)
        if known is None:
            events = [self._events[label] for label in labels]
            wanted = tuple(self._dialect.spell(event) for event in events if self._receiver.settings.wants(event))
            ids = {getattr(event, "message_id", "") for event in wanted}
            known = (wanted, encode(wanted), ids.pop() if len(ids) == 1 else "")
            self._contents[labels] = known
        return known
