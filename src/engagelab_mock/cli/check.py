"""`engagelab-mock check`: run the checks against a receiver."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.progress import TextColumn

from engagelab_mock.checks.check import DEPTHS, LANGUAGES, Severity
from engagelab_mock.checks.context import PATIENCE, TOTAL
from engagelab_mock.cli.calling import hint_for_unreachable
from engagelab_mock.cli.observing import account_observer, observer, states_at_their_address
from engagelab_mock.cli.option_values import ReceiverOptions, again_lines, effects, receiver_at, split, taken
from engagelab_mock.cli.options import (
    above_zero,
    from_zero,
    meaning_options,
    observe_options,
    output_options,
    receiver_options,
    setting,
    wait_option,
)
from engagelab_mock.cli.output import ExitCode, Output, ProgressLine, bar
from engagelab_mock.cli.report_files import report_file
from engagelab_mock.cli.restarting import restarter
from engagelab_mock.config import COMMAND_SETTINGS
from engagelab_mock.errors import EngageLabMockError, NothingObserved, ProbeFailed, StateNotSettled, UsageError

if TYPE_CHECKING:
    from engagelab_mock.checks.check import Check
    from engagelab_mock.checks.finding import Finding, Report
    from engagelab_mock.checks.runner import Runner
    from engagelab_mock.delivery.receiver import Receiver

#: The frameworks in which a fix is shown by default.
PYTHON = ("flask", "django", "fastapi")
_SEVERITIES = click.Choice([str(each) for each in Severity])


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Hold the options of the command."""

    address: str | None
    receiver: ReceiverOptions
    observe: str | None
    observe_command: str | None
    observe_account: str | None
    effect: tuple[str, ...]
    terminal: tuple[str, ...]
    restart_command: str | None
    only: tuple[str, ...]
    skip: tuple[str, ...]
    severity: str
    depth: str
    suppress: tuple[str, ...]
    fail_on: str
    patience: float
    wait: float
    total: float
    report: tuple[str, ...]
    language: tuple[str, ...]
    verbose: bool
    format: str


_SETTINGS = COMMAND_SETTINGS["check"]
_setting = partial(setting, settings=_SETTINGS)

_HELP = """Run the checks against a receiver, and report what fails.

URL is the callback address, such as http://127.0.0.1:5000/engagelab. The checks send it test data: generated
messages to generated recipients, which the report counts. Without --observe or --observe-command, checks of
effects are inconclusive.

Exits 0 when no failure is as severe as --fail-on, 1 when one is, 2 when nothing was judged, or nothing of a family
that was asked for, and when the state could not be read; 3 when the receiver could not be reached.
"""


@click.command(help=_HELP)
@click.argument("address", metavar="[URL]", required=False)
@receiver_options
@observe_options(_SETTINGS)
@_setting(
    "observe_account", metavar="URL", help="Read totals of the whole account from this URL, such as http://…/totals."
)
@meaning_options(_SETTINGS)
@_setting("restart_command", metavar="COMMAND", help="Kill the app and start it again with this command.")
@_setting(
    "patience",
    type=float,
    callback=from_zero,
    default=PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="How long after its acknowledgement a callback may take effect.",
)
@_setting("only", multiple=True, metavar="IDS", help="Run only these: ids or names, with * and commas.")
@_setting("skip", multiple=True, metavar="IDS", help="Do not run these.")
@_setting("severity", type=_SEVERITIES, default="info", show_default=True, help="Run checks of at least this severity.")
@_setting(
    "depth",
    type=click.Choice(DEPTHS),
    default="normal",
    show_default=True,
    help="How much is sent: deep adds the checks that take long.",
)
@_setting("suppress", multiple=True, metavar="ID=REASON", help="Do not count a failure of this check; can be repeated.")
@_setting(
    "fail_on",
    type=_SEVERITIES,
    default="major",
    show_default=True,
    help="Exit 1 on failures of at least this severity.",
)
@wait_option(_SETTINGS)
@_setting(
    "total",
    type=float,
    callback=above_zero,
    default=TOTAL,
    show_default=True,
    metavar="SECONDS",
    help="How long the whole run may take; checks that do not fit in are inconclusive.",
)
@click.option(
    "--report",
    multiple=True,
    metavar="KIND=FILE",
    help="Write a report to a file: junit=…, html=… or sarif=…; can be repeated.",
)
@_setting(
    "language",
    multiple=True,
    type=click.Choice([*LANGUAGES]),
    help="Show the fix in this language, with -v and in HTML; can be repeated. Default: flask, django, fastapi.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show every request of a failure, and the fix as code.")
