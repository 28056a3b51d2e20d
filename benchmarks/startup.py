"""G1: how much slower pytest starts when the plugin is installed and not used."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.installed import Installed
from benchmarks.row import Row
from benchmarks.timing import Effort

#: In percent, on top of pytest alone.
_BUDGET = 2.5


def measure(effort: Effort) -> Iterator[Row]:
    """Compare `pytest --collect-only` in an empty directory with and without the plugin.

    First with no rewritten module kept from an earlier run, as in a container that writes no bytecode; then with all.
    Instructions repeat to a part in ten thousand and are counted where valgrind is installed; CPU time, taken
    elsewhere, cannot tell one percent from none.
    """
    with tempfile.TemporaryDirectory() as directory:
        installed = Installed(Path(directory))
        yield _row(effort, installed, "cold rewrite cache", write_bytecode=False)
        installed.prime(installed.with_plugin)
        yield _row(effort, installed, "warm rewrite cache", write_bytecode=True)


def _row(effort: Effort, installed: Installed, cache: str, *, write_bytecode: bool) -> Row:
    def count(path: Path) -> int:
        environment = installed.environment(path, write_bytecode=write_bytecode)
        return _instructions(installed.command(), installed.empty, environment)

    paths = (installed.without, installed.with_plugin)
    if effort.instructions and shutil.which("valgrind"):
        # Other work on the machine does not change a count of instructions, so both can run at once.
        with ThreadPoolExecutor(2) as pool:
            without, with_plugin = (count / 1e6 for count in pool.map(count, paths))
        unit = "million_instructions"
    else:
        taken: dict[Path, list[float]] = {path: [] for path in paths}
        for _ in range(effort.processes):
            for path in paths:
                environment = installed.environment(path, write_bytecode=write_bytecode)
                taken[path].append(_cpu_seconds(installed.command(), installed.empty, environment))
        without, with_plugin = (min(taken[path]) * 1e3 for path in paths)
        unit = "cpu_ms"
    return Row(
        goal="G1",
        what=f"pytest start-up on top of pytest alone, plugin unused, {cache}",
        value=(with_plugin / without - 1) * 100,
        budget=_BUDGET,
        unit="%",
        context={f"without_{unit}": without, f"with_{unit}": with_plugin},
    )


def _instructions(command: list[str], directory: Path, environment: dict[str, str]) -> int:
    cachegrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    counted = re.search(r"I\s+refs:\s+([\d,]+)", _stderr([*cachegrind, *command], directory, environment))
    if counted is None:
        raise RuntimeError("valgrind counted nothing")
    return int(counted[1].replace(",", ""))


def _cpu_seconds(command: list[str], directory: Path, environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _stderr(command, directory, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _stderr(command: list[str], directory: Path, environment: dict[str, str]) -> str:
    ran = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError(f"pytest did not start as it should:\n{ran.stdout[-1000:]}{ran.stderr[-1000:]}")
    return ran.stderr
