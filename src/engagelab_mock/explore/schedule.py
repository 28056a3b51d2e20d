"""A schedule says which events are delivered, in what order, how often and with which fault; a token spells it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError, did_you_mean
from engagelab_mock.explore.lifecycle import Labels, labels_of, lifecycle, spell
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario


class Step(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """Hold one callback of a schedule: the labels of its events, and how it is delivered.

    >>> Step(("delivered",), fault="ack_lost").repeat
    1

    A step with `beside` is several callbacks, whose handlers run at the same time.
    """

    #: One event, or several in one callback.
    events: tuple[str, ...]
    #: The name of the fault of its first attempt, after which the callback is sent again. Empty: no fault.
    fault: str = ""
    #: How many times it is delivered in a row.
    repeat: int = 1
    #: Seconds after the step before.
    delay: float = 0.0
    #: The events of further callbacks, which are delivered at the same time.
    beside: tuple[tuple[str, ...], ...] = ()
    #: Which handler goes on at each switch point: in "a2b", a runs to its point 2, then b to its end, then a.
    order: str = ""
    #: The switch point at which the handler crashes, counted from 1, after which the callback is sent again. 0: none.
    crash: int = 0

    @property
    def callbacks(self) -> tuple[tuple[str, ...], ...]:
        """Return the events of each callback."""
        return (self.events, *self.beside)


class Schedule(msgspec.Struct, frozen=True):
    """Hold the lifecycles of one or more messages, and the steps that deliver their events.

    >>> schedule = Schedule.of("verified", "sent", "plan", "plan")
    >>> str(schedule)
    'eg1:sent,plan,plan'
    >>> Schedule.parse("eg1:sent,plan,plan") == schedule
    True

    A schedule may omit events, and may deliver an event several times.
    """

    lifecycles: tuple[Scenario, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for scenario in self.lifecycles:
            if CATALOGUE.get(scenario.name) is not scenario and lifecycle(scenario) is not scenario:
                hint = "use Schedule.of, which takes any scenario"
                raise UsageError(f"{scenario.name!r} is not a lifecycle", where="schedule", hint=hint)
        places = labels_of(self.lifecycles).places
        for step in self.steps:
            if not step.events or step.repeat < 1:
                _refuse(step, labels_of(self.lifecycles))
            if step.beside or step.order or step.crash:
                _check_together(step)
            if not places.keys() >= {label for events in step.callbacks for label in events}:
                _refuse(step, labels_of(self.lifecycles))
            if step.delay:
                check_delay(step.delay, where="schedule")

    @classmethod
    def of(
        cls,
        scenario: str | Scenario | Sequence[str],
        *steps: str | Sequence[str] | Step,
        others: Sequence[str | Scenario | Sequence[str]] = (),
    ) -> Schedule:
        """Return a schedule of a lifecycle, which is a scenario as `send` takes it, and of steps.

        A step is the label of an event, a list of labels for one callback, or a `Step`. `others` are the lifecycles of
        more messages, whose labels end in #2, #3 and so on.

        >>> str(Schedule.of("fallback", ["plan", "sent/whatsapp"], Step(("verified",), fault="ack_lost")))
        'eg1:plan+sent/whatsapp,verified!ackloss'
        """
        scenarios = tuple(lifecycle(each) for each in (scenario, *others))
        labels = labels_of(scenarios)
        made = []
        for step in steps:
            if not isinstance(step, Step):
                step = Step((step,) if isinstance(step, str) else tuple(step))
            events, *beside = [tuple(labels.find(name) for name in callback) for callback in step.callbacks]
            made.append(msgspec.structs.replace(step, events=events, beside=tuple(beside)))
        return cls(scenarios, tuple(made))

    @classmethod
    def parse(cls, token: str) -> Schedule:
        """Return the schedule that a token spells; raise `UsageError` with the place that cannot be read.

        >>> Schedule.parse("eg1:plan,delivered!ackloss,sent*2@+3.1s").steps[2].delay
        3.1
        """
        return read_token(token)

    @property
    def token(self) -> str:
        """Return the schedule as a token: short, versioned, easy to type."""
        return write_token(self)

    @property
    def in_order(self) -> Schedule:
        """Return the schedule that delivers each of these events once, alone, in the order of the lifecycles.

        >>> str(Schedule.parse("eg1:delivered!ackloss,plan,plan").in_order)
        'eg1:plan,delivered'
        """
        wanted = {*self.events}
        order = labels_of(self.lifecycles).all
        return Schedule(self.lifecycles, tuple(Step((label,)) for label in order if label in wanted))

    @property
    def events(self) -> list[str]:
        """Return the label of each delivered event, in order, with repetitions."""
        return [
            label
            for step in self.steps
            for _ in range(step.repeat)
            for callback in step.callbacks
            for label in callback
        ]

    @property
    def deliveries(self) -> int:
        """Return how many callbacks are delivered, not counting retries after a fault."""
        return sum(step.repeat * len(step.callbacks) for step in self.steps)

    def __hash__(self) -> int:
        return hash((tuple(scenario.name for scenario in self.lifecycles), self.steps))

    def __str__(self) -> str:
        return self.token

    def __repr__(self) -> str:
        return f"<Schedule {self.token}>"


def tidy(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return the steps with equal neighbours written as one repeated step.

    >>> tidy([Step(("plan",)), Step(("plan",))])
    (Step(events=('plan',), repeat=2),)
    """
    tidied: list[Step] = []
    for step in steps:
        last = tidied[-1] if tidied else None
        alone, like = not (step.delay or step.beside or step.crash), (step.events, step.fault, step.beside, step.crash)
        if alone and last is not None and (last.events, last.fault, last.beside, last.crash) == like:
            tidied[-1] = msgspec.structs.replace(last, repeat=last.repeat + step.repeat)
        else:
            tidied.append(step)
    return tuple(tidied)


