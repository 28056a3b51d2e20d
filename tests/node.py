"""Packages of npm, installed into a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest


@cache
def npm_install(folder: Path, *packages: str) -> Path:
    """Install packages into a folder and return it; skip the test if that is not possible."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    command = [npm, "install", "--no-fund", "--no-audit", "--silent", "--prefix", str(folder), *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
    return folder
