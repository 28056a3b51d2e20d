"""`engagelab-mock explore`: send callbacks in every order, twice, with faults and at the same time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from rich.progress import TextColumn

from engagelab_mock.cli.calling import Caller, hint_for_unreachable
from engagelab_mock.cli.option_values import again_lines, receiver_at
from engagelab_mock.cli.options import (
    above_zero,
    from_zero,
    meaning_options,
    message_options,
    observe_options,
    output_options,
    receiver_options,
    seed_option,
    setting,
    wait_option,
)
from engagelab_mock.cli.output import ExitCode, Output, ProgressLine, bar
from engagelab_mock.cli.render import Section, signing
from engagelab_mock.cli.report_files import report_file
from engagelab_mock.config import COMMAND_SETTINGS
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import EngageLabMockError, ScheduleFailed
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.service.addresses import why_unreachable

if TYPE_CHECKING:
    from engagelab_mock.explore.exploration import Exploration
    from engagelab_mock.messages.scenario import Scenario


_SETTINGS = COMMAND_SETTINGS["explore"]
_setting = partial(setting, settings=_SETTINGS)

_HELP = """Send a scenario's callbacks in every order and twice, and report the first schedule that fails.

URL is the callback address, such as http://127.0.0.1:5000/engagelab. The app can be written in any language.
--observe shows the state of a message. --prepare enters a message as the app does when it sends one, and --reset
empties the app's tables before each schedule.

With --concurrent 2, callbacks are sent at the same time instead, each with its duplicate and with its neighbour, many
times. That is a search, and not a proof.

