"""Receivers and options with which races cannot be explored: each is refused, and the error says why."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flask import Flask, request

from engagelab_mock import (
    EngageLab,
    NothingObserved,
    ProbeFailed,
    Receiver,
    UsageError,
)
from engagelab_mock.cli import main
from engagelab_mock.server.loopback import LoopbackServer
from tests.explore.failing import failure, refused
from tests.receivers import racing
from tests.receivers.racing import Store, flask_receiver


def test_a_handler_that_sleeps_long_is_refused(store: Store) -> None:
    naps = iter([2.0])

    def handle(db: Any, message_id: str, status: str) -> None:
        time.sleep(next(naps, 0.0))
        racing.correct(db, message_id, status)

    refused(
        flask_receiver(store, handle),
        UsageError,
        r"handler a of `plan`, at test_races_refused.py:\d+, sleeps for more than 1 s",
    )


def test_a_handler_that_starts_a_thread_is_refused(store: Store) -> None:
    def handle(db: Any, message_id: str, status: str) -> None:
        thread = threading.Thread(target=list)
        thread.start()
        thread.join()
        racing.correct(db, message_id, status)

    refused(
        flask_receiver(store, handle), UsageError, r"handler a of `plan` starts a thread, at test_races_refused.py:"
    )


def test_handlers_that_never_come_to_a_switch_point_are_refused() -> None:
    kept: dict[str, int] = {}
    app = Flask("memory")

    @app.post("/")
    def engagelab_callback() -> str:
        for message_id, _ in racing.statuses(request.get_json(force=True)):
            kept[message_id] = kept.get(message_id, 0) + 1
        return ""

    receiver = Receiver.wsgi(app, observe=kept.get)
    refused(receiver, NothingObserved, "no handler came to a switch point")


def test_a_receiver_that_shows_no_effect_is_refused(store: Store) -> None:
    receiver = flask_receiver(store, lambda db, message_id, status: db.commit())
    refused(receiver, NothingObserved, "the receiver showed no effect")


def test_a_receiver_without_observe_is_refused(store: Store) -> None:
    receiver = flask_receiver(store, racing.correct)
    receiver.observe = None
    refused(receiver, UsageError, "this receiver has no observe")


def test_a_receiver_behind_http_is_refused(store: Store) -> None:
    app = Flask("elsewhere")
    with LoopbackServer(app) as server:
        receiver = Receiver.http(server.url, observe=store.observe)
        refused(receiver, UsageError, "the handlers run in another process")
        with EngageLab(receiver) as engagelab, pytest.raises(UsageError, match="the handlers run in another process"):
            engagelab.play("eg1:plan|plan")


def test_a_connection_of_another_thread_is_named(store: Store) -> None:
    with store.opened() as db:
        receiver = flask_receiver(store, lambda _, message_id, status: racing.correct(db, message_id, status))
        assert "each handler ran in its own thread" in str(failure(receiver, "plan-sent"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"concurrent": 1}, "concurrent is an integer from 2 to 3, not 1"),
        ({"concurrent": True}, "concurrent is an integer from 2 to 3, not True"),
        ({"preemptions": -1}, "preemptions is an integer from 0 to 10"),
        ({"duplicates": 1}, "duplicates makes schedules one delivery at a time"),
        ({"switch_points": "shop.load"}, "'shop.load' is not a list of names"),
        ({"switch_points": ["shop.load"]}, "function 'shop.load' not found"),
        ({"switch_points": [Store]}, "neither a Python function nor one of a C extension"),
        ({"switch_points": ["json.dumps"]}, "no handler called json.dumps"),
    ],
)
def test_a_wrong_option_is_refused(store: Store, options: dict[str, Any], match: str) -> None:
    refused(flask_receiver(store, racing.correct), UsageError, match, **{"preemptions": 0, **options})


def test_an_order_that_the_app_does_not_follow_is_refused(store: Store) -> None:
    with EngageLab(flask_receiver(store, racing.correct)) as engagelab, pytest.raises(UsageError) as caught:
        engagelab.replay("eg1:sent|sent@a9b")
    assert "the handler a of `sent` ended before its switch point 9" in str(caught.value)


def test_an_error_of_observe_without_a_race_ends_the_run(store: Store) -> None:
    def observe(message_id: str) -> int:
        if store.observe(message_id)["credits"]:
            raise LookupError("always")
        return 0

    receiver = flask_receiver(store, racing.correct)
    receiver.observe = observe
    refused(receiver, ProbeFailed, "observe raised LookupError: always")


def test_the_command_line_refuses_the_token_of_a_race(capsys: pytest.CaptureFixture[str]) -> None:
    with LoopbackServer(Flask("elsewhere")) as server:
        assert main(["send", "--replay", "eg1:sent|sent@a2b", "--url", server.url]) == 2
    assert "the handlers run in another process" in capsys.readouterr().err
