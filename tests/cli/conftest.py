"""The command line as a user runs it: in this process, or as a separate program."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
import pytest
from engagelab_otp import WebhookVerifier

from engagelab_mock.cli import main
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.serving import Client, Inbound, Watched

if TYPE_CHECKING:
    from tests.cli.checked import Served

#: How long a program may take before it is killed, in seconds: much longer than any machine needs.
PATIENCE = 120.0

_OURS = ("ENGAGELAB_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Result]
Program = subprocess.Popen[str]
Spawn = Callable[..., Program]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty directory, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a program; it is killed at the end of the test, or when it takes too long."""
    programs: list[Program] = []
    watchdogs: list[threading.Timer] = []

    def start(*arguments: str, stderr: int = subprocess.PIPE) -> Program:
        # A suite run in the background ignores SIGINT, and would pass that on.
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            program = subprocess.Popen(
                [sys.executable, "-X", "dev", "-W", "error", "-m", "engagelab_mock", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # The child would get COLUMNS otherwise: readline, which pytest imports, sets it behind os.environ.
                env={**os.environ},
            )
        finally:
            signal.signal(signal.SIGINT, ours)
        watchdog = threading.Timer(PATIENCE, program.kill)
        watchdog.start()
        programs.append(program)
        watchdogs.append(watchdog)
        return program

    yield start
    for program, watchdog in zip(programs, watchdogs, strict=True):
        watchdog.cancel()
        with program:
            program.kill()


@pytest.fixture
def program(spawn: Spawn) -> Command:
    """Run a program to its end."""

    def run(*arguments: str) -> Result:
        process = spawn(*arguments)
        out, err = process.communicate()
        return Result(process.returncode, out, err)

    return run


@dataclass(frozen=True)
class SdkApp:
    """A Flask app whose receiver is the one of the official SDK."""

    url: str
    #: Every event its handler saw, in order.
    events: list[Any]


@pytest.fixture
def sdk_app() -> Iterator[SdkApp]:
    events: list[Any] = []
    app = flask.Flask("receiver")
    view = WebhookVerifier("acme", "s3cret").flask_view(events.extend)
    app.add_url_rule("/engagelab", "engagelab", view, methods=["POST"])
    with LoopbackServer(app) as server:
        yield SdkApp(f"{server.url}/engagelab", events)


@pytest.fixture
def failing_url() -> Iterator[str]:
    """The address of a receiver that always answers 500."""
    app = flask.Flask("failing")
    app.add_url_rule("/", "failing", lambda: ("", 500), methods=["POST"])
    with LoopbackServer(app) as server:
        yield f"{server.url}/"


@pytest.fixture
def closed_url() -> str:
    """The address of a port that no server listens on."""
    server = LoopbackServer(flask.Flask("gone"))
    server.stop()
    return f"{server.url}/"


Explore = Callable[..., Any]


@pytest.fixture
def explore(command: Command) -> Explore:
    """Explore a shop that shows its state and can be reset."""

    def run(base: str, *options: str, look: bool = True, reset: bool = True, form: str = "json") -> Any:
        looks = ["--observe", f"{base}/state/{{message_id}}"] * look + ["--reset", f"{base}/reset"] * reset
        return command("explore", f"{base}/engagelab", *looks, "--format", form, *options)

    return run


@pytest.fixture
def receiver() -> Iterator[tuple[Inbound, str]]:
    recorder = Inbound(username="acme", secret="s3cret")
    with LoopbackServer(recorder) as server:
        yield recorder, f"{server.url}/engagelab"


Serving = Callable[..., tuple[Program, Client]]


@pytest.fixture
def serving(spawn: Spawn) -> Serving:
    """Start `serve`, and wait for the line that says where."""

    def start(*arguments: str) -> tuple[Program, Client]:
        program = spawn("serve", "--port", "0", *arguments)
        assert program.stdout is not None
        first = program.stdout.readline()
        assert first.startswith("Serving on ")
        return program, Client(first.split()[-1])

    return start


def end(program: Program, number: int = signal.SIGTERM) -> Result:
    program.send_signal(number)
    out, err = program.communicate()
    return Result(program.returncode, out, err)


def wait_for_lines(program: Program, pattern: str, count: int) -> None:
    """Read the log until so many lines fit; the program's end, or the watchdog's, ends it as well."""
    assert program.stderr is not None
    while count:
        line = program.stderr.readline()
        assert line, "the program ended before that was logged"
        count -= bool(re.search(pattern, line))


@pytest.fixture
def correct(tmp_path: Path) -> Iterator[Served]:
    from tests.checks.receivers.correct import CorrectReceiver  # only the tests of `check` need it
    from tests.cli.checked import serve

    yield from serve(CorrectReceiver, tmp_path)


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Served]:
    from tests.checks.receivers.verifying import ForgetsNonces
    from tests.cli.checked import serve

    yield from serve(ForgetsNonces, tmp_path)


Watch = Callable[..., Watched]


@pytest.fixture
def watch(capsys: pytest.CaptureFixture[str]) -> Iterator[Watch]:
    """Log what a server in this process does; afterwards the logger is as it was."""
    logger = logging.getLogger("engagelab_mock.server")
    before = list(logger.handlers), logger.level, logger.propagate
    yield partial(Watched, capsys)
    logger.handlers, _, logger.propagate = before
    logger.setLevel(before[1])