Exits 0 when every schedule that was judged passed, 1 when one failed, 2 when nothing could be judged or the state could
not be read, and 3 when the receiver could not be reached. With --time-budget, the report says how many were judged.
"""


@click.command(help=_HELP, short_help="Find the order, duplicate or race that breaks a receiver.")
@click.argument("address", metavar="[URL]", required=False)
@receiver_options
@observe_options(_SETTINGS)
@_setting(
    "prepare",
    metavar="URL",
    help="Post each message to this URL before its first callback; {message_id}, {to}, {channel} and {template} are"
    " replaced.",
)
@_setting("prepare_command", metavar="COMMAND", help="Run this command instead; the same parts are replaced.")
@_setting("reset", metavar="URL", help="Post to this URL before each schedule, to empty the app's tables.")
@_setting("reset_command", metavar="COMMAND", help="Run this command instead.")
@_setting(
    "wait_idle",
    type=float,
    callback=lambda context, parameter, given: None if given is None else from_zero(context, parameter, given),
    metavar="SECONDS",
    help="After each callback, wait until the state was the same for so long. Default: do not wait.",
)
@_setting(
    "scenario",
    multiple=True,
    metavar="NAMES",
    help="The scenarios to explore, such as verified,fallback; one given twice stands for two messages."
    " Default: verified.",
)
@_setting(
    "orderings",
    switch=True,
    default=True,
    show_default=True,
    help="Deliver the events in every order, or only in the scenario's.",
)
@_setting(
    "duplicates", type=int, default=1, show_default=True, metavar="N", help="Deliver up to N events a second time."
)
@_setting("batchings", is_flag=True, help="Also put several events into one callback, in every way.")
@_setting(
    "faults",
    multiple=True,
    metavar="NAMES",
    help="Apply a fault to one delivery of a schedule: at-least-once, or names such as ackloss,lost.",
)
@_setting(
    "concurrent",
    type=int,
    metavar="N",
    help="Send 2 or 3 callbacks at the same time instead: each with its duplicates and with its neighbours.",
)
@_setting("rounds", type=int, metavar="N", help="How often each of them is sent at the same time.  [default: 50]")
@_setting(
    "invariant",
    multiple=True,
    metavar="NAME[=PART]",
    help="What must hold: converges, never_regresses, exactly_once=credits, idempotent, eventually=STATUS; can be"
    " repeated. Default: converges.",
)
@meaning_options(_SETTINGS)
@setting(
    "retry",
    default="none",
    show_default=True,
    metavar="POLICY",
    help="When a refused callback comes again: vendor, none, or seconds such as 5,30, which pass at once.",
)
@_setting(
    "merge",
    switch=True,
    default=None,
    help="Play only the schedules that reach new states, or all. Default: only those, of many schedules.",
)
@_setting(
    "audit",
    type=int,
    default=20,
    show_default=True,
    metavar="N",
    help="How many of the schedules that merging predicts are played as well.",
)
@_setting("limit", type=int, metavar="N", help="Judge only the first N schedules.")
@_setting(
    "time_budget",
    type=float,
    callback=lambda context, parameter, given: None if given is None else above_zero(context, parameter, given),
    metavar="SECONDS",
    help="End after so long, and say how many schedules were judged.",
)
@click.option("--replay", metavar="TOKEN", help="Play only the schedule of this token, which a failure printed.")
@wait_option(_SETTINGS)
@message_options
@seed_option
@click.option(
    "--report", multiple=True, metavar="KIND=FILE", help="Write a report to a file: junit=… or html=…; can be repeated."
)
@output_options
def explore(**given: Any) -> int:
    """Play schedules of callbacks until one fails, and report it."""
    # Modules that the other commands do not need are imported here.
    from engagelab_mock.cli import explore_report as reporting
    from engagelab_mock.cli.explore_options import ExploreOptions, arguments_of, scenarios_of

    options = ExploreOptions.of(given)
    output = Output(options.format)
    files = [report_file(each, reporting.REPORTS) for each in options.report]
    receiver, scenarios = receiver_at("explore", options.address, options.receiver), scenarios_of(options)
    again = again_lines(click.get_current_context(), reporting.KEPT)
    seed = options.seed or secrets.token_hex(4)
    progress = _Progress(output, reporting.ExploreProgress)
    started = stopwatch()

    def end(exploration: Exploration) -> None:
        elapsed = stopwatch() - started
        output.show(Section(receiver.address, signing(receiver.settings)))
        for failure in exploration.failures:
            output.show(reporting.FailureFound(failure, again))
        output.show(reporting.ExploreSummary(exploration, receiver.address, seed, elapsed))
        reporting.write_reports(exploration, receiver.address, files, elapsed=elapsed)

    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(option))) for option in ("--observe", "--prepare", "--reset")]
        chosen: Any = arguments_of(options, callers)
        engagelab = EngageLab(receiver, seed=seed, dialect=options.message.dialect, defaults=options.message.defaults)
        stack.enter_context(closing(receiver))
        why = why_unreachable(lambda: engagelab.validate_address(check=False).attempts[-1], options.wait)
        if why:
            output.error("Unreachable", EngageLabMockError(why, where=receiver.address, hint=hint_for_unreachable(why)))
            return ExitCode.UNREACHABLE
        state = engagelab._engine.exploring
        state.progress, state.replaying = progress.step, options.replay
        try:
            # The progress line is removed before the report is printed: both may go to one terminal.
            with progress.line.visible():
                exploration = _explored(engagelab, scenarios, chosen)
        except KeyboardInterrupt:
            if state.explorations:
                end(state.explorations[-1])
            raise
    end(exploration)
    return exit_code_of(exploration)


def _explored(engagelab: EngageLab, scenarios: Sequence[Scenario], chosen: Any) -> Exploration:
    """Explore, and return the exploration even if a schedule failed; an error names the option."""
    from engagelab_mock.cli.explore_report import in_options

    try:
        found: Exploration = engagelab.explore(*scenarios, **chosen)
    except ScheduleFailed:
        found = engagelab._engine.exploring.explorations[-1]
    except EngageLabMockError as error:
        raise in_options(error) from None
    return found


def exit_code_of(exploration: Exploration) -> ExitCode:
    """Return the exit code of an exploration.

    >>> from engagelab_mock.explore.exploration import Exploration
    >>> exit_code_of(Exploration(total=24, schedules=24, deliveries=96))
    <ExitCode.OK: 0>
    """
    if not exploration.failures:
        return ExitCode.OK
    record = exploration.failures[0].violation.record
    lost = record is not None and record.attempt.outcome.unreachable and not record.attempt.faults
    return ExitCode.UNREACHABLE if lost else ExitCode.FELL_SHORT


class _Progress:
    """Show how far an exploration is: a line on a terminal, or JSON objects, one a second at most."""

    def __init__(self, output: Output, shown: Callable[[Exploration], Any]) -> None:
        columns = bar(), TextColumn("{task.completed:.0f} of {task.total:.0f} schedules  [bold]{task.description}")
        self.line = ProgressLine(*columns, total=1, wanted=not output.json)
        self._output = output
        self._shown = shown
        self._next = stopwatch() + _INTERVAL

    def step(self, exploration: Exploration, over: bool) -> None:
        """Show it now and then."""
        text = f"{exploration.deliveries} deliveries, {exploration.states} states"
        self.line.update(text=text, completed=exploration.schedules, total=exploration.total)
        if not over and stopwatch() >= self._next:
            self._next = stopwatch() + _INTERVAL
            self._output.show(self._shown(exploration))


#: Seconds between two JSON objects about the progress.
_INTERVAL = 1.0
