"""Programs of other languages, which some tests need, and packages of npm."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

#: How long a program may take to compile, to install or to start before the test is called stuck, in seconds. Only a
#: machine that does much else at the same time needs more than a few.
PATIENCE = 600.0
#: A command for each starter in another language, which succeeds if all that the starter needs is here.
RUNTIMES = {
    "node": ["node", "--version"],
    "express": ["node", "--version"],
    "php": ["php", "-r", "new PDO('sqlite::memory:');"],
    "go": ["go", "version"],
    "java": ["javac", "--version"],
    "ruby": ["ruby", "-r", "webrick", "-e", "0"],
}


@cache
def skip_without_runtime(name: str) -> None:
    """Skip the test if the program for a starter is not here."""
    program, *arguments = RUNTIMES[name]
    found = shutil.which(program)
    if not found or subprocess.run([found, *arguments], capture_output=True, timeout=PATIENCE).returncode:
        pytest.skip(f"`{' '.join(RUNTIMES[name])}` does not run here")


@cache
def npm_install(folder: Path, *packages: str) -> Path:
    """Install packages into a folder and return it; skip the test if that is not possible."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    command = [npm, "install", "--no-fund", "--no-audit", "--silent", "--prefix", str(folder), *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
    return folder


def await_listening(program: subprocess.Popen[str], port: int) -> None:
    """Wait until a program listens at a port. Fail as soon as it has ended instead."""
    ends = time.monotonic() + PATIENCE
    while program.poll() is None and time.monotonic() < ends:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        with suppress(subprocess.TimeoutExpired):
            program.wait(0.05)
    raise AssertionError(f"nothing listens at port {port}; the program's exit code: {program.poll()}")
