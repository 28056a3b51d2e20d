"""A PostgreSQL server for tests: the one that is installed, in a temporary directory, behind a socket in it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from tests.receivers.racing import folder

#: Set if a server is installed for the tests: then they fail without a server, and are not skipped.
REQUIRED = "ENGAGELAB_MOCK_TEST_POSTGRESQL"
#: The server need not survive a crash of the machine. It waits shortly before it looks for a deadlock.
_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "deadlock_timeout=100ms")
_PATIENCE = 60.0


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server, and yield what connects to its database; without a server, skip the test."""
    programs = _programs()
    with TemporaryDirectory(dir=folder()) as directory:
        options: dict[str, Any] = {"cwd": directory, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        if os.getuid() == 0:
            # The server refuses to run as root.
            user = pwd.getpwnam("nobody")
            os.chown(directory, user.pw_uid, user.pw_gid)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = f"{directory}/data"
        create = [f"{programs}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run(create, check=True, timeout=_PATIENCE, stderr=subprocess.PIPE, **options)
        serve = [f"{programs}/postgres", "-D", data, "-k", directory, "-c", "listen_addresses="]
        # It ends if this process ends in any way.
        setpriv = shutil.which("setpriv")
        before = [setpriv, "--pdeathsig", "QUIT"] if setpriv else []
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        with Path(directory, "log").open("wb") as log:
            server = subprocess.Popen([*before, *serve, *settings], stderr=log, **options)
        try:
            connection = f"host={directory} user=postgres"
            _await(server, connection, Path(directory, "log"))
            yield connection
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(_PATIENCE)


def _programs() -> Path:
    """Return the folder with the programs of the server. Debian has them outside of the PATH."""
    found = [Path(program).parent for program in [shutil.which("initdb")] if program]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for each in found:
        if (each / "initdb").exists() and (each / "postgres").exists():
            return each
    missing = "there is no PostgreSQL server: apt-get install postgresql"
    if os.environ.get(REQUIRED):
        pytest.fail(missing)
    pytest.skip(missing)


def _await(server: subprocess.Popen[bytes], connection: str, log: Path) -> None:
    """Wait until the server accepts connections."""
    ends = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < ends:
        with suppress(psycopg.OperationalError):
            psycopg.connect(connection).close()
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.02)
    pytest.fail(f"the PostgreSQL server does not answer: {log.read_text()}")
