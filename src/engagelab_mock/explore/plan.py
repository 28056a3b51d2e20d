"""The plan of an exploration: which schedules it plays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.lifecycle import lifecycle
from engagelab_mock.explore.races import PREEMPTIONS, Races, check_number
from engagelab_mock.explore.schedule import MOST_TOGETHER, Schedule
from engagelab_mock.explore.schedules import LifecycleChoice, Schedules, schedules, schedules_in
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.explore.explorer import ExploreOptions

#: What `explore` takes: lifecycles as `schedules` takes them, or schedules.
Explored = LifecycleChoice | Schedule | Iterable[Schedule]
#: Options that say which schedules are made, and do not go together with races.
_SEQUENTIAL = ("orderings", "duplicates", "batchings", "faults")


def chosen_schedules(
    token: str | None, chosen: Sequence[Explored], options: ExploreOptions
) -> Schedules | Races | list[Schedule]:
    """Return the schedules to play: the token's if there is one, the given ones, or those of the lifecycles.

    >>> chosen_schedules("eg1:plan", ["verified"], {})
    [<Schedule eg1:plan>]
    >>> chosen_schedules(None, ["verified"], {"duplicates": 0})
    <Schedules: 24 of 24>
    """
    if token is not None:
        return [Schedule.parse(token)]
    if len(chosen) == 1 and isinstance(chosen[0], Schedules) and not _wanted(options):
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
    if _wanted(options):
        return _races(given, lifecycles, options)
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


def _wanted(options: ExploreOptions) -> bool:
    return options.get("concurrent") is not None or options.get("crashes") is not None


def _races(given: Sequence[Schedule], lifecycles: Sequence[LifecycleChoice], options: ExploreOptions) -> Races:
    for name in _SEQUENTIAL:
        if name in options:
            raise UsageError(
                f"{name} makes schedules one delivery at a time; concurrent and crashes make others",
                where="explore",
                hint="explore twice: once with each",
            )
    if options.get("crashes") not in {None, "handler"}:
        raise UnknownName("kind of crash", options.get("crashes"), ["handler"], where="crashes")
    concurrent = options.get("concurrent")
    chosen: list[Schedule | Scenario] = [*given] or [
        lifecycle(each, where="explore") for each in lifecycles or CATALOGUE
    ]
    return Races(
        chosen,
        concurrent=0 if concurrent is None else check_number("concurrent", concurrent, 2, MOST_TOGETHER),
        crashes=options.get("crashes") is not None,
        preemptions=check_number("preemptions", options.get("preemptions", PREEMPTIONS), 0, 10),
        limit=options.get("limit"),
    )
