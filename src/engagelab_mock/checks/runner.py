"""Run checks against a receiver, one after another, and report the findings."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.catalogue import CHECKS, Selection
from engagelab_mock.checks.check import Check, Ended, Judgement, fault_of
from engagelab_mock.checks.context import EACH, RECOVERY, SHARE, TOTAL, Context, Stall
from engagelab_mock.checks.finding import Exchange, Finding, Report, Sent
from engagelab_mock.checks.health import ALIVE_AFTER, Health
from engagelab_mock.checks.meaning import prove
from engagelab_mock.checks.profile import FIXED_TIME, NO_OBSERVE
from engagelab_mock.checks.trial import Trial
from engagelab_mock.clock import VirtualClock, check_delay
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.probe import PROBE_OPTIONS, ProbeOptions
from engagelab_mock.delivery.receiver import Receiver, check_receivers
from engagelab_mock.errors import (
    EngageLabMockError,
    NothingObserved,
    ProbeFailed,
    StateNotSettled,
    UnknownName,
    UsageError,
)
from engagelab_mock.eventloop import from_thread, in_loop, stopwatch, to_thread
from engagelab_mock.explore.state import COUNT, dotted
from engagelab_mock.explore.state import EACH as EACH_ENTRY
from engagelab_mock.service.addresses import why_unreachable
from engagelab_mock.service.engine import Engine

#: These errors end a run.
_ENDING = (ProbeFailed, StateNotSettled, NothingObserved)
#: After these outcomes, the receiver may still be working on the request, or may have ended.
_TROUBLING = frozenset(
    {
        *(Outcome.TIMEOUT, Outcome.RESET, Outcome.CLOSED, Outcome.ABANDONED),
        *(Outcome.REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE),
    }
)


class Runner:
    """Run the selected checks against one receiver.

    >>> from engagelab_mock import Receiver
    >>> Runner(Context(Receiver.recording()), selection=Selection(only=["A01"])).run().summary()["pass"]
    1

    `timeout` is the time limit of the whole run. `recovery` is how long to wait, before the next check, for a receiver
    that did not answer. Both are in seconds. `on_start` is called with each check, `on_finding` with each finding.
    """

    def __init__(
        self,
        context: Context,
        *,
        selection: Selection | None = None,
        timeout: float = TOTAL,
        recovery: float = RECOVERY,
        on_start: Callable[[Check], object] = lambda check: None,
        on_finding: Callable[[Finding], object] = lambda finding: None,
    ) -> None:
        self.context = context
        self.selection = selection or Selection()
        self._timeout = check_delay(timeout, where="timeout")
        self._recovery = recovery
        self._on_start = on_start
        self._on_finding = on_finding
        self._started = stopwatch()
        self._findings: list[Finding] = []
        self._ended = ""
        #: The check after which the receiver stopped answering; empty while it answers.
        self._down_since = ""
        self._health = Health(self.context, self.selection, recovery=recovery)

    def unreachable(self, wait: float = 0.0) -> str:
        """Return why no request reaches the receiver, after waiting up to `wait` seconds; empty if one reaches it."""
        return why_unreachable(self.context.reach, wait)

    def run(self, checks: Iterable[Check] | None = None) -> Report:
        """Run every selected check, in the order of the catalogue, and return the report.

        Raises `ProbeFailed`, `StateNotSettled` or `NothingObserved`, with a `report`, if the state cannot be seen.
        """
        try:
            return run_sync(self.context.app_clock.during(SYNC, self._run(checks)))
        except ProbeFailed as error:
            error.report = self.report()
            raise

    async def _run(self, checks: Iterable[Check] | None) -> Report:
        self._started = stopwatch()
        self.context.deadline = self._started + self._timeout
        self._findings, running = [], ""
        # The check of whether the receiver still works comes after all others.
        chosen = sorted(CHECKS.values() if checks is None else checks, key=lambda check: check.id == ALIVE_AFTER)
        self._health = Health(self.context, self.selection, chosen, recovery=self._recovery)
        try:
            possible = [check for check in chosen if not self._not_possible(check)]
            if possible:
                self._begin()
            if any(check.meanings for check in possible) and not self.context.profile.refuses:
                with self.context.apart():
                    prove(self.context)
            for check in chosen:
                running = f", in {check.id} ({check.name})"
                self._on_start(check)
                finding = self._health.finding(check) or self._run_one(check)
                self._findings.append(finding)
                self._on_finding(finding)
        except _ENDING as error:
            error.add(running)
            self._ended = error.problem
            error.report = self.report()
            raise
        return self.report()

    def _begin(self) -> None:
        """Empty the app's tables, and find out whether the state shows the effect of a callback."""
        probe = self.context.probe
        run_sync(probe.reset_app(SYNC))
        if self.context.observed or probe.prepare is not None:
            self.context.prove()
        elif probe.wait_idle is not None:
            run_sync(probe.idle(SYNC, ()))

    def stop(self) -> None:
        """End the remaining checks at once, as if there was no time left for them."""
        self.context.deadline = stopwatch()

    def report(self) -> Report:
        """Return the report of the checks that have run so far."""
        context = self.context
        sent = Sent(
            callbacks=context.callbacks,
            pings=context.pings,
            message_ids=tuple(message.id for message in context.messages),
            recipients=tuple(sorted({message.to for message in context.messages})),
        )
        return Report(
            address=context.receiver.address,
            findings=tuple(sorted(self._findings, key=lambda finding: finding.id)),
            sent=sent,
            seed=str(context.seed),
            at=time.time() - (stopwatch() - self._started),
            elapsed=stopwatch() - self._started,
            observed=context.observed,
            unjudged=self._unjudged(),
            ended=self._ended,
            inferred=self._inferred(),
            workers=context.most_workers,
        )

    def _inferred(self) -> str:
        """Return the effects that the checks inferred, if the receiver has no `effects`."""
        profile = self.context.known_profile
        if profile is None or self.context.probe.meaning.effects or not profile.effect:
            return ""
        leaves = {dotted(tuple(key for key in path if key not in {COUNT, EACH_ENTRY})) for path in profile.effect}
        changed = ", ".join(sorted(leaves))
        return (
            f"no `effects` were given, so any change of the state was taken for an effect, such as that of {changed} "
            f"by `{profile.status}`"
        )

    def _unjudged(self) -> tuple[str, ...]:
        """Return the requested families of which no check was judged."""
        asked = [finding for finding in self._findings if self._asked_for(finding)]
        judged = {finding.id[0] for finding in asked if finding.judged}
        return tuple(sorted({finding.id[0] for finding in asked} - judged))

    def _asked_for(self, finding: Finding) -> bool:
        """Tell whether the user expects a verdict: the check is named, or can be judged by the given functions."""
        if self.selection.only:
            return not finding.left_out
        possible = self.context.observed or finding.check.need == "http"
        return possible and finding.verdict is not Judgement.SKIPPED

    def _run_one(self, check: Check) -> Finding:
        """Run one check; if it fails, wait until the receiver answers again."""
        started = stopwatch()
        lag = self.context.profile.lag if self.context.observed and not self._not_possible(check) else 0.0
        trial = Trial(self.context, seconds=max(EACH, SHARE * self._timeout) * (1 + 10 * lag))
        self.context.take_attempts()
        ended = self._end_of(check, trial)
        attempts = self.context.take_attempts()
        if ended.judgement in {Judgement.FAIL, Judgement.ERROR}:
            self._recover(check, attempts)
        if not self._down_since:
            ended = self._health.amend(check, attempts, ended)
        return Finding(
            check=check if ended.fix is None else msgspec.structs.replace(check, fix=ended.fix),
            verdict=ended.judgement,
            reason=ended.reason,
            basis=ended.basis or check.basis,
            left_out=bool(self.selection.leaves_out(check)),
            warnings=tuple(trial.warnings),
            exchanges=tuple(Exchange.of(delivery, attempt) for delivery, attempt in attempts if trial.shows(delivery)),
            changes=tuple(trial.changes),
            suppressed=self.selection.suppress.get(check.id),
            elapsed=stopwatch() - started,
            token="" if ended.schedule is None else ended.schedule.token,
        )

    def _end_of(self, check: Check, trial: Trial) -> Ended:
        """Run a check, and return how it ended."""
        try:
            self._check_conditions(check, trial)
            self.context.take_attempts()
            check.work(trial)
        except Ended as ended:
            return ended
        except _ENDING as error:
            if check.needs_restart or not (isinstance(error, ProbeFailed) and self._has_ended()):
                raise
            self._down_since = check.id
            return Ended(Judgement.FAIL, f"the receiver does not answer any more, and {error.problem}", basis="answer")
        except Exception as error:
            return Ended(Judgement.ERROR, fault_of(error))
        if check.need == "both" and not trial.sees:
            reason = f"the answer is right, but no effect can be seen: {self.context.profile.blind}"
            return Ended(Judgement.INCONCLUSIVE, reason)
        both = check.need == "http" and trial.changes and trial.sees
        return Ended(Judgement.PASS, "", basis="both" if both else None)

    def _check_conditions(self, check: Check, trial: Trial) -> None:
        """End the trial before it begins if the check is not possible, or could not judge this receiver."""
        reason = self._not_possible(check)
        if reason:
            trial.skip(reason)
        if check.needs_answer and self._down_since:
            if not self.context.is_alive(0.2, once=True):
                trial.inconclusive(f"the receiver has not answered since {self._down_since}")
            self._down_since = ""
        if check.need == "probe" and not self.context.observed:
            trial.inconclusive(NO_OBSERVE)
        if check.needs_valid and self.context.profile.refuses:
            trial.inconclusive(f"the receiver accepts no valid callback: {self.context.profile.refuses}")
        if refused := self._health.reason():
            trial.inconclusive(refused)
        if check.need == "probe" and not trial.sees:
            trial.inconclusive(self.context.profile.blind)

    def _not_possible(self, check: Check) -> str:
        """Return why nothing is sent for a check; empty if the check is possible."""
        receiver = self.context.receiver
        if reason := self.selection.leaves_out(check):
            return reason
        if receiver.transport.name not in check.transports:
            return f"not over {receiver.transport.name}: {check.unless}"
        meaning = self.context.probe.meaning
        if check.meanings and not any(getattr(meaning, name) for name in check.meanings):
            names = " or ".join(f"`{name}`" for name in check.meanings)
            return f"{names} must name the meanings of statuses, such as --effect credits=verified --terminal verified"
        if check.moves_time and not self.context.moves_time:
            return FIXED_TIME
        if check.needs_signature and not receiver.settings.signs:
            return "without a username and a secret, callbacks are not signed"
        if check.needs_restart and self.context.probe.restart is None:
            return "the app cannot be restarted: give `restart`, or --restart-command on the command line"
        return ""

    def _has_ended(self) -> bool:
        """Tell whether the receiver does not even answer a ping: its state cannot be read because it has ended."""
        with self.context.apart():
            return self.context.reach().outcome in _TROUBLING

    def _recover(self, check: Check, attempts: list[tuple[Delivery, Attempt]]) -> None:
        troubled = any(attempt.outcome in _TROUBLING for _, attempt in attempts)
        if troubled and not self.context.is_alive(self._recovery):
            self._down_since = check.id
        self.context.take_attempts()


