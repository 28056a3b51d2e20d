"""Receivers that begin to refuse valid callbacks during a run: one finding says since when, after what, and why."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engagelab_mock import CHECKS, EngageLab, Judgement, Receiver, Report
from engagelab_mock.checks.catalogue import Selection
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.runner import Runner
from tests.checks.receivers.correct import Incoming, Refused
from tests.checks.serving import failed
from tests.truth.receivers.in_memory import InMemory, PlainStatus, receiver_of

Answer = tuple[int, str, dict[str, str]]


#: Long enough for a receiver that refuses a few requests, however busy the machine is.
PATIENT = 20.0


def check(app: InMemory, *, recovery: float = 0.05, **choice: Any) -> Report:
    receiver = receiver_of(app)
    return Runner(Context(receiver, patience=0.3), recovery=recovery, selection=Selection(**choice)).run()


def unclear(report: Report) -> list[str]:
    """Return the checks that were not judged because valid callbacks are refused."""
    return [f.id for f in report.of(Judgement.INCONCLUSIVE) if f.reason.startswith("valid callbacks are refused since")]


class BansForgers(PlainStatus):
    """Refuse all callbacks after 20 with a wrong signature."""

    forgeries = 0

    def answer(self, incoming: Incoming) -> Answer:
        if self.forgeries >= 20:
            return 403, "", {}
        answer = super().answer(incoming)
        self.forgeries += answer[0] == 401
        return answer


class LimitsItsRate(PlainStatus):
    """Answer 150 requests in a minute."""

    limit = 150
    requests = 0

    def answer(self, incoming: Incoming) -> Answer:
        self.requests += 1
        if self.requests > self.limit:
            return 429, "", {"Retry-After": "60"}
        return super().answer(incoming)


class LeaksConnections(PlainStatus):
    """Give a connection back only when a callback is accepted; the pool has 15."""

    taken = 0

    def answer(self, incoming: Incoming) -> Answer:
        if self.taken >= 15:
            return 500, "QueuePool limit of size 5 overflow 10 reached", {}
        try:
            return self.handle(incoming)
        except Refused as refused:
            self.taken += 1
            return refused.status, "", {}


@pytest.mark.parametrize(
    ("kind", "since", "cause", "fix"),
    [
        (BansForgers, "A11 after-refusals", "a ban of the sender after forged callbacks", "Do not ban an address"),
        (LimitsItsRate, "B05 sig-prefix", "a limit of requests in a period of time", "Do not limit the requests"),
        (LeaksConnections, "A11 after-refusals", "did not give back", "Take connections, locks and files in a `with`"),
    ],
)
def test_one_finding_says_since_when_and_why(kind: type[InMemory], since: str, cause: str, fix: str) -> None:
    report = check(kind(), skip=["A06", "C*", "D*"])
    assert failed(report) == ["E11"]
    finding = report.finding("E11")
    assert finding.reason.startswith(f"since {since}, valid callbacks are refused: answered ")
    assert cause in finding.reason
    assert finding.check.fix.text.startswith(fix)
    assert finding.exchanges[-1].faults == ()
    assert finding.only == f"{since[:3]},E11"
    assert {*unclear(report)} > {"B11", "B12", "B24", "E08"}
    assert min(unclear(report)) >= since[:3]


def test_the_finding_counts_the_requests_before_and_names_when_to_come_again() -> None:
    app = LimitsItsRate()
    report = check(app, only=["A*", "B*"], skip=["A06"])
    reason = report.finding("E11").reason
    assert "answered 429 TOO MANY REQUESTS with Retry-After: 60. Before that, there were " in reason
    [before] = re.findall("there were ([0-9]+) requests", reason)
    assert 150 <= int(before) < app.requests
    assert report.sent.callbacks + report.sent.pings == app.requests


class LimitsItsRateSoon(LimitsItsRate):
    limit = 5


def test_a_refusal_during_the_first_checks_is_one_finding_too() -> None:
    report = check(LimitsItsRateSoon(), skip=["A06"])
    assert failed(report) == ["E11"]
    assert report.finding("E11").reason.startswith("since A04 ack-exact, valid callbacks are refused: answered 429")
    assert {"A04", "A05", "A08", "A10", "B02"} <= {*unclear(report)}


def test_the_refusal_is_reported_even_if_its_check_was_not_selected() -> None:
    assert failed(check(LeaksConnections(), only=["A11"])) == ["E11"]


def test_if_its_check_is_skipped_the_check_that_caused_it_fails() -> None:
    report = check(LeaksConnections(), only=["A11", "B01"], skip=["E11"])
    assert failed(report) == ["A11"]
    assert "did not give back" in report.finding("A11").reason
    assert unclear(report) == ["B01"]


def test_a_check_that_runs_alone_fails_by_itself() -> None:
    app = LeaksConnections()
    receiver = receiver_of(app)
    [finding] = Runner(Context(receiver, patience=0.3), recovery=0.05).run([CHECKS["A11"]]).findings
    assert finding.verdict is Judgement.FAIL
    assert finding.check.fix.text.startswith("Take connections, locks and files")


class RefusesForAMoment(PlainStatus):
    """Answer 503 to two requests after each forged one, as a busy server may."""

    busy = 0

    def answer(self, incoming: Incoming) -> Answer:
        if self.busy:
            self.busy -= 1
            return 503, "", {}
        answer = super().answer(incoming)
        self.busy = 2 * (answer[0] == 401)
        return answer


def test_a_receiver_that_refuses_for_a_moment_is_not_refusing() -> None:
    report = check(RefusesForAMoment(), recovery=PATIENT, only=["B02", "B13", "B11"])
    assert failed(report) == []
    assert unclear(report) == []
    assert [report.finding(id).verdict for id in ("B02", "B11", "B13")] == [Judgement.PASS] * 3


class FailsAndRefusesForAMoment(PlainStatus):
    """Fail on a byte order mark, and answer 503 to two requests after it."""

    busy = 0

    def answer(self, incoming: Incoming) -> Answer:
        if self.busy:
            self.busy -= 1
            return 503, "", {}
        if incoming.body.startswith(b"\xef\xbb\xbf"):
            self.busy = 2
            return 500, "", {}
        return super().answer(incoming)


def test_a_failure_before_a_moment_of_refusal_stays_its_own() -> None:
    report = check(FailsAndRefusesForAMoment(), recovery=PATIENT, only=["D17", "D18"])
    assert failed(report) == ["D18"]
    assert "byte order mark" in report.finding("D18").reason


class LimitsShortBursts(PlainStatus):
    """Answer 429 to every 20th request, as a limit for a short time does."""

    requests = 0

    def answer(self, incoming: Incoming) -> Answer:
        self.requests += 1
        return (429, "", {}) if self.requests % 20 == 0 else super().answer(incoming)


def test_a_failure_because_of_a_limit_is_the_limits() -> None:
    report = check(LimitsShortBursts(), recovery=PATIENT, only=["D19", "D22", "D23"])
    assert failed(report) == ["E11"]
    assert "a limit of requests" in report.finding("E11").reason
    assert unclear(report)


class Recovers(BansForgers):
    """Let the sender in again after 30 refusals."""

    refused = 0

    def answer(self, incoming: Incoming) -> Answer:
        answer = super().answer(incoming)
        self.refused += answer[0] == 403
        if self.refused >= 8:
            self.forgeries = self.refused = 0
        return answer


def test_if_the_receiver_recovers_the_checks_go_on() -> None:
    report = check(Recovers(), only=["B*", "E11"])
    assert failed(report) == ["E11"]
    first = report.finding("E11").reason
    assert "since B05" in first
    judged = [finding.id for finding in report.findings if finding.judged and finding.id > "B05"]
    assert unclear(report)[0] == "B05"
    assert len(judged) > 3


class AcceptsForgeriesThenNothing(PlainStatus):
    """Accept a forged callback, and refuse all callbacks after it."""

    forged = False

    def answer(self, incoming: Incoming) -> Answer:
        return (403, "", {}) if self.forged else super().answer(incoming)

    def check_digest(self, parts: dict[str, str]) -> None:
        self.forged = self.digest(parts["timestamp"], parts["nonce"], parts["username"]) != parts["signature"]


def test_a_forgery_that_was_accepted_stays_a_failure() -> None:
    report = check(AcceptsForgeriesThenNothing(), only=["B02", "B06"])
    assert failed(report) == ["B02", "E11"]
    assert unclear(report) == ["B06"]


def test_the_valid_callbacks_in_between_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counts(PlainStatus):
        callbacks = 0

        def answer(self, incoming: Incoming) -> Answer:
            self.callbacks += bool(incoming.body) and incoming.body != b"{}"
            return super().answer(incoming)

    app = Counts()
    report = check(app, only=["B02", "C01"])
    assert report.sent.callbacks == app.callbacks


def test_only_a_check_that_does_not_prove_it_is_followed_by_a_valid_callback() -> None:
    def callbacks(id: str, receiver: Receiver) -> int:
        with EngageLab(receiver) as engagelab:
            return engagelab.check(only=[id]).sent.callbacks

    def sent(id: str) -> int:
        app = PlainStatus()
        return callbacks(id, receiver_of(app, observe=None))

    # One of the check and one to know the receiver; after a forged one, also a valid one.
    assert (sent("A05"), sent("B02")) == (2, 3)
