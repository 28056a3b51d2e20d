"""A run ends in time, and soon if the receiver stops answering; a slow receiver gets more time."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import Judgement, NothingObserved, ProbeFailed, Receiver
from engagelab_mock.checks import runner
from engagelab_mock.checks.catalogue import Selection
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.runner import Runner
from tests.checks.receivers.afterwards import WorksAfterwards
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver, Incoming, observe
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.servers import on_werkzeug
from tests.checks.receivers.store import Store
from tests.checks.serving import check

Answer = tuple[int, str, dict[str, str]]


class DiesOfIt(CorrectReceiver):
    """Answer no request after a callback without a signature."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.dead = False
        self.buried = threading.Event()

    def answer(self, incoming: Incoming) -> Answer:
        self.dead = self.dead or (bool(incoming.body) and not incoming.signatures)
        if self.dead:
            self.buried.wait(20)
        return super().answer(incoming)


def test_when_a_receiver_stops_answering_the_next_checks_say_so(tmp_path: Path) -> None:
    app = DiesOfIt(Store(tmp_path / "receiver.sqlite"))
    with on_werkzeug(app) as url:
        receiver = Receiver.http(url + PATH, limit=1.0, **SETTINGS)
        report = Runner(Context(receiver), recovery=0.1, selection=Selection(only=["A04", "B01", "B02", "B03"])).run()
        app.buried.set()
        receiver.close()
    assert report.finding("A04").verdict is Judgement.PASS
    assert report.finding("B01").reason == "a callback without a signature: no complete answer within 1 s"
    for id in ("B02", "B03"):
        assert str(report.finding(id)).endswith("inconclusive, the receiver has not answered since B01")


class DiesOfAPing(DiesOfIt):
    """Answer no request after an empty one, and show no state any more."""

    def answer(self, incoming: Incoming) -> Answer:
        self.dead = self.dead or not incoming.body
        return super().answer(incoming)

    def show(self, message_id: str) -> Any:
        if self.dead:
            raise ConnectionRefusedError
        return observe(self.store, message_id)


@pytest.mark.slow
def test_a_receiver_that_has_ended_fails_although_its_state_cannot_be_read(tmp_path: Path) -> None:
    app = DiesOfAPing(Store(tmp_path / "receiver.sqlite"))
    with on_werkzeug(app) as url:
        receiver = Receiver.http(url + PATH, limit=0.5, observe=app.show, **SETTINGS)
        report = Runner(Context(receiver), recovery=0.1, selection=Selection(only=["A01", "E11"])).run()
        app.buried.set()
        receiver.close()
    assert [finding.id for finding in report.of(Judgement.FAIL)] == ["A01", "E11"]
    assert report.finding("E11").reason.startswith("a valid callback was accepted before the checks, and after them")


class DiesAfterARefusal(DiesOfAPing):
    """Answer no request after one that it has refused, and show no state any more."""

    def answer(self, incoming: Incoming) -> Answer:
        if self.dead:
            self.buried.wait(20)
        answer = CorrectReceiver.answer(self, incoming)
        self.dead = answer[0] >= 400
        return answer


@pytest.mark.slow
def test_a_check_that_ends_the_receiver_fails_although_the_state_cannot_be_read(tmp_path: Path) -> None:
    app = DiesAfterARefusal(Store(tmp_path / "receiver.sqlite"))
    with on_werkzeug(app) as url:
        receiver = Receiver.http(url + PATH, limit=0.5, observe=app.show, **SETTINGS)
        report = Runner(Context(receiver), recovery=0.1, selection=Selection(only=["B01", "B02", "E11"])).run()
        app.buried.set()
        receiver.close()
    assert [finding.id for finding in report.of(Judgement.FAIL)] == ["B01", "E11"]
    assert report.finding("B01").reason.startswith("the receiver does not answer any more, and observe: ")
    assert report.finding("B02").reason == "the receiver has not answered since B01"


@pytest.mark.slow
def test_a_state_that_cannot_be_read_ends_the_run_if_the_receiver_answers(tmp_path: Path) -> None:
    app = DiesAfterARefusal(Store(tmp_path / "receiver.sqlite"))
    app.buried.set()
    with on_werkzeug(app) as url:
        receiver = Receiver.http(url + PATH, limit=0.5, observe=app.show, **SETTINGS)
        with pytest.raises(ProbeFailed, match=r"in B01 \(sig-missing\)"):
            Runner(Context(receiver), recovery=0.1, selection=Selection(only=["B01", "B02", "E11"])).run()
        receiver.close()


def test_checks_without_time_left_are_inconclusive(tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(CorrectReceiver(store)), PATH, **SETTINGS)
    report = check(receiver, timeout=0.0, only=["A01", "B01"])
    assert {finding.reason for finding in report.findings if finding.id in {"A01", "B01"}} == {
        "there was no time left for this check: give more, with `timeout=` or --total"
    }
    with pytest.raises(NothingObserved, match=r"nothing was judged: there was no time left .* --total"):
        report.assert_none("blocker")


# --- Slow receivers


@pytest.mark.parametrize(("delay", "verdict"), [(0.0, Judgement.INCONCLUSIVE), (0.2, Judgement.PASS)])
def test_a_check_of_an_app_that_works_after_its_answer_has_more_time(
    delay: float, verdict: Judgement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A check that has less time than the receiver's limit is not made.
    monkeypatch.setattr(runner, "EACH", 1.0)
    monkeypatch.setattr(runner, "SHARE", 0.0)
    store = Store(tmp_path / "receiver.sqlite")
    app = WorksAfterwards(store, CorrectReceiver, delay)
    receiver = Receiver.wsgi(on_flask(app.receiver if delay else CorrectReceiver(store)), PATH, limit=1.5, **SETTINGS)
    report = check(receiver, observe=partial(observe, store), only=["A04"])
    for thread in app.threads:
        thread.join()
    assert report.finding("A04").verdict is verdict


def test_a_longer_run_gives_each_check_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "EACH", 0.0)
    store = Store(tmp_path / "receiver.sqlite")
    receiver = Receiver.wsgi(on_flask(CorrectReceiver(store)), PATH, limit=10.0, **SETTINGS)
    assert check(receiver, only=["A04"], timeout=30.0).finding("A04").verdict is Judgement.INCONCLUSIVE
    assert check(receiver, only=["A04"], timeout=300.0).finding("A04").verdict is Judgement.PASS
