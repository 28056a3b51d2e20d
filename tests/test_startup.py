"""What importing the package and its plugin costs: nothing heavy comes along before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What may load inside fixtures and commands only.
HEAVY = (
    *("werkzeug", "responses", "requests", "faker", "msgspec", "http.client"),
    *("asyncio", "sqlite3", "click", "rich", "urllib3", "ssl"),
)


def run(program: str, *, cwd: Path | None = None, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def heavy_after(program: str, *, given: str = "import pytest") -> list[str]:
    """Run a program in a new interpreter and return the heavy modules it loaded beyond those of `given`."""
    output = run(f"import sys\n{given}\nbefore = set(sys.modules)\n{program}\nprint(*(set(sys.modules) - before))")
    loaded = set(output.splitlines()[-1].split())
    return [name for name in HEAVY if name in loaded]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import engagelab_mock.pytest_plugin", id="plugin"),
        pytest.param("import engagelab_mock", id="package"),
        pytest.param("import engagelab_mock; dir(engagelab_mock)", id="names"),
        pytest.param(
            "from engagelab_mock import VirtualClock, Generator, Status, Channel, UsageError", id="light names"
        ),
    ],
)
def test_importing_loads_nothing_heavy(program: str) -> None:
    assert heavy_after(program) == []


def test_importing_the_package_needs_not_even_pytest() -> None:
    assert heavy_after("import engagelab_mock", given="") == []
    assert "pytest" not in run("import sys, engagelab_mock\nprint(*sys.modules)").split()


@pytest.mark.parametrize("name", ["msgspec", "asyncio", "http.client", "faker"])
def test_something_heavy_would_be_noticed(name: str) -> None:
    assert name in heavy_after(f"import {name}")


def test_importing_the_command_line_does_not_load_the_checks() -> None:
    output = run("import sys, engagelab_mock.cli\nprint(*sys.modules)")
    assert "engagelab_mock.cli.check" in output.split()
    assert "engagelab_mock.checks.catalogue" not in output.split()


IN_PROCESS_SEND = """
from engagelab_mock import EngageLab, Receiver

def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]

with EngageLab(Receiver.wsgi(app, username="acme", secret="s3cret")) as engagelab:
    assert engagelab.send("+6591234567").statuses == ["plan", "sent", "delivered", "verified"]
with EngageLab() as engagelab:
    engagelab.send("+6591234567", scenario="fallback")
"""


def test_an_in_process_send_loads_only_the_engine() -> None:
    assert heavy_after(IN_PROCESS_SEND, given="") == ["msgspec"]


PRINT_MODULES = """
def pytest_sessionfinish(session):
    import sys
    print("\\nloaded:", *sys.modules)
"""


def modules_of_a_test_run(directory: Path, *plugins: str) -> set[str]:
    """Run a test file that uses no fixture, with the named plugins alone, and return the modules that it loaded."""
    directory.joinpath("conftest.py").write_text(PRINT_MODULES)
    directory.joinpath("test_plain.py").write_text("def test_plain():\n    pass\n")
    arguments = ["-q", "-p", "no:cacheprovider", *(argument for plugin in plugins for argument in ("-p", plugin))]
    output = run(
        f"import pytest; raise SystemExit(pytest.main({arguments!r}))",
        cwd=directory,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        PYTEST_ADDOPTS="",
    )
    assert "1 passed" in output
    (line,) = [line for line in output.splitlines() if line.startswith("loaded:")]
    return set(line.split()[1:])


def test_a_test_run_without_our_fixtures_loads_nothing_heavy_for_us(tmp_path: Path) -> None:
    without = modules_of_a_test_run(tmp_path)
    with_us = modules_of_a_test_run(tmp_path, "engagelab_mock.pytest_plugin")
    added = with_us - without
    assert {name for name in added if name.startswith("engagelab_mock")} == {
        "engagelab_mock",
        "engagelab_mock.pytest_plugin",
    }
    assert added & set(HEAVY) == set()
