"""The options of `explore`, and the arguments of `EngageLab.explore` that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import click

from engagelab_mock.cli.calling import Caller
from engagelab_mock.cli.observing import observer
from engagelab_mock.cli.option_values import MessageOptions, ReceiverOptions, effects, retry_policy, split, taken
from engagelab_mock.cli.preparing import preparer, resetter
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.invariants import (
    Invariant,
    converges,
    eventually,
    exactly_once,
    idempotent,
    never_regresses,
)
from engagelab_mock.explore.lifecycle import lifecycle
from engagelab_mock.messages.scenario import Scenario

#: The invariants that --invariant names.
_INVARIANTS: Mapping[str, Callable[..., Invariant]] = {
    each.__name__: each for each in (converges, never_regresses, exactly_once, idempotent, eventually)
}


@dataclass(frozen=True, kw_only=True)
class ExploreOptions:
    """Hold the options of the command."""

    address: str | None
    receiver: ReceiverOptions
    message: MessageOptions
    seed: str | None
    observe: str | None
    observe_command: str | None
    prepare: str | None
    prepare_command: str | None
    reset: str | None
    reset_command: str | None
    wait_idle: float | None
    scenario: tuple[str, ...]
    orderings: bool
    duplicates: int
    batchings: bool
    faults: tuple[str, ...]
    concurrent: int | None
    rounds: int | None
    invariant: tuple[str, ...]
    effect: tuple[str, ...]
    terminal: tuple[str, ...]
    retry: str
    merge: bool | None
    audit: int
    limit: int | None
    time_budget: float | None
    replay: str | None
    wait: float
    report: tuple[str, ...]
    format: str

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return the options that click collected."""
        return cls(receiver=taken(ReceiverOptions, given), message=taken(MessageOptions, given), **given)


def scenarios_of(options: ExploreOptions) -> list[Scenario]:
    """Return the lifecycles to explore."""
    return [lifecycle(each, where="--scenario") for each in split(options.scenario) or ["verified"]]


def arguments_of(options: ExploreOptions, callers: Sequence[Caller]) -> dict[str, Any]:
    """Return the arguments of `EngageLab.explore`; `callers` call the app to observe, prepare and reset it."""
    observing, preparing, resetting = callers
    faults = split(options.faults)
    chosen: dict[str, Any] = {
        "observe": observer(options.observe, options.observe_command, observing),
        "prepare": preparer(options.prepare, options.prepare_command, options.message.channel, preparing),
        "reset": resetter(options.reset, options.reset_command, resetting),
        "wait_idle": options.wait_idle,
        "effects": effects(options.effect) or None,
        "terminal": split(options.terminal) or None,
        "invariants": [invariant_of(each) for each in options.invariant] or None,
        "retry": retry_policy(options.retry),
        "limit": options.limit,
        "time_budget": options.time_budget,
        "rounds": options.rounds,
    }
    if options.concurrent is not None:
        check_concurrent(click.get_current_context())
        return {**chosen, "concurrent": options.concurrent}
    schedules = {
        "orderings": options.orderings,
        "duplicates": options.duplicates,
        "batchings": options.batchings,
        "faults": "at-least-once" if faults == ["at-least-once"] else faults or None,
        "merge": "auto" if options.merge is None else options.merge,
        "audit": options.audit,
    }
    return {**chosen, **schedules}


#: Options that say which schedules are made, and do not go together with --concurrent.
_SEQUENTIAL = ("orderings", "duplicates", "batchings", "faults", "merge", "audit")


def check_concurrent(context: click.Context) -> None:
    """Raise `UsageError` for an option on the command line that does not go together with --concurrent."""
    for name in _SEQUENTIAL:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{name} makes schedules one delivery at a time, and --concurrent makes others",
                where=f"--{name}",
                hint="explore twice: once with each",
            )


def invariant_of(given: str) -> Invariant:
    """Return the invariant that an --invariant option names, with the part of the state that it is about.

    >>> invariant_of("exactly-once=credits"), invariant_of("converges")
    (exactly_once(), converges())
    """
    name, _, part = (each.strip() for each in given.partition("="))
    maker = _INVARIANTS.get(name.replace("-", "_"))
    if maker is None:
        raise UnknownName("invariant", name, _INVARIANTS, where="--invariant")
    if maker is exactly_once and not part:
        hint = "--invariant exactly_once=credits, or --effect credits=verified"
        raise UsageError("exactly_once needs the name of an effect in the state", where="--invariant", hint=hint)
    return maker(part) if part else maker()
