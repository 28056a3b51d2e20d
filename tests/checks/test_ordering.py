"""The checks of duplicates and order: correct receivers of other styles pass, and any form of state shows bugs."""

from __future__ import annotations

import json
import sqlite3
import threading
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import CHECKS, Dialect, Judgement, Receiver, Report
from engagelab_mock.protocol.events import MsgTime
from tests.checks import serving
from tests.checks.receivers.correct import ALONG, PATH, SETTINGS, CorrectReceiver, Refused, observe
from tests.checks.receivers.duplicating import KnowsARequestByItsNonce
from tests.checks.receivers.frameworks import on_fastapi, on_flask
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.ordering import KeepsOneStatus, KeepsWhatCameLast, OrdersByMsgTime, OrdersByTime
from tests.checks.receivers.store import Store
from tests.checks.receivers.styles import STYLES, arrived
from tests.checks.receivers.unknown_messages import RefusesWhatItHasNotSent
from tests.checks.serving import check_in_process, check_over_a_socket, failed, hooks_of


def numbered(store: Store, message_id: str) -> int | None:
    status = observe(store, message_id)["status"]
    return None if status is None else ALONG[status]


def as_text(store: Store, message_id: str) -> str:
    return json.dumps({"row": {"message_id": message_id, "status": observe(store, message_id)["status"]}})


def with_the_last(store: Store, message_id: str) -> dict[str, Any]:
    statuses = arrived(store, message_id)
    return {"status": observe(store, message_id)["status"], "last": statuses[-1] if statuses else None}


