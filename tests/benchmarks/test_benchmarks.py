"""The benchmarks run and yield every row; the tests do not look at how fast anything is."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.__main__ import GOALS, main
from benchmarks.installed import Installed
from benchmarks.row import Row, Sense
from benchmarks.table import print_table, to_json
from benchmarks.timing import Effort
from benchmarks.why import WHY
from click.testing import CliRunner

TINY = Effort(
    rounds=2,
    calls=2,
    sessions=1,
    tests=3,
    processes=1,
    http_rounds=1,
    seconds=0.05,
    instructions=False,
    deliveries=2400,
    crowd_seconds=0.2,
    endurance_seconds=0.6,
)
#: How many rows each goal has. Without moto, which would add four to S1.
ROWS = {
    "G1": 2,
    "G2": 1,
    "G3": 5,
    "G4": 2,
    "G5": 1,
    "G6": 2,
    "G7": 1,
    "G8": 2,
    "L1": 2,
    "M1": 2,
    "S1": 4,
    "S2": 2,
    "S3": 1,
    "S4": 1,
    "C1": 4,
    "T1": 1,
    "E1": 2,
    "E2": 2,
    "E3": 3,
    "E4": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("goal", ROWS)
def test_each_goal_yields_its_rows(goal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = list(GOALS[goal](TINY))
    assert len(rows) == ROWS[goal]
    for row in rows:
        assert row.goal == goal
        assert row.budget > 0
        if row.value is None:
            assert row.missing in {"wrk is not installed", "locust is not installed"}
        else:
            assert math.isfinite(row.value)
            assert row.verdict.split(" by ")[0] in {"meets", "misses"}
        assert row.context
        assert all(math.isfinite(value) for value in row.context.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("goal", "peer", "unmeasured"),
    [("G2", "pytest_httpserver", 1), ("G3", "pytest_httpserver", 0), ("G6", "httpx", 0), ("G8", "requests", 2)],
)
def test_without_a_peer_its_row_says_so_and_the_others_are_measured(
    goal: str, peer: str, unmeasured: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)  # wrk is a peer, too
    monkeypatch.setitem(sys.modules, peer, None)
    rows = list(GOALS[goal](TINY))
    assert len(rows) == ROWS[goal]
    missing = [row for row in rows if row.value is None]
    assert len(missing) == unmeasured
    if missing:
        assert missing[0].verdict.startswith(f"not measured: {peer} cannot be imported: ")
    for row in rows:
        assert row.context
        assert (row.value is None) == bool(row.missing)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_goal_that_fails_keeps_its_rows_and_the_other_goals(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_and_fail(effort: Effort) -> Iterator[Row]:
        yield Row(goal="G1", what="before", value=1.0, budget=2.0)
        raise ModuleNotFoundError("No module named 'flask_cors'\nand more")

    def one(effort: Effort) -> Iterator[Row]:
        yield Row(goal="G2", what="after", value=1.0, budget=2.0)

    monkeypatch.setitem(GOALS, "G1", one_and_fail)
    monkeypatch.setitem(GOALS, "G2", one)
    file = tmp_path / "rows.json"
    result = CliRunner().invoke(main, ["--only", "G1,G2", "--format", form, "--json", str(file)])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["goal"], row["value"], row["meets"]) for row in rows] == [
        ("G1", 1.0, True),
        ("G1", None, False),
        ("G2", 1.0, True),
    ]
    assert rows[1]["verdict"] == "not measured: ModuleNotFoundError: No module named 'flask_cors'"
    assert rows[1]["why"] == ""
    assert "not" in result.stdout


@pytest.mark.parametrize(
    ("value", "sense", "verdict"),
    [
        (1.0, "at most", "meets"),
        (1.5, "at most", "misses by 0.5 x"),
        (1.0, "at least", "meets"),
        (0.75, "at least", "misses by 0.25 x"),
    ],
)
def test_a_verdict_says_by_how_much(value: float, sense: Sense, verdict: str) -> None:
    assert Row(goal="G0", what="", value=value, budget=1.0, sense=sense).verdict == verdict


@pytest.mark.slow
def test_only_one_of_the_two_start_ups_has_the_plugin(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    for path, expected in ((installed.without, False), (installed.with_plugin, True)):
        environment = installed.environment(path, write_bytecode=False)
        command = installed.command("--markers")
        ran = subprocess.run(command, cwd=installed.empty, env=environment, capture_output=True, text=True, check=True)
        assert ("@pytest.mark.engagelab" in ran.stdout) is expected


def test_json_is_printed_and_written_a_row_a_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    result = CliRunner().invoke(main, ["--quick", "--only", "g7", "--format", "json", "--json", str(file)])
    assert result.exit_code == 0
    (row,) = map(json.loads, result.stdout.splitlines())
    assert set(row) == {
        *("goal", "what", "value", "budget", "sense", "unit", "context", "missing", "meets", "verdict", "why")
    }
    assert file.read_text() == result.stdout


def test_the_table_names_goal_budget_and_verdict() -> None:
    result = CliRunner().invoke(main, ["--quick", "--only", "G7"])
    assert result.exit_code == 0
    assert "G7" in result.stdout
    assert "≥ 3 x" in result.stdout
    assert "meets" in result.stdout or "misses by" in result.stdout


def test_an_unknown_goal_is_refused() -> None:
    result = CliRunner().invoke(main, ["--only", "G99"])
    assert result.exit_code == 2
    assert "unknown goal 'G99'" in result.stderr


def test_a_miss_says_why_and_a_hit_has_nothing_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    missed = Row(goal="G2", what="", value=4.0, budget=1.2)
    met = Row(goal="G3", what="", value=10.0, budget=20.0)
    print_table([missed, met])
    printed = capsys.readouterr().out
    assert f"why G2 misses: {WHY['G2']}" in printed
    assert "why G3" not in printed
    assert json.loads(to_json(missed))["why"] == WHY["G2"]
    assert json.loads(to_json(met))["why"] == ""
