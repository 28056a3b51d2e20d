"""Restarts and workers: right receivers pass, and a check is green only if the restart or the worker is certain."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, Finding, Judgement, ProbeFailed, Receiver, Report
from engagelab_mock.checks import processes
from tests.checks.receivers.correct import ALONG, PATH, SETTINGS, CorrectReceiver, Incoming, observe
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.processes import (
    Answer,
    KnowsEventsInMemory,
    NamesItsWorker,
    Process,
    QueuesInMemory,
    by_workers,
)
from tests.checks.receivers.store import Store
from tests.checks.serving import check_over_a_socket, verdicts

RESTARTS = ["B27", "C25", "C26"]
ALL = [*RESTARTS, "C27"]


def check(
    kind: type[CorrectReceiver], directory: Path, *, workers: int = 1, process: type[Process] = Process, **options: Any
) -> Report:
    only = options.pop("only", ALL)
    return check_over_a_socket(Mutant("", kind, serve=by_workers(workers, process)), directory, only=only, **options)


def reasons(report: Report, *ids: str) -> set[str]:
    return {report.finding(id).reason for id in ids}


# --- Right receivers


def test_the_correct_receiver_passes_with_several_workers(tmp_path: Path) -> None:
    report = check(NamesItsWorker, tmp_path, workers=3)
    assert verdicts(report) == dict.fromkeys(ALL, "pass")
    assert report.workers == 3


class StartsSlowly(Process):
    """Start again in the background, after the restart has returned."""

    def restart(self) -> None:
        self.server.kill()
        threading.Timer(0.1, self.start).start()


class IsUnavailableFirst(CorrectReceiver):
    """Answer 503 to the first requests of each process."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.loading = 4

    def answer(self, incoming: Incoming) -> Answer:
        if self.loading:
            self.loading -= 1
            return 503, "", {}
        return super().answer(incoming)


class QueuesOnDisk(QueuesInMemory):
    """Acknowledge a callback once it is in a table, and go on with that table after a restart."""

    def __init__(self, store: Store) -> None:
        with store.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS jobs (nonce TEXT, body TEXT)")
            waiting = db.execute("SELECT nonce, body FROM jobs").fetchall()
        super().__init__(store)
        for nonce, body in waiting:
            self._jobs.put((nonce, body.encode(), json.loads(body)))

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        with self.store.transaction() as db:
            db.execute("INSERT INTO jobs VALUES (?, ?)", [nonce, body.decode()])
        super().commit(nonce, body, envelope)


@pytest.mark.parametrize(
    ("kind", "process"),
    [(CorrectReceiver, StartsSlowly), (IsUnavailableFirst, Process), (QueuesOnDisk, Process)],
    ids=["starts slowly", "503 first", "a queue on disk"],
)
def test_a_right_receiver_passes_after_a_restart(
    kind: type[CorrectReceiver], process: type[Process], tmp_path: Path
) -> None:
    report = check(kind, tmp_path, process=process, only=["C26"])
    assert verdicts(report) == {"C26": "pass"}, reasons(report, "C26")


