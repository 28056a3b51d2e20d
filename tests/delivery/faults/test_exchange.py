"""Faults of the exchange: sender and receiver end up knowing different things about the same callback."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, Outcome, Receiver, fault
from tests.patience import PATIENCE
from tests.receivers.correct import SECRET, USERNAME, CorrectReceiver
from tests.receivers.mutants import (
    AppliesRowsAsTheyCome,
    Gated,
    LooksAndThenActs,
    NeverLooksWhetherItWasThereBefore,
)
from tests.receivers.on_asgi import AsgiReceiver
from tests.receivers.serving import Serving, in_process, on_werkzeug
from tests.receivers.store import Store

ONCE = ["plan", "sent", "delivered"]
TWICE = ["plan", "sent", "sent", "delivered"]
either_kind = pytest.mark.parametrize(
    ("kind", "effects"),
    [(CorrectReceiver, ONCE), (NeverLooksWhetherItWasThereBefore, TWICE)],
    ids=["correct", "mutant"],
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "receiver.sqlite")


class Finishing:
    """Say when the handler is through, however it ends."""

    def __init__(self, receiver: CorrectReceiver) -> None:
        self.finished = threading.Event()
        self._app = receiver.app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        try:
            return self._app(environ, start_response)
        finally:
            self.finished.set()


@either_kind
@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_a_lost_acknowledgement_brings_the_callback_again(
    serving: Serving, kind: type[CorrectReceiver], effects: list[str], store: Store
) -> None:
    with serving(kind(store).app) as target, EngageLab(target) as engagelab:
        run = engagelab.send(
            "+6591234567", scenario="delivered", retry=[60], fault=fault("ack_lost", on="sent", attempts=1)
        )
    assert run.acknowledged
    lost, again = run.deliveries[1].attempts
    assert lost.outcome is Outcome.ABANDONED
    assert lost.error == "the answer, 200, was lost on purpose"
    assert lost.response is not None
    assert [[str(each) for each in attempt.faults] for attempt in (lost, again)] == [["ack_lost"], []]
    assert lost.callback.headers["X-CALLBACK-ID"] != again.callback.headers["X-CALLBACK-ID"]
    # It comes again after the callbacks that were sent meanwhile.
    assert sorted(store.effects) == sorted(effects)


@either_kind
def test_the_sender_gives_up_while_the_handler_still_works(
    kind: type[CorrectReceiver], effects: list[str], store: Store
) -> None:
    gated = Gated(kind(store))
    with on_werkzeug(gated) as target, EngageLab(target) as engagelab:
        gated.release.set()
        run = engagelab.send("+6591234567", scenario=["plan"])
        gated.release.clear()
        gated.committed.clear()
        struck = engagelab.deliver([run.message.event("sent", at=0)], fault=fault("give_up", attempts=1))
        assert struck[0].outcome is Outcome.ABANDONED
        assert struck[0].attempts[0].error == "stopped waiting for the answer, on purpose, after 0.05 s"
        # Nobody waits for the answer any more, and the work is done all the same.
        assert gated.committed.wait(PATIENCE)
        gated.release.set()
        engagelab.deliver([run.message.event("sent", at=0)])
        engagelab.deliver([run.message.event("delivered", at=0)])
    assert store.effects == effects


@either_kind
@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_after_a_reset_the_receiver_has_its_committed_rows(
    serving: Serving, kind: type[CorrectReceiver], effects: list[str], store: Store
) -> None:
    receiver = Finishing(kind(store))
    with serving(receiver) as target, EngageLab(target) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"])
        receiver.finished.clear()
        [struck] = engagelab.deliver([run.message.event("sent", at=0)], fault="reset")
        assert struck.outcome is Outcome.ABANDONED
        assert receiver.finished.wait(PATIENCE)
        engagelab.deliver([run.message.event("sent", at=0)])
        engagelab.deliver([run.message.event("delivered", at=0)])
    assert store.effects == effects


@pytest.mark.parametrize(
    ("kind", "effects"), [(CorrectReceiver, []), (AppliesRowsAsTheyCome, ["plan"])], ids=["correct", "mutant"]
)
@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_half_a_body_has_no_effect(
    serving: Serving, kind: type[CorrectReceiver], effects: list[str], store: Store
) -> None:
    receiver = Finishing(kind(store))
    with serving(receiver) as target, EngageLab(target) as engagelab:
        [struck] = engagelab.send("+6591234567", scenario="delivered", batch="all", fault="short_body").deliveries
        assert struck.outcome is Outcome.ABANDONED
        assert "broken off on purpose after" in struck.attempts[0].error
        assert receiver.finished.wait(PATIENCE)
    assert store.effects == effects


@either_kind
@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_an_error_after_the_commit_brings_the_callback_again(
    serving: Serving, kind: type[CorrectReceiver], effects: list[str], store: Store
) -> None:
    struck = fault("bad_gateway", status=503, on="sent", attempts=1)
    with serving(kind(store).app) as target, EngageLab(target) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", retry=[60], fault=struck)
    assert run.acknowledged
    first, again = run.deliveries[1].attempts
    assert (first.outcome, again.outcome) == (Outcome.NOT_200, Outcome.ACKNOWLEDGED)
    assert first.error == "answered 503 in place of the receiver's 200; only 200 acknowledges"
    assert sorted(store.effects) == sorted(effects)


def test_a_refused_callback_stays_refused(store: Store) -> None:
    with in_process(CorrectReceiver(store).app) as target, EngageLab(target) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault=["wrong_secret", "bad_gateway"]).deliveries
    assert delivery.attempts[0].error == "answered 401 UNAUTHORIZED; only 200 acknowledges"


@either_kind
@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_a_request_that_is_lost_comes_again_once(
    serving: Serving, kind: type[CorrectReceiver], effects: list[str], store: Store
) -> None:
    lost = fault("request_lost", on="sent", attempts=1)
    with serving(kind(store).app) as target, EngageLab(target) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", retry=[60], fault=lost)
    assert run.acknowledged
    assert run.deliveries[1].attempts[0].response is None
    assert sorted(store.effects) == sorted(ONCE)


@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_duplicates_at_once_have_one_effect_on_a_correct_receiver(serving: Serving, store: Store) -> None:
    with serving(CorrectReceiver(store).app) as target, EngageLab(target) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", fault=fault("duplicate", copies=5, on="sent"))
    assert run.acknowledged
    assert [len(delivery.attempts) for delivery in run.deliveries] == [1, 5, 1]
    assert len({attempt.callback.headers for attempt in run.deliveries[1].attempts}) == 1
    assert store.effects == ONCE


@pytest.mark.parametrize("serving", [in_process, on_werkzeug])
def test_duplicates_at_once_catch_a_receiver_between_looking_and_acting(serving: Serving, store: Store) -> None:
    # The barrier opens only when all three are in the handler at once.
    barrier = threading.Barrier(3, timeout=PATIENCE)
    with (
        serving(LooksAndThenActs(store, barrier.wait).app) as target,
        EngageLab(target) as engagelab,
    ):
        run = engagelab.send("+6591234567", scenario=["plan"], fault=fault("duplicate", copies=3))
    assert run.acknowledged
    assert store.effects == ["plan"] * 3


def asgi(app: AsgiReceiver) -> Receiver:
    return Receiver.asgi(app, username=USERNAME, secret=SECRET)


either_asgi = pytest.mark.parametrize(("racy", "effects"), [(False, ["plan"]), (True, ["plan"] * 3)])
THREE_TIMES = fault("duplicate", copies=3)


@either_asgi
def test_duplicates_at_once_in_an_asgi_apps_own_loop(racy: bool, effects: list[str], store: Store) -> None:
    app = AsgiReceiver(store, racy=racy)
    with EngageLab(asgi(app)) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], fault=THREE_TIMES)
    assert (run.acknowledged, app.most_at_once, store.effects) == (True, 3, effects)


@either_asgi
@pytest.mark.asyncio
async def test_duplicates_at_once_in_the_tests_loop(racy: bool, effects: list[str], store: Store) -> None:
    app = AsgiReceiver(store, racy=racy)
    with EngageLab(asgi(app)) as engagelab:
        run = await engagelab.asend("+6591234567", scenario=["plan"], fault=THREE_TIMES)
    assert (run.acknowledged, app.most_at_once, store.effects) == (True, 3, effects)


def test_a_copy_that_fails_decides_about_the_delivery() -> None:
    answers = iter(["200 OK", "500 Oops", "200 OK"])
    turn = threading.Lock()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        with turn:
            start_response(next(answers), [])
        return []

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault=THREE_TIMES).deliveries
    assert not delivery.acknowledged
    assert delivery.outcome is Outcome.NOT_200
    assert [attempt.number for attempt in delivery.attempts] == [1, 1, 1]
