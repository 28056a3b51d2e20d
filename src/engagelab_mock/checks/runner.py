"""Run checks against a receiver, one after another, and report the findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from engagelab_mock.checks.catalogue import CHECKS, Selection
from engagelab_mock.checks.check import Check, Ended, Judgement, Severity, severity
from engagelab_mock.checks.context import EACH, NO_OBSERVE, RECOVERY, TOTAL, Context, Hooks, check_hooks
from engagelab_mock.checks.finding import Exchange, Finding
from engagelab_mock.checks.trial import Trial
from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver, check_receivers
from engagelab_mock.errors import EngageLabMockError, ReceiverFellShort, UnknownName, UsageError
from engagelab_mock.eventloop import in_loop, stopwatch, to_thread
from engagelab_mock.protocol.events import Dialect
from engagelab_mock.service.engine import Engine

if TYPE_CHECKING:
    from engagelab_mock.messages.message import Message


class Sent(msgspec.Struct, frozen=True):
    """Count the test data that a run has left in a receiver; it is not removed."""

    callbacks: int = 0
    pings: int = 0
    message_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.callbacks} callbacks about {len(self.message_ids)} invented messages, and {self.pings} pings"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the findings of one run, in the catalogue's order; `elapsed` is in seconds.

    >>> Report(address="http://127.0.0.1/", findings=(), sent=Sent()).summary()["fail"]
    0
    """

    address: str
    findings: tuple[Finding, ...]
    sent: Sent
    seed: str = ""
    elapsed: float = 0.0
    #: Whether the state of the app could be seen.
    observed: bool = False

    @property
    def worst_first(self) -> list[Finding]:
        """Return the failures that count, the most severe first."""
        short = [finding for finding in self.findings if finding.fell_short]
        return sorted(short, key=lambda finding: finding.severity.rank)

    def at_least(self, least: str) -> list[Finding]:
        """Return the failures that count and are at least that severe, the most severe first."""
        bound: Severity = severity(least)
        return [finding for finding in self.worst_first if finding.severity.at_least(bound)]

    def of(self, verdict: Judgement) -> list[Finding]:
        """Return the findings with one verdict."""
        return [finding for finding in self.findings if finding.verdict is verdict]

    def finding(self, id: str) -> Finding:
        """Return the finding of one check."""
        return next(finding for finding in self.findings if finding.id == id)

    def summary(self) -> dict[str, int]:
        """Return the number of findings for each verdict, and the number of suppressed failures."""
        counts = {str(verdict): len(self.of(verdict)) for verdict in Judgement}
        suppressed = sum(finding.verdict is Judgement.FAIL and not finding.fell_short for finding in self.findings)
        return {**counts, "suppressed": suppressed}

    def assert_none(self, least: str = "major") -> None:
        """Raise `ReceiverFellShort` with the full findings if a failure is at least that severe.

        >>> Report(address="http://127.0.0.1/", findings=(), sent=Sent()).assert_none("minor")
        """
        __tracebackhide__ = True
        found = self.at_least(least)
        if found:
            raise ReceiverFellShort(*_as_text(self, found, least))


def _as_text(report: Report, found: list[Finding], least: str) -> tuple[str, str]:
    from engagelab_mock.checks.finding import in_full  # only ever needed on the way to an error

    checks = "1 check" if len(found) == 1 else f"{len(found)} checks"
    what = f"{report.address} failed {checks} of severity {least} or worse"
    return what, "\n\n".join(map(in_full, found))


#: After these outcomes, the receiver may still be busy with the request, or may be gone.
_TROUBLING = frozenset(
    {
        *(Outcome.TIMEOUT, Outcome.RESET, Outcome.CLOSED, Outcome.ABANDONED),
        *(Outcome.REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE),
    }
)
#: How often a receiver that is starting is tried, in seconds.
_POLL = 0.05