class LastWins(NamesItsWorker):
    """Keep the status that came last, in every worker."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        if status in ALONG:
            db.execute("DELETE FROM effects WHERE message_id = ?", [message_id])
            super().keep(db, message_id, status, detail)


def test_a_late_status_that_replaces_another_in_every_worker_is_left_to_other_checks(tmp_path: Path) -> None:
    assert verdicts(check(LastWins, tmp_path, workers=2, only=["C27"])) == {"C27": "pass"}


class HasEachEffectAgain(NamesItsWorker):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "reason"), [(1, "only one worker answered"), (2, "each copy of delivered has")])
def test_an_event_whose_every_copy_has_an_effect_is_left_to_other_checks(
    workers: int, reason: str, tmp_path: Path
) -> None:
    finding = check(HasEachEffectAgain, tmp_path, workers=workers, only=["C27"]).finding("C27")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert finding.reason.startswith(reason)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3, 5])
def test_what_one_of_several_workers_knows_is_found(workers: int, tmp_path: Path) -> None:
    assert verdicts(check(KnowsEventsInMemory, tmp_path, workers=workers, only=["C27"])) == {"C27": "fail"}


# --- A check is never green without its needs


def test_without_restart_the_checks_are_skipped_and_say_why(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    with by_workers(1)(CorrectReceiver(store)) as url, EngageLab(Receiver.http(url + PATH, **SETTINGS)) as engagelab:
        report = engagelab.check(observe=partial(observe, store), only=RESTARTS)
    assert verdicts(report) == dict.fromkeys(RESTARTS, "skipped")
    assert reasons(report, *RESTARTS) == {
        "the app cannot be restarted: give `restart`, or --restart-command on the command line"
    }


class RestartsNothing(Process):
    def restart(self) -> None:
        pass


class KeepsConnections(Process):
    """Renew the app behind a proxy that keeps the connections."""

    def restart(self) -> None:
        self.server.receivers = self.renewed()
        self.server.begin()


def test_a_restart_that_restarts_nothing_is_not_green(tmp_path: Path) -> None:
    report = check(NamesItsWorker, tmp_path, process=RestartsNothing, only=RESTARTS)
    assert verdicts(report) == dict.fromkeys(RESTARTS, "inconclusive")
    [reason] = reasons(report, *RESTARTS)
    assert reason.startswith("nothing shows that `restart` ended the app")


@pytest.mark.parametrize(("kind", "verdict"), [(NamesItsWorker, "pass"), (CorrectReceiver, "inconclusive")])
def test_behind_a_proxy_the_name_of_the_worker_shows_the_restart(
    kind: type[CorrectReceiver], verdict: str, tmp_path: Path
) -> None:
    report = check(kind, tmp_path, process=KeepsConnections, only=["C25"])
    assert verdicts(report) == {"C25": verdict}


def test_workers_without_a_name_are_not_judged(tmp_path: Path) -> None:
    report = check(CorrectReceiver, tmp_path, workers=3, only=["C27"])
    assert verdicts(report) == {"C27": "inconclusive"}
    assert "let each have a header X-Worker-Id" in report.finding("C27").reason
    assert report.workers == 0


def test_a_single_worker_is_not_judged(tmp_path: Path) -> None:
    report = check(NamesItsWorker, tmp_path, only=["C27"])
    assert verdicts(report) == {"C27": "inconclusive"}
    assert report.finding("C27").reason.startswith("only one worker answered")
    assert report.workers == 1


def test_a_queue_that_was_empty_when_the_app_was_killed_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_has_changed", lambda trial, before, message: True)
    finding = check(QueuesOnDisk, tmp_path, only=["C26"]).finding("C26")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "nothing shows that its queue is kept" in finding.reason


def test_a_queue_with_wait_idle_is_killed_while_it_works(tmp_path: Path) -> None:
    app = QueuesInMemory(Store(tmp_path / "receiver.sqlite"))
    with by_workers(1)(app) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS, observe=partial(observe, app.store), restart=app.restart)
        with EngageLab(receiver) as engagelab:
            finding = engagelab.check(only=["C26"], wait_idle=0.05, patience=0.3).finding("C26")
    assert finding.verdict is Judgement.FAIL


# --- Mutants


class ForgetsEverything(CorrectReceiver):
    """Have an empty database in each new process."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        with store.transaction() as db:
            db.execute("DELETE FROM effects")


def test_a_receiver_that_keeps_its_states_in_memory_fails(tmp_path: Path) -> None:
    report = check(ForgetsEverything, tmp_path, patience=0.3)
    assert [finding.id for finding in report.of(Judgement.FAIL)] == ["C25", "C26"]
    assert report.finding("C25").reason.startswith("after a restart, effects.")
    assert report.finding("C26").reason.startswith("20 of 20 acknowledged callbacks were lost")


@pytest.mark.slow
def test_a_state_that_is_gone_is_shown_next_to_the_one_before(tmp_path: Path) -> None:
    def status(store: Store, message_id: str) -> Any:
        known = observe(store, message_id)["status"]
        return known and {"status": known}

    with by_workers(1)(app := ForgetsEverything(Store(tmp_path / "receiver.sqlite"))) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS, observe=partial(status, app.store), restart=app.restart)
        with EngageLab(receiver) as engagelab:
            reason = engagelab.check(only=["C25"], patience=0.3).finding("C25").reason
    assert reason == "after a restart, the state is None; before it was {'status': 'delivered'}"


# --- Restarts that fail


class StaysDown(Process):
    def restart(self) -> None:
        self.server.kill()


class Raises(Process):
    def restart(self) -> None:
        raise LookupError("no such container")


@pytest.mark.parametrize(
    ("process", "said"),
    [
        (StaysDown, "restart: after it, the receiver accepted no callback within 0.1 s: connection refused"),
        (Raises, "restart raised LookupError: no such container"),
    ],
)
def test_a_restart_that_fails_ends_the_run(
    process: type[Process], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESTART_LIMIT", 0.1)
    with pytest.raises(ProbeFailed) as caught:
        check(CorrectReceiver, tmp_path, process=process, only=["B02", "C25"])
    assert said in str(caught.value)
    report = caught.value.report
    assert report is not None
    assert verdicts(report) == {"B02": "pass"}


def test_an_asynchronous_restart_is_awaited(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")

    async def run(app: CorrectReceiver, url: str) -> Finding:
        async def restart() -> None:
            assert app.restart is not None
            await asyncio.to_thread(app.restart)

        receiver = Receiver.http(url + PATH, **SETTINGS, observe=partial(observe, store), restart=restart)
        with EngageLab(receiver) as engagelab:
            return (await engagelab.acheck(only=["C25"])).finding("C25")

    app = CorrectReceiver(store)
    with by_workers(1)(app) as url:
        assert asyncio.run(run(app, url)).verdict is Judgement.PASS
