"""Put a receiver through checks, one after another, and keep what came of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from engagelab_mock.checks.bounds import EACH, RECOVERY, TOTAL
from engagelab_mock.checks.catalogue import CHECKS
from engagelab_mock.checks.check import Check
from engagelab_mock.checks.context import Context, Hooks, check_hooks
from engagelab_mock.checks.evidence import Exchange
from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.report import Report, Sent
from engagelab_mock.checks.selection import Selection
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Ended, Judgement
from engagelab_mock.clock import check_delay, stopwatch
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver

#: After these a receiver may be busy with what it did not answer, or gone.
_TROUBLING = frozenset(
    {
        *(Outcome.TIMEOUT, Outcome.RESET, Outcome.CLOSED, Outcome.ABANDONED),
        *(Outcome.REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE),
    }
)
#: How often a receiver that is to come up is tried, in seconds.
_POLL = 0.05


class Runner:
    """Run the selected checks against one receiver.

    >>> from engagelab_mock import Receiver
    >>> Runner(Receiver.recording(), selection=Selection(only=["A01"])).run().summary()["pass"]
    1

    `timeout` bounds the whole run, in seconds; `on_finding` is called with each finding as soon as there is one.
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
        on_start: Callable[[Check], object] = lambda check: None,
        on_finding: Callable[[Finding], object] = lambda finding: None,
    ) -> None:
        check_hooks(hooks or Hooks())
        self.context = Context(receiver, hooks or Hooks(), seed=seed)
        self.selection = selection or Selection()
        self._timeout = check_delay(timeout, where="timeout")
        self._recovery = recovery
        self._on_start = on_start
        self._on_finding = on_finding
        self._started = stopwatch()
        self._findings: list[Finding] = []
        #: After which check the receiver stopped answering; empty while it answers.
        self._down_since = ""

    def unreachable(self, wait: float = 0.0) -> str:
        """Say why no request gets through to the receiver, having waited so many seconds for one that does."""
        end = stopwatch() + check_delay(wait, where="wait")
        while True:
            attempt = self.context.reach()
            # A certificate that is no good does not mend while one waits, and has a check of its own.
            if not attempt.outcome.unreachable or attempt.outcome is Outcome.TLS_FAILURE:
                return ""
            if stopwatch() >= end:
                return attempt.error
            time.sleep(_POLL)

    def run(self, checks: Iterable[Check] | None = None) -> Report:
        """Run every selected check, in the catalogue's order, and report."""
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
        """Report what is known by now."""
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
        """Run one check, and see to it that the next finds a receiver that answers."""
        started = stopwatch()
        trial = Trial(self.context, seconds=EACH)
        self.context.take_attempts()
        schedule = None
        try:
            self._make_sure(check, trial)
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

    def _make_sure(self, check: Check, trial: Trial) -> None:
        """End the trial before it begins where it could not say anything."""
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
            trial.inconclusive("nothing says how to see the state of the app: give `observe`")
        if check.needs_valid and self.context.standing.refuses:
            trial.inconclusive(f"the receiver accepts no valid callback: {self.context.standing.refuses}")
        if check.need == "probe" and not trial.sees:
            trial.inconclusive(self.context.standing.blind)

    def _passed(self, check: Check, trial: Trial) -> tuple[Judgement, str]:
        if check.need == "both" and not trial.sees:
            reason = f"the answer is right; whether it had an effect is not seen: {self.context.standing.blind}"
            return Judgement.INCONCLUSIVE, reason
        return Judgement.PASS, ""

    def _recover(self, check: Check, attempts: list[tuple[Delivery, Attempt]]) -> None:
        troubled = any(attempt.outcome in _TROUBLING for _, attempt in attempts)
        if troubled and not self.context.is_alive(self._recovery):
            self._down_since = check.id
        self.context.take_attempts()
