"""What is explored: lifecycles or schedules, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict

from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.invariants import Invariant
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, Schedules, schedules
from engagelab_mock.lifecycle.scenario import Scenario

#: What `explore` is given: lifecycles as `schedules` takes them, or schedules.
Explored = LifecycleChoice | Schedule | Iterable[Schedule]


class ExploreOptions(TypedDict, total=False):
    """Say what is explored, and what must hold; every key can be left out."""

    #: What must hold in every schedule; unless given, `converges()` for a receiver with an `observe`.
    invariants: Sequence[Invariant] | Invariant | None
    #: Whether the events come in every order, or in the lifecycle's own only.
    orderings: bool
    #: How many events are delivered once more, at most: 1 unless given.
    duplicates: int
    #: Whether several events go out in one callback, in every way.
    batchings: bool
    #: What strikes one delivery of a schedule: "at-least-once", or a list of names; None is nothing.
    faults: FaultsChoice
    #: Is called before every schedule and brings the receiver's app back to where it was; then all schedules are about
    #: the same message. Without it, each is about a message of its own.
    reset: Callable[[], Any] | None
    #: How many schedules are played, at most.
    limit: int | None
    #: How many seconds are spent, at most; the schedule under way is finished.
    time_budget: float | None
    #: When a callback is sent again that was not acknowledged, as `send` takes it; None is not at all.
    retry: RetryPolicy | Sequence[float] | None
    #: Whether the first failure is raised: unless False.
    check: bool | None


def check_explore_options(given: ExploreOptions) -> None:
    """Raise `UnknownName` for a misspelt option of `explore`.

    >>> check_explore_options({"duplicates": 1})
    """
    for name in given:
        if name not in ExploreOptions.__annotations__:
            raise UnknownName("argument", name, ExploreOptions.__annotations__, where="explore")


def planned(token: str | None, chosen: Sequence[Explored], options: ExploreOptions) -> Schedules | list[Schedule]:
    """Return the schedules to be played: the token's, if there is one, or those given, or those of the lifecycles.

    >>> planned("eg1:plan", ["verified"], {})
    [<Schedule eg1:plan>]
    >>> planned(None, ["verified"], {"duplicates": 0})
    <Schedules: 24 of 24>
    """
    if token is not None:
        return [Schedule.parse(token)]
    if len(chosen) == 1 and isinstance(chosen[0], Schedules):
        return chosen[0]
    given: list[Schedule] = []
    lifecycles: list[LifecycleChoice] = []
    for each in chosen:
        several = _schedules_of(each)
        if several is None:
            lifecycles.append(each)  # type: ignore[arg-type]  # what is none is refused where it is looked at
        else:
            given.extend(several)
    if given and lifecycles:
        raise UsageError("either lifecycles or schedules", where="explore", hint="schedules('verified') makes them")
    return given[: options.get("limit")] if given else _every(lifecycles, options)


def _schedules_of(each: Explored) -> list[Schedule] | None:
    """Return the schedules that are meant, None for a lifecycle."""
    if isinstance(each, Schedule):
        return [each]
    if isinstance(each, (str, Scenario)) or not isinstance(each, Iterable):
        return None
    several: list[Any] = list(each)
    return several if several and all(isinstance(one, Schedule) for one in several) else None


def _every(lifecycles: Sequence[LifecycleChoice], options: ExploreOptions) -> Schedules:
    return schedules(
        *lifecycles,
        orderings=options.get("orderings", True),
        duplicates=options.get("duplicates", 1),
        batchings=options.get("batchings", False),
        faults=options.get("faults"),
        limit=options.get("limit"),
    )