@output_options
def check(**given: Any) -> int:
    """Run the checks against a receiver, and report what fails."""
    # The checks are imported here, as the other commands do not need them.
    from engagelab_mock.cli.check_report import KEPT, REPORTS, plain, write_reports

    options = CheckOptions(receiver=taken(ReceiverOptions, given), **given)
    output = Output(options.format)
    files = [report_file(each, REPORTS) for each in options.report]
    receiver = receiver_at("check", options.address, options.receiver)
    shown = _Shown(output, options, receiver, again_lines(click.get_current_context(), KEPT))
    runner = _runner(options, receiver, shown)

    def end(report: Report, *, interrupted: bool = False) -> None:
        shown.end(report, interrupted=interrupted)
        write_reports(report, files, fail_on=options.fail_on, language=shown.languages[0])

    try:
        # The progress line is removed before the report is printed: both may go to one terminal.
        with shown.progress.visible(), closing(receiver):
            unreachable = runner.unreachable(options.wait)
            if not unreachable:
                found = runner.run()
    except KeyboardInterrupt:
        found = msgspec.structs.replace(runner.report(), ended="it was interrupted")
        end(found, interrupted=True)
        raise
    except (ProbeFailed, StateNotSettled, NothingObserved) as error:
        if error.report is not None and error.report.findings:
            end(error.report)
        if isinstance(error, NothingObserved):
            raise NothingObserved(plain(error.what), where=error.where, hint=plain(error.hint)) from None
        with states_at_their_address():
            raise
    if unreachable:
        hint = hint_for_unreachable(unreachable)
        output.error("Unreachable", EngageLabMockError(unreachable, where=receiver.address, hint=hint))
        return ExitCode.UNREACHABLE
    end(found)
    if found.at_least(options.fail_on):
        return ExitCode.FELL_SHORT
    return ExitCode.USAGE if found.doubt else ExitCode.OK


class _Shown:
    """Show which check runs, each finding, and the summary."""

    def __init__(self, output: Output, options: CheckOptions, receiver: Receiver, again: list[str]) -> None:
        from engagelab_mock.checks.catalogue import CHECKS

        columns = bar(), TextColumn("{task.completed:.0f} of {task.total:.0f}  [bold]{task.description}")
        self.progress = ProgressLine(*columns, total=len(CHECKS), wanted=not output.json)
        self.languages = options.language or PYTHON
        self._output = output
        self._options = options
        self._receiver = receiver
        self._again = again

    def started(self, check: Check) -> None:
        self.progress.update(text=f"{check.id} {check.title}")

    def finished(self, finding: Finding) -> None:
        from engagelab_mock.cli.check_report import CheckFinished

        self.progress.update(advance=1)
        self._output.show(CheckFinished(finding))

    def end(self, report: Report, *, interrupted: bool) -> None:
        from engagelab_mock.cli.check_report import CheckSummary

        self._output.show(
            CheckSummary(
                report=report,
                receiver=self._receiver,
                fail_on=self._options.fail_on,
                verbose=self._options.verbose,
                languages=self.languages,
                again=self._again,
                interrupted=interrupted,
            )
        )


def _runner(options: CheckOptions, receiver: Receiver, shown: _Shown) -> Runner:
    """Return the runner of the checks that the options select."""
    from engagelab_mock.checks.catalogue import Selection
    from engagelab_mock.checks.context import Context
    from engagelab_mock.checks.runner import Runner

    context = Context(
        receiver,
        {
            "observe": observer(options.observe, options.observe_command),
            "observe_account": account_observer(options.observe_account),
            "effects": effects(options.effect) or None,
            "terminal": split(options.terminal) or None,
            "restart": restarter(options.restart_command),
        },
        patience=options.patience,
    )
    return Runner(
        context,
        selection=Selection(
            only=split(options.only),
            skip=split(options.skip),
            severity=options.severity,
            depth=options.depth,
            suppress=suppressed(options.suppress),
        ),
        timeout=options.total,
        on_start=shown.started,
        on_finding=shown.finished,
    )


def suppressed(given: tuple[str, ...]) -> dict[str, str]:
    """Return the reasons of the --suppress options, by id.

    >>> suppressed(("B17=the address requires mutual TLS",))
    {'B17': 'the address requires mutual TLS'}
    """
    pairs = [pair.partition("=") for pair in given]
    for id, equals, reason in pairs:
        if not equals or not reason.strip():
            raise UsageError(f"{id!r} comes without a reason", where="--suppress", hint=f'--suppress "{id}=why"')
    return {id.strip(): reason.strip() for id, _, reason in pairs}
