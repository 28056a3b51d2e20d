"""A schedule in one line that can be typed: `eg1:plan,delivered!ackloss,sent*2@+3.1s`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError, did_you_mean
from engagelab_mock.explore.lifecycle import labels_of, lifecycle, spell
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

#: The version of the grammar, with which every token starts.
VERSION = "eg1"
#: Where a delivery can be broken: short names for the faults of a crash, or of an acknowledgement that is lost.
POINTS = {"lost": "request_lost", "cut": "short_body", "ackloss": "ack_lost", "5xx": "bad_gateway"}

_SHORT = {fault: point for point, fault in POINTS.items()}
_SUFFIX = re.compile(
    r"(?P<fault>[!~](?P<name>[a-z0-9_]+))|(?P<repeat>[*=](?P<times>[0-9]{1,4})(?![0-9]))"
    r"|(?P<delay>@\+?(?P<seconds>[0-9]+(?:\.[0-9]+)?)s?)"
)
_EXAMPLE = "a token looks like 'eg1:plan,delivered!ackloss,sent*2@+3.1s'"


def write(schedule: Schedule) -> str:
    """Return a schedule's token.

    >>> write(Schedule.of("delivered", "sent", "plan"))
    'eg1:delivered:sent,plan'

    The lifecycle is left out where `read` finds it by the events.
    """
    steps = ",".join(map(_write_step, schedule.steps))
    names = ",".join(scenario.name for scenario in schedule.lifecycles)
    if len(schedule.lifecycles) == 1 and schedule.steps and usual_lifecycle(schedule.events) == schedule.lifecycles[0]:
        return f"{VERSION}:{steps}"
    return f"{VERSION}:{names}:{steps}"


def read(token: str) -> Schedule:
    """Return the schedule that a token spells, or raise `UsageError` saying at which character it goes wrong.

    >>> read("eg1:plan,delivred")
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.UsageError: token, at character 10: unknown event 'delivred'
      hint: did you mean 'delivered'? The lifecycle, 'verified', has plan, sent, delivered, verified
    """
    if not isinstance(token, str):
        raise UsageError(f"a token is a string, not {token!r:.100}", where="token", hint=_EXAMPLE)
    text = token.strip()
    version, colon, rest = text.partition(":")
    if version != VERSION or not colon:
        newer = re.fullmatch(r"eg[0-9]+", version)
        hint = f"this version of engagelab-mock reads {VERSION}" if newer and version != VERSION else _EXAMPLE
        raise UsageError(f"{text!r:.100} does not start with '{VERSION}:'", where="token, at character 1", hint=hint)
    names, colon, spelt = rest.rpartition(":")
    offset = len(text) - len(spelt)
    parts = list(_parts(spelt, offset))
    if colon:
        lifecycles = tuple(_lifecycle(name, at) for name, at in _parts(names, len(VERSION) + 1))
    else:
        lifecycles = (
            usual_lifecycle([_plain(name) for part, _ in parts for name in _events(part)]) or _nearest(parts),
        )
    return Schedule(lifecycles, tuple(_read_step(part, at, lifecycles) for part, at in parts if spelt))


def fault_of(point: str, *, where: str = "fault") -> str:
    """Return the name of the fault that a token, or the user, means by a point or by the fault's own name.

    >>> fault_of("ackloss")
    'ack_lost'
    """
    if point in POINTS:
        return POINTS[point]
    if point not in FAULTS:
        raise UnknownName("fault", point, [*POINTS, *FAULTS], where=where)
    return point


def short_fault(name: str) -> str:
    """Return a fault's name as tokens have it.

    >>> short_fault("ack_lost")
    'ackloss'
    """
    return _SHORT.get(name, name)


def _write_step(step: Step) -> str:
    text = "+".join(step.events)
    if step.repeat > 1:
        text += f"*{step.repeat}"
    if step.fault:
        text += f"!{short_fault(step.fault)}"
    if step.delay:
        text += f"@+{spell(step.delay)}s"
    return text


def _read_step(part: str, at: int, lifecycles: tuple[Scenario, ...]) -> Step:
    labels = labels_of(lifecycles)
    names = _events(part)
    events = []
    for name in names:
        where = f"token, at character {at + 1}"
        try:
            events.append(labels.find(name, where=where))
        except UnknownName:
            raise _unknown(name, lifecycles, where) from None
        at += len(name) + 1
    return _suffixed(tuple(events), part, len("+".join(names)), at - 1)


def _suffixed(events: tuple[str, ...], part: str, done: int, at: int) -> Step:
    """Read what follows the events: each of a fault, a repetition and a delay at most once, in any order."""
    given: dict[str, str] = {}
    begun = at - done
    while done < len(part):
        where = f"token, at character {begun + done + 1}"
        found = _SUFFIX.match(part, done)
        if found is None or found.lastgroup is None:
            hint = "after the events come !fault, *times, @+seconds"
            raise UsageError(f"{part[done:]!r:.60} cannot be read", where=where, hint=hint)
        kind = next(name for name in ("fault", "repeat", "delay") if found[name])
        if kind in given:
            raise UsageError(f"a second {kind}, {found[0]!r}", where=where, hint="a step has one at most")
        given[kind] = found["name"] or found["times"] or found["seconds"]
        if kind == "fault":
            given[kind] = fault_of(given[kind], where=where)
        elif kind == "repeat" and int(given[kind]) < 1:
            raise UsageError("a step is delivered once or more often", where=where, hint="*2")
        elif kind == "delay":
            check_delay(float(given[kind]), where=where)
        done = found.end()
    return Step(events, given.get("fault", ""), int(given.get("repeat", 1)), float(given.get("delay", 0)))


def _parts(text: str, offset: int) -> Iterator[tuple[str, int]]:
    """Yield what stands between the commas, and where it starts in the token."""
    for part in text.split(","):
        yield part, offset
        offset += len(part) + 1


def _events(part: str) -> list[str]:
    """Return the names of a step's events."""
    return re.split(r"[!~*=@]", part, maxsplit=1)[0].split("+")


def _plain(name: str) -> str:
    return name.removesuffix("#1")


def _lifecycle(name: str, at: int) -> Scenario:
    where = f"token, at character {at + 1}"
    try:
        return lifecycle(name, where=where)
    except UnknownName:
        raise
    except EngageLabMockError as error:
        raise UsageError(error.what, where=where, hint=error.hint) from None


def usual_lifecycle(events: Iterable[str]) -> Scenario | None:
    """Return the first built-in lifecycle that has all of these events, which tokens do not name.

    >>> usual_lifecycle(["plan", "sent/sms"]).name
    'fallback'
    """
    wanted = set(events)
    for scenario in CATALOGUE.values():
        if wanted <= set(labels_of([scenario]).all):
            return scenario
    return None


def _nearest(parts: list[tuple[str, int]]) -> Scenario:
    """Return the built-in lifecycle that has most of the events, for what is said about those it does not have."""
    names = [_plain(name) for part, _ in parts for name in _events(part)]
    return max(CATALOGUE.values(), key=lambda each: sum(name in labels_of([each])._meant for name in names))


def _unknown(name: str, lifecycles: tuple[Scenario, ...], where: str) -> UsageError:
    known = labels_of(lifecycles).all
    whose = " and ".join(repr(scenario.name) for scenario in lifecycles)
    has = f"The lifecycle, {whose}, has {', '.join(known) or 'no event'}"
    return UsageError(
        f"unknown event {name!r:.60}", where=where, hint=" ".join(filter(None, [did_you_mean(name, known), has]))
    )