class Runner:
    """Run the selected checks against one receiver.

    >>> from engagelab_mock import Receiver
    >>> Runner(Receiver.recording(), selection=Selection(only=["A01"])).run().summary()["pass"]
    1

    `timeout` is the time limit of the whole run, and `recovery` how long a receiver that did not answer is waited for
    before the next check, in seconds. `on_start` is called with each check, `on_finding` with each finding.
    """

    def __init__(
        self,
        receiver: Receiver,
        hooks: Hooks | None = None,
        *,
        selection: Selection | None = None,
        timeout: float = TOTAL,
        recovery: float = RECOVERY,
        seed: object = None,
        dialect: str | Dialect = "2023-03",
        on_start: Callable[[Check], object] = lambda check: None,
        on_finding: Callable[[Finding], object] = lambda finding: None,
    ) -> None:
        check_hooks(hooks or Hooks())
        self.context = Context(receiver, hooks or Hooks(), seed=seed, dialect=dialect)
        self.selection = selection or Selection()
        self._timeout = check_delay(timeout, where="timeout")
        self._recovery = recovery
        self._on_start = on_start
        self._on_finding = on_finding
        self._started = stopwatch()
        self._findings: list[Finding] = []
        #: The check after which the receiver stopped answering; empty while it answers.
        self._down_since = ""

    def unreachable(self, wait: float = 0.0) -> str:
        """Say why no request reaches the receiver, after waiting up to `wait` seconds; empty if one does."""
        end = stopwatch() + check_delay(wait, where="wait")
        while True:
            attempt = self.context.reach()
            # Waiting does not repair a bad certificate, and E09 checks it.
            if not attempt.outcome.unreachable or attempt.outcome is Outcome.TLS_FAILURE:
                return ""
            if stopwatch() >= end:
                return attempt.error
            time.sleep(_POLL)

    def run(self, checks: Iterable[Check] | None = None) -> Report:
        """Run every selected check, in the order of the catalogue, and return the report."""
        self._started = stopwatch()
        self.context.deadline = self._started + self._timeout
        self._findings = []
        for check in CHECKS.values() if checks is None else checks:
            self._on_start(check)
            finding = self.run_one(check)
            self._findings.append(finding)
            self._on_finding(finding)
        return self.report()

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
            findings=tuple(self._findings),
            sent=sent,
            seed=str(context.seed),
            elapsed=stopwatch() - self._started,
            observed=context.probe is not None,
        )

    def run_one(self, check: Check) -> Finding:
        """Run one check; if it fails, wait until the receiver answers again."""
        started = stopwatch()
        trial = Trial(self.context, seconds=EACH)
        self.context.take_attempts()
        schedule = None
        try:
            self._check_conditions(check, trial)
            self.context.take_attempts()
            check.work(trial)
            verdict, reason = self._passed(check, trial)
        except Ended as ended:
            verdict, reason, schedule = ended.judgement, ended.reason, ended.schedule
        attempts = self.context.take_attempts()
        if verdict is Judgement.FAIL:
            self._recover(check, attempts)
        return Finding(
            check=check,
            verdict=verdict,
            reason=reason,
            warnings=tuple(trial.warnings),
            exchanges=tuple(Exchange.of(delivery, attempt) for delivery, attempt in attempts if trial.shows(delivery)),
            changes=tuple(trial.changes),
            suppressed=self.selection.suppress.get(check.id),
            elapsed=stopwatch() - started,
            token="" if schedule is None else schedule.token,
        )

    def _check_conditions(self, check: Check, trial: Trial) -> None:
        """End the trial before it begins if the check cannot be made, or could not judge this receiver."""
        reason = self.selection.leaves_out(check)
        if reason:
            trial.skip(reason)
        if trial.transport not in check.transports:
            trial.skip(f"not over {trial.transport}: {check.unless}")
        if check.needs_signature and not trial.receiver.settings.signs:
            trial.skip("without a username and a secret, callbacks are not signed")
        if check.needs_answer and self._down_since:
            if not self.context.is_alive(0.2, once=True):
                trial.inconclusive(f"the receiver has not answered since {self._down_since}")
            self._down_since = ""
        if check.need == "probe" and self.context.probe is None:
            trial.inconclusive(NO_OBSERVE)
        if check.needs_valid and self.context.profile.refuses:
            trial.inconclusive(f"the receiver accepts no valid callback: {self.context.profile.refuses}")
        if check.need == "probe" and not trial.sees:
            trial.inconclusive(self.context.profile.blind)

    def _passed(self, check: Check, trial: Trial) -> tuple[Judgement, str]:
        if check.need == "both" and not trial.sees:
            reason = f"the answer is right, but no effect can be seen: {self.context.profile.blind}"
            return Judgement.INCONCLUSIVE, reason
        return Judgement.PASS, ""

    def _recover(self, check: Check, attempts: list[tuple[Delivery, Attempt]]) -> None:
        troubled = any(attempt.outcome in _TROUBLING for _, attempt in attempts)
        if troubled and not self.context.is_alive(self._recovery):
            self._down_since = check.id
        self.context.take_attempts()