class NumbersItsRows:
    """Return the rank of a message's status, and the number of its row, which differs for each message."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def __call__(self, store: Store, message_id: str) -> dict[str, int | None]:
        return {"row": self._rows.setdefault(message_id, len(self._rows)), "rank": numbered(store, message_id)}


def counted(store: Store, message_id: str) -> int:
    return len(store.effects(message_id))


#: The states of these receivers show no events of the account, which C17 and C24 are about, and not all have the totals
#: of C21. C18 takes long. They are not restarted, and have one worker.
ALL = [id for id in CHECKS if id.startswith("C") and id not in {"C17", "C18", "C21", "C24", "C25", "C26", "C27"}]


def not_passed(report: Report) -> dict[str, str]:
    return {
        finding.id: str(finding) or str(finding.warnings)
        for finding in report.findings
        if finding.id in ALL and (finding.verdict is not Judgement.PASS or finding.warnings)
    }


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_receivers_correct_in_another_style_pass_in_process(style: str, tmp_path: Path) -> None:
    # If the receiver works after its answer, the checks wait for each event: all of them run only over a socket.
    only = ["C05", "C06"] if style == "answers first" else ALL
    assert {*not_passed(check_in_process(STYLES[style], tmp_path, only=only))} == {*ALL} - {*only} | {"C04"}


@pytest.mark.slow
@pytest.mark.parametrize("style", ["a row by rank", "answers first"])
def test_receivers_correct_in_another_style_pass_over_a_socket(style: str, tmp_path: Path) -> None:
    assert {*not_passed(check_over_a_socket(STYLES[style], tmp_path, only=ALL))} == {"C05"}


def check(app: Any, only: list[str], *, asgi: bool = False, hooks: dict[str, Any], **settings: Any) -> Report:
    make = Receiver.asgi if asgi else Receiver.wsgi
    return serving.check(make(app, PATH, **SETTINGS | settings), only=only, **hooks)


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
def test_keeping_the_last_event_is_found_in_any_form_of_state(observing: Any, tmp_path: Path) -> None:
    mutant = Mutant("C06", KeepsWhatCameLast, observe=observing)
    only = ["C06", "C09", "C11", "C15"]
    assert failed(check_in_process(mutant, tmp_path, only=only)) == only


def test_a_leaf_with_the_last_event_next_to_the_right_status_is_a_warning(tmp_path: Path) -> None:
    mutant = Mutant("", CorrectReceiver, observe=with_the_last)
    report = check_in_process(mutant, tmp_path, only=["C06"])
    assert failed(report) == []
    [warning] = report.finding("C06").warnings
    assert "last depends on the order of arrival: it is 'sent' after delivered, sent" in warning


def test_a_counter_shows_a_second_effect(tmp_path: Path) -> None:
    mutant = Mutant("C01", KnowsARequestByItsNonce, observe=counted)
    report = check_in_process(mutant, tmp_path, only=["C01"])
    assert "the state is 2; after one callback it is 1" in report.finding("C01").reason


def test_row_numbers_are_not_compared(tmp_path: Path) -> None:
    only = ["C01", "C06", "C09", "C10", "C11", "C13", "C14", "C15"]
    report = check_in_process(Mutant("", CorrectReceiver, observe=NumbersItsRows()), tmp_path, only=only)
    assert {*not_passed(report)} == {*ALL} - {*only}


class WantsDeliveredFirst(CorrectReceiver):
    """Refuse `verified` until `delivered` has come, so that EngageLab sends it again later."""

    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        query = "SELECT 1 FROM effects WHERE message_id = ? AND status = 'delivered'"
        if status == "verified" and db.execute(query, [message_id]).fetchone() is None:
            raise Refused(409)
        super().keep(db, message_id, status, detail)


def test_an_event_that_is_refused_is_not_lost(tmp_path: Path) -> None:
    report = check_in_process(Mutant("", WantsDeliveredFirst), tmp_path, only=["C15"])
    assert {*not_passed(report)} == {*ALL} - {"C15"}


class TiedToAThread(CorrectReceiver):
    """Only work in the thread that made it, as an app in the transaction of a test does."""

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
    report = check(app, ["C12", "C13"], hooks={"observe": partial(observe, store), "patience": 0.05})
    assert report.finding("C12").verdict is Judgement.FAIL
    assert report.finding("C13").verdict is Judgement.INCONCLUSIVE


def test_a_receiver_that_refuses_everything_does_not_fail_the_check_of_unknown_messages(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    report = check(on_flask(CorrectReceiver(store)), ["C12"], hooks=hooks_of(store), secret="another")
    assert report.finding("C12").verdict is Judgement.INCONCLUSIVE


def test_an_early_callback_cannot_be_checked_without_prepare(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    hooks: dict[str, Any] = {"observe": partial(observe, store), "patience": 0.05}
    finding = check(on_flask(CorrectReceiver(store)), ["C13"], hooks=hooks).finding("C13")
    assert "give `prepare`" in finding.reason


def test_events_that_are_not_ticked_are_not_sent(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    report = check(on_flask(CorrectReceiver(store)), ALL, hooks=hooks_of(store), events=["delivered"])
    verdicts = {finding.id: finding.verdict for finding in report.findings if finding.id in ALL}
    passed = [id for id, verdict in verdicts.items() if verdict is Judgement.PASS]
    assert passed == ["C01", "C02", "C03", "C05", "C08", "C12", "C13", "C22", "C23"]
    assert {verdicts[id] for id in ALL if id not in passed} == {Judgement.SKIPPED}


def test_a_receiver_that_only_ticks_verified_is_judged_by_verified(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    app = on_flask(KnowsARequestByItsNonce(store))
    report = check(app, ["C01", "C02", "C08"], hooks=hooks_of(store), events=["verified"])
    assert failed(report) == ["C01", "C02"]
    assert report.finding("C08").verdict is Judgement.PASS


EVERY_ORDER = ["C06", "C07", "C09", "C11", "C15"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "msg_time", "fails"),
    [
        (OrdersByMsgTime, "message", EVERY_ORDER),
        # Moving, it is as good as `itime`, and wrong within one second only.
        (OrdersByMsgTime, "event", ["C15"]),
        (OrdersByTime, "message", ["C15"]),
        (OrdersByTime, "event", ["C15"]),
        (KeepsOneStatus, "message", []),
        (KeepsOneStatus, "event", []),
    ],
)
def test_ordering_by_time_is_found_in_both_readings_of_msg_time(
    kind: type[CorrectReceiver], msg_time: MsgTime, fails: list[str], tmp_path: Path
) -> None:
    dialect = Dialect(msg_time=msg_time)
    report = check_in_process(Mutant("", kind), tmp_path, dialect=dialect, only=[*EVERY_ORDER, "C08", "C10"])
    assert failed(report) == fails


def test_the_finding_of_a_wrong_order_shows_only_that_order(tmp_path: Path) -> None:
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
