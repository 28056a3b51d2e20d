"""Standard streams that cannot be written: closed, on a full disk, or read by a program that has ended."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from engagelab_mock import Recorder
from engagelab_mock.cli import main
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import PATIENCE, Result, Spawn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")

COMMANDS = {
    "demo": "demo",
    "scenarios": "scenarios",
    "json": "scenarios --format json",
    "sign": "sign --username acme --secret s3cret",
    "send": "send verified --url {url}",
    "check": "check {url} --only A01",
    "explore": "explore {url} --scenario plan-sent --duplicates 0",
    "listen": "listen",
    "serve": "serve --port 0",
    "record": "record --forward {url} --out day.jsonl",
    "help": "--help",
    "help of a command": "send --help",
    "version": "--version",
}
FULL = "/dev/full"


@pytest.fixture
def url() -> Iterator[str]:
    with LoopbackServer(Recorder()) as server:
        yield f"{server.url}/"


def unbuffered(path: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(path, "w"), write_through=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_named_and_exits_1(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for opened in (open(FULL, "w", encoding="utf-8"), unbuffered(FULL)):  # noqa: SIM115, closed below
        with opened, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", opened)
            code = main(COMMANDS[name].format(url=url).split())
        said = capsys.readouterr().err
        assert code == 1
        assert said.count("Error: stdout cannot be written: No space left on device\n  hint: ") == 1
        Path("day.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["demo", "json", "serve", "help"])
def test_a_closed_stdout_is_named_and_exits_1(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        code = main(COMMANDS[name].format(url=url).split())

    assert code == 1
    assert capsys.readouterr().err.startswith("Error: stdout is closed\n  hint: ")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("a bug")

    monkeypatch.setattr("engagelab_mock.cli.signature.make_signature", fail)
    with pytest.raises(OSError, match="a bug"):
        main(["sign", "--username", "acme", "--secret", "s3cret"])


@pytest.mark.parametrize("stderr", ["closed", "full", "full, without a buffer"])
def test_without_stderr_the_exit_code_says_it(stderr: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = {"full": lambda: open(FULL, "w"), "full, without a buffer": lambda: unbuffered(FULL)}.get(stderr)  # noqa: SIM115
    for arguments, expected in (("sned", 2), ("send", 2), ("scenarios", 0)):
        stream = opened() if opened else None
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            code = main([arguments])
        if stream is not None:
            stream.close()
        assert code == expected


def in_a_shell(line: str) -> Result:
    command = f"{sys.executable} -X dev -W error -m engagelab_mock {line}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_the_interpreter_ends_with_the_same_codes() -> None:
    full = in_a_shell("scenarios > /dev/full")
    assert (full.code, full.err.count("\n")) == (1, 2)
    assert in_a_shell("sned 2> /dev/full").code == 2
    assert in_a_shell("send >&- 2>&-").code == 1


def test_record_ends_when_its_reader_has_ended(spawn: Spawn, url: str, tmp_path: Path) -> None:
    recording = spawn("record", "--forward", url, "--out", "day.jsonl", "--format", "json")
    assert recording.stdout is not None
    assert recording.stderr is not None
    address = json.loads(recording.stdout.readline())["url"]
    recording.stdout.close()
    urlopen(address, b"{}", timeout=PATIENCE).close()

    said = recording.stderr.read()
    assert (recording.wait(PATIENCE), "Traceback" in said) == (1, False)
    assert "1 request recorded" in said
    assert len((tmp_path / "day.jsonl").read_text().splitlines()) == 2
