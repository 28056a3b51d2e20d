"""`engagelab-mock load`: send callbacks at a rate, keep a ledger, and find the messages that the receiver lost."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import TextColumn

from engagelab_mock.cli.calling import Caller
from engagelab_mock.cli.load_distributed import distributes, locust_load
from engagelab_mock.cli.load_report import REPORTS, LoadCase, LoadResult, write_reports
from engagelab_mock.cli.observing import observer, observer_in_threads, states_at_their_address
from engagelab_mock.cli.option_values import ReceiverOptions, effects, taken
from engagelab_mock.cli.options import above_zero, from_zero, output_options, receiver_options, seed_option
from engagelab_mock.cli.output import ExitCode, Output, ProgressLine, bar
from engagelab_mock.cli.report_files import report_file
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import counted
from engagelab_mock.errors import UsageError

if TYPE_CHECKING:
    from engagelab_mock.load.observing import Observation
    from engagelab_mock.load.run import LoadOptions, LoadRun
    from engagelab_mock.load.sender import Counts
    from engagelab_mock.load.summary import LoadSummary


@dataclass(frozen=True, kw_only=True)
class Options:
    """Hold the options of the command."""

    target: tuple[str, ...]
    receiver: ReceiverOptions
    rate: float | None
    duration: float
    mix: str
    duplicates: float
    reorder: float
    faults: str
    ramp: float
    steps: int
    until_it_breaks: bool
    spacing: float
    part: str
    connections: int
    max_lateness: float
    observe: str | None
    observe_command: str | None
    observe_sample: float
    settle: float
    effect: tuple[str, ...]
    ledger: str | None
    report: tuple[str, ...]
    processes: int | None
    master: bool
    worker: bool
    master_host: str
    web_port: int | None
    i_own_this_host: bool
    seed: str | None
    format: str


_HELP = """Send callbacks at a rate, and find the messages that the receiver lost, doubled or regressed.

\b
  engagelab-mock load URL --rate 500                 send, and judge
  engagelab-mock load report LEDGER…                 judge the ledgers of any number of machines

The rate does not sink with the receiver: callbacks start at their times, and latencies are counted from these
times. Each callback gets a line in the ledger. After the last answer, the state of each message is read, with
--observe or --observe-command, and compared with what its acknowledged callbacks must have left.

