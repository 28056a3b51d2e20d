"""The options of an exploration, and the schedules that they choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engagelab_mock.delivery.probe import ProbeOptions
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.invariants import Invariant
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, Schedules, schedules, schedules_in

#: What `explore` takes: lifecycles as `schedules` takes them, or schedules.
Explored = LifecycleChoice | Schedule | Iterable[Schedule]


class ExploreOptions(ProbeOptions, total=False):
    """Hold the options of an exploration; every key is optional.

    If `reset` is given, it is called before every schedule, and all schedules are about the same message. Without it,
    each is about a new message. The other options of a probe (`observe`, `prepare`, `wait_idle`) are in `ProbeOptions`.
    """

    #: The invariants that must hold in every schedule. Default: `converges()` for a receiver with an `observe`.
    invariants: Sequence[Invariant] | Invariant | None
    #: Whether to deliver the events in every order, or only in the lifecycle's order.
    orderings: bool
    #: The maximum number of events that are delivered a second time. Default: 1.
    duplicates: int
    #: Whether to also put several events into one callback, in every possible way.
    batchings: bool
    #: The faults that are applied to one delivery of a schedule: "at-least-once", or a list of names. Default: none.
    faults: FaultsChoice
    #: The maximum number of schedules to play.
    limit: int | None
    #: The maximum time to spend, in seconds. The schedule under way is finished.
    time_budget: float | None
    #: When to send a callback again that was not acknowledged, as in `send`. Default: never.
    retry: RetryPolicy | Sequence[float] | None
    #: Whether to raise the first failure. Default: True.
    check: bool | None


def check_explore_options(given: ExploreOptions) -> None:
    """Raise `UnknownName` for a misspelt option of `explore`.

    >>> check_explore_options({"duplicates": 1})
    """
    for name in given:
        if name not in ExploreOptions.__annotations__:
            raise UnknownName("argument", name, ExploreOptions.__annotations__, where="explore")


def chosen_schedules(
    token: str | None, chosen: Sequence[Explored], options: ExploreOptions
) -> Schedules | list[Schedule]:
    """Return the schedules to play: the token's if there is one, the given ones, or those of the lifecycles.

    >>> chosen_schedules("eg1:plan", ["verified"], {})
    [<Schedule eg1:plan>]
    >>> chosen_schedules(None, ["verified"], {"duplicates": 0})
    <Schedules: 24 of 24>
    """
    if token is not None:
        return [Schedule.parse(token)]
    if len(chosen) == 1 and isinstance(chosen[0], Schedules):
        return chosen[0]
    given: list[Schedule] = []
    lifecycles: list[LifecycleChoice] = []
    for each in chosen:
        several = schedules_in(each)
        if several is None:
            lifecycles.append(each)  # type: ignore[arg-type]  # `schedules` refuses arguments that are not lifecycles
        else:
            given.extend(several)
    if given and lifecycles:
        raise UsageError(
            "give lifecycles or schedules, not both",
            where="explore",
            hint="schedules('verified') makes the schedules of a lifecycle",
        )
    if given:
        return given[: options.get("limit")]
    return schedules(
        *lifecycles,
        orderings=options.get("orderings", True),
        duplicates=options.get("duplicates", 1),
        batchings=options.get("batchings", False),
        faults=options.get("faults"),
        limit=options.get("limit"),
    )
