"""Faults: forged, late, torn, twice, and what the receiver keeps of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, Receiver, UsageError, fault, verify
from engagelab_mock.server.loopback import LoopbackServer


# [receiver]
@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "app.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE events (message_id TEXT, status TEXT, PRIMARY KEY (message_id, status))")
    db.close()
    return path


@pytest.fixture
def app(database: Path) -> Flask:
    app = Flask("shop")

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        if not verify(request.headers.get("X-CALLBACK-ID"), username="acme", secret="s3cret", now=time.time()):
            return "", 401
        envelope = request.get_json(silent=True)
        if envelope is None:
            return "", 400
        db = sqlite3.connect(database)
        with db:
            for row in envelope["rows"]:
                if "status" in row:
                    event = (row["message_id"], row["status"]["message_status"])
                    db.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", event)
        db.close()
        return "", 200

    return app


@pytest.fixture
def engagelab_receiver(app: Flask) -> Receiver:
    return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")


def kept(database: Path) -> list[str]:
    db = sqlite3.connect(database)
    statuses = [status for (status,) in db.execute("SELECT status FROM events ORDER BY rowid")]
    db.close()
    return statuses


# [forged]
@pytest.mark.parametrize("forgery", ["wrong_secret", "missing_signature", "truncated_signature", "stale"])
def test_a_forged_callback_leaves_no_trace(engagelab: EngageLab, database: Path, forgery: str) -> None:
    engagelab.send("+6591234567", fault=forgery)
    assert kept(database) == []


# [limited]
def test_a_lost_answer_brings_the_callback_again(engagelab: EngageLab, database: Path) -> None:
    lost = fault("ack_lost", on="delivered", attempts=1)
    run = engagelab.send("+6591234567", scenario="delivered", retry=[60], fault=lost)
    assert run.acknowledged
    assert len(run.deliveries[-1].attempts) == 2
    assert kept(database) == ["plan", "sent", "delivered"]


# [together]
def test_a_torn_body_from_a_slow_clock(engagelab: EngageLab, database: Path) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"], fault=[fault("stale", by=200), "truncated_json"])
    response = run.deliveries[0].attempts[0].response
    assert response is not None
    assert response.status == 400
    assert kept(database) == []


# [twice]
def test_twice_at_once(engagelab: EngageLab, database: Path) -> None:
    engagelab.send("+6591234567", scenario=["plan"], fault=fault("duplicate", copies=4))
    assert kept(database) == ["plan"]


# [wire]
def test_there_is_no_wire_in_process(engagelab: EngageLab) -> None:
    with pytest.raises(UsageError, match=r"use Receiver\.http"):
        engagelab.send("+6591234567", fault="chunked")


@pytest.fixture
def served(app: Flask) -> Iterator[EngageLab]:
    with LoopbackServer(app) as server:
        receiver = Receiver.http(f"{server.url}/engagelab", username="acme", secret="s3cret")
        with EngageLab(receiver) as engagelab:
            yield engagelab


def test_a_body_in_chunks(served: EngageLab, database: Path) -> None:
    served.send("+6591234567", scenario=["plan"], fault="chunked", check=True)
    assert kept(database) == ["plan"]