class CheckOptions(TypedDict, total=False):
    """Say what is checked, and give the checks access to the app; every key is optional."""

    #: Takes a message's id and returns the state that the receiver's app holds of that message. Without it, the checks
    #: of effects are inconclusive. A `Receiver` can have its own `observe`.
    observe: Callable[[str], Any] | None
    #: Called with each message before its callbacks, for apps that know only the messages they sent.
    prepare: Callable[[Message], object] | None
    #: Takes seconds and returns a context in which the handler's downstream calls take that long.
    stall: Callable[[float], AbstractContextManager[object]] | None
    #: How long an effect may follow its acknowledgement, in seconds. Default: 4.
    patience: float
    #: The checks to run, as ids and names, with `*`. Default: all.
    only: Sequence[str]
    #: The checks not to run.
    skip: Sequence[str]
    #: The least severity to run.
    severity: str
    #: The failures that do not count: a reason for each id.
    suppress: Mapping[str, str] | None
    #: How long the whole run may take, in seconds. Default: 180.
    timeout: float


def check(engine: Engine, receiver: Receiver | None, options: CheckOptions) -> Report:
    """Run the selected checks against a receiver (default: the engine's first) and return the report."""
    __tracebackhide__ = True
    runner, checked = _runner(engine, receiver, options)
    if in_loop() and checked.transport.name == "asgi":
        hint = "`await engagelab.acheck(…)` calls the app from a thread"
        what = "the app cannot be called synchronously from inside a running event loop"
        raise engine.refused(UsageError(what, where="check", hint=hint))
    try:
        return runner.run()
    finally:
        if checked not in engine.receivers:
            checked.close()


async def acheck(engine: Engine, receiver: Receiver | None, options: CheckOptions) -> Report:
    """Do the same as `check`, in a thread, so that the running event loop stays free."""
    __tracebackhide__ = True
    runner, checked = _runner(engine, receiver, options)

    def run() -> Report:
        try:
            return runner.run()
        finally:
            checked.close()  # the thread closes the connections and loops that it opened

    return await to_thread(run)


def _runner(engine: Engine, receiver: Receiver | None, options: CheckOptions) -> tuple[Runner, Receiver]:
    # The catalogue of checks is only loaded when checks run.
    from engagelab_mock.checks.catalogue import Selection
    from engagelab_mock.checks.context import Hooks

    __tracebackhide__ = True
    try:
        for name in options:
            if name not in CheckOptions.__annotations__:
                raise UnknownName("argument", name, ["receiver", *CheckOptions.__annotations__], where="check")
        given: dict[str, Any] = {**options}
        choice = {name: given.pop(name) for name in ("only", "skip", "severity", "suppress") if name in given}
        [checked] = check_receivers([engine.receiver if receiver is None else receiver], where="check")
        bound = {"timeout": given.pop("timeout")} if "timeout" in given else {}
        selection = Selection(**choice)
        return Runner(checked, Hooks(**given), selection=selection, dialect=engine.dialect, **bound), checked
    except EngageLabMockError as error:
        raise engine.refused(error) from None
