"""Many messages at once: races in a receiver, found by sending to it concurrently."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, NotAcknowledged, Receiver


def counting_app(lock: threading.Lock | None) -> Any:
    """Make an app that counts deliveries by reading, letting others in, and writing; a lock keeps others out."""
    app = Flask("counting")
    app.config["delivered"] = 0
    together = threading.Barrier(2)

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        if request.get_json()["rows"][0]["status"]["message_status"] != "delivered":
            return "", 200
        if lock is not None:
            with lock:
                app.config["delivered"] += 1
            return "", 200
        read = app.config["delivered"]
        together.wait(10)
        app.config["delivered"] = read + 1
        return "", 200

    return app


# [many]
def test_a_thousand_messages(engagelab: EngageLab) -> None:
    runs = engagelab.send_many(1000, scenario="delivered", concurrency=16)
    assert len(runs) == 1000
    assert all(run.statuses == ["plan", "sent", "delivered"] for run in runs)


# [race]
def test_the_counter_counts_each_message() -> None:
    app = counting_app(lock=threading.Lock())
    with EngageLab(Receiver.wsgi(app, path="/engagelab")) as engagelab:
        engagelab.send_many(50, scenario="delivered", concurrency=8)
        assert app.config["delivered"] == 50


# [end race]
def test_without_a_lock_the_counter_loses_some() -> None:
    app = counting_app(lock=None)
    with EngageLab(Receiver.wsgi(app, path="/engagelab", limit=None)) as engagelab:
        engagelab.send_many(50, scenario="delivered", concurrency=2)
        assert app.config["delivered"] < 50


# [recipients]
def test_two_users_at_once(engagelab: EngageLab) -> None:
    runs = engagelab.send_many(4, to=["+6591234567", "user@example.com"], concurrency=4)
    assert [run.to for run in runs] == ["+6591234567", "user@example.com"] * 2


# [async]
@pytest.mark.asyncio
async def test_from_an_event_loop(engagelab: EngageLab) -> None:
    runs = await engagelab.asend_many(100, scenario="sent_failed", concurrency=10)
    assert all(run.acknowledged for run in runs)


# [failure]
def test_the_earliest_failure_is_raised() -> None:
    def busy(environ: Any, start_response: Any) -> list[bytes]:
        start_response("503 Busy", [])
        return []

    with EngageLab(Receiver.wsgi(busy)) as engagelab:
        with pytest.raises(NotAcknowledged):
            engagelab.send_many(100, concurrency=4)
        runs = engagelab.send_many(100, concurrency=4, check=False)
        assert not any(run.acknowledged for run in runs)


# [expiry]
def test_every_code_expires(engagelab: EngageLab) -> None:
    runs = engagelab.send_many(20, scenario="delivered")
    engagelab.clock.advance(minutes=5)
    assert all(run.statuses[-1] == "verified_timeout" for run in runs)
