"""A state machine of Hypothesis that delivers to a receiver whatever EngageLab could, and shrinks what fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import ScheduleFailed
from engagelab_mock.explore.engagelab import EngageLab
from engagelab_mock.explore.exploration import Failure
from engagelab_mock.explore.invariants import Invariant, converges
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.plan import ExploreOptions
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, check_faults
from engagelab_mock.strategies.schedule import steps


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
