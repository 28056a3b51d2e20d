"""Strategies for scenarios, faults and schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import ScheduleFailed
from engagelab_mock.explore.engagelab import EngageLab
from engagelab_mock.explore.exploration import Failure
from engagelab_mock.explore.invariants import Invariant, converges
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.schedules import ExploreOptions, FaultsChoice, LifecycleChoice, check_faults
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import INFERRED, START, Scenario, TransitionGraph
from engagelab_mock.protocol.status import Channel
from engagelab_mock.strategies.message import channels, statuses

#: Seconds, most often none.
_DELAYS = st.sampled_from([0.0, 1.0, 60.0, 3600.0])


@st.composite
def scenarios(draw: st.DrawFn, *, graph: TransitionGraph | None = INFERRED, most: int = 6) -> Scenario:
    """Draw a course of up to `most` statuses that the graph allows, or of any with `graph=None`.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(scenarios())
    ... def test(drawn):
    ...     assert drawn.statuses[:1] in ([], ["plan"])
    >>> test()
    """
    scenario = Scenario("drawn", graph=graph)
    last, used = START, [str(Channel.SMS)]
    for _ in range(draw(st.integers(0, most))):
        if graph is None:
            scenario = scenario.then(draw(statuses()), after=draw(_DELAYS), channel=draw(st.none() | channels()))
            continue
        following = graph.next_after(last)
        if not following:
            break
        status = draw(st.sampled_from(following))
        fallback = last in {"sent_failed", "delivered_failed"}
        left = [channel for channel in Channel if channel not in used]
        if fallback and not left:
            break
        channel = draw(st.sampled_from(left)) if fallback else None
        first = [str(Channel.SMS)] if not scenario.transitions else []
        used += [str(channel)] if channel else first
        named = used[-1] if status in {"sent", "sent_failed"} else None
        scenario = scenario.then(status, after=draw(_DELAYS), channel=named)
        last = status
    return scenario


def faults(*, transport: str = "http") -> st.SearchStrategy[Fault]:
    """Draw a fault that a transport can express: "http" all of them, "wsgi" and "asgi" those without a wire.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(faults(transport="wsgi"))
    ... def test(drawn):
    ...     assert "wsgi" in drawn.transports
    >>> test()
    """
    return st.sampled_from([fault for fault in FAULTS.values() if transport in fault.transports])


@st.composite
def schedules(
    draw: st.DrawFn,
    *lifecycles: LifecycleChoice,
    faults: FaultsChoice = None,
    batches: bool = True,
    delays: bool = False,
    most: int = 12,
) -> Schedule:
    """Draw up to `most` deliveries of the events of these lifecycles, one message each, or of a built-in one.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(schedules("verified", most=5))
    ... def test(drawn):
    ...     assert drawn.deliveries <= 5
    >>> test()
    """
    chosen = lifecycles or (draw(st.sampled_from([name for name in CATALOGUE if CATALOGUE[name].transitions])),)
    scenarios_ = tuple(lifecycle(each) for each in chosen)
    drawn = draw(st.lists(steps(scenarios_, check_faults(faults), batches=batches, delays=delays), max_size=most))
    return Schedule(scenarios_, tidy(drawn))


def steps(
    lifecycles: Sequence[Scenario], faults: Sequence[str], *, batches: bool, delays: bool
) -> st.SearchStrategy[Step]:
    """Draw one delivery of events of these lifecycles.

    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(steps([CATALOGUE["verified"]], [], batches=False, delays=False))
    ... def test(drawn):
    ...     assert len(drawn.events) == 1
    >>> test()
    """
    labels = labels_of(lifecycles).all
    carried = st.lists(st.sampled_from(labels), min_size=1, max_size=3 if batches else 1).map(tuple)
    return st.builds(
        Step, events=carried, fault=st.sampled_from(["", *faults]), delay=_DELAYS if delays else st.just(0.0)
    )


class ReceiverMachine(RuleBasedStateMachine):
    """Deliver events of several messages in any order, again, together and with faults, and check what must hold.

    Subclass it, say which `receiver` it is about, and let pytest find its `TestCase`.

    >>> from hypothesis import settings
    >>> class Recording(ReceiverMachine):
    ...     lifecycles = ("verified", "fallback")
    ...     must_hold = ()
    ...
    ...     def receiver(self):
    ...         return Receiver.recording()
    >>> TestRecording = Recording.TestCase
    >>> TestRecording.settings = settings(max_examples=5, derandomize=True)

    The rules of an example make a schedule, which is played when the example ends. A schedule that fails is reduced as
    `explore` does it, and the error has its token; Hypothesis's own shrinking makes the list of rules shorter.
    """

    #: One lifecycle for each message.
    lifecycles: ClassVar[Sequence[LifecycleChoice]] = ("verified",)
    #: What strikes single deliveries: "at-least-once", or a list of names; None is nothing.
    faults: ClassVar[FaultsChoice] = None
    #: Whether several events go out in one callback.
    batches: ClassVar[bool] = True
    #: Whether time passes between deliveries.
    delays: ClassVar[bool] = False
    #: The invariants.
    must_hold: ClassVar[Sequence[Invariant]] = (converges(),)
    #: When a callback is sent again that was not acknowledged, as `send` takes it.
    retry: ClassVar[RetryPolicy | Sequence[float] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._lifecycles = tuple(lifecycle(each, where="lifecycles") for each in self.lifecycles)
        self._faults = check_faults(self.faults)
        self._steps: list[Step] = []

    def receiver(self) -> Receiver:
        """Return the receiver under test, with an `observe`; called once for each example."""
        raise NotImplementedError(f"{type(self).__name__}.receiver returns the receiver under test")

    def reset(self) -> None:
        """Bring the receiver's app back to where it was; called before each playing."""

    @property
    def schedule(self) -> Schedule:
        """Return what has been delivered so far."""
        return Schedule(self._lifecycles, tidy(self._steps))

    @rule(event=st.runner().flatmap(lambda machine: st.sampled_from(machine.labels)))
    def deliver(self, event: str) -> None:
        """Deliver one event, for the first time or again."""
        self._steps.append(Step((event,)))

    @precondition(lambda machine: machine.batches or machine.delays or machine.faults)
    @rule(step=st.runner().flatmap(lambda machine: machine.drawn_steps()))
    def deliver_unusually(self, step: Step) -> None:
        """Deliver events together, with a fault, or after a while."""
        self._steps.append(step)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the label of every event of every message."""
        return labels_of(self._lifecycles).all

    def drawn_steps(self) -> st.SearchStrategy[Step]:
        """Return what draws a delivery that is not a usual one."""
        return steps(self._lifecycles, self._faults, batches=self.batches, delays=self.delays)

    def teardown(self) -> None:
        """Play what was delivered, and check what must hold."""
        if not self._steps:
            return
        options: ExploreOptions = {"invariants": list(self.must_hold), "reset": self.reset, "retry": self.retry}
        with EngageLab(self.receiver()) as engagelab:
            try:
                engagelab.replay(self.schedule.token, **options)
            except ScheduleFailed as error:
                raise self._smallest(engagelab, error, options) from None

    def _smallest(self, engagelab: EngageLab, error: ScheduleFailed, options: ExploreOptions) -> ScheduleFailed:
        """Return the error with the smallest schedule that fails so, reduced once and for all examples."""
        key = (type(self), error.failure.violation.invariant)
        if key not in _REDUCED:
            quietly: ExploreOptions = {**options, "check": False}
            found = engagelab.explore([self.schedule], **quietly).failures
            _REDUCED[key] = found[0] if found else error.failure
        return _REDUCED[key].error()


#: The first failure of each machine and invariant, reduced: Hypothesis asks for it again and again.
_REDUCED: dict[tuple[type[ReceiverMachine], str], Failure] = {}