class CheckOptions(ProbeOptions, total=False):
    """Say what is checked, and give the checks access to the app; every key is optional.

    `observe`, `prepare`, `reset` and `wait_idle` override the receiver's own. `reset` is called once, before the first
    check. Without `observe`, the checks of effects are inconclusive.
    """

    #: Takes seconds and returns a context in which the handler's downstream calls take that long.
    stall: Stall | None
    #: How long after its acknowledgement an effect may come, in seconds. Default: 4.
    patience: float
    #: The checks to run, as ids and names, with `*`. Default: all.
    only: Sequence[str]
    #: The checks to skip, as ids and names, with `*`.
    skip: Sequence[str]
    #: The lowest severity to run.
    severity: str
    #: How much is sent: "normal", or "deep", which adds the checks that take long. Default: normal.
    depth: str
    #: The failures that do not count: a reason for each id.
    suppress: Mapping[str, str] | None
    #: How long the whole run may take, in seconds. Default: 180.
    timeout: float


#: The options that choose checks.
_SELECTION = ("only", "skip", "severity", "depth", "suppress")


def context_of(receiver: Receiver, options: Mapping[str, Any], **others: Any) -> Context:
    """Return the context for the options of a run: those of the probe, `stall` and `patience`."""
    probe: Any = {name: options[name] for name in PROBE_OPTIONS if name in options}
    others |= {name: options[name] for name in ("stall", "patience") if name in options}
    return Context(receiver, probe, **others)


