"""A load on real servers: Flask on gunicorn and FastAPI on uvicorn with SQLite, and Node's http server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engagelab_mock import EngageLab, LoadSummary, Receiver
from engagelab_mock.cli.observing import observer
from engagelab_mock.load.ledger import LedgerReader
from engagelab_mock.load.run import LoadRun, run_load
from engagelab_mock.load.sender import Counts

pytestmark = pytest.mark.slow

PATIENCE = 20.0
MIX = {"verified": 8, "fallback": 1, "lost": 1}
ROOT = Path(__file__).parents[2]


@contextmanager
def served(command: list[str], database: Path, *, drops: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server that takes over a listening socket, so that no request comes too early."""
    environment = os.environ | {"LOAD_DATABASE": str(database), "LOAD_DROPS": str(drops), "HOME": str(database.parent)}
    subprocess.run([sys.executable, "-m", "tests.load.flask_app"], cwd=ROOT, env=environment, check=True)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        number = str(listening.fileno())
        filled = [sys.executable, "-m", *(part.replace("FD", number) for part in command)]
        server = subprocess.Popen(
            filled, cwd=ROOT, env=environment, pass_fds=[listening.fileno()], stdout=subprocess.DEVNULL, text=True
        )
    try:
        yield base, server
    finally:
        server.send_signal(signal.SIGCONT)
        server.terminate()
        server.wait(PATIENCE)


GUNICORN = ["gunicorn", "--bind", "fd://FD", "--worker-class", "gthread", "--workers", "2", "--threads", "4"]
GUNICORN += ["--keep-alive", "5", "--log-level", "error", "tests.load.flask_app:app"]
UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "error", "tests.load.fastapi_app:app"]


def receiver_at(base: str, limit: float = 3.0) -> Receiver:
    observe = observer(f"{base}/state/{{message_id}}", None)
    return Receiver.http(
        f"{base}/engagelab",
        username="acme",
        secret="s3cret",
        limit=limit,
        observe=observe,
        effects={"credits": "verified"},
    )


def loaded(base: str, **options: object) -> LoadSummary:
    with EngageLab(receiver_at(base)) as engagelab:
        given: dict[str, object] = {"mix": MIX, "duplicates": 0.05, "reorder": 0.1, "check": False, **options}
        return engagelab.load(rate=60, duration=3, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [GUNICORN, UVICORN], ids=["Flask on gunicorn", "FastAPI on uvicorn"])
def test_a_right_app_on_a_real_server_is_clean(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip(command[0])
    with served(command, tmp_path / "db") as (base, _):
        loaded(base, faults={"ack_lost": 0.02}).assert_clean()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_a_right_app_on_node_is_clean() -> None:
    command = ["node", str(Path(__file__).with_name("node_app.js"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        assert node.stdin is not None
        base = f"http://127.0.0.1:{node.stdout.readline().strip()}"
        loaded(base).assert_clean()
        node.stdin.close()


def test_messages_dropped_after_the_200_are_named(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    with served(GUNICORN, tmp_path / "db", drops=8) as (base, _):
        summary = loaded(base, ledger=tmp_path / "ledger")
    sent = {entry.message_id for entry in LedgerReader(tmp_path / "ledger")}
    # Messages that were delivered before the load can be dropped, too.
    dropped = sent & {*(tmp_path / "dropped").read_text().split()}
    assert {case.message_id for case in summary.cases} == dropped
    assert summary.counts == {"lost": len(dropped)}


def test_a_receiver_that_stood_still_shows_in_the_latencies(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with served(UVICORN, tmp_path / "db") as (base, server):
        stopped: list[bool] = []

        def progress(elapsed: float, counts: Counts) -> None:
            if counts.sent > 60 and not stopped:
                server.send_signal(signal.SIGSTOP)
                stopped.append(True)
                stopped_at.append(elapsed)
            if stopped and elapsed > stopped_at[0] + 1.5:
                server.send_signal(signal.SIGCONT)

        stopped_at: list[float] = []
        receiver = receiver_at(base, limit=10)
        summary = run_load(LoadRun(receiver, {"rate": 60, "duration": 4, "mix": MIX}, progress=progress))
    summary.assert_clean()
    # A closed model would have waited, and counted one slow callback.
    assert summary.latency.p90 > 0.3
    assert summary.latency.maximum > 1.4
    assert max(second.waiting for second in summary.seconds) > 30
