"""A Django project's own tests: its views write in the test's transaction, or the error names the missing setup."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNERS = {
    "django": ["django", "test", "tests.real.django_rows.rows"],
    "pytest_django": [
        "pytest",
        "--noconftest",
        "-c",
        os.devnull,
        "-p",
        "no:cacheprovider",
        "tests/real/django_rows/rows.py",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("runner", RUNNERS)
def test_the_project_passes_its_tests(runner: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(runner) is None:
        pytest.skip("it is not installed")
    given = {
        "DJANGO_SETTINGS_MODULE": "tests.real.django_rows.settings",
        "ROWS_DATABASE": str(tmp_path / "rows.sqlite3"),
    }
    tested = subprocess.run(
        [sys.executable, "-m", *RUNNERS[runner]],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "Ran 11 tests" in tested.stderr or " 11 passed" in tested.stdout