def _refuse(step: Step, labels: Labels) -> None:
    if not step.events:
        raise UsageError("a step delivers at least one event", where="schedule", hint="Step(('plan',))")
    if step.repeat < 1:
        raise UsageError(f"a step is delivered at least once, not {step.repeat} times", where="schedule")
    for label in [label for events in step.callbacks for label in events]:
        if label not in labels.places:
            labels.find(label)
            raise UsageError(f"{label!r} is not a label", where="schedule", hint=f"the label is {labels.find(label)!r}")


#: The most handlers that run at the same time.
MOST_TOGETHER = 3


def _check_together(step: Step, where: str = "schedule") -> None:
    """Raise `UsageError` for a step whose callbacks cannot be delivered together, or cannot crash."""
    wrong = ""
    if (step.fault or step.repeat > 1) or (step.beside and step.crash):
        wrong = "callbacks at the same time, or a crash of the handler, are a step without anything else"
    elif len(step.callbacks) > MOST_TOGETHER or not all(step.callbacks) or (step.order and not step.beside):
        wrong = f"from 2 to {MOST_TOGETHER} callbacks are delivered at the same time"
    elif not re.fullmatch(f"(?:[{'abc'[: len(step.callbacks)]}][0-9]*)*", step.order):
        wrong = f"{step.order!r:.60} is not an order of {len(step.callbacks)} handlers"
    if wrong:
        raise UsageError(wrong, where=where, hint="such as 'plan|plan@a2b', or 'plan!crash@2'")


#: The version of the grammar. Every token starts with it.
TOKEN_VERSION = "eg1"
#: The points at which a delivery can break: short names for the faults of a crash and of a lost acknowledgement.
POINTS = {"lost": "request_lost", "cut": "short_body", "ackloss": "ack_lost", "5xx": "bad_gateway"}

