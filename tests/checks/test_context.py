"""What the checks know of the app: `observe`, `prepare`, `reset` and `wait_idle`, and the runs in which they fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from engagelab_mock import (
    CHECKS,
    EngageLab,
    Judgement,
    Message,
    NothingObserved,
    ProbeFailed,
    Receiver,
    StateNotSettled,
)
from tests.checks.observing import check, in_process, recording
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver, Incoming, Refused, observe
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.reading import KeepsFloats
from tests.checks.receivers.store import Store

# --- When each is called


def test_reset_is_called_once_and_prepare_for_each_message_before_the_app_is_asked(store: Store) -> None:
    calls: list[str] = []
    prepared: list[str] = []

    def watch(message_id: str) -> Any:
        calls.append("observe")
        assert message_id in prepared
        return observe(store, message_id)

    report = check(
        in_process(store),
        "A04 B02 B16",
        reset=recording(calls, "reset"),
        prepare=lambda message: prepared.append(message.id),
        observe=watch,
    )
    assert (calls[0], calls.count("reset")) == ("reset", 1)
    assert prepared == [*report.sent.message_ids]
    assert len(report.of(Judgement.PASS)) == 3


def test_a_receivers_own_functions_are_used_and_arguments_go_over_them(store: Store) -> None:
    own: list[str] = []
    given: list[str] = []
    receiver = in_process(
        store,
        observe=partial(observe, store),
        prepare=recording(own, "prepare"),
        reset=recording(own, "reset"),
        wait_idle=recording(own, "wait_idle"),
    )
    assert check(receiver, "B16", reset=recording(given, "reset")).finding("B16").verdict is Judgement.PASS
    assert {*own} == {"prepare", "wait_idle"}
    assert given == ["reset"]


class WorksWhenAsked(CorrectReceiver):
    """Acknowledge at once, and apply the callbacks when the queue is worked off."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.queue: list[Callable[[], object]] = []

    def commit(self, nonce: str, body: bytes, envelope: dict[str, Any]) -> None:
        self.queue.append(partial(super().commit, nonce, body, envelope))

    def work_off(self) -> None:
        while self.queue:
            self.queue.pop(0)()


def test_wait_idle_is_called_before_each_look(store: Store) -> None:
    app = WorksWhenAsked(store)
    receiver = Receiver.wsgi(on_flask(app), PATH, observe=partial(observe, store), **SETTINGS)
    report = check(receiver, "B01 B16 C01 C06 D01", wait_idle=app.work_off)
    assert {f.id: f.reason for f in report.findings if not f.left_out and f.verdict is not Judgement.PASS} == {}


def test_without_wait_idle_such_an_app_is_not_judged(store: Store) -> None:
    receiver = Receiver.wsgi(on_flask(WorksWhenAsked(store)), PATH, observe=partial(observe, store), **SETTINGS)
    with pytest.raises(NothingObserved, match="`wait_idle`"):
        check(receiver, "B01 B16")


def test_wait_idle_can_be_seconds_for_which_the_state_stays_the_same(store: Store) -> None:
    report = check(in_process(store), "B02 B16", observe=partial(observe, store), wait_idle=0.01)
    assert len(report.of(Judgement.PASS)) == 2


# --- Functions that fail


def failing(*_: object) -> Any:
    raise OSError("the database is down\nsecond line")


@pytest.mark.parametrize("name", ["observe", "prepare", "reset", "wait_idle"])
def test_one_that_raises_ends_the_run_before_the_first_check(name: str, store: Store) -> None:
    given: Any = {"patience": 0.05, name: failing}
    with EngageLab(in_process(store, observe=partial(observe, store))) as engagelab:
        with pytest.raises(ProbeFailed, match=f"{name} raised OSError: the database is down"):
            engagelab.check(only=["A01"], **given)
        assert len(engagelab.journal.refusals) == 1


def test_without_observe_a_prepare_that_raises_ends_the_run(store: Store) -> None:
    with pytest.raises(ProbeFailed, match="prepare raised OSError"):
        check(in_process(store), "A01", prepare=failing)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (lambda: (row for row in ["sent"]), "a generator"),
        (lambda: float("nan"), "nan"),
        (lambda: "x" * 10_000_000, "10,000,000 characters"),
    ],
)
def test_a_state_that_cannot_be_compared_ends_the_run(state: Callable[[], Any], told: str, store: Store) -> None:
    with pytest.raises(ProbeFailed, match=told):
        check(in_process(store), "A01", observe=lambda message_id: state())


def test_an_observe_that_raises_for_unknown_messages_is_right(store: Store) -> None:
    def look(message_id: str) -> Any:
        state = observe(store, message_id)
        return {message_id: state}[message_id if state["status"] else "unknown"]

    report = check(in_process(store), "B01 B16 C06", observe=look)
    assert len(report.of(Judgement.PASS)) == 3


def test_an_observe_that_raises_for_messages_that_were_not_prepared_is_right(store: Store) -> None:
    known: dict[str, Message] = {}

    def look(message_id: str) -> Any:
        state = observe(store, message_id)
        if not state["status"] and message_id not in known:
            raise KeyError(message_id)
        return state

    def prepare(message: Message) -> None:
        known[message.id] = message
        store.issue(message.id)

    report = check(in_process(store), "B16 C12 C13 D14", observe=look, prepare=prepare)
    assert len(report.of(Judgement.PASS)) == 4


