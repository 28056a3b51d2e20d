"""Run a load: learn the states to expect, send the plan, wait for the last answer, and judge the ledger."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.delivery.io import ASYNC
from engagelab_mock.delivery.probe import ProbeOptions
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.transport.http import HttpTransport
from engagelab_mock.errors import EngageLabMockError, ProbeFailed, UnknownName, UsageError
from engagelab_mock.eventloop import in_loop, in_trio, stopwatch
from engagelab_mock.generate import Generator
from engagelab_mock.load.baseline import Learner, Unreached
from engagelab_mock.load.ledger import Header, LedgerWriter, Reason, Stage
from engagelab_mock.load.observing import Observation
from engagelab_mock.load.observing import Progress as ObservingProgress
from engagelab_mock.load.plan import SPACING, Plan, Segment, segments
from engagelab_mock.load.sender import CONNECTIONS, Counts, LoadSender
from engagelab_mock.load.summary import LoadSummary
from engagelab_mock.load.tally import MAX_LATENESS, summarise
from engagelab_mock.load.verdict import SETTLE, Judge
from engagelab_mock.protocol.events import Dialect, dialect

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine

#: How often the rate is doubled until the receiver breaks.
_DOUBLINGS = 16
#: Called with the seconds since the start and the counts, several times a second.
Progress = Callable[[float, Counts], object]


class LoadOptions(ProbeOptions, total=False):
    """Give a load; only `rate` and `duration` are needed.

    `rate` is in callbacks a second, `duration` in seconds. They are the functions and meanings of `ProbeOptions`, too.
    """

    #: Callbacks a second: they start at their times, however slow the receiver is.
    rate: float
    #: Seconds.
    duration: float
    #: The share of each scenario. Default: only "verified".
    mix: Mapping[str, float]
    #: The probability that a callback comes a second time.
    duplicates: float
    #: The probability that a callback comes after the one that follows it.
    reorder: float
    #: The probability of each fault, by its name.
    faults: Mapping[str, float]
    #: The seconds in which the rate rises from 0.
    ramp: float
    #: The number of equal steps in which the rate rises.
    steps: int
    #: Double the rate, from `rate` on and each for `duration`, until the receiver breaks.
    until_it_breaks: bool
    #: The seconds between two callbacks of a message.
    spacing: float
    #: The share of the messages that are observed.
    observe_sample: float
    #: How long the app may still work after the last answer, in seconds.
    settle: float
    #: The file of the ledger. Default: a temporary one.
    ledger: str | os.PathLike[str] | None
    #: The same seed makes the same messages.
    seed: object
    #: This machine's part of the load, from 0, and the number of parts.
    part: tuple[int, int]
    #: The most connections at once.
    connections: int
    #: How late the generator may be in 99 % of the cases, in seconds.
    max_lateness: float


class LoadRun:
    """Run one load. `stop` ends it early: what was started is completed, and the ledger says that it was interrupted.

    `progress` is called while callbacks are sent, and `observing` while the messages are observed afterwards, `at_once`
    at the same time: more than one needs an asynchronous `observe`.

    >>> from engagelab_mock import Receiver
    >>> run = LoadRun(Receiver.http("http://127.0.0.1:9/engagelab"), {"rate": 10, "duration": 1})
    >>> asyncio.run(run.run()).state
    'unreachable'
    """

    def __init__(
        self,
        receiver: Receiver,
        options: LoadOptions,
        *,
        spelling: str | Dialect = "2023-03",
        progress: Progress | None = None,
        observing: ObservingProgress | None = None,
        at_once: int = 1,
    ) -> None:
        for name in options:
            if name not in LoadOptions.__annotations__:
                raise UnknownName("argument", name, LoadOptions.__annotations__, where="load")
        for name in ("rate", "duration"):
            if name not in options:
                raise UsageError(f"a load needs its {name}", where="load", hint="load(rate=200, duration=5)")
        if not isinstance(receiver.transport, HttpTransport):
            hint = "a call in process has no rate that a server could have: start the app, and use Receiver.http(url)"
            raise UsageError(f"a load needs a receiver with a URL, not {receiver!r}", where="load", hint=hint)
        self._receiver = receiver
        self._transport = receiver.transport
        self._options = options
        self._dialect = dialect(spelling)
        self._progress = progress
        for name in options.get("faults", {}):
            fault(name).check_receiver(transport=receiver.transport.name, signs=receiver.settings.signs)
        self._worker, self._workers = options.get("part", (0, 1))
        self._seed = options.get("seed", 0)
        self._max_lateness = options.get("max_lateness", MAX_LATENESS)
        self._parts = segments(
            options["rate"], options["duration"], ramp=options.get("ramp", 0.0), steps=options.get("steps", 1)
        )
        if options.get("until_it_breaks") and len(self._parts) > 1:
            raise UsageError("until_it_breaks doubles a constant rate", where="load", hint="leave out ramp and steps")
        #: Made here, so that an error in the options comes before anything is sent.
        self._plan = self._planned(self._parts)
        self._probe = receiver.probe(options)
        self._probe.check_meaning(where="load")
        self._observation = None
        if self._probe.observe is not None:
            sample, settle = options.get("observe_sample", 1.0), options.get("settle", SETTLE)
            judge = Judge(self._probe, sample=sample, settle=settle)
            self._observation = Observation(judge, at_once=at_once, progress=observing)
        self._sender: LoadSender | None = None
        self._stopped = self._sent = False

    def stop(self) -> None:
        """End the load early, or, once all is sent, the observation of the messages."""
        if self._sent and self._observation is not None:
            self._observation.stop()
            return
        self._stopped = True
        if self._sender is not None:
            self._sender.stop()

    async def run(self) -> LoadSummary:
        """Run the load and return its summary.

        Raises `EngageLabMockError` if the ledger cannot be written, and `ProbeFailed` if a state cannot be read.
        """
        __tracebackhide__ = True
        if in_trio():
            hint = "use engagelab.load(…) in a thread, such as await trio.to_thread.run_sync(…)"
            raise UsageError("a load runs on asyncio", where="load", hint=hint)
        with ExitStack() as stack:
            # Faults and the first messages go over the connections of the receiver's transport.
            stack.callback(self._receiver.close)
            path = self._options.get("ledger")
            if path is None:
                path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "load.ledger")
            await self._send(Path(path))
            self._sent = True
            return await summarise([path], observation=self._observation, max_lateness=self._max_lateness, whole=False)

    def _planned(self, parts: tuple[Segment, ...], messages: int = 0) -> Plan:
        options = self._options
        return Plan(
            options.get("mix", {"verified": 1}),
            parts,
            seed=self._seed,
            worker=self._worker,
            workers=self._workers,
            duplicates=options.get("duplicates", 0.0),
            reorder=options.get("reorder", 0.0),
            faults=options.get("faults"),
            spacing=options.get("spacing", SPACING),
            dialect=self._dialect,
            messages=messages,
        )

    def _header(self) -> Header:
        plan = self._plan
        return Header(
            run=f"{self._seed}",
            worker=self._worker,
            workers=self._workers,
            url=self._receiver.address,
            started=time.time(),
            seed=f"{self._seed}",
            duration=0.0 if self._options.get("until_it_breaks") else plan.duration,
            mix=plan.mix,
            duplicates=plan.duplicates,
            reorder=plan.reorder,
            faults=plan.faults,
            limit=self._receiver.limit,
        )

    async def _send(self, path: Path) -> None:
        """Write the ledger of the whole load, to its end marker."""
        # Nonces differ in every run, because receivers remember them.
        nonces = Generator.seeded("load nonces", os.urandom(16))
        with LedgerWriter(path, self._header()) as ledger:
            started = stopwatch()
            patience = self._options.get("settle", SETTLE)
            learner = Learner(
                self._receiver, self._probe, self._plan, generate=nonces, started=started, patience=patience
            )
            if self._observation is not None and not await self._learn(learner, ledger):
                ledger.end("finished", asked=len(learner.failed), reasons=learner.reasons)
                return
            sender = self._sender = LoadSender(
                self._receiver,
                self._transport,
                ledger,
                nonces=nonces,
                started=started,
                max_lateness=self._max_lateness,
                connections=self._options.get("connections", CONNECTIONS),
            )
            if self._stopped:
                sender.stop()
            try:
                asked = await self._send_all(sender, ledger, started)
            finally:
                await sender.close()
            if sender.error is not None:
                raise sender.error
            if self._observation is not None:
                await self._write_baselines(self._observation.judge, learner, ledger)
            reason: Reason = "interrupted" if self._stopped else "finished"
            elapsed = round(stopwatch() - started, 6)
            asked += len(learner.failed)
            ledger.end(reason, asked=asked, elapsed=elapsed, reasons=learner.reasons | sender.reasons)

    async def _learn(self, learner: Learner, ledger: LedgerWriter) -> bool:
        """Deliver the first messages, and return whether the load can begin."""
        try:
            await learner.deliver()
            await learner.check_unused(next(iter(self._plan)).message.id)
        except Unreached:
            return False
        finally:
            for entry in learner.failed:
                ledger.add(entry)
        return True

    async def _write_baselines(self, judge: Judge, learner: Learner, ledger: LedgerWriter) -> None:
        await self._probe.idle(ASYNC, ())
        try:
            for baseline in await learner.baselines():
                ledger.write(baseline)
        except ProbeFailed as error:
            # The answers can be judged without the states. A receiver that the load has ended shows none.
            judge.problems.append(f"the states of the first messages could not be read: {error.where}: {error.what}")

    async def _send_all(self, sender: LoadSender, ledger: LedgerWriter, started: float) -> int:
        await self._prepare(self._plan)
        if not self._options.get("until_it_breaks"):
            return await sender.send(self._plan, start=stopwatch() - started, progress=self._progress)
        asked, plan = 0, self._plan
        for _ in range(_DOUBLINGS):
            [part] = plan.parts
            begun = stopwatch() - started
            before, failed, late = sender.counts.ended, sender.counts.failed, sender.counts.too_late
            planned = await sender.send(plan, start=begun, progress=self._progress)
            asked += planned
            made, failed = sender.counts.ended - before, sender.counts.failed - failed
            generator = made < planned or (sender.counts.too_late - late) * 100 > made
            stage = Stage(
                rate=part.first,
                start=round(begun, 6),
                seconds=part.seconds,
                made=made,
                failed=failed,
                broke=f"{failed} of {made} callbacks were not acknowledged in time" if failed else "",
                generator=generator,
            )
            ledger.write(stage)
            if failed or generator or sender.stopped:
                break
            doubled = tuple(Segment(each.seconds, each.first * 2, each.last * 2) for each in self._doubled(plan))
            plan = self._planned(doubled, plan.begun)
            await self._prepare(plan)
        return asked

    def _doubled(self, plan: Plan) -> tuple[Segment, ...]:
        """Return the parts of a plan as all workers have them together."""
        share = self._workers
        return tuple(Segment(each.seconds, each.first * share, each.last * share) for each in plan.parts)

    async def _prepare(self, plan: Plan) -> None:
        """Enter the messages in the app, before they are sent: the plan is the same each time."""
        if self._probe.prepare is None:
            return
        seen: set[str] = set()
        for planned in plan:
            if planned.message.id not in seen:
                seen.add(planned.message.id)
                await self._probe.prepare_message(ASYNC, planned.message.message)


async def aload(engine: Engine, options: LoadOptions, *, check: bool) -> LoadSummary:
    """Put a load on the first receiver of an engine, in the running event loop."""
    __tracebackhide__ = True
    summary = await _run_of(engine, options).run()
    if check:
        summary.assert_clean()
    return summary


def load(engine: Engine, options: LoadOptions, *, check: bool) -> LoadSummary:
    """Put a load on the first receiver of an engine, in a new event loop."""
    __tracebackhide__ = True
    if in_loop():
        raise UsageError("an event loop runs here already", where="load", hint="await engagelab.aload(…)")
    summary = run_load(_run_of(engine, options))
    if check:
        summary.assert_clean()
    return summary


def _run_of(engine: Engine, options: LoadOptions) -> LoadRun:
    # A second load of the same test has other messages.
    seed = engine.generate.message_id()
    seeded: LoadOptions = {"seed": seed, **options}
    return LoadRun(engine.receivers[0], seeded, spelling=engine.dialect)


def run_load(run: LoadRun) -> LoadSummary:
    """Run a load in an event loop of its own, that of uvloop if it is installed.

    >>> from engagelab_mock import Receiver
    >>> run_load(LoadRun(Receiver.http("http://127.0.0.1:9/"), {"rate": 10, "duration": 1})).made
    8
    """
    __tracebackhide__ = True
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    try:
        # The loop's own debugging would take longer than the load.
        with asyncio.Runner(debug=False, loop_factory=factory) as runner:
            return runner.run(run.run())
    except EngageLabMockError as error:
        raise error.with_traceback(None) from error.__cause__