_SHORT = {fault: point for point, fault in POINTS.items()}
_SUFFIX = re.compile(
    r"(?P<crash>[!~]crash@(?P<point>[0-9]{1,4}))|(?P<order>@(?P<turns>(?:[a-c][0-9]*)+)(?![a-z0-9]))"
    r"|(?P<fault>[!~](?P<name>[a-z0-9_]+))|(?P<repeat>[*=](?P<times>[0-9]{1,4})(?![0-9]))"
    r"|(?P<delay>@\+?(?P<seconds>[0-9]+(?:\.[0-9]+)?)s?)"
)
_EXAMPLE = "a token looks like 'eg1:plan,delivered!ackloss,sent*2@+3.1s'"


def write_token(schedule: Schedule) -> str:
    """Return the token of a schedule.

    >>> write_token(Schedule.of("delivered", "sent", "plan"))
    'eg1:delivered:sent,plan'

    The lifecycle is omitted if `read_token` finds it from the events.
    """
    steps = ",".join(map(_write_step, schedule.steps))
    names = ",".join(scenario.name for scenario in schedule.lifecycles)
    if len(schedule.lifecycles) == 1 and schedule.steps and usual_lifecycle(schedule.events) == schedule.lifecycles[0]:
        return f"{TOKEN_VERSION}:{steps}"
    return f"{TOKEN_VERSION}:{names}:{steps}"


def read_token(token: str) -> Schedule:
    """Return the schedule that a token spells, or raise `UsageError` with the first character that is wrong.

    >>> read_token("eg1:plan,delivred")
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.UsageError: token, at character 10: unknown event 'delivred'
      hint: did you mean 'delivered'? The lifecycle, 'verified', has plan, sent, delivered, verified
    """
    if not isinstance(token, str):
        raise UsageError(f"a token is a string, not {token!r:.100}", where="token", hint=_EXAMPLE)
    text = token.strip()
    version, colon, rest = text.partition(":")
    if version != TOKEN_VERSION or not colon:
        newer = re.fullmatch(r"eg[0-9]+", version)
        hint = (
            f"this version of engagelab-mock reads {TOKEN_VERSION}" if newer and version != TOKEN_VERSION else _EXAMPLE
        )
        raise UsageError(
            f"{text!r:.100} does not start with '{TOKEN_VERSION}:'", where="token, at character 1", hint=hint
        )
    names, colon, spelt = rest.rpartition(":")
    offset = len(text) - len(spelt)
    parts = list(_parts(spelt, offset))
    if colon:
        lifecycles = tuple(_lifecycle(name, at) for name, at in _parts(names, len(TOKEN_VERSION) + 1))
    else:
        lifecycles = (
            usual_lifecycle([_plain(name) for part, _ in parts for name in _events(part)]) or _nearest(parts),
        )
    return Schedule(lifecycles, tuple(_read_step(part, at, lifecycles) for part, at in parts if spelt))


def fault_of(point: str, *, where: str = "fault") -> str:
    """Return the name of a fault, given as a point or by its name.

    >>> fault_of("ackloss")
    'ack_lost'
    """
    if point in POINTS:
        return POINTS[point]
    if point not in FAULTS:
        raise UnknownName("fault", point, [*POINTS, *FAULTS], where=where)
    return point


def short_fault(name: str) -> str:
    """Return the name of a fault in tokens.

    >>> short_fault("ack_lost")
    'ackloss'
    """
    return _SHORT.get(name, name)


def _write_step(step: Step) -> str:
    text = "|".join(map("+".join, step.callbacks))
    text += f"@{step.order}" * bool(step.order) + f"!crash@{step.crash}" * bool(step.crash)
    if step.repeat > 1:
        text += f"*{step.repeat}"
    if step.fault:
        text += f"!{short_fault(step.fault)}"
    if step.delay:
        text += f"@+{spell(step.delay)}s"
    return text


