"""A receiver in any language: a program of its own, reached by its URL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagelab_mock import EngageLab, Receiver

PROGRAM = [sys.executable, str(Path(__file__).with_name("receiver_program.py"))]


# [fixtures]
@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()


@pytest.fixture
def engagelab_receiver(program: subprocess.Popen[str]) -> Receiver:
    assert program.stdout is not None
    port = program.stdout.readline().strip()  # it prints its port once it listens
    return Receiver.http(f"http://127.0.0.1:{port}/engagelab", username="acme", secret="s3cret")


# [tests]
def test_the_program_sees_every_status(engagelab: EngageLab, program: subprocess.Popen[str]) -> None:
    engagelab.validate_address()
    engagelab.send("+6591234567", scenario="sent_failed")
    assert program.stdout is not None
    assert [program.stdout.readline().strip() for _ in range(2)] == ["plan", "sent_failed"]


# [ready]
@pytest.mark.slow
def test_it_is_ready_for_production(engagelab_receiver: Receiver) -> None:
    """Run `engagelab-mock check URL --observe …`, as in a job of CI."""
    command = ["engagelab-mock", "check", engagelab_receiver.address, "--fail-on", "major"]
    command += ["--observe", engagelab_receiver.address.replace("/engagelab", "/messages/{message_id}")]
    checked = subprocess.run([*command, "--username", "acme", "--secret", "s3cret"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    # [end ready]
    assert "✓ B  Signature" in checked.stdout
