"""G2: what the `engagelab` fixture costs a test that does not use it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.peers import why_missing
from benchmarks.row import Row
from benchmarks.timing import Effort

#: No more than the peer in the same run.
_BUDGET = 1.0
_PEER = "httpserver"

#: Times each test from the outside, so that what pytest does around a fixture counts as well.
_CONFTEST = """
import gc, json, os, time
import pytest

TAKEN = {}

@pytest.fixture
def trivial():
    return 1

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    started = time.perf_counter()
    result = yield
    TAKEN.setdefault(item.name.split("_")[1], []).append(time.perf_counter() - started)
    return result

def pytest_collection_finish():
    gc.collect()
    gc.disable()

def pytest_sessionfinish():
    with open(os.environ["BENCHMARK_TAKEN"], "w") as file:
        json.dump(TAKEN, file)
"""
_KINDS = {"bare": "", "trivial": "trivial", "engagelab": "engagelab", _PEER: _PEER}


def measure(effort: Effort) -> Iterator[Row]:
    """Run sessions in which bare tests, and tests with one fixture each, follow one another in turn.

    The cost of a fixture is what its tests take over the bare ones. The first test of a kind imports what the fixture
    needs; that is G3's, and a median does not see it.
    """
    missing = why_missing("pytest_httpserver")
    kinds = {kind: fixture for kind, fixture in _KINDS.items() if kind != _PEER or not missing}
    with tempfile.TemporaryDirectory() as directory:
        sessions = [_session(effort, Path(directory), kinds) for _ in range(effort.sessions)]
    over = {
        kind: statistics.median((session[kind] - session["bare"]) * 1e6 for session in sessions)
        for kind in kinds
        if kind != "bare"
    }
    yield Row(
        goal="G2",
        what="unused `engagelab` fixture / unused `httpserver` of pytest-httpserver, over a bare test",
        value=None if missing else over["engagelab"] / over[_PEER],
        budget=_BUDGET,
        context={"bare_us": statistics.median(session["bare"] for session in sessions) * 1e6}
        | {f"{kind}_over_bare_us": figure for kind, figure in over.items()}
        | {"engagelab / trivial": over["engagelab"] / over["trivial"]},
        missing=missing,
    )


def _session(effort: Effort, directory: Path, kinds: Mapping[str, str]) -> dict[str, float]:
    taken = directory / "taken.json"
    (directory / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    (directory / "test_kinds.py").write_text(_tests(effort.tests, kinds), encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for plugin in ("engagelab_mock", "pytest_httpserver") if _PEER in kinds else ("engagelab_mock",):
        command += ["-p", plugin]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "BENCHMARK_TAKEN": str(taken)}
    ran = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"the session failed:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    figures: dict[str, list[float]] = json.loads(taken.read_text(encoding="utf-8"))
    return {kind: statistics.median(figures[kind]) for kind in kinds}


def _tests(count: int, kinds: Mapping[str, str]) -> str:
    return "".join(
        f"def test_{kind}_{number}({fixture}): pass\n" for number in range(count) for kind, fixture in kinds.items()
    )