def _read_step(part: str, at: int, lifecycles: tuple[Scenario, ...]) -> Step:
    labels = labels_of(lifecycles)
    done = len(_head(part))
    callbacks = []
    place = at
    for callback in _head(part).split("|"):
        events = []
        for name in callback.split("+"):
            where = f"token, at character {place + 1}"
            try:
                events.append(labels.find(name, where=where))
            except UnknownName:
                raise _unknown(name, lifecycles, where) from None
            place += len(name) + 1
        callbacks.append(tuple(events))
    return _suffixed(callbacks, part, done, at + done)


def _suffixed(callbacks: list[tuple[str, ...]], part: str, done: int, at: int) -> Step:
    """Return the step with the suffixes of its events: a fault, a repetition, a delay, each at most once."""
    given: dict[str, str] = {}
    begun = at - done
    while done < len(part):
        where = f"token, at character {begun + done + 1}"
        found = _SUFFIX.match(part, done)
        if found is None or found.lastgroup is None:
            hint = "after the events, write !fault, *times, @+seconds"
            raise UsageError(f"{part[done:]!r:.60} cannot be read", where=where, hint=hint)
        kind = next(name for name in ("crash", "order", "fault", "repeat", "delay") if found[name])
        if kind in given:
            raise UsageError(f"a second {kind}, {found[0]!r}", where=where, hint="a step has at most one")
        given[kind] = found["name"] or found["times"] or found["seconds"] or found["point"] or found["turns"]
        if kind == "fault":
            given[kind] = fault_of(given[kind], where=where)
        elif kind in {"repeat", "crash"} and int(given[kind]) < 1:
            what = "a step is delivered at least once" if kind == "repeat" else "switch points are counted from 1"
            raise UsageError(what, where=where, hint="*2" if kind == "repeat" else "!crash@1")
        elif kind == "delay":
            check_delay(float(given[kind]), where=where)
        done = found.end()
    order, crash = given.get("order", ""), int(given.get("crash", 0))
    step = Step(callbacks[0], given.get("fault", ""), beside=tuple(callbacks[1:]), order=order, crash=crash)
    step = msgspec.structs.replace(step, repeat=int(given.get("repeat", 1)), delay=float(given.get("delay", 0)))
    if step.beside or step.order or step.crash:
        _check_together(step, f"token, at character {begun + 1}")
    return step


def _parts(text: str, offset: int) -> Iterator[tuple[str, int]]:
    """Yield each part between commas, with its offset in the token."""
    for part in text.split(","):
        yield part, offset
        offset += len(part) + 1


def _events(part: str) -> list[str]:
    """Return the names of the events in a part."""
    return re.split(r"[+|]", _head(part))


def _head(part: str) -> str:
    """Return the part without the suffixes."""
    return re.split(r"[!~*=@]", part, maxsplit=1)[0]


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
    """Return the first built-in lifecycle that has all of these events; a token omits its name.

    >>> usual_lifecycle(["plan", "sent/sms"]).name
    'fallback'
    """
    wanted = set(events)
    for scenario in CATALOGUE.values():
        if wanted <= set(labels_of([scenario]).all):
            return scenario
    return None


def _nearest(parts: list[tuple[str, int]]) -> Scenario:
    """Return the built-in lifecycle that has most of the events; the error names it for the other events."""
    names = [_plain(name) for part, _ in parts for name in _events(part)]
    return max(CATALOGUE.values(), key=lambda each: sum(name in labels_of([each])._meant for name in names))


def _unknown(name: str, lifecycles: tuple[Scenario, ...], where: str) -> UsageError:
    known = labels_of(lifecycles).all
    whose = " and ".join(repr(scenario.name) for scenario in lifecycles)
    has = f"The lifecycle, {whose}, has {', '.join(known) or 'no event'}"
    return UsageError(
        f"unknown event {name!r:.60}", where=where, hint=" ".join(filter(None, [did_you_mean(name, known), has]))
    )
