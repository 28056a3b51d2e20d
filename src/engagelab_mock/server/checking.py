"""The calls that check a receiver: start a run in a thread, read its findings while it runs, and cancel it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import WeakKeyDictionary

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.app import Call
from engagelab_mock.server.operations import NO_BODY, answers
from engagelab_mock.server.receivers import NO_RECEIVER, find_receiver
from engagelab_mock.server.watching import Search
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.checks.check import Check
    from engagelab_mock.checks.finding import Exchange, Finding, Report
    from engagelab_mock.checks.runner import Runner
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.engagelab import EngageLab
    from engagelab_mock.server.app import ServerApp

log = logging.getLogger("engagelab_mock.server")

#: The longest time of a run, in seconds.
_LONGEST = 600
#: How many exchanges of a check that failed are shown, and how many characters of each.
_EXCHANGES, _SHOWN = 2, 10_000

Verdict = Literal["pass", "fail", "inconclusive", "not_applicable", "error", "skipped"]
Severity = Literal["blocker", "major", "minor", "info"]
State = Literal["none", "running", "done", "cancelled", "failed"]


class NewCheck(msgspec.Struct, forbid_unknown_fields=True):
    """The receiver to check, and the checks to run."""

    receiver: Annotated[Annotated[int, Meta(ge=1)], Meta(description="Its place in the list, from 1.")] = 1
    only: Annotated[list[str], Meta(description="Ids and names of checks, with `*`. Default: all.")] = []
    skip: Annotated[list[str], Meta(description="Ids and names of checks that do not run, with `*`.")] = []
    severity: Annotated[Severity, Meta(description="The lowest severity to run.")] = "info"
    depth: Annotated[Literal["normal", "deep"], Meta(description="Deep adds the checks that take long.")] = "normal"
    timeout: Annotated[
        Annotated[float, Meta(gt=0, le=_LONGEST)], Meta(description="How long the run may take, in seconds.")
    ] = 180.0


class CheckQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which findings to list; all that are given must fit."""

    search: Search | UnsetType = UNSET
    verdict: Annotated[Verdict, Meta(description="How the check ended.")] | UnsetType = UNSET
    severity: Annotated[Severity, Meta(description="How bad it is when the check fails.")] | UnsetType = UNSET


class ShownExchange(msgspec.Struct):
    """A request of a check and its answer, as text."""

    sent: str
    received: str


class CheckFinding(msgspec.Struct, kw_only=True):
    """How one check ended."""

    id: str
    name: str
    title: str
    severity: Severity
    verdict: Verdict
    reason: Annotated[str, Meta(description="Why it ended so; empty if the result is as expected.")]
    expected: str
    fix: Annotated[str, Meta(description="What to change in the receiver; empty unless it failed.")]
    repro: Annotated[str, Meta(description="What sends the same again; empty unless it failed.")]
    token: Annotated[str | None, Meta(description="The schedule that showed the failure.")]
    exchanges: Annotated[list[ShownExchange], Meta(description="Its last requests, if it failed.")]


class CheckRun(msgspec.Struct, kw_only=True):
    """A run of the checks: how far it is, and its findings so far."""

    state: Annotated[State, Meta(description="None: nothing was checked yet. Failed: `problem` says why it ended.")]
    receiver: Annotated[str, Meta(description="The receiver's address.")]
    running: Annotated[str, Meta(description="The check that is running, by its id and name.")]
    finished: Annotated[int, Meta(description="How many checks have ended.")]
    total: Annotated[int, Meta(description="How many checks there are.")]
    counts: Annotated[dict[str, int], Meta(description="How many checks ended with each verdict.")]
    problem: Annotated[str | None, Meta(description="Why the result cannot be relied on.")]
    sent: Annotated[int, Meta(description="How many callbacks were sent so far.")]
    elapsed: Annotated[float, Meta(description="How long the run has taken, in seconds.")]
    findings: Annotated[list[CheckFinding], Meta(description="Those that fit, the worst failures first.")]


