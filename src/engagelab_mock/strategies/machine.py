"""The state machine: Hypothesis draws deliveries of several messages, and their schedule is played and judged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from engagelab_mock.clock import Clock
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import NothingObserved, ProbeFailed, ScheduleFailed, StateNotSettled, UnknownName, UsageError
from engagelab_mock.explore.baseline import whole
from engagelab_mock.explore.exploration import Failure
from engagelab_mock.explore.explorer import play, replay
from engagelab_mock.explore.invariants import Invariant, converges
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.options import ExploreOptions
from engagelab_mock.explore.orders import letter
from engagelab_mock.explore.plan import check_racing
from engagelab_mock.explore.races import check_number, nothing_reached
from engagelab_mock.explore.schedule import MOST_TOGETHER, Schedule, Step, tidy
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, check_faults
from engagelab_mock.explore.switchpoints import SwitchPoint
from engagelab_mock.protocol.status import Effects, Statuses
from engagelab_mock.strategies.callback import steps

#: How many handlers that could go on are stopped, at most.
_STOPS = 2


class ReceiverMachine(RuleBasedStateMachine):
    """Deliver events of several messages in any order, repeated, batched and with faults, and check the invariants.

    Write a subclass with its `receiver`, and assign its `TestCase` to a name that pytest collects.

    >>> from hypothesis import settings
    >>> class Recording(ReceiverMachine):
    ...     lifecycles = ("verified", "fallback")
    ...     must_hold = ()
    ...
    ...     def receiver(self):
    ...         return Receiver.recording()
    >>> TestRecording = Recording.TestCase
    >>> TestRecording.settings = settings(max_examples=5, derandomize=True, deadline=None)

    The rules of an example make a schedule, which is played when the example ends. A schedule that fails is reduced as
    `explore` does it, and the error has its token. Hypothesis shrinks the list of rules in addition. Without a `reset`,
    every example is about messages that the app has not seen.

    With `concurrent` or `crashes`, an example has at most one race or one crash, among its other deliveries.
    """

    #: One lifecycle for each message.
    lifecycles: ClassVar[Sequence[LifecycleChoice]] = ("verified",)
    #: The faults that strike single deliveries: "at-least-once", or a list of names; None: no fault.
    faults: ClassVar[FaultsChoice] = None
    #: Whether a callback may carry several events.
    batches: ClassVar[bool] = True
    #: Whether there are delays between deliveries.
    delays: ClassVar[bool] = False
    #: How many handlers run at the same time, 2 or 3, for an event and its duplicates or for different events, in an
    #: order that is drawn. None: one handler at a time.
    concurrent: ClassVar[int | None] = None
    #: "handler": a handler crashes at a switch point that is drawn, and its callback is sent again. None: no crash.
    crashes: ClassVar[Literal["handler"] | None] = None
    #: More functions at which handlers are switched, as `explore` takes them.
    switch_points: ClassVar[Sequence[SwitchPoint]] = ()
    #: The invariants.
    must_hold: ClassVar[Sequence[Invariant]] = (converges(),)
    #: The statuses that have an effect, and those that end a message, as `Receiver` takes them; None: the receiver's.
    effects: ClassVar[Effects | None] = None
    terminal: ClassVar[Statuses | None] = None
    #: When a callback that was not acknowledged is sent again, as `send` takes it.
    retry: ClassVar[RetryPolicy | Sequence[float] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._lifecycles = tuple(lifecycle(each, where="lifecycles") for each in self.lifecycles)
        self._faults = check_faults(self.faults)
        if self.concurrent is not None:
            check_number("concurrent", self.concurrent, 2, MOST_TOGETHER)
        if self.crashes not in {None, "handler"}:
            raise UnknownName("kind of crash", self.crashes, ["handler"], where="crashes")
        self._steps: list[Step] = []

    def receiver(self) -> Receiver:
        """Return the receiver under test, with its `observe`; called once for each example.

        Its `prepare`, `reset`, `wait_idle` and `set_time` are used as `explore` uses them.
        """
        raise NotImplementedError(f"{type(self).__name__}.receiver must return the receiver under test")

    def clock(self) -> Clock | None:
        """Return the clock that the app reads; default: a new virtual clock for each example."""
        return None

    def reset(self) -> None:
        """Reset the receiver's app before each playing; by default, the receiver's own `reset` does."""

    @property
    def schedule(self) -> Schedule:
        """Return the deliveries so far as a schedule."""
        return Schedule(self._lifecycles, tidy(self._steps))

    @rule(event=st.runner().flatmap(lambda machine: st.sampled_from(machine.labels)))
    def deliver(self, event: str) -> None:
        """Deliver one event, for the first time or again."""
        self._steps.append(Step((event,)))

    @precondition(lambda machine: machine.batches or machine.delays or machine.faults)
    @rule(step=st.runner().flatmap(lambda machine: machine.drawn_steps()))
    def deliver_unusually(self, step: Step) -> None:
        """Deliver several events in one callback, with a fault, or after a delay."""
        self._steps.append(step)

    @precondition(lambda machine: machine.concurrent and not machine.stops)
    @rule(
        events=st.runner().flatmap(lambda machine: machine.drawn_events()),
        order=st.runner().flatmap(lambda machine: _orders(machine.concurrent, machine.points())),
    )
    def deliver_together(self, events: tuple[str, ...], order: str) -> None:
        """Deliver several events at the same time. In "a2b", handler a runs to its switch point 2, then b runs."""
        first, *others = events
        self._steps.append(Step((first,), beside=tuple((each,) for each in others), order=order))

    @precondition(lambda machine: machine.crashes and not machine.stops)
    @rule(
        event=st.runner().flatmap(lambda machine: st.sampled_from(machine.labels)),
        point=st.runner().flatmap(lambda machine: st.integers(1, machine.points())),
    )
    def deliver_and_crash(self, event: str, point: int) -> None:
        """Deliver one event to a handler that crashes at this switch point, and deliver it again."""
        self._steps.append(Step((event,), crash=point))

    @property
    def stops(self) -> bool:
        """Tell whether a handler is stopped in the schedule, by another one or by a crash."""
        return any(step.beside or step.crash for step in self._steps)

    def drawn_events(self) -> st.SearchStrategy[tuple[str, ...]]:
        """Return the strategy for the events that are delivered at the same time: often one and its duplicates."""
        number, event = self.concurrent or 0, st.sampled_from(self.labels)
        return event.map(lambda label: (label,) * number) | st.tuples(*[event] * number)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the label of every event of every message."""
        return labels_of(self._lifecycles).all

    def drawn_steps(self) -> st.SearchStrategy[Step]:
        """Return the strategy for a delivery with a batch, a fault or a delay."""
        return steps(self._lifecycles, self._faults, batches=self.batches, delays=self.delays)

    def teardown(self) -> None:
        """Play the schedule, and check the invariants."""
        if not self._steps:
            return
        self._check_usable()
        if self.concurrent or self.crashes:
            self.points()
        self._check_reset()
        with self._opened() as (engagelab, options):
            try:
                # A handler may have fewer switch points than were drawn.
                run_sync(replay(engagelab._engine, SYNC, self.schedule.token, options, strict=False))
            except ScheduleFailed as error:
                raise self._smallest(engagelab, error, options) from None
            except (NothingObserved, StateNotSettled, ProbeFailed) as error:
                _UNUSABLE[type(self)] = error
        self._check_usable()

    def _check_usable(self) -> None:
        """Raise the error of an earlier example that showed that nothing can be judged.

        Hypothesis takes errors from other places, or during other errors, for other failures: so it is always raised
        here, without a context.
        """
        error = _UNUSABLE.get(type(self))
        if error is not None:
            try:
                raise error.with_traceback(None)
            finally:
                error.__context__ = None

    def _check_reset(self) -> None:
        """Play all events in order, once for all examples; raise `ProbeFailed` if `reset` leaves data in the app."""
        if type(self) in _CHECKED:
            return
        _CHECKED.add(type(self))
        with self._opened() as (engagelab, options):
            try:
                run_sync(replay(engagelab._engine, SYNC, whole(self._lifecycles).token, {**options, "check": False}))
            except (NothingObserved, StateNotSettled, ProbeFailed) as error:
                _UNUSABLE[type(self)] = error
        self._check_usable()

    def points(self) -> int:
        """Return to how many switch points a handler comes; raise `NothingObserved` if no handler comes to one.

        Then no race and no crash would ever be tried.
        """
        self._check_usable()
        if type(self) not in _POINTS:
            # No handler has so many points. So each runs to its end.
            alone = [Step((label,), crash=9999) for label in self.labels]
            beside = [Step((label,), beside=((label,),)) for label in self.labels]
            schedule = Schedule(self._lifecycles, tuple(beside if self.concurrent else alone))
            with self._opened() as (engagelab, options):
                receiver = engagelab.receiver
                check_racing(receiver, receiver.probe(options), in_process=True)
                options = {**options, "invariants": None, "effects": None, "terminal": None, "check": False}
                played = run_sync(play(engagelab._engine, SYNC, schedule, options, None, strict=False))
            found = max([moment.point for trace in played.traces for moment in trace.moments], default=0)
            if not found:
                _UNUSABLE[type(self)] = nothing_reached(receiver)
                self._check_usable()
            _POINTS[type(self)] = found
        return _POINTS[type(self)]

    @contextmanager
    def _opened(self) -> Iterator[tuple[EngageLab, ExploreOptions]]:
        """Open an EngageLab for the receiver, with the options of this machine."""
        options: ExploreOptions = {
            "invariants": list(self.must_hold),
            "effects": self.effects,
            "terminal": self.terminal,
            "retry": self.retry,
            "switch_points": self.switch_points,
        }
        receiver = self.receiver()
        if type(self).reset is not ReceiverMachine.reset:
            options["reset"] = self.reset
        # Without a reset, the app still knows the messages of the examples before, and of earlier runs.
        seed = 0 if receiver.reset or "reset" in options else os.urandom(8).hex()
        with EngageLab(receiver, clock=self.clock(), seed=seed) as engagelab:
            yield engagelab, options

    def _smallest(self, engagelab: EngageLab, error: ScheduleFailed, options: ExploreOptions) -> ScheduleFailed:
        """Return the error with the smallest schedule that fails in the same way, reduced once for all examples."""
        key = (type(self), error.failure.violation.invariant)
        if key not in _REDUCED:
            quietly: ExploreOptions = {**options, "check": False}
            # The calls of a deadlock are those that wait for each other. To find others takes seconds.
            reduces = error.failure.violation.invariant != "deadlock"
            found = engagelab.explore([error.failure.schedule], **quietly).failures if reduces else []
            _REDUCED[key] = found[0] if found else error.failure
        return _REDUCED[key].error()


