"""Runs against receivers that cannot be judged, stop answering, are slow, or have no visible state."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI

from engagelab_mock import (
    CHECKS,
    Check,
    EngageLab,
    EngageLabMockError,
    Judgement,
    Message,
    NothingObserved,
    ProbeFailed,
    Receiver,
    ReceiverFellShort,
    Report,
    UsageError,
)
from engagelab_mock.checks.catalogue import Selection
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.trial import Trial
from tests.checks.receivers.afterwards import WorksAfterwards
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver, observe
from tests.checks.receivers.frameworks import on_fastapi, on_flask
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.store import Store
from tests.checks.receivers.verifying import ComparesNothing, NeverLooksWhetherItWasThereBefore, VerifiesWhatIsThere
from tests.checks.serving import check_in_process

Answer = tuple[int, str, dict[str, str]]


def verdicts(report: Report) -> dict[str, str]:
    return {finding.id: str(finding.verdict) for finding in report.findings}


# --- Unusual apps


class KnowsItsOwnMessagesAlone(CorrectReceiver):
    """Have a row for each message it sent, and ignore callbacks about other messages."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.sent: set[str] = set()

    def prepare(self, message: Message) -> None:
        self.sent.add(message.id)

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        if message_id in self.sent:
            super().keep(db, message_id, status, detail)


def test_prepare_lets_an_app_know_the_messages(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    app = KnowsItsOwnMessagesAlone(store)
    receiver = Receiver.wsgi(on_flask(app), PATH, **SETTINGS)
    watch = partial(observe, store)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(NothingObserved, match="give `prepare` if the app ignores messages"):
            engagelab.check(observe=watch, patience=0.1, only=["B16"])
        prepared = engagelab.check(observe=watch, prepare=app.prepare, only=["B16"]).finding("B16")
    assert prepared.verdict is Judgement.PASS


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [(CorrectReceiver, Judgement.PASS), (NeverLooksWhetherItWasThereBefore, Judgement.FAIL)],
)
def test_an_app_that_works_after_its_answer_is_waited_for(
    kind: type[CorrectReceiver], verdict: Judgement, tmp_path: Path
) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    app = WorksAfterwards(store, kind, 0.05)
    with EngageLab(Receiver.wsgi(on_flask(app.receiver), PATH, **SETTINGS)) as engagelab:
        report = engagelab.check(observe=partial(observe, store), only=["B01", "B16"])
    for thread in app.threads:
        thread.join()
    assert verdicts(report)["B16"] == verdict
    assert verdicts(report)["B01"] == Judgement.PASS


