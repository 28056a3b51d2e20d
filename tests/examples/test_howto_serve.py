"""`engagelab-mock serve` beside an app: started by a fixture, used with the official SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from engagelab_mock.config import read_file

# [client]
from engagelab_otp import OTPClient  # isort: skip


def log_in(url: str, to: str) -> bool:
    client = OTPClient("key", "secret")
    client.BASE_URL = f"{url}/v1"
    sent = client.send(to, "login")
    with urlopen(f"{url}/_mock/inbox/{to}?wait=5") as inbox:
        code = json.load(inbox)["code"]
    verified: bool = client.verify(sent["message_id"], code)["verified"]
    return verified


# [fixtures]
@pytest.fixture
def mock_url() -> Iterator[str]:
    command = [sys.executable, "-m", "engagelab_mock", "serve", "--port", "0", "--format", "json", "--speed", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
        server.terminate()


# [tests]
def test_a_user_logs_in(mock_url: str) -> None:
    assert log_in(mock_url, "+6591234567")


# [end]


def test_the_file_is_one_that_serve_takes() -> None:
    settings = read_file(Path(__file__).with_name("serve.toml"))
    assert settings["speed"] == 10
    assert isinstance(settings["receivers"], list)