Exits 0 when the receiver did everything right, 1 when it fell short: a message lost, doubled or regressed, a
callback not acknowledged or too slow; 2 when the run is incomplete; 3 when the receiver could not be reached.
"""
#: How many messages are observed at the same time at a URL.
_OBSERVED_AT_ONCE = 16
_PROBABILITY = click.FloatRange(0, 1)


@click.command(help=_HELP, short_help="Send callbacks at a rate, and find those that are lost.")
@click.argument("target", nargs=-1, metavar="[URL | report LEDGER…]")
@receiver_options
@click.option("--rate", type=float, help="Callbacks a second.")
@click.option("--duration", type=float, callback=above_zero, default=60.0, show_default=True, metavar="SECONDS")
@click.option("--mix", default="verified=1", show_default=True, help="The scenarios and their shares.")
@click.option("--duplicates", type=_PROBABILITY, default=0.0, help="How many of the callbacks come a second time.")
@click.option("--reorder", type=_PROBABILITY, default=0.0, help="How many come after the one that follows them.")
@click.option("--faults", default="", metavar="NAME=SHARE,…", help="Faults, such as ack_lost=0.001.")
@click.option(
    "--ramp", type=float, callback=from_zero, default=0.0, metavar="SECONDS", help="Let the rate rise for so long."
)
@click.option("--steps", type=click.IntRange(1), default=1, help="Let the rate rise in so many steps.")
@click.option("--until-it-breaks", is_flag=True, help="Double the rate, each for --duration, until a callback fails.")
@click.option(
    "--spacing",
    type=float,
    callback=from_zero,
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="The time between two callbacks of a message.",
)
@click.option("--part", default="1/1", metavar="I/N", help="Send part I of N; give each machine the same --seed.")
@click.option("--connections", type=click.IntRange(1), default=500, show_default=True, help="The most at once.")
@click.option(
    "--max-lateness",
    type=float,
    callback=above_zero,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How late this command may start 1 % of the callbacks; later, the run proves nothing.",
)
@click.option("--observe", metavar="URL", help="Read the state of a message here, such as http://…/state/{message_id}.")
@click.option("--observe-command", metavar="COMMAND", help="Read it from this command's output.")
@click.option(
    "--observe-sample", type=_PROBABILITY, default=1.0, show_default=True, help="The share of the messages to observe."
)
@click.option(
    "--settle",
    type=float,
    callback=from_zero,
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the app may still work after its last answer.",
)
@click.option(
    "--effect",
    multiple=True,
    metavar="NAME=STATUSES",
    help="An effect in the state, and the statuses that have it, such as credits=verified; can be repeated.",
)
@click.option(
    "--ledger",
    type=click.Path(),
    help="Keep the ledger in this file, or those of Locust's workers in this folder. Default: delete them.",
)
@click.option(
    "--report", multiple=True, metavar="KIND=FILE", help="Write a report to a file: html=… or json=…; can be repeated."
)
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Let Locust send it from N processes.")
@click.option("--master", is_flag=True, help="Be Locust's master, and wait for --processes workers.")
@click.option("--worker", is_flag=True, help="Be a worker of Locust's master. Give it the same options.")
@click.option("--master-host", default="127.0.0.1", show_default=True, metavar="HOST", help="The master's machine.")
@click.option("--web-port", type=click.IntRange(1, 65535), metavar="PORT", help="Show Locust's page at this port.")
@click.option("--i-own-this-host", is_flag=True, help="Allow a URL of another machine.")
@seed_option
@output_options
def load(**given: Any) -> int:
    """Send callbacks at a rate, and find the messages that the receiver lost, doubled or regressed."""
    options = Options(receiver=taken(ReceiverOptions, given), **given)
    output = Output(options.format)
    files = [report_file(each, REPORTS) for each in options.report]
    if options.target[:1] == ("report",):
        summary, stopped = _judged(options, [Path(each) for each in options.target[1:]], output)
    elif distributes(options):
        receiver = _receiver_of(options)
        with locust_load(options, receiver.address, _shares(options.mix, "--mix"), output) as ledgers:
            if not ledgers:
                what = "no ledger is on this machine, so nothing was judged"
                raise UsageError(what, where="load", hint="on the workers: engagelab-mock load report LEDGER…")
            summary, stopped = _judged(options, ledgers, output)
    else:
        summary, stopped = _loaded(options, output)
    for case in summary.cases:
        output.show(LoadCase(case))
    output.show(LoadResult(summary))
    write_reports(summary, files)
    if stopped is not None:
        # The handler of the command line ends the command with the exit code of the signal.
        signal.raise_signal(stopped)
    codes = {
        "clean": ExitCode.OK,
        "fell_short": ExitCode.FELL_SHORT,
        "incomplete": ExitCode.USAGE,
        "unreachable": ExitCode.UNREACHABLE,
    }
    return codes[summary.state]


@states_at_their_address()
def _judged(options: Options, paths: list[Path], output: Output) -> tuple[LoadSummary, int | None]:
    """Return the summary of ledgers, and the signal that ended it early."""
    from engagelab_mock.delivery.probe import Probe
    from engagelab_mock.load.observing import Observation
    from engagelab_mock.load.tally import summarise
    from engagelab_mock.load.verdict import Judge

    progress = _progress(output, None)
    with closing(Caller("--observe")) as caller, progress.visible():
        observe = _observe(options, caller)
        if observe is None:
            if options.effect:
                raise UsageError(
                    "nothing reads the effects", where="--effect", hint="give --observe, or --observe-command"
                )
            return asyncio.run(summarise(paths, max_lateness=options.max_lateness), debug=False), None
        probe = Probe(observe, effects=effects(options.effect) or None)
        judge = Judge(probe, sample=options.observe_sample, settle=options.settle)
        shown = partial(_show_observed, progress)
        observation = Observation(judge, at_once=_at_once(options), progress=shown)
        summarising = summarise(paths, observation=observation, max_lateness=options.max_lateness)
        with _stopping(observation) as signals:
            # Between two messages, the loop can be busy for longer than its debugging allows.
            summary = asyncio.run(summarising, debug=False)
        return summary, signals[0] if signals else None


@states_at_their_address()
def _loaded(options: Options, output: Output) -> tuple[LoadSummary, int | None]:
    """Run the load; return its summary, and the signal that ended it early."""
    from engagelab_mock.load.run import LoadRun, run_load

    receiver = _receiver_of(options)
    planned = options.duration
    progress = _progress(output, planned)

    def show(elapsed: float, counts: Counts) -> None:
        failed = f", {counts.failed} failed" if counts.failed else ""
        late = f", up to {counts.lateness:.2f} s late" if counts.lateness > 0.1 else ""
        under_way = counts.sent - counts.ended
        text = f"{elapsed:.0f} of {planned:.0f} s  {counts.sent} sent, {under_way} under way{failed}{late}"
        progress.update(text=text, completed=min(elapsed, planned))

    with closing(Caller("--observe")) as caller, progress.visible(), closing(receiver):
        given = _load_options(options, _observe(options, caller))
        shown = partial(_show_observed, progress)
        run = LoadRun(receiver, given, progress=show, observing=shown, at_once=_at_once(options))
        with _stopping(run) as signals:
            summary = run_load(run)
    return summary, signals[0] if signals else None


def _progress(output: Output, total: float | None) -> ProgressLine:
    return ProgressLine(bar(), TextColumn("[bold]{task.description}"), total=total, wanted=not output.json)


def _show_observed(progress: ProgressLine, observed: int, deliveries: int, total: int | None) -> None:
    share = f", {deliveries / total:.0%}" if total else ""
    progress.update(text=f"{counted(observed, 'message')} observed{share}", completed=deliveries, total=total)


def _observe(options: Options, caller: Caller) -> Callable[[str], Any] | None:
    """Return the function that reads the state of a message, or None without one."""
    if options.observe and not options.observe_command:
        return observer_in_threads(options.observe, caller)
    return observer(options.observe, options.observe_command)


def _at_once(options: Options) -> int:
    return _OBSERVED_AT_ONCE if options.observe else 1


def _load_options(options: Options, observe: Callable[[str], Any] | None) -> LoadOptions:
    if options.rate is None:
        raise UsageError("a load needs its rate", where="--rate", hint="--rate 100, in callbacks a second")
    return {
        "rate": options.rate,
        "duration": options.duration,
        "mix": _shares(options.mix, "--mix"),
        "duplicates": options.duplicates,
        "reorder": options.reorder,
        "faults": _shares(options.faults, "--faults"),
        "ramp": options.ramp,
        "steps": options.steps,
        "until_it_breaks": options.until_it_breaks,
        "spacing": options.spacing,
        "part": _part(options.part),
        "connections": options.connections,
        "max_lateness": options.max_lateness,
        "observe": observe,
        "observe_sample": options.observe_sample,
        "settle": options.settle,
        "effects": effects(options.effect) or None,
        "ledger": options.ledger,
        # A receiver that remembers messages would take a second run with the same seed for duplicates.
        "seed": options.seed or secrets.token_hex(4),
    }


def _receiver_of(options: Options) -> Receiver:
    """Return the receiver, or raise `UsageError` if its address is missing, or is that of another machine."""
    from engagelab_mock.server.listening import is_loopback  # `load report` needs no server

    if len(options.target) > 1:
        raise UsageError(f"a load has one URL, not {len(options.target)}", where="URL", hint="start one load for each")
    url = options.target[0] if options.target else options.receiver.url
    if not url:
        hint = "engagelab-mock load http://127.0.0.1:5000/engagelab --username acme --secret s3cret --rate 100"
        raise UsageError("the address of the receiver is missing", where="URL", hint=hint)
    receiver = options.receiver.receiver(url)
    host: str = getattr(receiver.transport, "host", "")
    if not options.i_own_this_host and not is_loopback(host.strip("[]")):
        raise UsageError(
            f"{host} is not this machine, and a load can make it unusable",
            where="URL",
            hint="check the address; if the host is yours, add --i-own-this-host",
        )
    return receiver


def _shares(given: str, option: str) -> dict[str, float]:
    """Return the numbers of "NAME=NUMBER,…" by name."""
    found = {}
    for each in filter(None, (part.strip() for part in given.split(","))):
        name, _, number = each.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise UsageError(f"{each!r} is not NAME=NUMBER", where=option, hint=f"{option} {name}=1") from None
    return found


def _part(given: str) -> tuple[int, int]:
    """Return the number of a part, from 0, and how many parts there are."""
    part, _, total = given.partition("/")
    if not (part.isdecimal() and total.isdecimal() and 1 <= int(part) <= int(total)):
        raise UsageError(f"{given!r} is not I/N", where="--part", hint="--part 1/4 is the first of four parts")
    return int(part) - 1, int(total)


@contextmanager
def _stopping(run: LoadRun | Observation) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end a load, or an observation, well, while the block lasts.

    Yields the list of the signals that came. The second signal ends the command at once.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def stop(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(number, before[number])
        run.stop()

    before: dict[int, Any] = {}
    before |= {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
