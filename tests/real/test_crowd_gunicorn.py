"""A thousand messages at once against a Flask app on gunicorn: none lost, none doubled, by the app's own table."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engagelab_mock import EngageLab, Receiver, Run

pytest.importorskip("gunicorn", reason="gunicorn runs on POSIX systems only")

MESSAGES = 1000
PATIENCE = 20.0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "events.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE events (number INTEGER PRIMARY KEY, message_id, recipient, status)")
        connection.commit()
    return path


@pytest.fixture
def url(database: Path) -> Iterator[str]:
    """Serve the app with two workers of eight threads; it listens before they start, so no request comes too early."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/engagelab"
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}"]
        command += ["--worker-class", "gthread", "--workers", "2", "--threads", "8", "--keep-alive", "5"]
        server = subprocess.Popen(
            [*command, "--log-level", "warning", "crowd_receiver:app"],
            cwd=Path(__file__).parent,
            # It leaves a socket in the home directory.
            env=os.environ | {"EVENTS_DATABASE": str(database), "HOME": str(database.parent)},
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield address
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0, errors
    assert "Error" not in errors, errors


def table(database: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT message_id, recipient, status FROM events ORDER BY number").fetchall()


def told(runs: list[Run]) -> list[tuple[str, str, str]]:
    return [(run.message_id, run.to, status) for run in runs for status in run.statuses]


@pytest.mark.slow
def test_none_of_a_thousand_is_lost_or_doubled(url: str, database: Path) -> None:
    receiver = Receiver.http(url, username="acme", secret="s3cret", limit=PATIENCE)
    with EngageLab(receiver, seed="thousand") as engagelab, EngageLab(seed="thousand") as alone:
        runs = engagelab.send_many(MESSAGES, scenario="delivered", concurrency=16)
        received = table(database)
        assert Counter(received) == Counter(told(runs))
        assert set(Counter(received).values()) == {1}
        assert len({run.message_id for run in runs}) == MESSAGES
        # Side by side, yet each message's own statuses in their order.
        by_message: dict[str, list[str]] = {}
        for message_id, _, status in received:
            by_message.setdefault(message_id, []).append(status)
        assert by_message == {run.message_id: ["plan", "sent", "delivered"] for run in runs}
        assert list(by_message) != [run.message_id for run in runs]
        # And the same messages that one thread makes for a receiver in process.
        assert told(runs) == told(alone.send_many(MESSAGES, scenario="delivered", concurrency=1))
        journal = engagelab.journal
        assert Counter(journal.deliveries) == Counter(each for run in runs for each in run.deliveries)
        assert all(attempt.acknowledged and attempt.response is not None for attempt in journal.attempts)
        assert len(journal.attempts) == 3 * MESSAGES
        assert len(engagelab.pending) == MESSAGES


def test_a_duplicate_shows_in_the_table(url: str, database: Path) -> None:
    receiver = Receiver.http(url, username="acme", secret="s3cret", limit=PATIENCE)
    with EngageLab(receiver) as engagelab:
        runs = engagelab.send_many(20, scenario=["plan"], fault="duplicate", concurrency=5)
        assert Counter(table(database)) == Counter(told(runs) * 2)
