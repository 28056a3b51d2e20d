"""A stack as a separate process, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engagelab_mock import EngageLab, Receiver
from tests.real.stacks.apps import SECRET, USERNAME
from tests.real.stacks.record import Record

_ROOT = Path(__file__).parents[3]
#: How long a server may take to start, and to answer, in seconds.
PATIENCE = 20.0
#: How long a server that is told to stop may take before it is killed, in seconds.
_GRACE = 5.0


class Stack:
    """A server with an app on it, and the app's records."""

    def __init__(self, name: str, url: str, record: Record) -> None:
        self.name = name
        self.url = url
        self.record = record

    def receiver(self, path: str = "/engagelab") -> Receiver:
        """Return it as a receiver."""
        return Receiver.http(f"{self.url}{path}", username=USERNAME, secret=SECRET, limit=PATIENCE)


@contextmanager
def running(name: str, directory: Path) -> Iterator[Stack]:
    """Start a stack and yield it once it has answered; its processes always end with the block."""
    record = Record(directory / "record.jsonl")
    with serving("tests.real.stacks.servers", [name, str(record.path)], directory) as url:
        stack = Stack(name, url, record)
        await_answer(stack.receiver(), directory)
        yield stack


@contextmanager
def serving(module: str, arguments: list[str], directory: Path) -> Iterator[str]:
    """Run a module that serves on a socket that listens already, and yield where; its processes end with the block.

    It is called with the socket's descriptor and the arguments. What it says goes to log.txt.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, (directory / "log.txt").open("wb") as log:
        descriptor = listener.fileno()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(descriptor), *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    try:
        yield url
    finally:
        _stop(process)


def await_answer(receiver: Receiver, directory: Path) -> None:
    """Wait until a server answers, which listens already: the request waits until it is taken up."""
    with EngageLab(receiver) as engagelab:
        ping = engagelab.validate_address(check=False)
    assert ping.acknowledged, f"{ping!r}\n{(directory / 'log.txt').read_text(encoding='utf-8')}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    # What is left of the session: a server that did not stop, a worker without its master.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_GRACE)
