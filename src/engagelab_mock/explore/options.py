"""The options of an exploration, and the schedules that they choose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from engagelab_mock.delivery.probe import Probe, ProbeOptions
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.invariants import (
    Invariant,
    converges,
    eventually,
    exactly_once,
    idempotent,
    meaning_invariants,
    needs_state,
    never_regresses,
)
from engagelab_mock.explore.plan import race_plan, replayed_race, wants_races
from engagelab_mock.explore.races import PREEMPTIONS, Races, check_number
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, Schedules, schedules, schedules_in
from engagelab_mock.explore.serial import place_of
from engagelab_mock.explore.switchpoints import SwitchPoint
from engagelab_mock.explore.workers import MOST_WORKERS

#: How many predicted schedules are played as an audit, unless the caller gives a number.
AUDIT = 20
#: States are merged by default if there are more deliveries than this.
_MANY = 1_000

#: What `explore` takes: lifecycles as `schedules` takes them, or schedules.
Explored = LifecycleChoice | Schedule | Iterable[Schedule]
#: The schedules that an exploration plays.
Plan = Sequence[Schedule] | Schedules | Races


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
    #: How many handlers run at the same time, 2 or 3: each callback with its duplicates and with its neighbours. Then
    #: no other schedules are played, and the default of `invariants` is that the outcome is a serial one.
    concurrent: int | None
    #: "handler": each handler crashes at each of its switch points, and the callback is sent again.
    crashes: Literal["handler"] | None
    #: How often a handler is stopped that could go on, at most. Default: 2.
    preemptions: int
    #: How often callbacks are sent at the same time to a receiver over HTTP, where handlers cannot be stopped, so that
    #: `concurrent` is a search with real requests, and not a proof. Default: 50.
    rounds: int | None
    #: More functions at which handlers are switched, by their names, such as "shop.cache.get".
    switch_points: Sequence[SwitchPoint]
    #: Whether the events of all lifecycles are interleaved, as those of several messages. Default: only the events of a
    #: lifecycle that is given twice.
    together: bool
    #: The maximum number of schedules to play.
    limit: int | None
    #: Whether to play only the schedules that reach new states: "auto", the default, does for over 1,000 deliveries.
    merge: bool | Literal["auto"]
    #: How many of the schedules that merging predicts are played as well. Default: 20.
    audit: int
    #: Whether the invariants need every schedule. Then no states are merged.
    history: bool
    #: Saves the app's data and returns what `restore` needs. With both, equal beginnings are not played again.
    snapshot: Callable[[], Any] | None
    #: Takes what `snapshot` returned, any number of times, and brings that data back.
    restore: Callable[[Any], Any] | None
    #: How many processes play the schedules, by copies of this one. Default: 1, this process alone.
    workers: int
    #: Called in each worker process with its number, from 1: gives that process data that it shares with no other, such
    #: as a database. Default: it has a copy of the app's state in memory.
    in_worker: Callable[[int], object] | None
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
    merge: object = given.get("merge", "auto")
    audit: object = given.get("audit", 0)
    if not isinstance(merge, bool) and merge != "auto":
        raise UsageError(f"merge is True, False or 'auto', not {merge!r:.100}", where="merge")
    if isinstance(audit, bool) or not isinstance(audit, int) or audit < 0:
        raise UsageError(f"audit is a number of schedules, not {audit!r:.100}", where="audit", hint="audit=20")
    check_number("workers", given.get("workers", 1), 1, MOST_WORKERS)
    in_worker: object = given.get("in_worker")
    if in_worker is not None and not callable(in_worker):
        hint = "in_worker=use_database, which gets the number of the worker"
        raise UsageError(f"in_worker must be callable, {in_worker!r:.100} is not", where="in_worker", hint=hint)
    for name, other in (("snapshot", "restore"), ("restore", "snapshot")):
        if not callable(given.get(name, print)):
            raise UsageError(f"{name} must be callable, {given.get(name)!r:.100} is not", where=name)
        if given.get(name) is not None and given.get(other) is None:
            raise UsageError(f"{name} needs {other}", where=name, hint=f"give both, or neither; {other}=…")


def merges(
    options: ExploreOptions, plan: Schedules, invariants: Sequence[Invariant], *, observed: bool, check: bool
) -> bool:
    """Tell whether an exploration merges equal states. By default, it does if that saves time and loses no result.

    >>> merges({"merge": True}, schedules("verified"), [], observed=True, check=True)
    True
    """
    merge = options.get("merge", "auto")
    if merge is True and not observed:
        hint = "observe=lambda message_id: Message.get(message_id).status"
        raise UsageError("merge compares the states, and this receiver has no observe", where="merge", hint=hint)
    if options.get("history") or not merge:
        return False
    lossless = observed and check and all(map(needs_state, invariants))
    return merge is True or (lossless and plan.deliveries > _MANY)


def chosen_schedules(
    token: str | None, chosen: Sequence[Explored], options: ExploreOptions, *, rounds: int = 0
) -> Plan:
    """Return the schedules to play: the token's if there is one, the given ones, or those of the lifecycles.

    With `rounds`, the receiver is reached over HTTP, and callbacks at the same time are sent that often.

    >>> chosen_schedules("eg1:plan", ["verified"], {})
    [<Schedule eg1:plan>]
    >>> chosen_schedules(None, ["verified"], {"duplicates": 0})
    <Schedules: 24 of 24>
    """
    if token is not None:
        schedule = Schedule.parse(token)
        return replayed_race(schedule, rounds) if rounds and place_of(schedule) >= 0 else [schedule]
    if len(chosen) == 1 and isinstance(chosen[0], Schedules) and not wants_races(options):
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
    if wants_races(options):
        return race_plan(given, lifecycles, options, rounds)
    if given:
        return given[: options.get("limit")]
    return schedules(
        *lifecycles,
        orderings=options.get("orderings", True),
        duplicates=options.get("duplicates", 1),
        batchings=options.get("batchings", False),
        faults=options.get("faults"),
        together=options.get("together", False),
        limit=options.get("limit"),
    )


def plan_in_words(token: str | None, chosen: Sequence[Explored], plan: Plan, options: ExploreOptions) -> str:
    """Say which schedules are played, for a report.

    >>> plan_in_words(None, ["verified"], schedules("verified"), {})
    'verified: in every order, with up to 1 duplicate'
    """
    if token is not None:
        return f"the schedule {token}"
    named = [each if isinstance(each, str) else getattr(each, "name", "") for each in chosen]
    if not all(named):
        return "the schedules that were given"
    words = []
    if isinstance(plan, Races):
        together = options.get("concurrent")
        words += [f"{together} handlers at the same time"] if together else []
        words += ["a crash at each switch point"] if options.get("crashes") else []
        most = f"up to {options.get('preemptions', PREEMPTIONS)} preemptions"
        words += [f"{plan.rounds} rounds" if plan.rounds else most]
    else:
        duplicates, faults = options.get("duplicates", 1), options.get("faults")
        words += ["in every order" if options.get("orderings", True) else "in order"]
        words += [f"with up to {duplicates} duplicate{'s' * (duplicates > 1)}"] if duplicates else []
        words += ["several events in one callback"] if options.get("batchings") else []
        words += [f"faults: {faults if isinstance(faults, str) else ', '.join(faults)}"] if faults else []
    return f"{', '.join(map(str, named)) or 'every lifecycle'}: {', '.join(words)}"


def check_invariants(given: object) -> list[Invariant]:
    """Return invariants as a list, or raise `UsageError` for anything else.

    >>> check_invariants(converges())
    [converges()]
    """
    several = [given] if callable(given) else given
    if isinstance(several, str) or not isinstance(several, Collection):
        raise UsageError(f"invariants is a list, not {given!r:.100}", where="invariants", hint="[converges()]")
    for invariant in several:
        if not callable(invariant):
            raise UsageError(f"an invariant is a callable, not {invariant!r:.100}", where="invariants")
        if invariant in _MAKERS:
            raise UsageError(
                f"{invariant.__name__} is not an invariant until it is called",
                where="invariants",
                hint=f"{invariant.__name__}()",
            )
    return list(several)


def chosen_invariants(given: object, probe: Probe) -> tuple[list[Invariant], Invariant | None]:
    """Return the invariants that judge, and the one of them that is a default, which does not judge races.

    >>> chosen_invariants(None, Probe({}.get))
    ([converges()], converges())
    """
    observed = probe.observe is not None
    meant = meaning_invariants(probe.meaning)
    if given is None:
        default = converges()
        return ([default, *meant] if observed else []), default
    invariants = [*check_invariants(given), *meant]
    blind = [invariant for invariant in invariants if not observed and needs_state(invariant)]
    if blind:
        raise UsageError(
            f"{blind[0]!r} judges the receiver's state, and this receiver has no observe",
            where="invariants",
            hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
        )
    return invariants, None


_MAKERS = (converges, never_regresses, exactly_once, idempotent, eventually)
