"""A load on real servers: Flask on gunicorn with SQLite, with PostgreSQL and with the SDK's view; FastAPI; Node."""

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
from engagelab_mock.protocol.status import Effects

pytestmark = pytest.mark.slow

PATIENCE = 20.0
CREDITS = {"credits": "verified"}
MIX = {"verified": 8, "fallback": 1, "lost": 1}
ROOT = Path(__file__).parents[2]


@contextmanager
def served(
    command: list[str], directory: Path, *, database: str = "", drops: int = 0, bug: str = ""
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server that takes over a listening socket, so that no request comes too early."""
    environment = os.environ | {"LOAD_DROPS": str(drops), "LOAD_BUG": bug, "HOME": str(directory)}
    environment["LOAD_DATABASE"] = database or str(directory / "db")
    creates = "tests.load.postgres_app" if database else "tests.load.flask_app"
    subprocess.run([sys.executable, "-m", creates], cwd=ROOT, env=environment, check=True)
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


_GTHREAD = ["gunicorn", "--bind", "fd://FD", "--worker-class", "gthread", "--threads", "4", "--keep-alive", "5"]
GUNICORN = [*_GTHREAD, "--workers", "2", "--log-level", "error", "tests.load.flask_app:app"]
POSTGRES = [*GUNICORN[:-1], "tests.load.postgres_app:app"]
#: It keeps what it did in memory.
SDK = [*_GTHREAD, "--workers", "1", "--log-level", "error", "tests.load.sdk_app:app"]
UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "error", "tests.load.fastapi_app:app"]


def receiver_at(base: str, limit: float = 3.0, effects: Effects | None = CREDITS) -> Receiver:
    observe = observer(f"{base}/state/{{message_id}}", None)
    return Receiver.http(
        f"{base}/engagelab", username="acme", secret="s3cret", limit=limit, observe=observe, effects=effects
    )


def loaded(base: str, *, effects: Effects | None = CREDITS, **options: object) -> LoadSummary:
    with EngageLab(receiver_at(base, effects=effects)) as engagelab:
        given: dict[str, object] = {"mix": MIX, "duplicates": 0.05, "reorder": 0.1, "check": False, **options}
        return engagelab.load(rate=60, duration=3, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [GUNICORN, UVICORN], ids=["Flask on gunicorn", "FastAPI on uvicorn"])
def test_a_right_app_on_a_real_server_is_clean(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip(command[0])
    with served(command, tmp_path) as (base, _):
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
    with served(GUNICORN, tmp_path, drops=8) as (base, _):
        summary = loaded(base)
    # Some of them were delivered before the load.
    dropped = {*(tmp_path / "dropped").read_text().split()}
    assert {case.message_id for case in summary.cases} == dropped
    assert summary.counts == {"lost": len(dropped)}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    pytest.importorskip("gunicorn")
    from tests.postgres import running_postgres  # the driver is large, and few tests need it

    with running_postgres() as connection:
        yield connection


@contextmanager
def new_database(connection: str, name: str) -> Iterator[str]:
    import psycopg

    with psycopg.connect(connection, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"'.encode())
        yield f"{connection} dbname={name}"
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_a_right_app_with_postgresql_is_clean_and_one_without_a_unique_key_doubles(
    postgres: str, tmp_path: Path
) -> None:
    found = {}
    for bug in ("", "doubles"):
        with (
            new_database(postgres, f"load{bug}") as database,
            served(POSTGRES, tmp_path, database=database, bug=bug) as (base, _),
        ):
            found[bug] = loaded(base, ledger=tmp_path / f"ledger{bug}")
    found[""].assert_clean()
    assert found[""].observed == found[""].messages
    doubled = duplicates_of("verified", tmp_path / "ledgerdoubles")
    assert {case.message_id for case in found["doubles"].cases} == doubled
    assert found["doubles"].counts == {"doubled": len(doubled)}


def duplicates_of(status: str, path: Path) -> set[str]:
    """Return the messages that got a callback of a status twice, at least one."""
    found = {entry.message_id for entry in LedgerReader(path) if entry.copy and entry.status == status}
    assert found, "the plan has no such duplicate: choose another seed"
    return found


#: The handler of the SDK's README acts on these statuses.
TERMINAL = {"delivered": "delivered", "verified": "verified"}


@pytest.mark.parametrize("effects", [TERMINAL, None], ids=["declared", "learned"])
def test_the_view_of_the_sdk_doubles_as_its_readme_shows_it_and_does_nothing_else(
    tmp_path: Path, effects: Effects | None
) -> None:
    pytest.importorskip("gunicorn")
    with served(SDK, tmp_path, bug="doubles") as (base, _):
        summary = loaded(base, effects=effects, ledger=tmp_path / "ledger")
    doubled = {name for status in TERMINAL for name in duplicates_of(status, tmp_path / "ledger")}
    assert {case.message_id for case in summary.cases} == doubled
    assert summary.counts == {"doubled": len(doubled)}
    assert summary.failed == 0


@pytest.mark.parametrize("effects", [TERMINAL, None], ids=["declared", "learned"])
def test_the_view_of_the_sdk_is_clean_with_a_handler_that_checks_for_duplicates(
    tmp_path: Path, effects: Effects | None
) -> None:
    pytest.importorskip("gunicorn")
    with served(SDK, tmp_path) as (base, _):
        loaded(base, effects=effects).assert_clean()


def test_the_view_of_the_sdk_loses_the_callbacks_whose_handler_raised(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    with served(SDK, tmp_path, bug="raises") as (base, _):
        summary = loaded(base, effects=TERMINAL, ledger=tmp_path / "ledger")
    verified = {entry.message_id for entry in LedgerReader(tmp_path / "ledger") if entry.status == "verified"}
    raised = {name for name in verified if int(name) // 2 % 8 == 0}
    found = {case.message_id for case in summary.cases}
    assert raised
    assert found & verified == raised
    assert all(int(name) // 2 % 8 == 0 for name in found)  # some came before the load
    assert summary.counts == {"lost": len(found)}
    assert summary.failed == 0


def test_a_receiver_that_stood_still_shows_in_the_latencies(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with served(UVICORN, tmp_path) as (base, server):
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
    assert summary.latency.p99 > 1
    assert summary.latency.maximum > 1.4
    assert max(second.waiting for second in summary.seconds) > 30