class Run:
    """Run the checks in a thread, one run at a time for each app."""

    def __init__(self, engagelab: EngageLab) -> None:
        self._engagelab = engagelab
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._thread: threading.Thread | None = None
        self._receiver: Receiver | None = None
        #: The report, once the run has ended.
        self._report: Report | None = None
        self.state: State = "none"
        self._running: Check | None = None
        self._total = 0
        self._problem = ""

    @property
    def progress(self) -> object:
        """Return a value that differs after each step."""
        return self._runner, self.state, self._running

    def start(self, app: ServerApp, receiver: Receiver, given: NewCheck) -> None:
        """Start a run; raise `ApiError` if one is under way, `EngageLabMockError` for checks that do not exist."""
        from engagelab_mock.checks.catalogue import CHECKS, Selection  # most servers check nothing
        from engagelab_mock.checks.context import Context
        from engagelab_mock.checks.runner import Runner

        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                what = "is under way; DELETE /_mock/check ends it" if self.state == "running" else "is about to end"
                raise ApiError(3003, f"a run {what}", http_status=409)
            selection = Selection(only=given.only, skip=given.skip, severity=given.severity, depth=given.depth)
            now = self._engagelab.clock.time() if receiver.signature_clock == "virtual" else None
            self._runner = Runner(
                Context(receiver, dialect=self._engagelab.dialect, now=now),
                selection=selection,
                timeout=given.timeout,
                on_start=self._started,
                on_finding=self._ended,
            )
            self._receiver, self._total = receiver, len(CHECKS)
            self._report, self._problem, self._running = None, "", None
            self.state = "running"
            self._thread = threading.Thread(target=self._work, args=(app, self._runner), name="check", daemon=True)
            self._thread.start()
        app.on_close(self.cancel)

    def cancel(self) -> None:
        """End a run that is under way; its findings stay."""
        with self._lock:
            if self.state == "running" and self._runner is not None:
                self.state = "cancelled"
                self._runner.stop()
        self._notify()

    def shown(self, query: CheckQuery) -> CheckRun:
        """Return the last run as it is described, with the findings that fit."""
        report = self._report or (self._runner.report() if self._runner is not None else None)
        findings = report.findings if report is not None else ()
        counts: dict[str, int] = {}
        for each in findings:
            counts[str(each.verdict)] = counts.get(str(each.verdict), 0) + 1
        return CheckRun(
            state=self.state,
            receiver=self._receiver.address if self._receiver is not None else "",
            running=f"{self._running.id} {self._running.name}" if self._running is not None else "",
            finished=len(findings),
            total=self._total,
            counts=counts,
            problem=self._problem or (report is not None and self.state == "done" and report.doubt) or None,
            sent=0 if report is None else report.sent.callbacks + report.sent.pings,
            elapsed=0.0 if report is None else round(report.elapsed, 3),
            findings=[_finding(each) for each in sorted(findings, key=_worst_first) if _fits(each, query)],
        )

    def _work(self, app: ServerApp, runner: Runner) -> None:
        try:
            if unreachable := runner.unreachable():
                self._problem = f"no request reaches the receiver: {unreachable}"
            else:
                runner.run()
        except EngageLabMockError as error:
            self._problem = str(error).splitlines()[0]
        except Exception as error:
            log.exception("the checks ended early")
            self._problem = f"{type(error).__name__}: {error}"
        finally:
            app.forget(self.cancel)
            with self._lock:
                self._report = runner.report()
                self._running = None
                if self.state == "running":
                    self.state = "failed" if self._problem else "done"
            self._notify()

    def _started(self, check: Check) -> None:
        self._running = check
        # A run that was cancelled before it began has set its time limit since.
        if self.state == "cancelled" and self._runner is not None:
            self._runner.stop()
        self._notify()

    def _ended(self, finding: Finding) -> None:
        self._notify()

    def _notify(self) -> None:
        self._engagelab._engine.scheduler.notify()


#: The run of each app.
_RUNS: WeakKeyDictionary[ServerApp, Run] = WeakKeyDictionary()
_MAKING = threading.Lock()


def run_of(app: ServerApp) -> Run:
    """Return the run of an app."""
    with _MAKING:
        run = _RUNS.get(app)
        if run is None:
            run = _RUNS[app] = Run(app.engagelab)
        return run


@answers(
    "POST",
    "/_mock/check",
    "Check a receiver: send it normal callbacks, broken ones and attacks, and judge how it reacts",
    "The run, which has begun.",
    status=202,
    body=NewCheck,
    body_required=False,
    example={"only": ["B*"]},
    refused={**NO_RECEIVER, 409: "3003: a run is under way, or the receiver is called in process."},
)
def check_receiver(call: Call) -> CheckRun:
    """Check a receiver: send it normal callbacks, broken ones and attacks, and judge how it reacts."""
    receiver = find_receiver(call, str(call.body.receiver))
    if receiver.transport.name != "http":
        what = f"{receiver.address} is called in process: its checks run in the test"
        raise ApiError(3003, f"{what}, by engagelab.check()", http_status=409)
    run = run_of(call.app)
    try:
        run.start(call.app, receiver, call.body)
    except ApiError:
        raise
    except EngageLabMockError as error:
        raise call.refused(error) from None
    return run.shown(CheckQuery())


@answers(
    "GET",
    "/_mock/check",
    "Read the last run of the checks: its progress, and the findings that fit",
    "The run.",
    query=CheckQuery,
)
def read_check(call: Call) -> CheckRun:
    """Read the last run of the checks: its progress, and the findings that fit."""
    return run_of(call.app).shown(call.query)


@answers(
    "DELETE",
    "/_mock/check",
    "End the run of the checks that is under way; its findings so far stay",
    "The run.",
    forgets=True,
    **NO_BODY,
)
def cancel_check(call: Call) -> CheckRun:
    """End the run of the checks that is under way; its findings so far stay."""
    run = run_of(call.app)
    run.cancel()
    return run.shown(CheckQuery())


def _fits(finding: Finding, query: CheckQuery) -> bool:
    if query.verdict is not UNSET and finding.verdict != query.verdict:
        return False
    if query.severity is not UNSET and finding.severity != query.severity:
        return False
    text = f"{finding.id}\n{finding.name}\n{finding.check.title}\n{finding.reason}\n{finding.check.fix.text}"
    return query.search is UNSET or query.search.lower() in text.lower()


def _worst_first(finding: Finding) -> tuple[int, int]:
    place = {"fail": 0, "error": 1, "inconclusive": 2, "pass": 3}.get(str(finding.verdict), 4)
    return place, finding.severity.rank if place == 0 else 0


def _finding(finding: Finding) -> CheckFinding:
    failed, check = finding.fell_short, finding.check
    given: Any = {"severity": str(finding.severity), "verdict": str(finding.verdict)}
    return CheckFinding(
        id=finding.id,
        name=finding.name,
        title=check.title,
        reason=finding.reason,
        expected=check.expected,
        fix=check.fix.text if failed else "",
        repro=finding.repro if failed else "",
        token=finding.token or None,
        exchanges=[_exchange(each) for each in finding.exchanges[-_EXCHANGES:]] if failed else [],
        **given,
    )


def _exchange(exchange: Exchange) -> ShownExchange:
    return ShownExchange(exchange.sent[:_SHOWN], exchange.received[:_SHOWN])
