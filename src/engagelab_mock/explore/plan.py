"""The plan of an exploration of races and crashes, by its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.lifecycle import lifecycle
from engagelab_mock.explore.parallel import ROUNDS
from engagelab_mock.explore.races import PREEMPTIONS, Races, check_number
from engagelab_mock.explore.schedule import MOST_TOGETHER, Schedule
from engagelab_mock.explore.schedules import LifecycleChoice
from engagelab_mock.explore.serial import place_of
from engagelab_mock.explore.together import check_in_process, check_no_order
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.delivery.probe import Probe
    from engagelab_mock.explore.options import ExploreOptions

#: The most rounds of each pair.
MOST_ROUNDS = 10_000
#: Options that say which schedules are made, and do not go together with races.
_SEQUENTIAL = ("orderings", "duplicates", "batchings", "faults", "together")


def wants_races(options: ExploreOptions) -> bool:
    """Tell whether an exploration is one of races or crashes.

    >>> wants_races({"concurrent": 2})
    True
    """
    return options.get("concurrent") is not None or options.get("crashes") is not None


def rounds_of(options: ExploreOptions, receiver: Receiver) -> int:
    """Return how often callbacks are sent at the same time to a receiver over HTTP; 0 for an app in this process.

    >>> rounds_of({"rounds": 7}, Receiver.http("http://127.0.0.1:5000/engagelab"))
    7
    """
    if receiver.transport.name != "http":
        if options.get("rounds") is not None:
            hint = "handlers in this process run in every order, once; preemptions says how many orders there are"
            raise UsageError("rounds are for a receiver over HTTP", where="rounds", hint=hint)
        return 0
    for name in ("preemptions", "switch_points"):
        if options.get(name):
            hint = "rounds says how often callbacks are sent at the same time"
            raise UsageError(f"{name} is for an app in this process, not over HTTP", where=name, hint=hint)
    given = options.get("rounds")
    return ROUNDS if given is None else check_number("rounds", given, 1, MOST_ROUNDS)


def replayed_race(schedule: Schedule, rounds: int) -> Races:
    """Return the search of the schedule of a token, for a receiver over HTTP.

    >>> len(replayed_race(Schedule.parse("eg1:sent|sent"), rounds=7))
    7
    """
    check_no_order(schedule.steps[place_of(schedule)].order)
    return Races([schedule], rounds=rounds)


def race_plan(
    given: Sequence[Schedule], lifecycles: Sequence[LifecycleChoice], options: ExploreOptions, rounds: int
) -> Races:
    """Return the races and crashes of these schedules, or of these lifecycles."""
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
        rounds=rounds,
        limit=options.get("limit"),
    )


def check_racing(receiver: Receiver, probe: Probe, *, in_process: bool) -> None:
    """Raise `UsageError` for a receiver whose handlers cannot be stopped, or whose state cannot be read."""
    if in_process:
        check_in_process(receiver)
    if probe.observe is None:
        raise UsageError(
            "races and crashes are judged by the app's state, and this receiver has no observe",
            where="explore",
            hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
        )
