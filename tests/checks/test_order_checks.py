"""The checks of duplicates and order: receivers that are correct in other ways pass, and bugs show in any state."""

from __future__ import annotations

import json
import sqlite3
import threading
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import CHECKS, Judgement, Receiver, Report
from engagelab_mock.checks.context import Hooks
from engagelab_mock.checks.runner import Runner
from engagelab_mock.checks.selection import Selection
from tests.checks.receivers.correct import ALONG, PATH, CorrectReceiver, Refused, observe
from tests.checks.receivers.duplicating import KnowsARequestByItsNonce
from tests.checks.receivers.estranged import RefusesWhatItHasNotSent
from tests.checks.receivers.frameworks import on_fastapi, on_flask
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.ordering import KeepsWhatCameLast
from tests.checks.receivers.store import Store
from tests.checks.receivers.styles import STYLES, arrived
from tests.checks.serving import SETTINGS, check_in_process, check_over_a_socket


def numbered(store: Store, message_id: str) -> int | None:
    status = observe(store, message_id)["status"]
    return None if status is None else ALONG[status]


def as_text(store: Store, message_id: str) -> str:
    return json.dumps({"row": {"message_id": message_id, "status": observe(store, message_id)["status"]}})


def with_the_last(store: Store, message_id: str) -> dict[str, Any]:
    statuses = arrived(store, message_id)
    return {"status": observe(store, message_id)["status"], "last": statuses[-1] if statuses else None}


def counted(store: Store, message_id: str) -> int:
    return len(store.effects(message_id))


ALL = [id for id in CHECKS if id.startswith("C")]


def not_passed(report: Report) -> dict[str, str]:
    return {
        finding.id: str(finding) or str(finding.warnings)
        for finding in report.findings
        if finding.id in ALL and (finding.verdict is not Judgement.PASS or finding.warnings)
    }


def failed(report: Report) -> list[str]:
    return [finding.id for finding in report.findings if finding.verdict is Judgement.FAIL]


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_receivers_correct_in_another_style_pass_in_process(style: str, tmp_path: Path) -> None:
    # Where the work is done after the answer each event is waited for in turn, all of that once, over a socket.
    only = ["C05", "C06"] if style == "answers first" else ALL
    assert {*not_passed(check_in_process(STYLES[style], tmp_path, only=only))} == {*ALL} - {*only} | {"C04"}


@pytest.mark.slow
@pytest.mark.parametrize("style", ["a row by rank", "answers first"])
def test_receivers_correct_in_another_style_pass_over_a_socket(style: str, tmp_path: Path) -> None:
    assert {*not_passed(check_over_a_socket(STYLES[style], tmp_path, only=ALL))} == {"C05"}


def check(app: Any, only: list[str], *, asgi: bool = False, hooks: Hooks, **settings: Any) -> Report:
    make = Receiver.asgi if asgi else Receiver.wsgi
    receiver = make(app, PATH, **SETTINGS | settings)
    try:
        return Runner(receiver, hooks, selection=Selection(only=only)).run()
    finally:
        receiver.close()


def hooks_of(store: Store, observing: Any = observe) -> Hooks:
    return Hooks(observe=partial(observing, store), prepare=lambda message: store.issue(message.id), patience=0.05)