def check(engine: Engine, receiver: Receiver | None, options: CheckOptions) -> Report:
    """Run the selected checks against a receiver (default: the engine's first) and return the report."""
    __tracebackhide__ = True
    runner, checked = _runner(engine, receiver, options)
    if in_loop() and checked.transport.name == "asgi":
        hint = "`await engagelab.acheck(…)` calls the app from a thread"
        what = "the app cannot be called synchronously from inside a running event loop"
        raise engine.refused(UsageError(what, where="check", hint=hint))
    try:
        return _run(engine, runner, checked, close=checked not in engine.receivers)
    except _ENDING as error:
        raise engine.refused(error) from None


def _run(engine: Engine, runner: Runner, checked: Receiver, *, close: bool) -> Report:
    """Run the checks, keep their report, and close the receiver. If closing fails, the error has the report."""
    __tracebackhide__ = True
    failure: BaseException | None = None
    try:
        report = runner.run()
    except BaseException as error:
        failure = error
        raise
    finally:
        engine.exploring.reports.append(runner.report())
        try:
            if close:
                checked.close()
        except EngageLabMockError as error:
            if failure is None:
                error.report = report
                counts = ", ".join(f"{count} {verdict}" for verdict, count in report.summary().items() if count)
                error.add_note(f"all checks had run ({counts}): the `report` of this error has the findings")
                raise
            failure.add_note(f"and: {error}")
    return report


