"""`load` as Locust's master with two workers, each a program: their ledgers are judged together."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Spawn
from tests.cli.test_load import summary_of, target
from tests.integrations.locust_process import needs_locust
from tests.load import shop

pytestmark = [pytest.mark.slow, needs_locust]

LOAD = ("--rate", "100", "--duration", "2", "--mix", "verified=8,fallback=1", "--duplicates", "0.1", "--reorder", "0.1")
SHARED = ("--spacing", "0.2", "--effect", "credits=verified", "--ledger", "kept", "--seed", "a", "--format", "json")


@pytest.mark.parametrize("app", [shop.Shop, shop.Drops])
def test_a_master_and_two_workers_find_what_is_wrong_and_nothing_else(
    app: type[shop.Shop], spawn: Spawn, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setenv("LOCUST_MASTER_BIND_PORT", port)
    monkeypatch.setenv("LOCUST_MASTER_NODE_PORT", port)
    with target(app()) as arguments:
        options = (*arguments, *LOAD, *SHARED)
        master = spawn("load", *options, "--master", "--processes", "2")
        workers = [spawn("load", *options, "--worker") for _ in range(2)]
        out, err = master.communicate()
        for worker in workers:
            worker.communicate()
        ledgers = [str(each) for each in sorted(Path("kept").iterdir())]
        later = command("load", "report", *ledgers, *arguments[5:], "--effect", "credits=verified", "--format", "json")
    summary = summary_of(out)
    assert len(ledgers) == 2, err
    assert (summary["workers"], summary["made"], summary["failed"]) == (2, summary["asked"], 0)
    assert summary["observed"] == summary["messages"] > 30
    assert summary["problems"] == []
    assert set(summary["counts"]) == ({"lost"} if app is shop.Drops else set())
    assert (master.returncode, later.code) == ((1, 1) if app is shop.Drops else (0, 0))
    assert summary_of(later.out)["counts"] == summary["counts"]
