"""`engagelab-mock explore` and receivers in other languages: it finds their mistakes, and the correct ones pass."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock.cli import main
from tests.runtimes import PATIENCE

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "languages"
NODE = pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")


def start_node(directory: Path) -> list[str]:
    return ["node", str(HERE / "receiver.mjs")]


def start_express(directory: Path) -> list[str]:
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    for name in ("shop.mjs", "express_receiver.mjs"):
        shutil.copy(HERE / name, directory)
    install = ["npm", "install", "--no-audit", "--no-fund", "--cache", str(directory / "cache"), "express"]
    done = subprocess.run(install, cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install express: {done.stderr.strip()[:200]}")
    return ["node", str(directory / "express_receiver.mjs")]


def start_go(directory: Path) -> list[str]:
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    program = str(directory / "receiver")
    build = ["go", "build", "-o", program, str(HERE / "receiver.go")]
    subprocess.run(build, cwd=directory, check=True, capture_output=True, timeout=PATIENCE)
    return [program]


@pytest.fixture(
    scope="module",
    params=[pytest.param(start_node, marks=NODE), pytest.param(start_express, marks=NODE), start_go],
    ids=["node", "express", "go"],
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command that starts a receiver."""
    made: list[str] = request.param(tmp_path_factory.mktemp("receiver"))
    return made


@contextmanager
def running(program: list[str], mode: str) -> Iterator[str]:
    """Run a receiver, and yield its address without a path."""
    with subprocess.Popen([*program, mode], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def explore(base: str, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and the last object of each type."""
    look = ("--observe", f"{base}/state/{{message_id}}", "--reset", f"{base}/reset", "--timeout", "30")
    code = main(["explore", f"{base}/engagelab", *look, "--format", "json", *options])
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {each["type"]: each for each in printed}


@pytest.mark.parametrize(
    ("mode", "options", "token"),
    [
        ("last", (), "eg1:verified,delivered"),
        ("twice", (), "eg1:verified*2"),
        ("racing", ("--concurrent", "2"), "eg1:verified|verified"),
    ],
)
def test_a_mistake_is_found_and_its_token_fails_again(
    program: list[str], mode: str, options: tuple[str, ...], token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(program, mode) as base:
        code, printed = explore(base, capsys, *options)
        assert (code, printed["failure"]["token"]) == (1, token)
        assert printed["failure"]["rounds"] == (50 if options else 0)
        code, printed = explore(base, capsys, "--replay", token)
        assert (code, printed["failure"]["token"]) == (1, token)
    with running(program, "correct") as base:
        assert explore(base, capsys, "--replay", token)[0] == 0


def test_a_correct_receiver_passes(program: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with running(program, "correct") as base:
        code, printed = explore(base, capsys, "--effect", "credits=verified", "--terminal", "verified")
        assert (code, printed["summary"]["schedules"], printed["summary"]["notes"]) == (0, 264, [])
        code, printed = explore(base, capsys, "--concurrent", "2", "--rounds", "10")
        assert (code, printed["summary"]["schedules"]) == (0, 7 * 10)
        assert "a search, and not a proof" in printed["summary"]["notes"][0]


def test_one_at_a_time_the_racing_receiver_is_right(program: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with running(program, "racing") as base:
        assert explore(base, capsys)[0] == 0


@NODE
def test_a_receiver_that_ignores_unknown_messages_needs_prepare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(start_node(tmp_path), "ignoring") as base:
        code, printed = explore(base, capsys)
        assert (code, printed["error"]["error"]) == (2, "NothingObserved")
        assert "give --prepare, if the app ignores messages that it did not send" in printed["error"]["hint"]
        code, printed = explore(base, capsys, "--prepare", f"{base}/messages")
        assert (code, printed["summary"]["failures"]) == (0, 0)