def test_the_correct_receiver_passes_in_its_own_loop(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    report = check(on_fastapi(CorrectReceiver(store)), ALL, asgi=True, hooks=hooks_of(store))
    assert {*not_passed(report)} == {"C04"}


def test_duplicates_are_found_in_an_app_called_in_its_own_loop(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    only = ["C01", "C02", "C03", "C05"]
    report = check(on_fastapi(KnowsARequestByItsNonce(store)), only, asgi=True, hooks=hooks_of(store))
    assert failed(report) == only


@pytest.mark.parametrize("observing", [numbered, as_text], ids=["numbers", "JSON"])
def test_what_came_last_is_found_whatever_the_state_looks_like(observing: Any, tmp_path: Path) -> None:
    mutant = Mutant("C06", KeepsWhatCameLast, observe=observing)
    only = ["C06", "C09", "C11", "C15"]
    assert failed(check_in_process(mutant, tmp_path, only=only)) == only


def test_a_leaf_that_says_what_came_last_is_a_warning_beside_the_right_status(tmp_path: Path) -> None:
    mutant = Mutant("", CorrectReceiver, observe=with_the_last)
    report = check_in_process(mutant, tmp_path, only=["C06"])
    assert failed(report) == []
    [warning] = report.finding("C06").warnings
    assert "last depends on the order of arrival: 'sent' after delivered, sent" in warning


def test_an_effect_that_counts_is_found_twice(tmp_path: Path) -> None:
    mutant = Mutant("C01", KnowsARequestByItsNonce, observe=counted)
    report = check_in_process(mutant, tmp_path, only=["C01"])
    assert "the state is 2, and 1 after the event came once" in report.finding("C01").reason


class TiedToAThread(CorrectReceiver):
    """Work in the thread it was made in alone, as within the transaction of a test."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._home = threading.get_ident()

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        if threading.get_ident() != self._home:
            raise Refused(503)
        super().commit(nonce, body, envelope)


def test_an_app_tied_to_the_thread_of_the_test_is_not_blamed(tmp_path: Path) -> None:
    finding = check_in_process(Mutant("", TiedToAThread), tmp_path, only=["C02"]).finding("C02")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "check it over a socket" in finding.reason


def test_an_unknown_message_that_is_refused_is_found_without_prepare(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    app = on_flask(RefusesWhatItHasNotSent(store))
    report = check(app, ["C12", "C13"], hooks=Hooks(observe=partial(observe, store), patience=0.05))
    assert report.finding("C12").verdict is Judgement.FAIL
    assert report.finding("C13").verdict is Judgement.INCONCLUSIVE


def test_a_receiver_that_refuses_everything_is_not_said_to_refuse_the_unknown(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    report = check(on_flask(CorrectReceiver(store)), ["C12"], hooks=hooks_of(store), secret="another")
    assert report.finding("C12").verdict is Judgement.INCONCLUSIVE


def test_without_prepare_it_is_not_known_what_an_early_callback_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    hooks = Hooks(observe=partial(observe, store), patience=0.05)
    finding = check(on_flask(CorrectReceiver(store)), ["C13"], hooks=hooks).finding("C13")
    assert "give `prepare`" in finding.reason


def test_what_is_not_ticked_is_not_sent(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    report = check(on_flask(CorrectReceiver(store)), ALL, hooks=hooks_of(store), events=["delivered"])
    verdicts = {finding.id: finding.verdict for finding in report.findings if finding.id in ALL}
    passed = [id for id, verdict in verdicts.items() if verdict is Judgement.PASS]
    assert passed == ["C01", "C02", "C03", "C05", "C08", "C12", "C13"]
    assert {verdicts[id] for id in ALL if id not in passed} == {Judgement.SKIPPED}


def test_a_receiver_that_is_told_of_verified_alone_is_judged_by_that(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    app = on_flask(KnowsARequestByItsNonce(store))
    report = check(app, ["C01", "C02", "C08"], hooks=hooks_of(store), events=["verified"])
    assert failed(report) == ["C01", "C02"]
    assert report.finding("C08").verdict is Judgement.PASS


def test_the_finding_of_a_wrong_order_shows_that_order_alone(tmp_path: Path) -> None:
    finding = check_in_process(Mutant("C06", KeepsWhatCameLast), tmp_path, only=["C06"]).finding("C06")
    assert [b'"delivered"' in exchange.body for exchange in finding.exchanges] == [True, False]
    assert finding.changes[-1].after.value["status"] == "sent"


def test_every_order_is_tried(tmp_path: Path) -> None:
    class Listening(CorrectReceiver):
        def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
            heard.setdefault(message_id, []).append(status)
            super().keep(db, message_id, status, detail)

    heard: dict[str, list[str]] = {}
    check_in_process(Mutant("", Listening), tmp_path, only=["C07"])
    orders = {tuple(statuses) for statuses in heard.values()}
    assert orders >= {*permutations(["plan", "sent", "delivered", "verified"])}
    assert orders >= {*permutations(["plan", "sent", "delivered_failed"])}