def test_a_receiver_that_ticks_no_status_is_not_judged(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    app = on_flask(CorrectReceiver(store))
    receiver = Receiver.wsgi(app, PATH, events=["insufficient_balance"], **SETTINGS)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(observe=partial(observe, store), only=["A04", "B01"])
    assert verdicts(report)["A04"] == "skipped"
    assert "do not tick delivered" in report.finding("B01").reason


def test_without_a_secret_the_checks_of_the_signature_are_skipped(tmp_path: Path) -> None:
    with EngageLab(Receiver.wsgi(on_flask(CorrectReceiver(Store(tmp_path / "s"))), PATH)) as engagelab:
        finding = engagelab.check(only=["B02"]).finding("B02")
    assert (finding.verdict, finding.reason) == (
        Judgement.SKIPPED,
        "without a username and a secret, callbacks are not signed",
    )


@asynccontextmanager
async def leaking(app: FastAPI) -> AsyncIterator[None]:
    yield
    raise RuntimeError("3 connections leaked")


def leaking_receiver() -> Receiver:
    app = FastAPI(lifespan=leaking)
    app.post(PATH)(lambda: "")
    return Receiver.asgi(app, PATH, **SETTINGS)


def check_or_acheck(way: str, engagelab: EngageLab, receiver: Receiver | None, **options: Any) -> None:
    if way == "check":
        engagelab.check(receiver, **options)
    else:
        asyncio.run(engagelab.acheck(receiver, **options))


@pytest.mark.parametrize("way", ["check", "acheck", "acheck, its own"])
def test_the_report_survives_an_app_whose_lifespan_fails_at_its_end(way: str) -> None:
    receiver = leaking_receiver()
    engagelab = EngageLab(receiver if way == "acheck, its own" else None)
    checked = None if way == "acheck, its own" else receiver
    with pytest.raises(EngageLabMockError, match="3 connections leaked") as caught:
        check_or_acheck(way, engagelab, checked, only=["A01", "B01"])
    report = caught.value.report
    assert report is not None
    assert [(finding.id, str(finding.verdict)) for finding in report.findings if not finding.left_out] == [
        ("A01", "pass"),
        ("B01", "fail"),
    ]
    [note] = caught.value.__notes__
    assert note.startswith("all checks had run (1 pass, 1 fail, ")
    [kept] = engagelab._engine.exploring.reports
    assert kept.findings == report.findings
    assert copy.deepcopy(caught.value).report is not None


@pytest.mark.parametrize("way", ["check", "acheck"])
def test_the_error_that_ended_a_run_comes_before_that_of_the_lifespan(way: str) -> None:
    def reset() -> None:
        # The app must run before it can fail at its end.
        EngageLab(receiver).send(scenario=["plan"])
        raise LookupError("no such table")

    receiver = leaking_receiver()
    with pytest.raises(ProbeFailed, match="no such table") as caught:
        check_or_acheck(way, EngageLab(), receiver, reset=reset)
    assert caught.value.report is not None
    assert caught.value.report.ended
    assert any("3 connections leaked" in note for note in caught.value.__notes__)


def test_an_asgi_app_is_checked_in_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.asgi(on_fastapi(CorrectReceiver(store)), PATH, **SETTINGS)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(observe=partial(observe, store), only=["A*", "B*"], skip=["A07"])
        receiver.close()
    assert {finding.id for finding in report.findings if finding.verdict is not Judgement.PASS} >= {"A06", "B09"}
    assert [str(finding) for finding in report.findings if finding.verdict is Judgement.FAIL] == []


@pytest.mark.asyncio
async def test_in_an_event_loop_an_asgi_app_is_checked_from_a_thread(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.asgi(on_fastapi(CorrectReceiver(store)), PATH, **SETTINGS)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(UsageError, match="acheck"):
            engagelab.check(only=["A*"])
        report = await engagelab.acheck(observe=partial(observe, store), only=["A*", "B16"], skip=["A07"])
    assert {id for id, verdict in verdicts(report).items() if verdict == "pass"} >= {"A01", "A09", "B16"}
    assert report.worst_first == []


# --- The report


def test_assert_none_fails_with_the_worst_findings_first(tmp_path: Path) -> None:
    report = check_in_process(Mutant("", VerifiesWhatIsThere), tmp_path)
    with pytest.raises(ReceiverFellShort) as caught:
        report.assert_none("minor")
    text = str(caught.value)
    assert text.index("B01 sig-missing (blocker)") < text.index("B19 auth-before-parse (minor)")
    assert "X-CALLBACK-ID" not in text.split("B19")[0].split("sent:")[1].split("received")[0]
    assert [finding.id for finding in report.at_least("blocker")] == ["B01", "B24"]


def test_a_suppressed_failure_does_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(ComparesNothing(store)), PATH, **SETTINGS)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(only=["B02"], suppress={"B02": "behind mutual TLS"})
    report.assert_none("info")
    assert (report.finding("B02").verdict, report.finding("B02").suppressed) == (Judgement.FAIL, "behind mutual TLS")
    assert report.summary()["suppressed"] == 1


def test_the_report_counts_the_test_data(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(CorrectReceiver(store)), PATH, **SETTINGS)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(observe=partial(observe, store), only=["B02", "B16"])
    kept = {message_id for message_id in report.sent.message_ids if store.effects(message_id)}
    assert kept < {*report.sent.message_ids}
    assert store.message_ids() == kept
    assert report.sent.callbacks == len(store.message_ids()) + 2
    assert str(report.sent).startswith(f"{report.sent.callbacks} callbacks about {len(report.sent.message_ids)} ")


def test_the_journal_of_the_test_is_unchanged() -> None:
    with EngageLab() as engagelab:
        engagelab.check(only=["A*"])
        engagelab.journal.assert_nothing_sent()


def test_a_run_with_the_same_seed_sends_the_same(tmp_path: Path) -> None:
    def run(name: str) -> Report:
        # The nonces are the same, too, so that a receiver of the first run would refuse those of the second.
        receiver = Receiver.wsgi(on_flask(CorrectReceiver(Store(tmp_path / name))), PATH, **SETTINGS)
        return Runner(Context(receiver, seed="7"), selection=Selection(only=["B02"])).run()

    one, other = run("one"), run("other")
    assert one.sent.message_ids == other.sent.message_ids
    assert one.at > 1_700_000_000


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"observe": 7}, "observe must be callable, 7 is not"),
        ({"timeout": -1}, "timeout"),
        ({"only": ["Z*"]}, "unknown check 'Z*'"),
        ({"olny": ["A*"]}, "did you mean 'only'?"),
        ({"receiver": "http://127.0.0.1/"}, "is not a Receiver"),
    ],
)
def test_unusable_arguments_are_refused_and_recorded(given: Any, complaint: str) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError) as caught:
            engagelab.check(**given)
        assert complaint in str(caught.value)
        assert len(engagelab.journal.refusals) == 1


# --- Checks that fail themselves


def faulty(id: str) -> Check:
    def work(trial: Trial) -> None:
        trial.send(trial.message())
        raise KeyError("learned")

    return msgspec.structs.replace(CHECKS[id], work=work)


def test_a_fault_in_one_check_is_its_own_verdict_and_the_others_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(CorrectReceiver(store)), PATH, **SETTINGS)
    report = Runner(Context(receiver)).run([CHECKS["A01"], faulty("A04"), CHECKS["B02"]])
    assert verdicts(report) == {"A01": "pass", "A04": "error", "B02": "pass"}
    reason = report.finding("A04").reason
    assert reason.startswith("KeyError: 'learned' (test_runner.py, line ")
    with pytest.raises(EngageLabMockError, match="1 check ended with an error: A04") as caught:
        report.assert_none("blocker")
    assert reason in str(caught.value)


def test_a_failure_goes_over_a_fault(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(ComparesNothing(store)), PATH, **SETTINGS)
    report = Runner(Context(receiver)).run([faulty("A04"), CHECKS["B02"]])
    with pytest.raises(ReceiverFellShort, match="B02"):
        report.assert_none("major")