#: The first failure of each machine and invariant, reduced: Hypothesis runs a failing example many times.
_REDUCED: dict[tuple[type[ReceiverMachine], str], Failure] = {}
#: Why the receiver of a machine cannot be judged: no other example would show more, and finding it out takes a while.
_UNUSABLE: dict[type[ReceiverMachine], UsageError] = {}
#: The machines of whose receiver it was checked that `reset` leaves no data.
_CHECKED: set[type[ReceiverMachine]] = set()
#: To how many switch points a handler of a machine's receiver comes, at most.
_POINTS: dict[type[ReceiverMachine], int] = {}


def _orders(number: int, points: int) -> st.SearchStrategy[str]:
    """Draw an order of handlers: the first one runs to a switch point, then another one, and so on."""
    return st.lists(st.tuples(st.integers(1, points), st.integers(1, number - 1)), min_size=1, max_size=_STOPS).map(
        lambda stops: _written(stops, number)
    )


def _written(stops: Sequence[tuple[int, int]], number: int) -> str:
    """Return the order in which handlers run to these points, each with the distance to the handler that goes on.

    >>> _written([(2, 1), (1, 1)], 2)
    'a2b1a'
    """
    order, handler = "", 0
    for point, further in stops:
        order += f"{letter(handler)}{point}"
        handler = (handler + further) % number
    return order + letter(handler)