async def acheck(engine: Engine, receiver: Receiver | None, options: CheckOptions) -> Report:
    """Do the same as `check`, in a thread, so that the running event loop stays free.

    The results of asynchronous functions of the probe are awaited in that loop.
    """
    __tracebackhide__ = True
    runner, checked = _runner(engine, receiver, options, wait_for=from_thread())

    try:
        # The thread closes the connections and loops that it opened.
        return await to_thread(partial(_run, engine, runner, checked, close=True))
    except _ENDING as error:
        raise engine.refused(error) from None
    finally:
        runner.stop()  # if the caller was cancelled, the thread is still running


def _runner(
    engine: Engine,
    receiver: Receiver | None,
    options: CheckOptions,
    *,
    wait_for: Callable[[Awaitable[Any]], Any] | None = None,
) -> tuple[Runner, Receiver]:
    __tracebackhide__ = True
    try:
        for name in options:
            if name not in CheckOptions.__annotations__:
                raise UnknownName("argument", name, ["receiver", *CheckOptions.__annotations__], where="check")
        choice: Any = {name: options.get(name) for name in _SELECTION if name in options}
        [checked] = check_receivers([engine.receiver if receiver is None else receiver], where="check")
        selection = Selection(**choice)
        # An app may read the engine's clock. Then the signatures for its receiver use that clock, which moves along.
        now = engine.clock.time() if checked.signature_clock == "virtual" else None
        context = context_of(checked, options, wait_for=wait_for, dialect=engine.dialect, now=now)
        if now is not None and isinstance(engine.clock, VirtualClock):
            context.along = engine.advance_quietly
        return Runner(context, selection=selection, timeout=options.get("timeout", TOTAL)), checked
    except EngageLabMockError as error:
        raise engine.refused(error) from None