def test_an_observe_that_starts_failing_ends_the_run_with_what_was_judged(store: Store) -> None:
    looks: Iterator[int] = iter(range(30))

    def look(message_id: str) -> Any:
        if next(looks, None) is None:
            raise OSError("gone")
        return observe(store, message_id)

    with pytest.raises(ProbeFailed, match="observe raised OSError: gone") as caught:
        check(in_process(store), "A0* B*", observe=look)
    report = caught.value.report
    assert report is not None
    assert report.finding("A01").verdict is Judgement.PASS
    assert 0 < len(report.of(Judgement.PASS)) < 10
    judged = {finding.id for finding in report.findings}
    running = next(each for each in CHECKS.values() if each.id not in judged)
    problem = f"observe: observe raised OSError: gone, in {running.id} ({running.name})"
    assert report.doubt == f"the run ended early: {problem}"
    assert str(caught.value).startswith(f"{problem}\n  hint: ")


# --- States that show nothing, or change without a callback


def test_a_counter_of_requests_in_the_state_is_named(store: Store) -> None:
    served = iter(range(10**6))

    def look(message_id: str) -> Any:
        return {**observe(store, message_id), "served": next(served)}

    with pytest.raises(StateNotSettled, match=r"observe: 'served' \(\d+, then \d+\) in the state changed although"):
        check(in_process(store), "A01", observe=look)


class RefusesAll(CorrectReceiver):
    def answer(self, incoming: Incoming) -> Any:
        return (200 if incoming.body in {b"", b"{}"} else 401), "", {}


def test_a_receiver_that_refuses_every_valid_callback_is_judged(store: Store) -> None:
    report = check(in_process(store, RefusesAll), "A01 A04 B16", observe=partial(observe, store))
    assert report.finding("A01").verdict is Judgement.PASS
    assert report.finding("A04").verdict is Judgement.FAIL
    assert "accepts no valid callback" in report.finding("B16").reason
    assert report.unjudged == ("B",)


class CrashesOnFailures(WorksWhenAsked):
    """Acknowledge every status but one, and have each effect later."""

    def answer(self, incoming: Incoming) -> Any:
        return (500, "", {}) if b'"delivered_failed"' in incoming.body else super().answer(incoming)


def test_a_receiver_that_refuses_one_status_is_judged(store: Store) -> None:
    app = CrashesOnFailures(store)
    looks = iter(range(12))

    def look(message_id: str) -> Any:
        # The effects come once all statuses were tried.
        if next(looks, None) is None:
            app.work_off()
        return observe(store, message_id)

    report = check(Receiver.wsgi(on_flask(app), PATH, **SETTINGS), "B14", observe=look, patience=2.0)
    assert report.finding("B14").verdict is Judgement.PASS


class ShowsWhatIsComplete(CorrectReceiver):
    """Show a message once both `sent` and `delivered` have come, in any order."""

    @staticmethod
    def observe(store: Store, message_id: str) -> Any:
        statuses = {effect[0] for effect in observe(store, message_id)["effects"]}
        return "complete" if {"sent", "delivered"} <= statuses else None


def test_an_effect_of_a_whole_lifecycle_alone_is_neither_nothing_nor_a_failure(store: Store) -> None:
    report = check(
        in_process(store, ShowsWhatIsComplete),
        "A04 B06 B16",
        observe=partial(ShowsWhatIsComplete.observe, store),
    )
    assert report.worst_first == []
    assert report.finding("B16").verdict is Judgement.INCONCLUSIVE
    assert "only all statuses of a message in order" in report.finding("B16").reason


class KnowsOneOutcome(CorrectReceiver):
    """Keep nothing but failed deliveries."""

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        if status == "delivered_failed":
            super().keep(db, message_id, status, detail)


def test_an_app_that_keeps_only_failures_is_judged(store: Store) -> None:
    report = check(in_process(store, KnowsOneOutcome), "B01 B16", observe=partial(observe, store))
    assert len(report.of(Judgement.PASS)) == 2


def test_ids_that_are_kept_as_floats_are_told_by_their_own_check(store: Store) -> None:
    report = check(in_process(store, KeepsFloats), "B16 D14", observe=partial(observe, store))
    finding = report.finding("D14")
    assert finding.verdict is Judgement.FAIL
    assert "floating-point" in report.finding("B16").reason
    # The last state belongs to the message of the request, and the one before it to the id that it was stored as.
    other, about = finding.evidence
    assert about.before.message_id.encode() in finding.exchanges[-1].body
    assert not about.changed
    assert other.changed


def test_two_looks_while_the_app_works_on_another_message_are_no_error(store: Store) -> None:
    looks: Counter[str] = Counter()

    def look(message_id: str) -> Any:
        looks[message_id] += 1
        # A worker still stores earlier callbacks at the first look at a new message.
        return observe(store, message_id), looks[message_id] == 1 and message_id not in store.message_ids()

    assert check(in_process(store), "A04", observe=look).finding("A04").verdict is Judgement.PASS


def test_messages_are_prepared_before_a_burst(store: Store) -> None:
    from tests.checks.receivers.servers import on_werkzeug

    class RefusesUnknownMessages(CorrectReceiver):
        def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
            if message_id not in issued:
                raise Refused(404)
            super().keep(db, message_id, status, detail)

    issued: set[str] = set()

    def prepare(message: Message) -> None:
        issued.add(message.id)

    with on_werkzeug(RefusesUnknownMessages(store)) as url:
        receiver = Receiver.http(url + PATH, **SETTINGS)
        report = check(receiver, "A06", prepare=prepare, observe=partial(observe, store))
    assert report.finding("A06").reason == ""
    assert report.finding("A06").verdict is Judgement.PASS
