"""A schedule: which of a lifecycle's events are delivered, in what order, how often, and with what fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.lifecycle import Labels, labels_of, lifecycle
from engagelab_mock.messages.scenario import Scenario


class Step(msgspec.Struct, frozen=True):
    """Hold one callback of a schedule: the events in it, by their labels, and how it is delivered.

    >>> Step(("delivered",), fault="ack_lost").repeat
    1
    """

    #: One event, or several that go out in one callback.
    events: tuple[str, ...]
    #: The fault that strikes its first attempt, by its name; after it, the callback is sent again. Empty is none.
    fault: str = ""
    #: How many times it is delivered in a row.
    repeat: int = 1
    #: Seconds from the step before to this one.
    delay: float = 0.0


class Schedule(msgspec.Struct, frozen=True):
    """Hold the lifecycles of one or more messages, and the steps in which their events are delivered.

    >>> schedule = Schedule.of("verified", "sent", "plan", "plan")
    >>> str(schedule)
    'eg1:sent,plan,plan'
    >>> Schedule.parse("eg1:sent,plan,plan") == schedule
    True

    A schedule need not deliver every event, and may deliver an event more than once.
    """

    lifecycles: tuple[Scenario, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for scenario in self.lifecycles:
            if lifecycle(scenario) is not scenario:
                hint = "Schedule.of takes any scenario"
                raise UsageError(f"{scenario.name!r} is not as `lifecycle` returns it", where="schedule", hint=hint)
        places = labels_of(self.lifecycles).places
        for step in self.steps:
            if not step.events or step.repeat < 1 or any(label not in places for label in step.events):
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
        """Make a schedule of a lifecycle, a scenario as `send` takes it, and steps.

        A step is an event's label, a list of labels that go out in one callback, or a `Step`. `others` are the
        lifecycles of further messages, whose labels end in #2, #3 and so on.

        >>> str(Schedule.of("fallback", ["plan", "sent/whatsapp"], Step(("verified",), fault="ack_lost")))
        'eg1:plan+sent/whatsapp,verified!ackloss'
        """
        scenarios = tuple(lifecycle(each) for each in (scenario, *others))
        labels = labels_of(scenarios)
        made = []
        for step in steps:
            if not isinstance(step, Step):
                step = Step((step,) if isinstance(step, str) else tuple(step))
            made.append(msgspec.structs.replace(step, events=tuple(labels.find(name) for name in step.events)))
        return cls(scenarios, tuple(made))

    @classmethod
    def parse(cls, token: str) -> Schedule:
        """Read a token; raise `UsageError` saying where it cannot be read.

        >>> Schedule.parse("eg1:plan,delivered!ackloss,sent*2@+3.1s").steps[2].delay
        3.1
        """
        from engagelab_mock.explore.token import read

        return read(token)

    @property
    def token(self) -> str:
        """Return the schedule as a token: short, versioned, to be typed."""
        from engagelab_mock.explore.token import write

        return write(self)

    @property
    def in_order(self) -> Schedule:
        """Return the schedule a sender makes that never errs: each of the events once, in order, alone.

        >>> str(Schedule.parse("eg1:delivered!ackloss,plan,plan").in_order)
        'eg1:plan,delivered'
        """
        wanted = {label for step in self.steps for label in step.events}
        order = labels_of(self.lifecycles).all
        return Schedule(self.lifecycles, tuple(Step((label,)) for label in order if label in wanted))

    @property
    def events(self) -> list[str]:
        """Return the label of every event delivered, in order, with its repetitions."""
        return [label for step in self.steps for _ in range(step.repeat) for label in step.events]

    @property
    def deliveries(self) -> int:
        """Return how many callbacks are delivered, not counting those sent again after a fault."""
        return sum(step.repeat for step in self.steps)

    def __hash__(self) -> int:
        return hash((tuple(scenario.name for scenario in self.lifecycles), self.steps))

    def __str__(self) -> str:
        return self.token

    def __repr__(self) -> str:
        return f"<Schedule {self.token}>"


def tidy(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Write equal steps that follow each other as one that is repeated.

    >>> tidy([Step(("plan",)), Step(("plan",))])
    (Step(events=('plan',), fault='', repeat=2, delay=0.0),)
    """
    tidied: list[Step] = []
    for step in steps:
        last = tidied[-1] if tidied else None
        same = last is not None and (last.events, last.fault) == (step.events, step.fault) and not step.delay
        if last is not None and same:
            tidied[-1] = msgspec.structs.replace(last, repeat=last.repeat + step.repeat)
        else:
            tidied.append(step)
    return tuple(tidied)


def _refuse(step: Step, labels: Labels) -> None:
    if not step.events:
        raise UsageError("a step delivers at least one event", where="schedule", hint="Step(('plan',))")
    if step.repeat < 1:
        raise UsageError(f"a step is delivered once or more often, not {step.repeat} times", where="schedule")
    for label in step.events:
        if label not in labels.places:
            labels.find(label)
            raise UsageError(
                f"{label!r} is not the event's label", where="schedule", hint=f"it is {labels.find(label)!r}"
            )
